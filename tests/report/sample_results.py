"""Result files that the tests of tables share."""

from peeraid_jax.report import run_tables


def result(seed: int, robust: float | None = None, clean: float = 0.5):
  """Returns the content of a result file.

  Args:
    seed: seed of the run.
    robust: accuracy under AutoAttack; None: AutoAttack was not run.
    clean: accuracy under every other attack.
  """
  attack_reports = {
    attack: {'accuracy': clean, 'n': 40} for attack in run_tables.ATTACKS
  }
  content = {
    'roles': {'student': attack_reports},
    'transfer': {},
    'seed': seed,
    'commit': 'c' * 40,
    'device': 'a device',
    'config': {'attack': {'epsilon': 0.1}, 'train': {'epochs': 3}},
    'selection': {'on': 'validation'},
  }
  if robust is not None:
    report = {'robust_accuracy': robust, 'n': 20, 'commit': 'a' * 40}
    content['autoattack'] = {'student': {'autoattack': report}}
  return content
