"""How figures look: on light and dark pages, and to the colour-blind."""

import contextlib
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import matplotlib as mpl
from matplotlib import figure

# Okabe and Ito (2008): told apart with any kind of colour vision; lines also
# differ in style and marker.
COLORS = (
  '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9',
  '#8C8C8C', '#B8A800', '#7A5195', '#A05A2C',
)  # fmt: skip
STYLES = ('-', '--', '-.', ':', (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*', '<', '>')
# Even in brightness, for values.
VALUES = 'cividis'


class Theme(NamedTuple):
  """Colours of a page.

  Attributes:
    suffix: of the files' names.
    paper, ink, faint: of background, text and grid.
  """

  suffix: str
  paper: str
  ink: str
  faint: str


LIGHT = Theme('', '#ffffff', '#1f2328', '#d0d7de')
DARK = Theme('-dark', '#0d1117', '#e6edf3', '#30363d')
THEMES = (LIGHT, DARK)

# Inches: as wide as a phone, so that text keeps its size there.
WIDTH = 4.2


class Panel(NamedTuple):
  """One figure.

  Attributes:
    slug: of its files.
    title: in words.
    caption: data, number of images, settings.
    draw: figure -> None, in the current theme.
    height: inches.
  """

  slug: str
  title: str
  caption: str
  draw: Callable[[figure.Figure], None]
  height: float = 3.0


@contextlib.contextmanager
def _colors(theme: Theme):
  names = ('text.color', 'axes.labelcolor', 'xtick.color', 'ytick.color')
  with mpl.rc_context(
    {
      **dict.fromkeys(names, theme.ink),
      'axes.edgecolor': theme.ink,
      'axes.facecolor': theme.paper,
      'figure.facecolor': theme.paper,
      'savefig.facecolor': theme.paper,
      'grid.color': theme.faint,
      'axes.grid': True,
      'axes.axisbelow': True,
      'axes.prop_cycle': mpl.cycler(color=COLORS),
      'axes.spines.top': False,
      'axes.spines.right': False,
      'font.size': 9,
      'axes.titlesize': 9,
      'legend.fontsize': 8,
      'legend.frameon': False,
      'lines.markersize': 4,
      'image.interpolation': 'nearest',
    }
  ):
    yield


def save(panel: Panel, folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Draws a panel on light and on dark.

  Args:
    panel: what is drawn.
    folder: of the PNGs.

  Returns:
    'light' and 'dark' -> path.
  """
  paths = {}
  for name, theme in zip(('light', 'dark'), THEMES, strict=True):
    with _colors(theme):
      made = figure.Figure(
        figsize=(WIDTH, panel.height), dpi=200, layout='constrained'
      )
      panel.draw(made)
      path = folder / f'{panel.slug}{theme.suffix}.png'
      made.savefig(path, metadata={'Title': panel.title})
      paths[name] = path
  return paths
