"""Surroundings that a command meets: files, paths, users, terminals."""

import os
import pathlib
import pwd
import shlex
import shutil
import stat
import subprocess
import sys
import threading
from unittest import mock

import jax
import jax.numpy as jnp
import pytest
from absl import flags
from absl.testing import absltest, flagsaver, parameterized
from jax.experimental.compilation_cache import compilation_cache as jax_cache
from ml_collections import config_flags

from peeraid_jax import config as config_lib
from peeraid_jax import files, main, methods, run
from peeraid_jax.runtime import (
  arguments,
  compilation_cache,
  paths,
  progress,
)
from peeraid_jax.runtime import workdir as workdir_lib
from tests import helpers

ROOT = pathlib.Path(__file__).parents[2]


class FilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)
    self.path = self.folder / 'results.json'

  @pytest.mark.fault('links', count=3)
  def test_a_planted_link_is_not_written_through(self):
    victim = self.folder / 'victim'
    victim.write_text('precious')
    workdir = self.folder / 'run'
    workdir.mkdir()
    for name in ('results.json', 'results.json.tmp'):
      (workdir / name).symlink_to(victim)
    files.write_json(workdir / 'results.json', {'a': 1})
    self.assertEqual(files.read_json(workdir / 'results.json'), {'a': 1})
    (workdir / '.lock').symlink_to(victim)
    with (
      self.assertRaisesRegex(OSError, r'\.lock is a symbolic link'),
      workdir_lib.held(workdir),
    ):
      pass
    self.assertEqual(victim.read_text(), 'precious')

  @pytest.mark.fault('processes')
  def test_two_writers_of_one_file(self):
    both, contents = threading.Barrier(2, timeout=20), ['a' * 9, 'b' * 9]
    failed = []

    def write(content):
      try:
        with files.replacing(self.path) as temporary:
          temporary.write_text(content[:4])
          both.wait()
          with temporary.open('a') as file:
            file.write(content[4:])
          both.wait()
      except Exception as error:
        failed.append(error)

    threads = [threading.Thread(target=write, args=[c]) for c in contents]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    self.assertEmpty(failed)
    self.assertIn(self.path.read_text(), contents)
    self.assertEqual(os.listdir(self.folder), [self.path.name])

  @pytest.mark.fault('kills', count=2)
  def test_leftovers_of_killed_runs_are_removed(self):
    self._killed_while_writing()
    (self.folder / 'my.tmp').write_text('of somebody else')
    model = self.folder / 'model.npz'
    with files.replacing(model, suffix='.npz') as temporary:
      with workdir_lib.held(self.folder):
        # The file of a writer that is still at work stays.
        found = {p.name for p in self.folder.iterdir()}
        self.assertEqual(found, {'my.tmp', '.lock', temporary.name})
      self._killed_while_writing()
    files.write_text(self.path, 'whole')
    found = {p.name for p in self.folder.iterdir()}
    self.assertEqual(found, {'my.tmp', '.lock', 'model.npz', 'results.json'})

  def _killed_while_writing(self):
    """Leaves behind what a process leaves that is killed while it writes."""
    code = (
      'import os, sys; from peeraid_jax import files\n'
      'with files.replacing(sys.argv[1]) as temporary: os._exit(9)'
    )
    done = subprocess.run(
      [sys.executable, '-c', code, str(self.path)], check=False, timeout=60
    )
    self.assertEqual(done.returncode, 9)
    self.assertNotEmpty(list(self.path.parent.glob('.peeraid-*.tmp')))

  @pytest.mark.fault('disk', count=2)
  def test_content_is_on_the_disk_before_the_file_is_replaced(self):
    done = []
    synced, replaced = os.fsync, os.replace

    def fsync(descriptor):
      folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
      size = os.fstat(descriptor).st_size
      done.append('folder' if folder else f'{size} bytes')
      synced(descriptor)

    def replace(source, target):
      done.append('replaced')
      replaced(source, target)

    with (
      mock.patch.object(os, 'fsync', fsync),
      mock.patch.object(os, 'replace', replace),
    ):
      files.write_text(self.path, '12345')
    self.assertEqual(done, ['5 bytes', 'replaced', 'folder'])

    files.write_text(self.path, 'old')
    with (
      mock.patch.object(os, 'fsync', side_effect=OSError(5, 'I/O error')),
      self.assertRaisesRegex(OSError, 'I/O error'),
    ):
      files.write_text(self.path, 'new')
    self.assertEqual(self.path.read_text(), 'old')

  @pytest.mark.fault('paths', count=2)
  def test_names_as_long_as_they_may_be(self):
    long = self.folder / ('x' * 250 + '.json')
    files.write_json(long, [1])
    self.assertEqual(files.read_json(long), [1])
    with self.assertRaisesRegex(OSError, 'File name too long'):
      files.write_json(self.folder / ('x' * 300), [1])

  @pytest.mark.fault('paths', count=3)
  def test_work_directories_that_cannot_be(self):
    long = self.folder.joinpath(*['x' * 200] * 18)
    for workdir, message in (
      (self.folder / ('x' * 300), 'cannot be written .File name too long'),
      (pathlib.Path('/proc/none'), 'cannot be written .* name another folder'),
      (long, 'whole path has .* bytes and should have at most'),
    ):
      with (
        self.assertRaisesRegex((OSError, ValueError), f'--workdir=.*{message}'),
        workdir_lib.held(workdir),
      ):
        pass

  @parameterized.parameters('[lr=1]', 'a[bc]d', 'back\\slash')
  @pytest.mark.fault('paths')
  def test_names_that_checkpoints_cannot_have(self, name):
    workdir = self.folder / name / 'run'
    with (
      self.assertRaisesRegex(ValueError, r'--workdir=.* folder with (\[|\\)'),
      workdir_lib.held(workdir),
    ):
      pass
    self.assertFalse(workdir.exists())

  @pytest.mark.fault('disk')
  def test_a_lock_that_cannot_be_written(self):
    refused = PermissionError(13, 'Permission denied')
    with (
      mock.patch.object(os, 'open', side_effect=refused),
      self.assertRaisesRegex(PermissionError, '--workdir=.* cannot be written'),
      workdir_lib.held(self.folder),
    ):
      pass

  @pytest.mark.fault('environment', count=2)
  def test_modes_follow_the_umask(self):
    for umask, mode in ((0o022, 0o644), (0o077, 0o600)):
      before = os.umask(umask)
      self.addCleanup(os.umask, before)
      files.write_text(self.path, '')
      self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), mode)


