"""Figures of what was measured; each function draws one on an empty figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import figure, ticker

from peeraid_jax.report import theme

Lines = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def lines(
  made: figure.Figure,
  values: Lines,
  *,
  x: str,
  y: str,
  percent: bool = False,
  log_x: bool = False,
  mark: float | None = None,
  marked: str = '',
) -> None:
  """Draws curves.

  Args:
    made: an empty figure.
    values: label -> (x, y).
    x, y: labels of the axes.
    percent: y is a share, drawn from 0 to 100 %.
    log_x: logarithmic x, with 0 shown.
    mark: x of a vertical line.
    marked: what it is.
  """
  axes = made.subplots()
  for index, (label, (along, up)) in enumerate(values.items()):
    few = len(along) <= 40
    axes.plot(
      along,
      up,
      label=label,
      color=theme.COLORS[index % len(theme.COLORS)],
      linestyle=theme.STYLES[index % len(theme.STYLES)],
      marker=theme.MARKERS[index % len(theme.MARKERS)] if few else None,
    )
  if mark is not None:
    axes.axvline(mark, color='0.5', linewidth=1, linestyle=':')
    axes.annotate(
      marked,
      (mark, 1),
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
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1, symbol=''))
    y += ' [%]'
  axes.set_xlabel(x)
  axes.set_ylabel(y)
  _legend(made, len(values))


def _legend(made: figure.Figure, count: int) -> None:
  """A legend above the axes, where it hides no line."""
  if count:
    made.legend(loc='outside upper center', ncols=1 if count < 3 else 2)


def shares(
  made: figure.Figure, counts: Mapping[str, Mapping[str, int]]
) -> None:
  """Draws what became of the points of each network, as a stacked bar.

  Args:
    made: an empty figure.
    counts: network -> outcome -> points.
  """
  axes = made.subplots()
  known = ('misclassified', 'robust')
  broken = {k: 0 for c in counts.values() for k in c if k not in known}
  order = ['misclassified', *broken, 'robust']
  colors = dict(zip(order, ('#8C8C8C', *theme.COLORS[1:]), strict=False))
  colors['robust'] = theme.COLORS[0]
  hatches = ('', '//', '..', 'xx', '\\\\', '++', 'oo', '--')
  for row, found in enumerate(counts.values()):
    left, total = 0.0, sum(found.values())
    for index, outcome in enumerate(order):
      share = found.get(outcome, 0) / total
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
      if share > 0.07:
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
  axes.set_xlim(0, 1)
  axes.xaxis.set_major_formatter(ticker.PercentFormatter(1, symbol=''))
  axes.set_xlabel('test images [%]')
  axes.grid(False)
  _legend(made, len(order))


def bars(
  made: figure.Figure, values: Mapping[str, Sequence[float]], names
) -> None:
  """Draws accuracies per class, side by side.

  Args:
    made: an empty figure.
    values: label -> accuracy of each class.
    names: of the classes.
  """
  axes = made.subplots()
  thick = 0.8 / len(values)
  for index, (label, shares_of) in enumerate(values.items()):
    axes.barh(
      np.arange(len(names)) + (index - (len(values) - 1) / 2) * thick,
      shares_of,
      thick,
      label=label,
      color=theme.COLORS[index],
      hatch=('', '//', '..')[index % 3],
      edgecolor='white',
      linewidth=0.4,
    )
  axes.set_yticks(np.arange(len(names)), names, fontsize=7)
  axes.invert_yaxis()
  axes.set_xlim(0, 1)
  axes.xaxis.set_major_formatter(ticker.PercentFormatter(1, symbol=''))
  axes.set_xlabel('accuracy [%]')
  _legend(made, len(values))
