"""Learning rates at the steps where they can be worked out by hand."""

import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax.training import schedules
from tests import helpers


def _rates(schedule, steps):
  return [float(schedule(step)) for step in steps]


class PiecewiseTest(absltest.TestCase):
  def _schedule(self, **settings):
    return schedules.piecewise(
      0.1, epochs=5, steps_per_epoch=10, decay_epochs=(2, 4), **settings
    )

  def test_drops_with_the_first_step_of_the_epoch(self):
    np.testing.assert_allclose(
      _rates(self._schedule(), (0, 19, 20, 39, 40, 1000)),
      (0.1, 0.1, 0.01, 0.01, 0.001, 0.001),
      rtol=1e-6,
    )

  def test_warmup(self):
    np.testing.assert_allclose(
      _rates(self._schedule(warmup_epochs=0.5), (0, 1, 5, 19, 20)),
      (0, 0.02, 0.1, 0.1, 0.01),
      rtol=1e-6,
    )


class CosineTest(absltest.TestCase):
  def test_half_a_cosine(self):
    schedule = schedules.cosine(0.1, epochs=4, steps_per_epoch=10, final=0.1)
    # 0.1 + 0.9 (1 + cos(pi t)) / 2, at t = 0, 1/4, 1/2 and 1.
    expected = [
      0.1 * (0.1 + 0.45 * (1 + np.cos(np.pi * t))) for t in (0, 0.25, 0.5, 1)
    ]
    np.testing.assert_allclose(
      _rates(schedule, (0, 10, 20, 40)), expected, rtol=1e-6
    )

  def test_warmup_comes_first_and_the_end_stays(self):
    schedule = schedules.cosine(
      0.1, epochs=4, steps_per_epoch=10, warmup_epochs=2
    )
    np.testing.assert_allclose(
      _rates(schedule, (0, 10, 20, 30, 40)),
      (0, 0.05, 0.1, 0.05, 0),
      atol=1e-7,
    )


class OneCycleTest(parameterized.TestCase):
  @parameterized.parameters(({}, 12), ({'warmup_epochs': 1}, 10))
  def test_rises_to_the_highest_rate_and_falls(self, settings, peak):
    schedule = schedules.one_cycle(
      0.2, epochs=4, steps_per_epoch=10, initial=0.1, final=0.01, **settings
    )
    np.testing.assert_allclose(
      _rates(schedule, (0, peak, 40)), (0.02, 0.2, 0.002), rtol=1e-4
    )
    rates = _rates(schedule, range(41))
    self.assertTrue(np.all(np.diff(rates[: peak + 1]) > 0))
    self.assertTrue(np.all(np.diff(rates[peak:]) < 0))


class CreateTest(parameterized.TestCase):
  def _create(self, **settings):
    fields = {f'optimizer__peer__{k}': v for k, v in settings.items()}
    config = helpers.config('peeraid', **fields)
    return schedules.create(
      config.optimizer.peer, role='peer', epochs=4, steps_per_epoch=10
    )

  def test_fields_and_options_reach_the_schedule(self):
    created = self._create(
      schedule='cosine', warmup_epochs=2.0, schedule_options=('final=0.5',)
    )
    np.testing.assert_allclose(
      _rates(created, (10, 20, 40)), (0.05, 0.1, 0.05), rtol=1e-6
    )

  @parameterized.parameters(
    ({'schedule': 'linear'}, 'known: piecewise, cosine, one_cycle'),
    (
      {'schedule': 'cosine', 'schedule_options': ('rise=1',)},
      'optimizer.peer.schedule_options has .rise=1.; its settings are',
    ),
    (
      {'schedule': 'cosine', 'schedule_options': ('epochs=5',)},
      'has .epochs=5.; its settings are warmup_epochs, final$',
    ),
    (
      {'schedule': 'cosine', 'schedule_options': ('final=-1',)},
      'schedule_options: final=-1 should be at least 0',
    ),
    (
      {'schedule': 'one_cycle', 'schedule_options': ('final=0',)},
      'schedule_options: final=0 should be above 0',
    ),
    (
      {'schedule': 'one_cycle', 'schedule_options': ('initial=0',)},
      'schedule_options: initial=0 should be above 0',
    ),
    (
      {'schedule': 'one_cycle', 'schedule_options': ('rise=1.0',)},
      'schedule_options: rise=1.0 should be between 0 and 1',
    ),
    (
      {'schedule': 'one_cycle', 'schedule_options': ('rise="x"',)},
      'has .rise="x".; the value should be like 0.3',
    ),
    (
      {'schedule': 'one_cycle', 'schedule_options': ('final=0.1', 'final=1')},
      "has 'final' twice",
    ),
    (
      {'schedule': 'one_cycle', 'warmup_epochs': 4.0},
      'warmup_epochs=4.0 should be below 4, the epochs of the run',
    ),
  )
  def test_bad_settings(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      self._create(**settings)

  def test_fields_without_effect(self):
    for settings, expected in (
      ({}, []),
      ({'schedule': 'one_cycle', 'decay_epochs': ()}, []),
      (
        {'schedule': 'cosine'},
        [
          'optimizer.peer.decay_epochs=(1,) has no effect: the schedule '
          "'cosine' does not use it"
        ],
      ),
    ):
      config = helpers.config('peeraid')
      config.optimizer.peer.update(settings)
      self.assertEqual(
        schedules.notes(config.optimizer.peer, role='peer'), expected
      )


if __name__ == '__main__':
  absltest.main()
