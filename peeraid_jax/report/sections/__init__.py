"""The sections of a report, in the order of the page."""

from collections.abc import Callable

from peeraid_jax.report.sections import (
  base,
  images,
  landscapes,
  robustness,
  training,
)

ReportData, Section = base.ReportData, base.Section

# Name of a section in progress messages -> the function that fills it.
SECTIONS: dict[str, Callable[[ReportData], Section]] = {
  'training': training.training,
  'specialisation': training.specialisation,
  'robustness': robustness.robustness,
  'examples': images.examples,
  'classes': images.classes,
  'landscapes': landscapes.landscapes,
  'features': images.features,
}
