"""How figures look: readable on light and dark pages, and if colour-blind."""

import contextlib
import pathlib
import warnings
from collections.abc import Callable
from typing import NamedTuple

import matplotlib as mpl
from matplotlib import figure

# The palette of Okabe and Ito (2008), which people with any kind of colour
# vision can distinguish, and further colours. Lines also differ in style and
# marker.
COLORS = (
  '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9',
  '#8C8C8C', '#B8A800', '#7A5195', '#A05A2C',
)  # fmt: skip
STYLES = ('-', '--', '-.', ':', (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*', '<', '>')
# Colour map of values; its brightness grows evenly with the value.
VALUES = 'cividis'


class Theme(NamedTuple):
  """Colours of a page.

  Attributes:
    suffix: suffix of the names of figure files.
    paper: colour of the background.
    ink: colour of text and axes.
    faint: colour of grid lines.
  """

  suffix: str
  paper: str
  ink: str
  faint: str


LIGHT = Theme('', '#ffffff', '#1f2328', '#d0d7de')
DARK = Theme('-dark', '#0d1117', '#e6edf3', '#30363d')
THEMES = {'light': LIGHT, 'dark': DARK}

# Width of figures in inches: as wide as a phone, where they are then shown
# without scaling and their text keeps its size.
WIDTH = 4.2


class Panel(NamedTuple):
  """One figure of a section.

  Attributes:
    slug: name of its files and of its anchor on the page.
    title: heading of the figure.
    caption: states the data, the number of images and the settings.
    draw: draws on an empty figure, in the current theme.
    height: height in inches.
  """

  slug: str
  title: str
  caption: str
  draw: Callable[[figure.Figure], None]
  height: float = 3.0


@contextlib.contextmanager
def _styled(theme: Theme):
  """Sets Matplotlib's style to a theme within a block.

  A letter that the font does not have, in the name of a class or run, is drawn
  as a box, without a warning for each.
  """
  text_colors = (
    'text.color',
    'axes.labelcolor',
    'xtick.color',
    'ytick.color',
  )
  with (
    warnings.catch_warnings(),
    mpl.rc_context(
      {
        **dict.fromkeys(text_colors, theme.ink),
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
        # Names of classes and runs may contain dollar signs.
        'text.parse_math': False,
      }
    ),
  ):
    warnings.filterwarnings('ignore', r'Glyph \d+ .*missing from font')
    yield


def save(panel: Panel, folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Draws a panel in both themes.

  Args:
    panel: what is drawn.
    folder: where the PNG files are written.

  Returns:
    Path of the figure for 'light' and for 'dark' pages.
  """
  paths = {}
  for name, theme in THEMES.items():
    with _styled(theme):
      fig = figure.Figure(
        figsize=(WIDTH, panel.height), dpi=200, layout='constrained'
      )
      panel.draw(fig)
      path = folder / f'{panel.slug}{theme.suffix}.png'
      fig.savefig(path, metadata={'Title': panel.title})
      paths[name] = path
  return paths
