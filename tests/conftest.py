"""Strict JAX for all tests: two virtual devices, ranks never promoted.

Also counts the faults that `tests/faults` tries.
"""

import collections
import importlib.metadata
import os
import signal

import pytest

_FLAGS = ' --xla_force_host_platform_device_count=2'
if importlib.metadata.version('jaxlib').startswith('0.10.'):
  # Compiles in two thirds of the time; XLA aborts on flags it does not know.
  _FLAGS += ' --xla_cpu_use_fusion_emitters=false'
os.environ['XLA_FLAGS'] = os.environ.get('XLA_FLAGS', '') + _FLAGS
os.environ['JAX_PLATFORMS'] = 'cpu'
# Tests compile much and compute little.
os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'

# A job in the background of a shell begins with Ctrl-C ignored, and so would
# the commands that tests start.
for _number, _handler in (
  (signal.SIGINT, signal.default_int_handler),
  (signal.SIGTERM, signal.SIG_DFL),
  (signal.SIGHUP, signal.SIG_DFL),
):
  if signal.getsignal(_number) == signal.SIG_IGN:
    signal.signal(_number, _handler)

import jax  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
  """Marks all of tests/faults as slow, and notes what each test tries."""
  for item in items:
    if item.path.parent.name == 'faults':
      item.add_marker('slow')
    for mark in item.iter_markers('fault'):
      # These properties travel from pytest-xdist's workers to the summary.
      number = mark.kwargs.get('count', 1)
      item.user_properties.append(('fault', (mark.args[0], number)))


def pytest_terminal_summary(terminalreporter):
  """Prints how many faults of each category were tried and survived."""
  tried, survived = collections.Counter(), collections.Counter()
  for outcome in ('passed', 'failed'):
    for report in terminalreporter.stats.get(outcome, ()):
      for name, value in getattr(report, 'user_properties', ()):
        if name == 'fault' and report.when == 'call':
          category, number = value
          tried[category] += number
          survived[category] += number * (outcome == 'passed')
  if tried:
    terminalreporter.section('faults: tried, survived')
    for category in sorted(tried):
      terminalreporter.line(
        f'{category:<28} {tried[category]:>5} {survived[category]:>5}'
      )
    total = f'{sum(tried.values()):>5} {sum(survived.values()):>5}'
    terminalreporter.line(f'{"all":<28} {total}')