class CompilationCacheTest(parameterized.TestCase):
  """JAX's cache in this process, below a folder of the test."""

  def setUp(self):
    super().setUp()
    self.root = helpers.folder(self)
    for name in (
      'jax_compilation_cache_dir',
      'jax_compilation_cache_max_size',
      'jax_persistent_cache_min_compile_time_secs',
      'jax_persistent_cache_min_entry_size_bytes',
    ):
      self.addCleanup(jax.config.update, name, getattr(jax.config, name))
    self.addCleanup(jax_cache.reset_cache)
    self.said = []
    self.enter_context(mock.patch.object(progress, 'say', self.said.append))

  def _start(self, **environment):
    """Enables the cache as a new process does."""
    jax_cache.reset_cache()
    jax.config.update('jax_compilation_cache_dir', None)
    with mock.patch.dict(
      os.environ, {'XDG_CACHE_HOME': str(self.root), **environment}
    ):
      compilation_cache.enable()

  def _compile(self, *numbers: int) -> int:
    """Compiles a program per number; returns how many were in the cache."""
    hits = []
    listen = lambda event, **kwargs: hits.append(event.endswith('/cache_hits'))
    jax.monitoring.register_event_listener(listen)
    try:
      for number in numbers:
        value = jax.jit(lambda x, n=number: x * n + n)(jnp.ones(3))
        self.assertEqual(float(value[0]), 2 * number)
    finally:
      jax.monitoring.unregister_event_listener(listen)
    return sum(hits)

  def _entries(self) -> list[pathlib.Path]:
    return sorted(self.root.rglob('*_lambda*-cache'))

  @pytest.mark.fault('damaged files', count=2)
  def test_damaged_programs_are_compiled_again(self):
    self._start()
    self._compile(2, 3)
    first, second = self._entries()
    first.write_bytes(first.read_bytes()[:100])
    content = bytearray(second.read_bytes())
    content[len(content) // 2] ^= 1
    second.write_bytes(content)
    self._start()
    with self.assertWarnsRegex(UserWarning, 'Error reading persistent'):
      self.assertEqual(self._compile(2, 3), 0)

  @pytest.mark.fault('kills')
  def test_programs_of_which_a_part_was_written(self):
    self._start()
    self._compile(2, 3)
    cut, whole = self._entries()
    cut.write_bytes(b'half')
    cut.with_name(cut.name.replace('-cache', '-atime')).unlink()
    self._start()
    self.assertEqual(self._entries(), [whole])
    self.assertEqual(self._compile(2, 3, 5), 1)
    self.assertLen(self._entries(), 3)
    self.assertEmpty(self.said)

  @pytest.mark.fault('disk')
  def test_the_cache_does_not_grow_without_end(self):
    limit = 40_000
    self._start(JAX_COMPILATION_CACHE_MAX_SIZE=str(limit))
    jax.config.update('jax_compilation_cache_max_size', limit)
    self._compile(*range(1, 21))
    size = sum(path.stat().st_size for path in self.root.rglob('*-cache'))
    self.assertBetween(size, 1, limit)
    self.assertLess(len(self._entries()), 20)

  @pytest.mark.fault('disk', count=2)
  def test_a_folder_that_cannot_be_written(self):
    for root in ('/proc/none', str(self.root / 'file')):
      (self.root / 'file').write_text('')
      self._start(XDG_CACHE_HOME=root)
      self.assertIn('not kept for the next start', self.said.pop())
      self.assertEqual(self._compile(2), 0)

  @pytest.mark.fault('environment')
  def test_a_library_that_is_not_installed(self):
    with mock.patch.dict(sys.modules, filelock=None):
      self._start()
    self.assertIn('filelock', self.said.pop())

  @pytest.mark.fault('environment')
  def test_no_home_directory(self):
    home = os.environ.pop('HOME', None)
    if home is not None:
      self.addCleanup(os.environ.__setitem__, 'HOME', home)
    with mock.patch.object(pwd, 'getpwuid', side_effect=KeyError):
      self._start(XDG_CACHE_HOME='')
    self.assertIn('no home directory is known', self.said.pop())


# What a shell, a pattern or a flag could take for something else.
ODD = (
  'with space',
  "single'quote",
  'double"quote',
  'back\\slash',
  'new\nline',
  'dollar$HOME `id` !! *',
  'équipe-データ',
  '-dash=equals',
  '8/255',
  '{brace} %s',
)


# ml_collections loads config files so.
@pytest.mark.filterwarnings('ignore:the load_module')
class NextCommandTest(parameterized.TestCase):
  """The command that is printed at the end, read as a shell reads it."""

  def _assert_same_config(self, config, argument: str, workdir: str):
    config_lib.complete(config)
    text = run._next_steps(config, argument, workdir)
    command = text.partition('next:\n')[2].partition('\n  tensorboard')[0]
    python, dash_m, module, *argv = shlex.split(command)
    self.assertEqual((dash_m, module), ('-m', 'peeraid_jax.main'))
    argv = [arguments.plain(a) for a in [python, *argv]]
    values = flags.FlagValues()
    flags.DEFINE_string('workdir', None, '', flag_values=values)
    flags.DEFINE_string('mode', None, '', flag_values=values)
    config_flags.DEFINE_config_file('config', flag_values=values, sys_argv=argv)
    self.assertEqual(values(argv), [python])
    self.assertEqual(values.workdir, workdir)
    again = values.config
    config_lib.complete(again)
    self.assertEqual(again.eval.attacks, ('clean', 'pgd100'))
    again.eval.attacks = config.eval.attacks
    self.assertEqual(config_lib.to_json(again), config_lib.to_json(config))

  @pytest.mark.fault('paths', count=4 * len(ODD))
  def test_odd_paths(self):
    source = pathlib.Path(__file__).parents[2] / 'configs' / 'digits.py'
    for odd in ODD:
      with self.subTest(odd):
        folder = helpers.folder(self) / odd
        folder.mkdir(parents=True)
        shutil.copy(source, folder / 'own.py')
        argument = f'{folder}/own.py:method=pgd_at,student=tiny'
        config = config_lib.load(argument)
        config.data.dir = config.model.torch = odd
        self._assert_same_config(config, argument, str(folder))

  @parameterized.parameters(*methods.METHODS)
  @pytest.mark.fault('paths')
  def test_every_method(self, method):
    argument = f'configs/digits.py:method={method}'
    config = config_lib.load(argument)
    config.awp.enabled = True
    config.dtype = 'bfloat16'
    config.attack.epsilon = 1 / 3
    config.data.flip = not config.data.flip
    config.eval.roles = ('student',)
    config.optimizer.student.options = ("b1='a b'",)
    for role in config.roles.values():
      role.normalization = '0.5/0.25'
    self._assert_same_config(config, argument, 'runs/one')


class PathsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.home = helpers.folder(self)
    self.enter_context(mock.patch.dict(os.environ, {'HOME': str(self.home)}))
    self.config = helpers.config('ltd')

  def _set_all(self, path: str) -> list[str]:
    """Sets every field of a file or folder, and returns their names."""
    fields = [
      *('data.dir', 'data.source', 'model.torch', 'eval.corruptions'),
      *('teacher.workdir', 'teacher.torch', 'teacher.train_config'),
    ]
    self.config.update_from_flattened_dict(dict.fromkeys(fields, path))
    return fields

  @pytest.mark.fault('paths', count=7)
  def test_home_in_every_field(self):
    fields = self._set_all('~/x')
    paths.expand_config(self.config)
    for field in fields:
      self.assertEqual(
        config_lib.lookup(self.config, field), f'{self.home}/x', field
      )
    self.config = helpers.config('peeraid')
    self.config.model.peer_from = '~/x'
    paths.expand_config(self.config)
    self.assertEqual(self.config.model.peer_from, f'{self.home}/x')

  @parameterized.parameters('gs://a/b', 's3://a', 'http://a/b', 'hdfs:///a')
  @pytest.mark.fault('paths', count=8)
  def test_addresses_are_refused(self, address):
    for field in self._set_all(''):
      self.config.update_from_flattened_dict({field: address})
      with self.assertRaisesRegex(
        ValueError, f'config.{field}={address} is an address.* mount it'
      ):
        paths.expand_config(self.config)
      self.config.update_from_flattened_dict({field: ''})
    with self.assertRaisesRegex(ValueError, f'--workdir={address} is an'):
      paths.checked(address, '--workdir')

  @pytest.mark.fault('paths', count=2)
  def test_names_that_are_no_text(self):
    with self.assertRaisesRegex(ValueError, '--workdir=.* not valid UTF-8'):
      paths.checked('bytes-\udcff', '--workdir')
    here = os.getcwd()
    self.addCleanup(os.chdir, here)
    (self.home / 'bytes-\udcff').mkdir()
    os.chdir(self.home / 'bytes-\udcff')
    with self.assertRaisesRegex(ValueError, 'not valid UTF-8'):
      paths.checked('run', '--workdir')

  @pytest.mark.fault('environment', count=2)
  def test_unknown_homes(self):
    with self.assertRaisesRegex(ValueError, 'home directory is not known'):
      paths.checked('~nobody_of_that_name/x', '--workdir')
    del os.environ['HOME']
    with (
      mock.patch.object(pwd, 'getpwuid', side_effect=KeyError),
      self.assertRaisesRegex(ValueError, '~/x.* not known.*set HOME'),
    ):
      paths.checked('~/x', '--workdir')

  @pytest.mark.fault('earlier versions')
  def test_a_folder_of_the_name_tilde_goes_on(self):
    here = os.getcwd()
    self.addCleanup(os.chdir, here)
    os.chdir(self.home)
    (self.home / '~' / 'runs').mkdir(parents=True)
    self.assertEqual(paths.checked('~/runs', '--workdir'), '~/runs')
    self.assertEqual(paths.checked('~/new', '--workdir'), f'{self.home}/new')

  @pytest.mark.fault('earlier versions', count=2)
  def test_a_run_whose_stored_paths_have_a_tilde_goes_on(self):
    workdir = helpers.folder(self)
    self.config.teacher.workdir = '~/x'
    files.write_json(workdir / 'config.json', config_lib.to_json(self.config))
    workdir_lib.prepare(self.config, workdir)
    paths.expand_config(self.config)
    workdir_lib.prepare(self.config, workdir)
    self.config.teacher.workdir = f'{self.home}/y'
    with self.assertRaisesRegex(ValueError, "teacher.workdir: '.*/x' there"):
      workdir_lib.prepare(self.config, workdir)


@pytest.mark.filterwarnings('ignore:the load_module')
class FlagsTest(parameterized.TestCase):
  """The command line of `main`, parsed in this process."""

  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)
    self.enter_context(flagsaver.flagsaver())

  def _parse(self, *arguments: str) -> list[str]:
    argv = ['main', *arguments]
    with mock.patch.object(sys, 'argv', argv):
      return main._parse(argv)

  def _refused(self, *arguments: str) -> str:
    """Returns the one line with which the command ends."""
    with self.assertRaises(SystemExit) as context:
      self._parse(*arguments)
    message = context.exception.code
    self.assertIsInstance(message, str)
    self.assertRegex(message, r'\Aerror: .+\Z')
    return message

  @parameterized.parameters(
    (('--config=configs/cifar10.py',), '--config is given twice, as .*cifar10'),
    (('--config=configs/digits.py',), '--config is given twice'),
    (
      ('--workdir=a', '--workdir=b'),
      '--workdir is given twice, as .*=b; leave',
    ),
    (('--workdir', 'a', '-workdir=b'), 'is given twice, as --workdir a and as'),
    (('--mode=train', '--mode=evaluate'), '--mode is given twice'),
    (('--config.seed=1', '--config.seed=2'), '--config.seed is given twice'),
    (
      ('--config.data.flip=True', '--noconfig.data.flip'),
      '--config.data.flip is given twice, as --config.data.flip=True and as',
    ),
    (('--workdir=',), '--workdir= is empty; name a folder, .* runs/digits'),
    (('--workdir',), 'Missing value for flag --workdir'),
    (('--mode=test',), 'should be one of <train|evaluate>'),
    (('--mode=',), 'should be one of <train|evaluate>'),
    (('--config.seed=',), 'invalid literal for int'),
    (('--config.data=1',), 'is not a dict'),
    (('--nonsense=1',), "Unknown command line flag 'nonsense'"),
    (('--config.nonsense=1',), 'config.nonsense is unknown'),
    (('--flagfile=/none',), 'Unable to open flagfile'),
  )
  @pytest.mark.fault('flags')
  def test_flags(self, arguments, message):
    self.assertRegex(
      self._refused('--config=configs/digits.py', *arguments), message
    )

  @parameterized.parameters(
    ((), '--config=FILE is missing'),
    (('--config=',), '--config=FILE is missing'),
    (('--config',), '--config=FILE is missing'),
    (('--config=configs',), 'configs is a folder; name a file in it'),
    (('--config=none.py',), 'none.py: no such file; configs/ has some'),
    (('--config=README.md',), 'README.md should be a Python file'),
    (('--config=setup.cfg.py:x',), 'setup.cfg.py: no such file'),
    (('--config=gs://a/b.py',), 'gs://a/b.py is an address'),
    (('--config=~nobody_/b.py',), 'that home directory is not known'),
    (('--config=~/none.py',), r'--config=/.*/none.py: no such file'),
    (
      ('--config.seed=1', '--config=configs/digits.py'),
      'Found --config.seed=1',
    ),
  )
  @pytest.mark.fault('flags')
  def test_config_files(self, arguments, message):
    with mock.patch.dict(os.environ, {'HOME': str(self.folder)}):
      self.assertRegex(self._refused(*arguments), message)

  @parameterized.parameters('x = (', 'hello', 'y = 1', '1 / 0', 'import none_')
  @pytest.mark.fault('flags')
  def test_config_files_with_errors(self, content):
    path = self.folder / 'broken.py'
    path.write_text(content)
    self.assertIn('broken.py', self._refused(f'--config={path}'))

  @pytest.mark.fault('flags', count=3)
  def test_what_looks_like_something_else(self):
    found = self._parse(
      '--config=configs/digits.py',
      '--config.data.dir=2024/11',
      '--config.attack.epsilon=8/255',
      '--',
      '--workdir=1',
      '--workdir=2',
    )
    self.assertEqual(found, ['main', '--workdir=1', '--workdir=2'])
    config = flags.FLAGS.config
    self.assertEqual(config.data.dir, '2024/11')
    self.assertEqual(config.attack.epsilon, 8 / 255)


