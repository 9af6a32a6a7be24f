"""Convolutions of the smallest images as one matrix product.

The matrix maps a flattened image to its flattened outputs. It has one block
[C, outputs] for each pair of an input pixel and an output pixel. With 2x2
pixels and a 3x3 kernel these are 16 blocks, while the convolution multiplies
4 * 9 times by a matrix of that size, mostly padding.

Arguments are those of `cpu_conv.conv`.
"""

import numpy as np


def _output_size(images, kernel, strides, padding) -> tuple[int, int]:
  """Rows and columns of the result."""
  rows, columns = (
    (images.shape[axis + 1] + sum(padding[axis]) - kernel.shape[axis])
    // strides[axis]
    + 1
    for axis in (0, 1)
  )
  return rows, columns


def suits(images, kernel, strides, padding) -> bool:
  """Tells whether the matrix has at most twice as many blocks as the kernel."""
  rows, columns = _output_size(images, kernel, strides, padding)
  blocks = images.shape[1] * images.shape[2] * rows * columns
  return blocks <= 2 * kernel.shape[0] * kernel.shape[1]


def conv(images, kernel, strides, padding):
  """The convolution; returns [B, H', W', outputs]."""
  rows, columns, inputs, outputs = kernel.shape
  output_size = _output_size(images, kernel, strides, padding)
  # Of rows and of columns: [size of the image, size of the output, taps], True
  # where an output uses a pixel through a tap, an element of the kernel.
  uses = []
  for axis, taps in enumerate((rows, columns)):
    first = strides[axis] * np.arange(output_size[axis]) - padding[axis][0]
    used = first[:, None] + np.arange(taps)
    uses.append(np.arange(images.shape[axis + 1])[:, None, None] == used)
  selection = np.einsum('hat,wbu->hwabtu', *uses).reshape(-1, rows * columns)
  # Exact: every sum has at most one term that is not 0.
  matrix = selection.astype(kernel.dtype) @ kernel.reshape(rows * columns, -1)
  pixels = images.shape[1] * images.shape[2]
  matrix = matrix.reshape(pixels, -1, inputs, outputs).swapaxes(1, 2)
  flat_images = images.reshape(len(images), -1)
  result = flat_images @ matrix.reshape(pixels * inputs, -1)
  return result.reshape(-1, *output_size, outputs)
