"""The page of a report: one file, with its pictures inside."""

import base64
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jinja2

from peeraid_jax import nets, obfuscation, results
from peeraid_jax.report import measure, runs, sections, theme

_TEMPLATE = pathlib.Path(__file__).parent / 'page.html'
_MASKED_IMAGES = 200


def _inline(path: pathlib.Path) -> str:
  content = base64.b64encode(path.read_bytes()).decode()
  return f'data:image/png;base64,{content}'


def _percent(value: float) -> str:
  return f'{100 * value:.1f}'


def _accuracy(opened: Sequence[runs.Run]) -> dict[str, Any]:
  """The accuracies of the result files, all networks of all runs."""
  attacks: dict[str, None] = {}
  rows, counts, strong_counts, chosen = [], set(), set(), set()
  for run in opened:
    for values in run.results.get('roles', {}).values():
      attacks |= dict.fromkeys(values)
      counts |= {v['n'] for v in values.values()}
  any_strong = any(
    'autoattack' in reports
    for run in opened
    for reports in run.results.get('autoattack', {}).values()
  )
  for run in opened:
    strong = run.results.get('autoattack', {})
    chosen |= {run.results.get('selection', {}).get('on')} - {None}
    for role, values in run.results.get('roles', {}).items():
      cells = [
        _percent(values[a]['accuracy']) if a in values else '' for a in attacks
      ]
      report = strong.get(role, {}).get('autoattack')
      if any_strong:
        cells.append(_percent(report['robust_accuracy']) if report else '')
      strong_counts |= {report['n']} if report else set()
      rows.append({'label': f'{run.label}, {role}', 'cells': cells})
  if not rows:
    return {
      'text': 'Not evaluated yet: --mode=evaluate does so.',
      'heads': [],
      'rows': [],
    }
  text = f'In %, on {_listed(counts)} test images of '
  text += f'{opened[0].config.data.name}'
  if strong_counts:
    text += f', AutoAttack on {_listed(strong_counts)}'
  text += f'. Checkpoints were chosen on a {_listed(chosen)} set.'
  heads = [*attacks, *(['AutoAttack'] if any_strong else [])]
  return {'text': text, 'heads': heads, 'rows': rows}


def _listed(values) -> str:
  return ', '.join(map(str, sorted(values)))


def _checks(scene: sections.Scene) -> dict[str, Any]:
  """The checklist for masked gradients, of the result file or made now."""
  run = scene.first
  known = run.results.get('obfuscation', {}).get(run.role)
  caption = f'{run.role} of {run.label}; from its result file.'
  if known is None:
    few = scene.few(_MASKED_IMAGES)
    found = scene.get_json(
      run,
      'masked',
      lambda: measure.masked(run.nets, run.role, few, run.threat),
      n=len(few.labels),
    )
    # JSON's keys are texts.
    radii = {float(k): v for k, v in found['by_epsilon'].items()}
    known = obfuscation.judge({**found, 'by_epsilon': radii})
    caption = scene.told(len(few.labels), attack='PGD and random noise')
  return {
    'caption': caption,
    'rows': [
      {
        'name': name.replace('_', ' '),
        'verdict': 'passed' if check['passed'] else 'FAILED',
        'values': ', '.join(
          f'{key} {_percent(value)}' for key, value in check['values'].items()
        ),
        'why': check['why'],
      }
      for name, check in known.items()
    ],
  }


def _provenance(scene: sections.Scene) -> str:
  told = [
    f'Drawn by commit {results.commit()} on {results.device()}, JAX '
    f'{results.versions()["jax"]}; measured by commit '
    f'{_listed(scene.commits)}, on the first {len(scene.points.labels)} test '
    f'images unless a caption says otherwise, seed {scene.points.seed}.'
  ]
  for run in scene.runs:
    trained = run.results.get('commit', 'unknown')
    told.append(
      f'{run.label}: {run.role} of {run.workdir.name}, '
      f'{json.dumps(run.sources[run.role])}, evaluated by commit {trained} on '
      f'{run.results.get("device", "unknown")}.'
    )
  return ' '.join(told)


def write(
  scene: sections.Scene,
  made: Sequence[sections.Section],
  folder: pathlib.Path,
) -> pathlib.Path:
  """Draws all figures and writes the page.

  Args:
    scene: runs and points.
    made: its sections.
    folder: of page and PNGs.

  Returns:
    The path of the page.
  """
  shown = []
  for section in made:
    panels = []
    for panel in section.panels:
      paths = theme.save(panel, folder)
      panels.append(
        {
          'slug': panel.slug,
          'title': panel.title,
          'caption': panel.caption,
          **{name: _inline(path) for name, path in paths.items()},
        }
      )
    shown.append(
      {'title': section.title, 'text': section.text, 'panels': panels}
    )
  run = scene.first
  others = [r.label for r in scene.runs[1:]]
  title = f'{run.label} on {run.config.data.name}'
  if others:
    title += f', beside {", ".join(others)}'
  environment = jinja2.Environment(
    autoescape=True, undefined=jinja2.StrictUndefined
  )
  text = environment.from_string(_TEMPLATE.read_text()).render(
    title=title,
    summary=(
      f'The {run.role} ({run.config.model[run.role.removesuffix("_swa")]}, '
      f'{nets.count_params(run.net):,} parameters), trained by '
      f'{run.config.method.name} for {run.config.train.epochs} epochs against '
      f'{scene.pgd}.'
    ),
    accuracy=_accuracy(scene.runs),
    sections=shown,
    checks=_checks(scene),
    provenance=_provenance(scene),
  )
  path = folder / 'index.html'
  path.write_text(text)
  return path
