"""Sections on images: attacked examples, classes and features."""

import functools
from collections.abc import Sequence

import numpy as np

from peeraid_jax.report import analysis, charts, measure, pictures, runs, theme
from peeraid_jax.report.sections import base

# Number of images in a row.
SHOWN = 6
# Number of images that t-SNE projects, and of classes that they are from.
PROJECTED = 300
PROJECTED_CLASSES = 10
# With more classes than this, only those at the ends of the order are drawn.
MOST_CLASSES = 20
ENDS = 10

_ATTACK = f'PGD-{base.STEPS}'


def _amplified(
  perturbation: np.ndarray, threat: measure.Threat
) -> tuple[np.ndarray, float]:
  """Makes perturbations visible as images.

  Args:
    perturbation: attacked minus clean images, [N, H, W, C].
    threat: the threat model.

  Returns:
    (images in [0, 1] with grey for no change, factor of the amplification).
  """
  # Linf perturbations reach epsilon; others are scaled by their maximum.
  largest = threat.epsilon
  if threat.norm != 'Linf':
    largest = max(np.abs(perturbation).max(), 1e-12)
  return np.clip(0.5 + perturbation / (2 * largest), 0, 1), 0.5 / largest


def examples(data: base.ReportData) -> base.Section:
  """Shows clean images, perturbations and attacked images, with predictions."""
  run, labels = data.first, data.examples.labels
  arrays = data.clean_and_attacked(run)
  correct = arrays['clean_logits'].argmax(-1) == labels
  rows = data.rows(SHOWN, np.flatnonzero(correct))
  if not len(rows):
    rows = data.rows(SHOWN)
  clean, attacked = data.examples.images[rows], arrays['adversarial'][rows]
  perturbation, factor = _amplified(attacked - clean, run.threat)

  def predictions(logits) -> list[str]:
    return [data.class_names[c] for c in logits[rows].argmax(-1)]

  return base.Section(
    'Examples',
    'Images that the network classifies correctly, and the same images '
    'attacked by PGD. The predicted class stands above each image.',
    [
      theme.Panel(
        'examples',
        'Clean images, perturbations and attacked images',
        f'{run.config.data.name}, {len(rows)} test images; {_ATTACK}, '
        f'{data.pgd}; perturbations are amplified {factor:.3g} times, with '
        f'grey for no change; {run.role} of {run.label}.',
        functools.partial(
          pictures.grid,
          rows={
            'clean': clean,
            'perturbation': perturbation,
            'attacked': attacked,
          },
          titles={
            'clean': predictions(arrays['clean_logits']),
            'attacked': predictions(arrays['adversarial_logits']),
          },
        ),
        height=2.9,
      )
    ],
  )


def _class_accuracies_panel(
  data: base.ReportData, present: Sequence[int], caption: str
) -> theme.Panel:
  """Returns clean and robust accuracy of the classes that have images."""
  arrays, labels = data.clean_and_attacked(data.first), data.examples.labels

  def accuracy_per_class(logits) -> np.ndarray:
    correct = logits.argmax(-1) == labels
    return np.array([correct[labels == c].mean() for c in present])

  clean = accuracy_per_class(arrays['clean_logits'])
  robust = accuracy_per_class(arrays['adversarial_logits'])
  drawn = np.arange(len(present))
  note = ''
  if len(present) > MOST_CLASSES:
    order = np.argsort(robust, kind='stable')
    drawn = np.concatenate([order[:ENDS], order[-ENDS:]])
    note = (
      f' Drawn are the {ENDS} least robust and the {ENDS} most robust classes.'
    )
  images_per_class = np.bincount(labels)[present]
  return theme.Panel(
    'classes',
    'Accuracy of each class',
    f'{caption} {min(images_per_class)} to {max(images_per_class)} images per '
    f'class.{note}',
    functools.partial(
      charts.class_accuracies,
      accuracies={'clean': clean[drawn], _ATTACK: robust[drawn]},
      class_names=[data.class_names[present[i]] for i in drawn],
    ),
    height=0.9 + 0.26 * len(drawn),
  )


def classes(data: base.ReportData) -> base.Section:
  """Shows the accuracy of each class, and which classes are confused."""
  run, labels = data.first, data.examples.labels
  num_classes = len(data.class_names)
  present = [c for c in range(num_classes) if np.any(labels == c)]
  counts = analysis.confusion_matrix(
    labels, data.clean_and_attacked(run)['adversarial_logits'], num_classes
  )
  caption = data.caption(attack=_ATTACK, run=run)
  return base.Section(
    'Classes',
    'The mean accuracy can hide classes that are not robust at all.',
    [
      _class_accuracies_panel(data, present, caption),
      theme.Panel(
        'confusion',
        'Confusion matrix of attacked images',
        caption,
        functools.partial(
          pictures.matrix,
          counts=counts[np.ix_(present, present)],
          class_names=[data.class_names[c] for c in present],
        ),
        height=3.6,
      ),
    ],
  )


def _tsne_panel(data: base.ReportData, run: runs.Run) -> theme.Panel | None:
  """Returns the projected features; None if there are too few images."""
  arrays, labels = data.clean_and_attacked(run), data.examples.labels
  first_classes = sorted(set(labels.tolist()))[:PROJECTED_CLASSES]
  rows = data.rows(PROJECTED, np.flatnonzero(np.isin(labels, first_classes)))
  if len(rows) <= 4:
    return None
  positions = data.measured(
    run,
    'tsne',
    lambda: analysis.tsne(
      arrays['clean_embedding'][rows],
      arrays['adversarial_embedding'][rows],
      seed=data.examples.seed,
    ),
    n=len(rows),
  )
  return theme.Panel(
    'tsne',
    't-SNE of features, clean and attacked',
    data.caption(len(rows), _ATTACK, run)
    + ' Clean and attacked features are projected together. Distances between '
    'groups mean little.',
    functools.partial(
      pictures.scatter,
      clean=positions['clean'],
      adversarial=positions['adversarial'],
      labels=labels[rows],
      class_names=data.class_names,
    ),
    height=2.9,
  )


def _attention_panel(data: base.ReportData, run: runs.Run) -> theme.Panel:
  """Returns clean and attacked images with their attention maps."""
  arrays = data.clean_and_attacked(run)
  rows = data.rows(SHOWN)
  return theme.Panel(
    'attention',
    'Attention, clean and attacked',
    data.caption(len(rows), _ATTACK, run)
    + ' Attention: the last feature map, summed over its channels and scaled '
    'to [0, 1] for each image (AGKD-BML).',
    functools.partial(
      pictures.grid,
      rows={
        'clean': data.examples.images[rows],
        'attention\n(clean)': arrays['clean_attention'][rows],
        'attacked': arrays['adversarial'][rows],
        'attention\n(attacked)': arrays['adversarial_attention'][rows],
      },
      titles={},
    ),
    height=3.4,
  )


def features(data: base.ReportData) -> base.Section:
  """Shows t-SNE of embeddings, and attention maps."""
  run = data.first
  explanation = (
    'What the last layer of the network represents, before and after the '
    'attack.'
  )
  panels = []
  tsne = _tsne_panel(data, run)
  if tsne is not None:
    panels.append(tsne)
  maps = data.clean_and_attacked(run)['clean_attention']
  if maps.shape[1:] == (1, 1):
    explanation += (
      ' Attention maps are not drawn: on images of this size the last feature '
      'map has a single pixel.'
    )
  else:
    panels.append(_attention_panel(data, run))
  return base.Section('Features', explanation, panels)
