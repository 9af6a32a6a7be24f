"""What a report shows, in its order: sections of figures."""

from peeraid_jax.report.sections import curves, images, scene, surfaces

Scene, Section = scene.Scene, scene.Section

SECTIONS = {
  'training': curves.training,
  'specialisation': curves.specialisation,
  'robustness': curves.robustness,
  'examples': images.examples,
  'classes': images.classes,
  'landscapes': surfaces.landscapes,
  'features': images.features,
}
"""Name -> (scene -> section)."""
