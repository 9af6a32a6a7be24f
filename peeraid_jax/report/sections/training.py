"""Sections on the training: accuracies, losses and specialisation."""

import functools

from peeraid_jax.config import dataset
from peeraid_jax.report import charts, runs, theme
from peeraid_jax.report.sections import base


def _steps_per_epoch(run: runs.Run) -> float:
  """Returns steps per epoch, from the last record that ends an epoch."""
  ends = [record for record in run.records if record.get('epoch')]
  return ends[-1]['step'] / ends[-1]['epoch'] if ends else 1.0


def _selection_images(run: runs.Run) -> str:
  """Returns number and kind of the images that checkpoints are selected on."""
  config = run.config
  if config.eval.select_on == 'validation':
    return f'{config.data.validation_examples} validation images'
  return f'{dataset.facts_of(config.data).test or "all"} test images'


def _curve(run: runs.Run, name: str) -> tuple[list[float], list[float]]:
  """Returns epochs and values of a recorded scalar."""
  per_epoch = _steps_per_epoch(run)
  records = [record for record in run.records if record.get(name) is not None]
  return (
    [record['step'] / per_epoch for record in records],
    [record[name] for record in records],
  )


def _recorded_curves(run: runs.Run, names: dict[str, str]) -> charts.Curves:
  """Returns the curves of those scalars that the run recorded.

  Args:
    run: the run.
    names: label of the curve -> name of the scalar.

  Returns:
    Label -> (epochs, values).
  """
  curves = {label: _curve(run, name) for label, name in names.items()}
  return {label: curve for label, curve in curves.items() if curve[0]}


def _batch_means(run: runs.Run) -> str:
  """Says what a recorded value of the training is the mean of."""
  every, size = run.config.train.log_every_steps, run.config.train.batch_size
  if every == 1:
    return f'means over each training batch of {size} images'
  return f'means over {every} training batches of {size} images'


def _accuracy_panels(run: runs.Run) -> list[theme.Panel]:
  """Returns one panel for each role that recorded accuracies."""
  attack = run.config.eval.select_attack
  selection = run.config.eval.select_on
  panels = []
  for role in ('student', 'student_swa', 'peer'):
    curves = _recorded_curves(
      run,
      {
        'training batches, clean': f'{role}/clean_accuracy',
        'training batches, attacked': f'{role}/adv_accuracy',
        f'{selection} images, clean': f'select/{role}/clean',
        f'{selection} images, {attack}': f'select/{role}/{attack}',
        'student-attacked images': f'select/{role}_on_student_{attack}',
      },
    )
    if curves:
      panels.append(
        theme.Panel(
          f'training-{role}',
          f'Accuracy of the {role}',
          f'{run.config.data.name}; {_batch_means(run)}, and the '
          f'{_selection_images(run)} that checkpoints are selected on.',
          functools.partial(
            charts.curves, values=curves, x='epoch', y='accuracy', percent=True
          ),
          height=3.3,
        )
      )
  return panels


def _loss_panels(run: runs.Run) -> list[theme.Panel]:
  """Returns one panel for each role that recorded losses."""
  names = sorted(
    {name for record in run.records for name in record if '/loss_' in name}
  )
  panels = []
  for role in ('student', 'peer'):
    curves = _recorded_curves(
      run,
      {
        name.partition('/')[2]: name
        for name in names
        if name.startswith(f'{role}/')
      },
    )
    if curves:
      panels.append(
        theme.Panel(
          f'losses-{role}',
          f'Losses of the {role}',
          f'{run.config.data.name}; {_batch_means(run)}.',
          functools.partial(charts.curves, values=curves, x='epoch', y='loss'),
        )
      )
  return panels


def training(data: base.ReportData) -> base.Section:
  """Shows the accuracies and losses of each role over the epochs."""
  run = data.first
  return base.Section(
    'Training',
    f'{run.config.method.name}, {run.config.train.epochs} epochs, seed '
    f'{run.config.seed}.',
    [*_accuracy_panels(run), *_loss_panels(run)],
  )


def specialisation(data: base.ReportData) -> base.Section:
  """Shows how tutors classify the images that attack the student.

  Tutors are the peer, which trains with the student, and pretrained teachers.
  """
  curves = {}
  for run in data.runs:
    attack = run.config.eval.select_attack
    for tutor in ('peer', 'teacher'):
      curves |= _recorded_curves(
        run,
        {f'{tutor} of {run.label}': f'select/{tutor}_on_student_{attack}'},
      )
  if not curves:
    return base.Section('Specialisation', '', [])
  run = data.first
  return base.Section(
    'Specialisation',
    'Accuracy of peers and teachers on images that attack the student. A peer '
    'that trains together with the student learns to classify these images. A '
    'fixed teacher classifies fewer of them correctly as training goes on '
    '(PeerAiD, Figure 1).',
    [
      theme.Panel(
        'specialisation',
        'Tutors on student-attacked images',
        f'{run.config.data.name}, {_selection_images(run)}; '
        f'{run.config.eval.select_attack}, {data.pgd}.',
        functools.partial(
          charts.curves, values=curves, x='epoch', y='accuracy', percent=True
        ),
      )
    ],
  )
