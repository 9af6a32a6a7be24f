"""3x3 convolutions with 16 products per four outputs instead of 36.

This is Winograd's minimal filtering F(2x2, 3x3). A tile of 4x4 inputs is
transformed to 16 components, and so is the kernel. The components are
multiplied and summed over channels, which is 16 matrix products. Their results
are transformed to a tile of 2x2 outputs. In exact arithmetic this is the
convolution; in float32 the rounding errors are about those of the plain sum,
since every factor of the transformations is 1 or 1/2.

Reference:
  Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016,
  section 4.1.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

# The paper's B^T, G and A^T.
_OF_IMAGES = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_OF_KERNEL = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_TO_OUTPUTS = ((1, 1, 1, 0), (0, 1, -1, -1))
# Flipping the kernel along an axis exchanges the first and the last of its
# components there. Instead of the kernel's components, the gradient of the
# images exchanges those of the other two transformations.
_OF_IMAGES_FLIPPED = tuple(_OF_IMAGES[i] for i in (3, 1, 2, 0))
_TO_OUTPUTS_FLIPPED = tuple(
  tuple(row[i] for i in (3, 1, 2, 0)) for row in _TO_OUTPUTS
)
_OF_KERNEL_2D = np.kron(_OF_KERNEL, _OF_KERNEL).astype(np.float32)

# With fewer channels, the transformations cost more than the products save.
_MIN_CHANNELS = 64
# Images are processed in parts of about this many tiles, whose components fit
# in the cache.
_TILES_PER_PART = 512


def suits(images, kernel, strides, padding, groups) -> bool:
  """Tells whether `conv` supports a convolution and is faster at it.

  Args:
    images, kernel, strides, padding, groups: as in `cpu_conv.conv`.
  """
  rows, columns = images.shape[1:3]
  return (
    kernel.shape[:2] == (3, 3)
    and min(kernel.shape[2:]) >= _MIN_CHANNELS
    and (strides, padding, groups) == ((1, 1), ((1, 1), (1, 1)), 1)
    and rows % 2 == columns % 2 == 0
    and images.dtype == kernel.dtype == jnp.float32
  )


def _sums(matrix, arrays):
  """Returns the product of a matrix and a list of arrays, as a list.

  It is written out as sums, without the terms whose factor is 0.
  """
  products = []
  for row in matrix:
    terms = [f * x for f, x in zip(row, arrays, strict=True) if f]
    products.append(sum(terms[1:], terms[0]))
  return products


def _components(matrix, images):
  """Transforms the 4x4 tiles of images, which overlap by two pixels.

  Args:
    matrix: the transformation, 4x4, applied to rows and to columns.
    images: [B, H, W, C].

  Returns:
    [16, tiles, C].
  """
  # Rows first and then columns, each stacked to one array. Sixteen separate
  # arrays would be as fast, but XLA compiles them eight times as long.
  rows, columns = (n - 1 for n in images.shape[1:3])
  padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
  tile_rows = [padded[:, i : i + rows : 2] for i in range(4)]
  by_rows = jnp.stack(_sums(matrix, tile_rows))
  tile_columns = [by_rows[:, :, :, j : j + columns : 2] for j in range(4)]
  components = jnp.stack(_sums(matrix, tile_columns), 1)
  return components.reshape(16, -1, images.shape[-1])


def _components_of_kernel(kernel):
  """Transforms a kernel: [3, 3, C, D] -> [16, C, D]."""
  components = _OF_KERNEL_2D @ kernel.reshape(9, -1)
  return components.reshape(16, *kernel.shape[2:])


def _outputs(matrix, products, shape):
  """Transforms products to the 2x2 tiles of outputs.

  Args:
    matrix: the transformation, 2x4, applied to rows and to columns.
    products: [16, tiles, D].
    shape: [B, H, W, D] of the outputs.

  Returns:
    [B, H, W, D].
  """
  batch, rows, columns, channels = shape
  tiles = batch, rows // 2, columns // 2, channels
  by_rows = _sums(matrix, list(products.reshape(4, 4, *tiles)))
  output_rows = [jnp.stack(_sums(matrix, list(row)), 3) for row in by_rows]
  return jnp.stack(output_rows, 2).reshape(shape)


def _in_parts(part, images):
  """Applies a function to parts of the images, [B, H, W, C] -> [B, H, W, D].

  The parts are the largest equal ones of at most `_TILES_PER_PART` tiles.
  """
  batch, rows, columns = images.shape[:3]
  most = min(batch, max(1, _TILES_PER_PART // (rows * columns // 4)))
  size = max(n for n in range(1, most + 1) if batch % n == 0)
  if size == batch:
    return part(images)
  parts = images.reshape(-1, size, *images.shape[1:])
  return jax.lax.map(part, parts).reshape(*images.shape[:3], -1)


def conv(images: chex.Array, kernel: chex.Array) -> chex.Array:
  """The convolution at stride 1, with one pixel of zeros on every side.

  Args:
    images: [B, H, W, C], H and W even.
    kernel: [3, 3, C, D].

  Returns:
    [B, H, W, D].
  """
  factors = _components_of_kernel(kernel)

  def part(images):
    products = _components(_OF_IMAGES, images) @ factors
    shape = *images.shape[:3], kernel.shape[3]
    return _outputs(_TO_OUTPUTS, products, shape)

  return _in_parts(part, images)


def image_grad(grad: chex.Array, kernel: chex.Array) -> chex.Array:
  """The gradient of `conv` with respect to its images.

  Args:
    grad: [B, H, W, D], the gradient of the result of `conv`.
    kernel: [3, 3, C, D], the kernel of `conv`.

  Returns:
    [B, H, W, C].
  """
  factors = _components_of_kernel(kernel)

  def part(grad):
    components = _components(_OF_IMAGES_FLIPPED, grad)
    products = jnp.einsum('ktd,kcd->ktc', components, factors)
    shape = *grad.shape[:3], kernel.shape[2]
    return _outputs(_TO_OUTPUTS_FLIPPED, products, shape)

  return _in_parts(part, grad)
