"""Sections of curves: training, specialisation, robustness."""

from typing import Any

from peeraid_jax.data import facts
from peeraid_jax.report import draw, measure, runs, theme
from peeraid_jax.report.sections import scene as scene_lib

Panel, Scene, Section = theme.Panel, scene_lib.Scene, scene_lib.Section
STEPS = scene_lib.STEPS


def _epochs(run: runs.Run) -> float:
  """Steps per epoch, by the records of epochs' ends."""
  ends = [r for r in run.records if r.get('epoch')]
  return ends[-1]['step'] / ends[-1]['epoch'] if ends else 1.0


def _selection(run: runs.Run) -> str:
  """The images that a checkpoint is chosen on, with their number."""
  config = run.config
  if config.eval.select_on == 'validation':
    return f'{config.data.validation_examples} validation images'
  return f'{facts.of(config.data).test or "all"} test images'


def _series(run: runs.Run, name: str) -> tuple[list[float], list[float]]:
  """Epochs and values of a recorded scalar."""
  per_epoch = _epochs(run)
  known = [r for r in run.records if r.get(name) is not None]
  return [r['step'] / per_epoch for r in known], [r[name] for r in known]


def _recorded(run: runs.Run, names: dict[str, str]) -> draw.Lines:
  """label -> series, of those that the run has."""
  found = {label: _series(run, name) for label, name in names.items()}
  return {label: series for label, series in found.items() if series[0]}


def training(scene: Scene) -> Section:
  """Accuracies and losses of each role over the epochs."""
  run = scene.first
  attack = run.config.eval.select_attack
  chosen = run.config.eval.select_on
  every = run.config.train.log_every_steps
  panels = []
  for role in ('student', 'student_swa', 'peer'):
    values = _recorded(
      run,
      {
        'training batches, clean': f'{role}/clean_accuracy',
        'training batches, attacked': f'{role}/adv_accuracy',
        f'{chosen} images, clean': f'select/{role}/clean',
        f'{chosen} images, {attack}': f'select/{role}/{attack}',
        'on student-attacked': f'select/{role}_on_student_{attack}',
      },
    )
    if values:
      panels.append(
        Panel(
          f'training-{role}',
          f'Accuracy of the {role}',
          f'{run.config.data.name}; means of {every} batches of '
          f'{run.config.train.batch_size}, and the {_selection(run)} that the '
          'checkpoint is chosen on.',
          lambda made, values=values: draw.lines(
            made, values, x='epoch', y='accuracy', percent=True
          ),
          3.3,
        )
      )
  names = sorted({k for r in run.records for k in r if '/loss_' in k})
  for role in ('student', 'peer'):
    values = _recorded(
      run,
      {n.partition('/')[2]: n for n in names if n.startswith(f'{role}/')},
    )
    if values:
      panels.append(
        Panel(
          f'losses-{role}',
          f'Losses of the {role}',
          f'{run.config.data.name}; means of {every} '
          f'batches of {run.config.train.batch_size}.',
          lambda made, values=values: draw.lines(
            made, values, x='epoch', y='loss'
          ),
        )
      )
  return Section(
    'Training',
    f'{run.config.method.name}, {run.config.train.epochs} epochs, seed '
    f'{run.config.seed}.',
    panels,
  )


def specialisation(scene: Scene) -> Section:
  """The peer, and fixed teachers, on images that attack the student."""
  values: dict[str, Any] = {}
  for run in scene.runs:
    attack = run.config.eval.select_attack
    for tutor in ('peer', 'teacher'):
      label = f'{tutor} of {run.label}'
      values |= _recorded(run, {label: f'select/{tutor}_on_student_{attack}'})
  if not values:
    return Section('Specialisation', '', [])
  attack = scene.first.config.eval.select_attack
  return Section(
    'Specialisation',
    'Accuracy on images that attack the student: a peer that trains beside it '
    'learns to defend it, a teacher that stays as it is becomes worse at it '
    '(PeerAiD, Figure 1).',
    [
      Panel(
        'specialisation',
        'Tutors on student-attacked images',
        f'{scene.first.config.data.name}, {_selection(scene.first)}; {attack}, '
        f'{scene.pgd}.',
        lambda made: draw.lines(
          made, values, x='epoch', y='accuracy', percent=True
        ),
      )
    ],
  )


def robustness(scene: Scene) -> Section:
  """Accuracy against radius and steps, and which attack broke how many."""
  count = len(scene.points.labels)
  by_epsilon, by_steps = {}, {}
  for run in scene.runs:
    found = scene.get(
      run,
      'by_epsilon',
      lambda run=run: measure.by_epsilon(
        run.net, scene.points, run.threat, steps=STEPS
      ),
      n=count,
      steps=STEPS,
    )
    scale = 255 if run.threat.norm == 'Linf' else 1
    by_epsilon[run.label] = (scale * found['epsilon'], found['accuracy'])
    found = scene.get(
      run,
      'by_steps',
      lambda run=run: measure.by_steps(run.net, scene.points, run.threat),
      n=count,
    )
    by_steps[run.label] = (found['steps'], found['accuracy'])
  unit = ' [1/255]' if scene.first.threat.norm == 'Linf' else ''
  trained = scene.first.threat.epsilon * (255 if unit else 1)
  panels = [
    Panel(
      'epsilon',
      'Accuracy against radius',
      scene.told(attack=f'PGD-{STEPS}, steps in proportion to the radius')
      + ' Dotted: the radius of training.',
      lambda made: draw.lines(
        made,
        by_epsilon,
        x=f'epsilon{unit}',
        y='accuracy',
        percent=True,
        mark=trained,
        marked='training',
      ),
    ),
    Panel(
      'steps',
      'Accuracy against steps of the attack',
      scene.told(attack=f'PGD, one attack of {measure.STEPS[-1]} steps'),
      lambda made: draw.lines(
        made, by_steps, x='steps', y='accuracy', percent=True, log_x=True
      ),
    ),
  ]
  counts, told = {}, []
  for run in scene.runs:
    report = (
      run.results.get('autoattack', {}).get(run.role, {}).get('autoattack')
    )
    if report:
      counts[run.label] = report['counts']
      told.append(report['n'])
  text = 'All accuracies are upper bounds; the smallest one counts.'
  if counts:
    panels.append(
      Panel(
        'autoattack',
        'Which attack broke how many',
        f'{scene.first.config.data.name}, first '
        f'{", ".join(map(str, sorted(set(told))))} test images; AutoAttack, '
        f'{scene.ball}; an image counts for the first attack that broke it.',
        lambda made: draw.shares(made, counts),
        1.3 + 0.5 * len(counts),
      )
    )
  else:
    text += (
      ' AutoAttack was not run: '
      '--mode=evaluate --config.eval.attacks="(\'autoattack\',)" does so.'
    )
  return Section('Robustness', text, panels)
