"""The section of loss landscapes."""

from collections.abc import Iterator

import numpy as np

from peeraid_jax.report import draw, landscape, pictures, theme
from peeraid_jax.report.sections import scene as scene_lib

Panel, Scene, Section = theme.Panel, scene_lib.Scene, scene_lib.Section
STEPS = scene_lib.STEPS

# Images that a landscape is the mean of.
FEW = 100


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
  scale = {}
  for kind in ('weights', 'inputs'):
    values = [of[kind]['loss'] for _, of in found.values()]
    low = min(v.min() for v in values)
    high = max(np.percentile(v, 80) for v in values)
    scale[kind] = (float(low), float(max(high, low + 1e-6)))
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
          scale=scale['weights'],
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
          scale=scale['inputs'],
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
