"""Images, planes and matrices. Each function draws on an empty figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import figure, ticker

from peeraid_jax.report import theme

# A confusion matrix of more classes shows neither names nor numbers.
_MOST_NAMED_CLASSES = 12
# Contour levels of a loss surface.
_LEVELS = 21


def grid(
  fig: figure.Figure,
  rows: Mapping[str, np.ndarray],
  titles: Mapping[str, Sequence[str]],
) -> None:
  """Draws rows of images.

  Args:
    fig: an empty figure.
    rows: label of the row -> images [N, H, W, C] in [0, 1], or maps of values
      [N, h, w] in [0, 1], which are drawn in false colours.
    titles: label of the row -> text above each image.
  """
  count = len(next(iter(rows.values())))
  axes = fig.subplots(len(rows), count, squeeze=False)
  for row_axes, (label, images) in zip(axes, rows.items(), strict=True):
    is_map = images.ndim == 3
    for column, image in enumerate(images):
      cell = row_axes[column]
      if not is_map and image.shape[-1] == 1:
        image = image[..., 0]
      cell.imshow(
        image, cmap=theme.VALUES if is_map else 'gray', vmin=0, vmax=1
      )
      cell.set_xticks([])
      cell.set_yticks([])
      cell.grid(False)
      if label in titles:
        cell.set_title(titles[label][column], fontsize=6, pad=2)
    row_axes[0].set_ylabel(label, fontsize=7)


def matrix(
  fig: figure.Figure, counts: np.ndarray, class_names: Sequence[str]
) -> None:
  """Draws a confusion matrix, as shares of each true class in per cent.

  Args:
    fig: an empty figure.
    counts: int [true class, predicted class].
    class_names: names of the classes.
  """
  axes = fig.subplots()
  totals = np.maximum(counts.sum(1, keepdims=True), 1)
  shares = counts / totals
  image = axes.imshow(shares, cmap=theme.VALUES, vmin=0, vmax=1)
  axes.grid(False)
  if len(class_names) <= _MOST_NAMED_CLASSES:
    for i, j in np.ndindex(*shares.shape):
      if shares[i, j] >= 0.005:
        axes.text(
          j,
          i,
          f'{100 * shares[i, j]:.0f}',
          ha='center',
          va='center',
          fontsize=6,
          color='white' if shares[i, j] < 0.5 else 'black',
        )
    axes.set_xticks(
      range(len(class_names)), class_names, rotation=60, ha='right'
    )
    axes.set_yticks(range(len(class_names)), class_names)
    axes.tick_params(labelsize=7)
  axes.set_xlabel('predicted class')
  axes.set_ylabel('true class')
  bar = _color_bar(fig, image, axes, 'share of the true class [%]')
  bar.ax.yaxis.set_major_formatter(ticker.PercentFormatter(1, symbol=''))


def _color_bar(fig, image, axes, label):
  return fig.colorbar(
    image, ax=axes, label=label, shrink=0.8, ticks=ticker.MaxNLocator(5)
  )


def surface(
  fig: figure.Figure,
  axis: np.ndarray,
  loss: np.ndarray,
  *,
  x: str,
  y: str,
  scale: tuple[float, float],
) -> None:
  """Draws a loss over a plane, with a cross at the centre.

  Args:
    fig: an empty figure.
    axis: [size], coordinates along both directions.
    loss: [size, size]; the first dimension is drawn along y.
    x, y: labels of the axes.
    scale: ends of the colour scale, equal for networks that are compared.
  """
  axes = fig.subplots()
  image = axes.contourf(
    axis,
    axis,
    np.clip(loss, *scale),
    levels=np.linspace(*scale, _LEVELS),
    cmap=theme.VALUES,
  )
  axes.plot(0, 0, marker='+', color='white', markersize=8)
  axes.set_aspect('equal')
  axes.set_xlabel(x)
  axes.set_ylabel(y)
  axes.grid(False)
  _color_bar(fig, image, axes, 'cross-entropy')


def scatter(
  fig: figure.Figure,
  clean: np.ndarray,
  adversarial: np.ndarray,
  labels: np.ndarray,
  class_names: Sequence[str],
) -> None:
  """Draws projected features, with a colour and a marker for each class.

  Args:
    fig: an empty figure.
    clean, adversarial: positions, [N, 2].
    labels: int [N].
    class_names: names of all classes.
  """
  axes = fig.subplots(1, 2, sharex=True, sharey=True)
  present = [c for c in range(len(class_names)) if np.any(labels == c)]
  for cell, title, positions in zip(
    axes, ('clean', 'attacked'), (clean, adversarial), strict=True
  ):
    for index, c in enumerate(present):
      cell.scatter(
        *positions[labels == c].T,
        s=9,
        color=theme.COLORS[index % len(theme.COLORS)],
        marker=theme.MARKERS[index % len(theme.MARKERS)],
        # One legend serves both plots.
        label=class_names[c] if title == 'clean' else None,
        linewidths=0,
      )
    cell.set_title(title)
    cell.set_xticks([])
    cell.set_yticks([])
    cell.grid(False)
    cell.set_xlabel('t-SNE 1')
  axes[0].set_ylabel('t-SNE 2')
  fig.legend(
    loc='outside lower center', ncols=5, columnspacing=0.8, handletextpad=0.1
  )
