"""Pictures, planes and matrices; each function draws one on an empty figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import figure, ticker

from peeraid_jax.report import theme


def grid(
  made: figure.Figure,
  rows: Mapping[str, np.ndarray],
  titles: Mapping[str, Sequence[str]],
) -> None:
  """Draws rows of pictures.

  Args:
    made: an empty figure.
    rows: label -> [N, H, W, C] in [0, 1], or [N, h, w] values.
    titles: label -> text above each picture.
  """
  count = len(next(iter(rows.values())))
  axes = made.subplots(len(rows), count, squeeze=False)
  for line, (label, pictures) in zip(axes, rows.items(), strict=True):
    for column, picture in enumerate(pictures):
      spot = line[column]
      if picture.ndim == 3 and picture.shape[-1] == 1:
        picture = picture[..., 0]
      plain = picture.ndim == 3 or 'attention' not in label
      spot.imshow(
        picture,
        cmap='gray' if plain else theme.VALUES,
        vmin=0,
        vmax=1,
      )
      spot.set_xticks([])
      spot.set_yticks([])
      spot.grid(False)
      if label in titles:
        spot.set_title(titles[label][column], fontsize=6, pad=2)
    line[0].set_ylabel(label, fontsize=7)


def matrix(made: figure.Figure, counts: np.ndarray, names) -> None:
  """Draws a confusion matrix: share of each true class, in per cent.

  Args:
    made: an empty figure.
    counts: [true, predicted].
    names: of the classes.
  """
  axes = made.subplots()
  total = np.maximum(counts.sum(1, keepdims=True), 1)
  share = counts / total
  picture = axes.imshow(share, cmap=theme.VALUES, vmin=0, vmax=1)
  axes.grid(False)
  if len(names) <= 12:
    for i, j in np.ndindex(*share.shape):
      if share[i, j] >= 0.005:
        axes.text(
          j,
          i,
          f'{100 * share[i, j]:.0f}',
          ha='center',
          va='center',
          fontsize=6,
          color='white' if share[i, j] < 0.5 else 'black',
        )
    axes.set_xticks(range(len(names)), names, rotation=60, ha='right')
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelsize=7)
  axes.set_xlabel('predicted')
  axes.set_ylabel('true class')
  _bar(made, picture, axes, 'share of the class [%]', share=True)


def _bar(made, picture, axes, label, *, share=False):
  bar = made.colorbar(
    picture, ax=axes, label=label, shrink=0.8, ticks=ticker.MaxNLocator(5)
  )
  if share:
    bar.ax.yaxis.set_major_formatter(ticker.PercentFormatter(1, symbol=''))


def surface(
  made: figure.Figure,
  axis,
  loss,
  *,
  x: str,
  y: str,
  scale: tuple[float, float],
) -> None:
  """Draws a loss over a plane.

  Args:
    made: an empty figure.
    axis: [size], both directions.
    loss: [size, size], first along y.
    x, y: labels of the axes.
    scale: ends of the colour scale, the same for networks to be compared.
  """
  axes = made.subplots()
  levels = np.linspace(*scale, 21)
  picture = axes.contourf(
    axis,
    axis,
    np.clip(loss, *scale),
    levels=levels,
    cmap=theme.VALUES,
  )
  axes.plot(0, 0, marker='+', color='white', markersize=8)
  axes.set_aspect('equal')
  axes.set_xlabel(x)
  axes.set_ylabel(y)
  axes.grid(False)
  _bar(made, picture, axes, 'cross-entropy')


def scatter(made: figure.Figure, clean, adversarial, labels, names) -> None:
  """Draws features in the plane: a colour and a letter for each class.

  Args:
    made: an empty figure.
    clean, adversarial: [N, 2].
    labels: [N].
    names: of the classes.
  """
  axes = made.subplots(1, 2, sharex=True, sharey=True)
  shown = [c for c in range(len(names)) if np.any(labels == c)]
  for spot, title, positions in zip(
    axes, ('clean', 'attacked'), (clean, adversarial), strict=True
  ):
    for index, c in enumerate(shown):
      spot.scatter(
        *positions[labels == c].T,
        s=9,
        color=theme.COLORS[index % len(theme.COLORS)],
        marker=theme.MARKERS[index % len(theme.MARKERS)],
        label=names[c] if title == 'clean' else None,
        linewidths=0,
      )
    spot.set_title(title)
    spot.set_xticks([])
    spot.set_yticks([])
    spot.grid(False)
    spot.set_xlabel('t-SNE 1')
  axes[0].set_ylabel('t-SNE 2')
  made.legend(
    loc='outside lower center', ncols=5, columnspacing=0.8, handletextpad=0.1
  )
