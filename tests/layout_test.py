"""The house: imports read in one direction, and nothing heavy at start."""

import ast
import pathlib
import subprocess
import sys

from absl.testing import absltest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / 'peeraid_jax'

# Floors, from the top down; a room imports only from floors below its own.
FLOORS = (
  ('main',),
  ('run', 'export', 'report'),
  ('evaluation',),
  ('training', 'autoattack'),
  ('runtime',),
  ('config',),
  ('methods', 'torch_io'),
  ('attacks', 'nets'),
  ('data', 'models', 'losses'),
  ('registry', 'images', 'checks', 'files'),
)
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}

# Limits on length. A file or function that is longer is split by concept.
LIMITED = ('peeraid_jax', 'configs', 'experiments')
FILE_LINES = 300
FUNCTION_LINES = 60
# 'folder/file.py', or 'folder/file.py:function' -> why it may be longer.
LONGER: dict[str, str] = {}


def _too_long():
  """Yields (name, lines) of the files and functions over the limits."""
  for folder in LIMITED:
    for path in sorted((ROOT / folder).rglob('*.py')):
      name, text = str(path.relative_to(ROOT)), path.read_text()
      lines = len(text.splitlines())
      if lines > FILE_LINES:
        yield name, lines
      for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
          lines = _own_lines(node)
          if lines > FUNCTION_LINES:
            yield f'{name}:{node.name}', lines


def _own_lines(function) -> int:
  """Counts a function's lines, without its docstring and inner functions.

  The factory of a method closes over its hyperparameters: its inner functions
  are read, and counted, one by one.
  """
  own = set(range(function.lineno, function.end_lineno + 1))
  if ast.get_docstring(function) is not None:
    text = function.body[0]
    own -= set(range(text.lineno, text.end_lineno + 1))
  for inner in ast.walk(function):
    if inner is not function and isinstance(inner, ast.FunctionDef):
      own -= set(range(inner.lineno, inner.end_lineno + 1))
  return len(own)


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
          self.assertGreater(
            FLOOR[imported], FLOOR[name], f'{path} imports {imported}'
          )

  def test_every_file_is_in_a_room(self):
    rooms = {
      path.relative_to(PACKAGE).parts[0].removesuffix('.py')
      for path in PACKAGE.rglob('*.py')
    }
    self.assertEqual(rooms - {'__init__'}, set(FLOOR))

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

  def test_limits_on_length(self):
    longer = dict(_too_long())
    self.assertEqual(
      {n: lines for n, lines in longer.items() if n not in LONGER},
      {},
      f'over {FILE_LINES} lines of a file or {FUNCTION_LINES} of a function',
    )
    self.assertEqual(set(LONGER) - set(longer), set(), 'exceptions of nothing')


if __name__ == '__main__':
  absltest.main()
