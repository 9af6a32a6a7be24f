"""Sections of images: examples, classes, features."""

import numpy as np

from peeraid_jax.report import draw, measure, pictures, theme
from peeraid_jax.report.sections import scene as scene_lib

Panel, Scene, Section = theme.Panel, scene_lib.Scene, scene_lib.Section
STEPS = scene_lib.STEPS

# Images of a grid.
SHOWN = 6
# Points of t-SNE.
PROJECTED = 300


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
        f'{run.config.data.name}, {len(chosen)} test images; PGD-{STEPS}, '
        f'{scene.pgd}; '
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
  text = 'What the last layer sees, before and after the attack.'
  if maps.shape[1:] == (1, 1):
    text += (
      ' There is no attention to draw: its feature map has one pixel on images '
      'of this size.'
    )
  else:
    chosen = np.arange(min(SHOWN, len(labels)))
    shown = {
      'clean': scene.points.images[chosen],
      'attention': maps[chosen],
      'attacked': found['adversarial'][chosen],
      'its attention': found['adversarial_attention'][chosen],
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
    text,
    panels,
  )
