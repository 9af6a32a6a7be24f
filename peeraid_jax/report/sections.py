"""What a report shows, in its order: sections of figures."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from peeraid_jax.data import facts
from peeraid_jax.report import draw, landscape, measure, pictures, runs, theme
from peeraid_jax.report import store as store_lib

Panel = theme.Panel

# Steps of PGD, where nothing else is said.
STEPS = 20
# Images of landscapes, and of the picture grid.
FEW, SHOWN = 100, 6
# Points of t-SNE.
PROJECTED = 300


class Section(NamedTuple):
  """Some figures under a heading.

  Attributes:
    title: the heading.
    text: what they show, and how to read it.
    panels: the figures.
  """

  title: str
  text: str
  panels: list[Panel]


class Scene:
  """Runs, images, and what was measured of them.

  Args:
    opened: runs; the report is of the first.
    points: test images.
    kept: measurements so far.
    size: points along each direction of a landscape.
  """

  def __init__(
    self,
    opened: Sequence[runs.Run],
    points: measure.Points,
    kept: store_lib.Store,
    *,
    size: int,
  ):
    self.runs, self.points, self._kept = opened, points, kept
    self.first, self.size = opened[0], size
    self.names = facts.class_names(self.first.config.data)

  def few(self, count: int) -> measure.Points:
    """The first so many points."""
    images, labels, seed = self.points
    return measure.Points(images[:count], labels[:count], seed)

  def told(
    self,
    count: int | None = None,
    attack: str = '',
    run: runs.Run | None = None,
  ) -> str:
    """Data, number of images, settings and network, as a caption begins."""
    found = f'{self.first.config.data.name}, first '
    found += f'{count or len(self.points.labels)} test images'
    if attack:
      found += f'; {attack}, {self.radius}'
    return f'{found}; {self.first.role} of {run.label if run else "each run"}.'

  @property
  def radius(self) -> str:
    """The threat model in words."""
    epsilon, step, norm = self.first.threat
    if norm == 'Linf':
      return f'Linf, epsilon {255 * epsilon:g}/255, steps of {255 * step:g}/255'
    return f'{norm}, epsilon {epsilon:g}, steps of {step:g}'

  def get_json(self, run: runs.Run, name: str, make, **settings):
    """As `get`, of JSON."""
    found = self.get(
      run, name, lambda: {'json': np.array(json.dumps(make()))}, **settings
    )
    return json.loads(str(found['json']))

  def get(self, run: runs.Run, name: str, make, **settings):
    """What was measured of a run, or is measured now."""
    of = {
      'source': run.sources[run.role],
      'workdir': str(run.workdir.resolve()),
      'role': run.role,
      'seed': self.points.seed,
      'threat': list(run.threat),
      **settings,
    }
    return self._kept.get(f'{run.label.replace("/", "_")}-{name}', of, make)

  def pictures(self, run: runs.Run) -> dict[str, np.ndarray]:
    """Attacked images of a run's network, and what it says of them."""
    return self.get(
      run,
      'pictures',
      lambda: measure.pictures(run.net, self.points, run.threat, steps=STEPS),
      n=len(self.points.labels),
    )


def _epochs(run: runs.Run) -> float:
  """Steps per epoch, by the records of epochs' ends."""
  ends = [r for r in run.records if r.get('epoch')]
  return ends[-1]['step'] / ends[-1]['epoch'] if ends else 1.0


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
          f'{run.config.data.name}; means of {every} '
          f'batches of {run.config.train.batch_size}, and the {chosen} images '
          'that the checkpoint is chosen on.',
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
        f'{scene.first.config.data.name}, {scene.first.config.eval.select_on} '
        f'images; {attack}, {scene.radius}.',
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
        f'{scene.radius}; an image counts for the first attack that broke it.',
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


