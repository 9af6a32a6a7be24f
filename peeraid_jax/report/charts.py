"""Charts: curves and bars. Each function draws one on an empty figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import figure, ticker

from peeraid_jax.report import theme

# Label of a curve -> (x, y).
Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]

# Curves with at most this many points mark each of them.
_MOST_MARKERS = 40
# Shares of a bar below this one are too narrow for a number.
_NARROWEST_WITH_NUMBER = 0.07


def curves(
  fig: figure.Figure,
  values: Curves,
  *,
  x: str,
  y: str,
  percent: bool = False,
  log_x: bool = False,
  vertical_line: tuple[float, str] | None = None,
) -> None:
  """Draws curves.

  Args:
    fig: an empty figure.
    values: label -> (x, y).
    x, y: labels of the axes.
    percent: y is a share, drawn in per cent on an axis from 0 to 100.
    log_x: draw x on a logarithmic scale that includes 0.
    vertical_line: (x, label) of a dotted vertical line.
  """
  axes = fig.subplots()
  lines = {}
  for index, (label, (xs, ys)) in enumerate(values.items()):
    marker = theme.MARKERS[index % len(theme.MARKERS)]
    lines[label] = axes.plot(
      xs,
      ys,
      color=theme.COLORS[index % len(theme.COLORS)],
      linestyle=theme.STYLES[index % len(theme.STYLES)],
      marker=marker if len(xs) <= _MOST_MARKERS else None,
    )[0]
  if vertical_line is not None:
    position, label = vertical_line
    axes.axvline(position, color='0.5', linewidth=1, linestyle=':')
    axes.annotate(
      label,
      (position, 1),
      xycoords=('data', 'axes fraction'),
      xytext=(3, -3),
      textcoords='offset points',
      va='top',
      fontsize=7,
    )
  if log_x:
    axes.set_xscale('symlog', linthresh=1)
    axes.xaxis.set_major_formatter(ticker.ScalarFormatter())
  if percent:
    _percent_axis(axes.yaxis)
    y += ' [%]'
  axes.set_xlabel(x)
  axes.set_ylabel(y)
  # With labels of its own, a legend also shows those that begin with '_'.
  _legend(fig, len(values), handles=[*lines.values()], labels=[*lines])


def _percent_axis(axis) -> None:
  """Shows shares from 0 to 1 as numbers from 0 to 100."""
  axis.axes.set(**{f'{axis.axis_name}lim': (0, 1)})
  axis.set_major_formatter(ticker.PercentFormatter(1, symbol=''))


def _legend(fig: figure.Figure, count: int, **entries) -> None:
  """Puts a legend of `count` entries above the axes, where it hides nothing."""
  if count:
    ncols = 1 if count < 3 else 2
    fig.legend(loc='outside upper center', ncols=ncols, **entries)


def outcomes(
  fig: figure.Figure, counts: Mapping[str, Mapping[str, int]]
) -> None:
  """Draws the outcome of an evaluation as one stacked bar per network.

  Args:
    fig: an empty figure.
    counts: label of the network -> outcome -> number of images. Outcomes are
      'misclassified', 'robust', and the names of attacks.
  """
  axes = fig.subplots()
  # A dict keeps the order in which attacks first occur.
  attacks = {
    outcome: None
    for network_counts in counts.values()
    for outcome in network_counts
    if outcome not in ('misclassified', 'robust')
  }
  order = ['misclassified', *attacks, 'robust']
  colors = dict(zip(order, ('#8C8C8C', *theme.COLORS[1:]), strict=False))
  colors['robust'] = theme.COLORS[0]
  hatches = ('', '//', '..', 'xx', '\\\\', '++', 'oo', '--')
  for row, network_counts in enumerate(counts.values()):
    left, total = 0.0, sum(network_counts.values())
    for index, outcome in enumerate(order):
      share = network_counts.get(outcome, 0) / total
      axes.barh(
        row,
        share,
        left=left,
        color=colors[outcome],
        hatch=hatches[index % len(hatches)] if outcome != 'robust' else '',
        edgecolor='white',
        linewidth=0.5,
        label=outcome if row == 0 else None,
      )
      if share > _NARROWEST_WITH_NUMBER:
        axes.text(
          left + share / 2,
          row,
          f'{100 * share:.0f}',
          ha='center',
          va='center',
          color='white',
          fontsize=8,
          bbox={'facecolor': colors[outcome], 'edgecolor': 'none', 'pad': 1},
        )
      left += share
  axes.set_yticks(range(len(counts)), list(counts))
  axes.invert_yaxis()
  _percent_axis(axes.xaxis)
  axes.set_xlabel('test images [%]')
  axes.grid(False)
  _legend(fig, len(order))


def class_accuracies(
  fig: figure.Figure,
  accuracies: Mapping[str, Sequence[float]],
  class_names: Sequence[str],
) -> None:
  """Draws accuracies per class as bars side by side.

  Args:
    fig: an empty figure.
    accuracies: label -> accuracy of each class.
    class_names: names of the classes.
  """
  axes = fig.subplots()
  thickness = 0.8 / len(accuracies)
  for index, (label, class_accuracy) in enumerate(accuracies.items()):
    offset = (index - (len(accuracies) - 1) / 2) * thickness
    axes.barh(
      np.arange(len(class_names)) + offset,
      class_accuracy,
      thickness,
      label=label,
      color=theme.COLORS[index],
      hatch=('', '//', '..')[index % 3],
      edgecolor='white',
      linewidth=0.4,
    )
  axes.set_yticks(np.arange(len(class_names)), class_names, fontsize=7)
  axes.invert_yaxis()
  _percent_axis(axes.xaxis)
  axes.set_xlabel('accuracy [%]')
  _legend(fig, len(accuracies))
