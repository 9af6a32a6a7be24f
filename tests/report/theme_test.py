"""The two themes of a figure."""

import functools

import chex
from absl.testing import absltest
from PIL import Image

from peeraid_jax.report import charts, theme
from tests import helpers


class ThemeTest(chex.TestCase):
  def test_light_and_dark(self):
    panel = theme.Panel(
      'a',
      'A',
      'c',
      functools.partial(
        charts.curves,
        values={'x': ([0, 1], [0, 1])},
        x='epoch',
        y='y',
        percent=True,
      ),
    )
    paths = theme.save(panel, helpers.folder(self))
    corners = {
      name: Image.open(path).convert('RGB').getpixel((0, 0))
      for name, path in paths.items()
    }
    self.assertEqual(corners, {'light': (255, 255, 255), 'dark': (13, 17, 23)})


if __name__ == '__main__':
  absltest.main()
