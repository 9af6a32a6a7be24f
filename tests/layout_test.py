"""The house: imports read in one direction, and nothing heavy at start."""

import ast
import pathlib
import subprocess
import sys

from absl.testing import absltest

PACKAGE = pathlib.Path(__file__).parent.parent / 'peeraid_jax'

# A module imports only from modules to its left; a folder is one of them.
ORDER = (
  'data', 'models', 'nets', 'torch_io', 'losses', 'attacks', 'methods',
  'config', 'recipes', 'validate', 'optim', 'parallel', 'processes', 'awp',
  'step', 'swa', 'build', 'metrics', 'checkpoint', 'torch_roles', 'teachers',
  'interrupts', 'train', 'evaluate', 'selection', 'saved', 'autoattack',
  'obfuscation', 'results', 'cascade', 'assess', 'workdir', 'run',
  'compilation_cache', 'export', 'report', 'main',
)  # fmt: skip


def _imports(path: pathlib.Path):
  """Yields the top-level parts of our own package that a file imports."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.ImportFrom) and node.module == 'peeraid_jax':
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
      if node.module.startswith('peeraid_jax.'):
        yield node.module.split('.')[1]


class LayoutTest(absltest.TestCase):
  def test_imports_read_in_one_direction(self):
    for path in sorted(PACKAGE.rglob('*.py')):
      name = path.relative_to(PACKAGE).parts[0].removesuffix('.py')
      if name == '__init__':
        continue
      for imported in _imports(path):
        if imported != name:
          self.assertLess(
            ORDER.index(imported),
            ORDER.index(name),
            f'{path.name} imports {imported}',
          )

  def test_train_does_not_know_evaluate(self):
    self.assertNotIn('evaluate', set(_imports(PACKAGE / 'train.py')))

  def test_help_needs_no_jax(self):
    for command in ('main', 'export.__main__', 'report.__main__'):
      code = (
        f'import sys, peeraid_jax, peeraid_jax.{command}; '
        'sys.exit(any(m in sys.modules for m in ("jax", "flax", "optax")))'
      )
      done = subprocess.run([sys.executable, '-c', code], check=False)
      self.assertEqual(done.returncode, 0, command)

  def test_neither_tensorflow_nor_torch(self):
    for path in PACKAGE.rglob('*.py'):
      for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
          names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
          names = [node.module or '']
        for name in names:
          self.assertNotIn(name.split('.')[0], ('tensorflow', 'torch'))


if __name__ == '__main__':
  absltest.main()
