"""Terminal output of a run: lines of text and the progress bar of training."""

import sys
import time
from collections.abc import Mapping

import tqdm


def say(text: str) -> None:
  """Prints a line at once, above a progress bar if there is one."""
  tqdm.tqdm.write(text, file=sys.stdout)
  sys.stdout.flush()


def clock(seconds: float) -> str:
  """Formats a duration as H:MM:SS."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02d}:{seconds:02d}'


class Progress:
  """Progress of training: a bar on a terminal, plain lines elsewhere.

  Args:
    total: number of training steps of the whole run.
    step: the step from which the run continues; 0 for a new run.
    batch_size: images per step, over all devices.
  """

  def __init__(self, *, total: int, step: int, batch_size: int):
    self._total, self._batch_size = total, batch_size
    # Step and time of the first report, from which the time left is estimated.
    self._first_step, self._first_time = step, None
    self._bar = tqdm.tqdm(
      total=total * batch_size,
      initial=step * batch_size,
      unit=' images',
      unit_scale=True,
      dynamic_ncols=True,
      disable=not sys.stdout.isatty(),
      file=sys.stdout,
    )

  def advance(self) -> None:
    """Counts one training step."""
    self._bar.update(self._batch_size)

  def report(self, step: int, scalars: Mapping[str, float]) -> None:
    """Shows the main scalars of a record, on the bar or as a line.

    Args:
      step: training steps done.
      scalars: name -> value; of these, loss, the student's accuracies and
        'images_per_second' are shown.
    """
    text = ', '.join(
      f'{name} {scalars[name]:.3f}'
      for name in ('loss', 'student/adv_accuracy', 'student/clean_accuracy')
      if name in scalars
    )
    if not self._bar.disable:
      self._bar.set_postfix_str(text, refresh=False)
      return
    now = time.monotonic()
    time_left = ''
    if self._first_time is None:
      # Compilation lies before the first report and should not count.
      self._first_time, self._first_step = now, step
    elif step > self._first_step:
      seconds_per_step = (now - self._first_time) / (step - self._first_step)
      seconds_left = seconds_per_step * (self._total - step)
      time_left = f', {clock(seconds_left)} left'
    rate = scalars.get('images_per_second', 0)
    say(f'step {step}/{self._total}: {text}, {rate:.0f} images/s{time_left}')

  def close(self) -> None:
    """Ends the bar; what it shows stays on the terminal."""
    self._bar.close()