def examples(scene: Scene) -> Section:
  """Clean images, perturbations and attacked images, with predictions."""
  run = scene.first
  found = scene.pictures(run)
  labels, names = scene.points.labels, scene.names
  right = found['clean_logits'].argmax(-1) == labels
  chosen = np.flatnonzero(right)[:SHOWN]
  if not len(chosen):
    chosen = np.arange(min(SHOWN, len(labels)))
  clean = scene.points.images[chosen]
  attacked = found['adversarial'][chosen]
  change = attacked - clean
  # Linf changes use the whole range; others are stretched to it.
  reach = run.threat.epsilon
  if run.threat.norm != 'Linf':
    reach = max(np.abs(change).max(), 1e-12)
  rows = {
    'clean': clean,
    'change': np.clip(0.5 + change / (2 * reach), 0, 1),
    'attacked': attacked,
  }
  said = {
    'clean': [names[c] for c in found['clean_logits'][chosen].argmax(-1)],
    'attacked': [
      names[c] for c in found['adversarial_logits'][chosen].argmax(-1)
    ],
  }
  return Section(
    'Examples',
    'The first images that the network classifies correctly, and what PGD '
    'makes of them. Above each picture stands what the network says.',
    [
      Panel(
        'examples',
        'Images, changes and attacked images',
        f'{run.config.data.name}, test images; PGD-{STEPS}, {scene.radius}; '
        f'the change is amplified {0.5 / reach:.3g} times around grey; '
        f'{run.role} of {run.label}.',
        lambda made: pictures.grid(made, rows, said),
        2.9,
      )
    ],
  )


def classes(scene: Scene) -> Section:
  """Accuracy of each class, and which classes are confused."""
  run = scene.first
  found, labels = scene.pictures(run), scene.points.labels
  count = len(scene.names)
  present = [c for c in range(count) if np.any(labels == c)]

  def each(logits):
    right = logits.argmax(-1) == labels
    return np.array([right[labels == c].mean() for c in present])

  clean, robust = each(found['clean_logits']), each(found['adversarial_logits'])
  shown = np.arange(len(present))
  note = ''
  if len(present) > 20:
    # The ends of the order tell most.
    order = np.argsort(robust, kind='stable')
    shown = np.concatenate([order[:10], order[-10:]])
    note = ' The ten classes that withstand least, and the ten that do most.'
  matrix = measure.confusion(labels, found['adversarial_logits'], count)
  matrix = matrix[np.ix_(present, present)]
  told = scene.told(attack=f'PGD-{STEPS}', run=run)
  return Section(
    'Classes',
    'A mean hides classes that are not robust at all.',
    [
      Panel(
        'classes',
        'Accuracy of each class',
        f'{told} {min(np.bincount(labels)[present])} to '
        f'{max(np.bincount(labels)[present])} images a class.{note}',
        lambda made: draw.bars(
          made,
          {'clean': clean[shown], f'PGD-{STEPS}': robust[shown]},
          [scene.names[present[i]] for i in shown],
        ),
        0.9 + 0.26 * len(shown),
      ),
      Panel(
        'confusion',
        'What attacked images are taken for',
        told,
        lambda made: pictures.matrix(
          made, matrix, [scene.names[c] for c in present]
        ),
        3.6,
      ),
    ],
  )


def _landscapes(scene: Scene) -> Iterator:
  """Measures the landscapes of all runs; yields (run, name -> arrays)."""
  few = scene.few(FEW)
  for run in scene.runs:
    settings = {'n': len(few.labels), 'size': scene.size}
    attacked = scene.pictures(run)['adversarial'][: len(few.labels)]
    yield (
      run,
      {
        'weights': scene.get(
          run,
          'weights',
          lambda run=run, attacked=attacked: landscape.weights(
            run.net, few, attacked, size=scene.size
          ),
          **settings,
        ),
        'attacked': scene.get(
          run,
          'attacked_weights',
          lambda run=run: landscape.attacked_weights(
            run.net, few, run.threat, size=scene.size, steps=10
          ),
          **settings,
        ),
        'inputs': scene.get(
          run,
          'inputs',
          lambda run=run: landscape.inputs(
            run.net, few, run.threat.epsilon, size=scene.size
          ),
          **settings,
        ),
      },
    )