# A user without an entry in the list of users, as in many containers.
_NO_USER = """
import pwd
def getpwuid(number):
  raise KeyError(number)
pwd.getpwuid = getpwuid
"""
_SETTINGS = (
  '--config.model.width=4',
  '--config.data.train_examples=80',
  '--config.data.validation_examples=20',
  '--config.attack.steps=2',
  '--config.train.epochs=1',
  '--config.train.batch_size=16',
  "--config.eval.attacks=('clean',)",
  '--config.eval.select_attack=pgd2',
  '--config.eval.examples=30',
  '--config.eval.batch_size=32',
)


class CommandsTest(absltest.TestCase):
  """Commands in processes of their own: the surroundings change no number."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = helpers.class_folder(cls)
    (cls.folder / 'sitecustomize.py').write_text(_NO_USER)
    (cls.folder / 'here').mkdir()
    shutil.copy(ROOT / 'configs' / 'digits.py', cls.folder / 'own.py')
    cls.plain = cls.folder / 'plain'
    cls._run('main', f'--workdir={cls.plain}')

  @classmethod
  def _run(cls, module, *flags, shell='true', streams='', **environment):
    """Runs a command; returns its output.

    Args:
      module: of the command.
      *flags: after those of a tiny run.
      shell: a line of shell before it.
      streams: redirections of the shell.
      **environment: added variables; None removes one.
    """
    if module == 'main':
      config = '--config=../own.py:method=pgd_at,student=tiny'
      flags = (config, *_SETTINGS, *flags)
    variables = {
      **os.environ,
      'XDG_CACHE_HOME': str(cls.folder / 'cache'),
      'XLA_FLAGS': '',
      'PYTHONPATH': str(ROOT),
      **environment,
    }
    done = subprocess.run(
      ['bash', '-c', f'{shell}; exec "$@" {streams}', '']
      + [sys.executable, '-m', f'peeraid_jax.{module}', *flags],
      cwd=cls.folder / 'here',
      env={k: v for k, v in variables.items() if v is not None},
      capture_output=True,
      check=False,
      timeout=300,
    )
    output = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, output
    return output

  def _assert_same_results(self, workdir: pathlib.Path):
    found, plain = (
      files.read_json(w / 'results.json') for w in (workdir, self.plain)
    )
    self.assertEqual(found['roles'], plain['roles'])

  @pytest.mark.fault('environment', count=8)
  def test_nothing_is_there(self):
    """No home, no user, no streams, no temporary folder, other umask and seed.

    The config and the work directory are relative to a folder that is not the
    package's.
    """
    self._run(
      'main',
      '--workdir=relative/run',
      shell='umask 077',
      streams='<&- >&- 2>&-',
      HOME=None,
      XDG_CACHE_HOME=None,
      TMPDIR='/nonexistent',
      PYTHONHASHSEED='1',
      PYTHONPATH=f'{self.folder}:{ROOT}',
    )
    workdir = self.folder / 'here' / 'relative' / 'run'
    self._assert_same_results(workdir)
    for path in workdir.rglob('*'):
      self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)

  @pytest.mark.fault('paths', count=6)
  def test_odd_folders_and_a_terminal_of_ascii(self):
    """Training and export, without a home, in a path almost too long."""
    odd = self.folder / 'é "run\'s"\n[1/2'
    long = odd.joinpath(*['x' * 200] * 16)
    nobody = {
      'HOME': None,
      'PYTHONPATH': f'{self.folder}:{ROOT}',
      'PYTHONIOENCODING': 'ascii',
      'PYTHONHASHSEED': '2',
    }
    output = self._run('main', f'--workdir={long}', **nobody)
    self.assertIn('\\xe9', output)
    self._assert_same_results(long)
    output = self._run('export', f'--workdir={long}', '--images=0', **nobody)
    self.assertIn('student.stablehlo: not compared', output)


if __name__ == '__main__':
  absltest.main()
