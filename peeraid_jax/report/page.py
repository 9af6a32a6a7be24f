"""Writes the page of a report: one HTML file that contains its figures."""

import base64
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jinja2

from peeraid_jax import files, nets
from peeraid_jax.report import (
  accuracies,
  gradient_checks,
  sections,
  text,
  theme,
)
from peeraid_jax.runtime import results

_TEMPLATE = pathlib.Path(__file__).parent / 'page.html'


def _data_url(path: pathlib.Path) -> str:
  """Returns a PNG as a URL that contains it."""
  content = base64.b64encode(path.read_bytes()).decode()
  return f'data:image/png;base64,{content}'


def _title(data: sections.ReportData) -> str:
  title = f'{data.first.label} on {data.first.config.data.name}'
  others = [run.label for run in data.runs[1:]]
  if others:
    title += f', compared with {", ".join(others)}'
  return title


def _summary(data: sections.ReportData) -> str:
  """Describes the network that the report is about in one sentence."""
  run = data.first
  # The averaged student has the architecture of the student.
  architecture = run.config.model[run.role.removesuffix('_swa')]
  return (
    f'The {run.role} ({architecture}, {nets.count_params(run.net):,} '
    f'parameters) was trained with {run.config.method.name} for '
    f'{run.config.train.epochs} epochs against {data.pgd}.'
  )


def _provenance(data: sections.ReportData) -> str:
  """Describes which code, images and checkpoints the report is made from."""
  sentences = [
    f'Figures drawn by commit {results.commit()} on {results.device()}, JAX '
    f'{results.versions()["jax"]}.',
    f'Measured by commit {text.listed(data.commits)} on {data.images_text()}, '
    f'unless a caption says otherwise; seed {data.examples.seed}.',
  ]
  for run in data.runs:
    sentences.append(
      f'{run.label}: {run.role} of {run.workdir.name}, restored from '
      f'{json.dumps(run.sources[run.role])}.'
    )
    if run.results:
      sentences.append(
        f'Its result file was written by commit '
        f'{run.results.get("commit", "unknown")} on '
        f'{run.results.get("device", "unknown")}.'
      )
  return ' '.join(sentences)


def _with_figures(
  section: sections.Section, folder: pathlib.Path
) -> dict[str, Any]:
  """Draws the panels of a section and returns what the template needs."""
  panels = []
  for panel in section.panels:
    paths = theme.save(panel, folder)
    panels.append(
      {
        'slug': panel.slug,
        'title': panel.title,
        'caption': panel.caption,
        **{name: _data_url(path) for name, path in paths.items()},
      }
    )
  return {'title': section.title, 'text': section.text, 'panels': panels}


def write(
  data: sections.ReportData,
  filled_sections: Sequence[sections.Section],
  folder: pathlib.Path,
) -> pathlib.Path:
  """Draws all figures and writes the page.

  Args:
    data: the runs and their measurements.
    filled_sections: sections of the page, in order.
    folder: where page and figures are written.

  Returns:
    Path of the page.
  """
  environment = jinja2.Environment(
    autoescape=True, undefined=jinja2.StrictUndefined
  )
  template = environment.from_string(_TEMPLATE.read_text())
  html = template.render(
    title=_title(data),
    summary=_summary(data),
    accuracy=accuracies.table(data.runs),
    sections=[_with_figures(section, folder) for section in filled_sections],
    checks=gradient_checks.table(data),
    provenance=_provenance(data),
  )
  path = folder / 'index.html'
  files.write_text(path, html)
  return path