def landscapes(scene: Scene) -> Section:
  """The loss around the weights and around the images."""
  found = {run.label: (run, of) for run, of in _landscapes(scene)}
  few = min(FEW, len(scene.points.labels))
  panels = [
    Panel(
      'landscape-attacked',
      'Loss along a direction of weights, attacked anew',
      scene.told(few, attack='PGD-10 at each weight')
      + ' Random direction, normalised by filter; 1 is as long as the weights.',
      lambda made: draw.lines(
        made,
        {
          label: (of['attacked']['axis'], of['attacked']['loss'])
          for label, (_, of) in found.items()
        },
        x='distance along the direction',
        y='cross-entropy',
      ),
    )
  ]
  # One scale for all runs; what is far above the middle is cut off.
  highest = {
    kind: max(np.percentile(of[kind]['loss'], 80) for _, of in found.values())
    for kind in ('weights', 'inputs')
  }
  for index, (label, (run, of)) in enumerate(found.items()):
    panels += [
      Panel(
        f'landscape-weights-{index + 1}',
        f'{label}: loss around the weights',
        scene.told(few, f'PGD-{STEPS} on the network in the middle', run)
        + ' Two random directions, normalised by filter; values above the '
        'scale are cut off.',
        lambda made, of=of: pictures.surface(
          made,
          of['weights']['axis'],
          of['weights']['loss'],
          x='first direction',
          y='second direction',
          highest=float(highest['weights']),
        ),
        3.4,
      ),
      Panel(
        f'landscape-inputs-{index + 1}',
        f'{label}: loss around the images',
        scene.told(few, run=run)
        + ' Mean over images of their own planes: the sign of the gradient, '
        f'and random signs; up to {landscape.INPUT_REACH:g} epsilon, epsilon '
        f'{scene.first.threat.epsilon:.4g}.',
        lambda made, of=of: pictures.surface(
          made,
          of['inputs']['axis'] / scene.first.threat.epsilon,
          of['inputs']['loss'],
          x='random signs [epsilon]',
          y='sign of the gradient [epsilon]',
          highest=float(highest['inputs']),
        ),
        3.4,
      ),
    ]
  return Section(
    'Loss landscapes',
    'PeerAiD claims flatter ones than its baselines. Networks are compared at '
    'one scale.',
    panels,
  )


def features(scene: Scene) -> Section:
  """t-SNE of embeddings, and attention maps."""
  run = scene.first
  found = scene.pictures(run)
  labels, names = scene.points.labels, scene.names
  first = sorted(set(labels.tolist()))[:10]
  rows = np.flatnonzero(np.isin(labels, first))[:PROJECTED]
  panels = []
  if len(rows) > 4:
    plane = scene.get(
      run,
      'tsne',
      lambda: measure.tsne(
        found['clean_embedding'][rows],
        found['adversarial_embedding'][rows],
        seed=scene.points.seed,
      ),
      n=len(rows),
    )
    panels.append(
      Panel(
        'tsne',
        't-SNE of features, clean and attacked',
        scene.told(len(rows), f'PGD-{STEPS}', run)
        + ' One embedding of both; distances between groups mean little.',
        lambda made: pictures.scatter(
          made, plane['clean'], plane['adversarial'], labels[rows], names
        ),
        2.9,
      )
    )
  maps = found['clean_attention']
  if maps.shape[1:] != (1, 1):
    chosen = np.arange(min(SHOWN, len(labels)))
    shown = {
      'clean': scene.points.images[chosen],
      'attention': maps[chosen],
      'attacked': found['adversarial'][chosen],
      'attention, attacked': found['adversarial_attention'][chosen],
    }
    panels.append(
      Panel(
        'attention',
        'Attention, clean and attacked',
        scene.told(len(chosen), f'PGD-{STEPS}', run)
        + ' The sum of the last feature map over its channels, each scaled to '
        '[0, 1] (AGKD-BML).',
        lambda made: pictures.grid(made, shown, {}),
        3.4,
      )
    )
  return Section(
    'Features',
    'What the last layer sees, before and after the attack.',
    panels,
  )


SECTIONS = {
  'training': training,
  'specialisation': specialisation,
  'robustness': robustness,
  'examples': examples,
  'classes': classes,
  'landscapes': landscapes,
  'features': features,
}
