"""A run that goes on from its newest checkpoint, with the same images."""

from typing import Any

from peeraid_jax.runtime import progress
from peeraid_jax.training import checkpoint
from peeraid_jax.training import step as step_lib


def resumed(
  workdir, found: dict[str, int]
) -> tuple[step_lib.State, dict[str, Any]] | None:
  """Returns the state to go on from, and its meta.

  Args:
    workdir: of the run.
    found: fingerprint of the training set, as of `fingerprint.of`; the run goes
      on with it in its meta.

  Returns:
    (state on the devices, meta); None if nothing was saved yet.

  Raises:
    PermissionError, ValueError: as of `checkpoint.resume`; or the run began
      with other images.
  """
  restored = checkpoint.resume(workdir)
  if restored is None:
    return None
  progress.say(f'resuming from step {int(restored.state.step)}')
  # Checkpoints of early versions know less of the data, or nothing.
  changed = [
    f'{part} {value} then, {found[part]} now'
    for part, value in restored.meta.get('data', {}).items()
    if found.get(part, value) != value
  ]
  if changed:
    raise ValueError(
      f'{workdir} was trained on other images until now '
      f'({"; ".join(changed)}). Bring them back, or name another work '
      'directory with --workdir=DIR'
    )
  return restored.state, {**restored.meta, 'data': found}
