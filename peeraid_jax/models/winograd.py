"""3x3 convolutions with 16 products per four outputs instead of 36.

Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray, 2016, "Fast
Algorithms for Convolutional Neural Networks", section 4.1): a tile of 4x4
inputs and the kernel are taken to 16 components each, the components'
products over the channels are 16 matrix products, and these are taken back to
2x2 outputs. In exact arithmetic it is the convolution; in float32 its rounding
errors are about those of the plain sum, since every factor is 1 or 1/2.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

# The paper's B^T, G and A^T.
_OF_IMAGES = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_OF_KERNEL = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_TO_OUTPUTS = ((1, 1, 1, 0), (0, 1, -1, -1))
# A flipped kernel has the kernel's components, the first and the last of an
# axis in each other's place. Here the images' and outputs' are, instead.
_OF_IMAGES_FLIPPED = tuple(_OF_IMAGES[i] for i in (3, 1, 2, 0))
_TO_OUTPUTS_FLIPPED = tuple(
  tuple(row[i] for i in (3, 1, 2, 0)) for row in _TO_OUTPUTS
)
_OF_KERNEL_2D = np.kron(_OF_KERNEL, _OF_KERNEL).astype(np.float32)

# With fewer channels the sums around the products cost more than they save.
_MANY = 64
# Tiles of a part, whose components are to stay in the cache.
_TILES = 512


def suits(images, kernel, strides, padding, groups) -> bool:
  """Says whether a convolution can be computed so, and gains by it."""
  rows, columns = images.shape[1:3]
  return (
    kernel.shape[:2] == (3, 3)
    and min(kernel.shape[2:]) >= _MANY
    and (strides, padding, groups) == ((1, 1), ((1, 1), (1, 1)), 1)
    and rows % 2 == columns % 2 == 0
    and images.dtype == kernel.dtype == jnp.float32
  )


def _sums(matrix, arrays):
  """Returns the product of a matrix with a list of arrays, written out."""
  found = []
  for row in matrix:
    terms = [f * x for f, x in zip(row, arrays, strict=True) if f]
    found.append(sum(terms[1:], terms[0]))
  return found


def _components(matrix, images):
  """[B, H, W, C] -> [16, tiles, C], of tiles that overlap by two."""
  # Rows first, and one array of either: XLA compiles these two in the time of
  # two of the 16 that would be as fast.
  rows, columns = (n - 1 for n in images.shape[1:3])
  padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
  found = [padded[:, i : i + rows : 2] for i in range(4)]
  found = jnp.stack(_sums(matrix, found))
  found = [found[:, :, :, j : j + columns : 2] for j in range(4)]
  found = jnp.stack(_sums(matrix, found), 1)
  return found.reshape(16, -1, images.shape[-1])


def _components_of_kernel(kernel):
  """[3, 3, C, D] -> [16, C, D]."""
  found = _OF_KERNEL_2D @ kernel.reshape(9, -1)
  return found.reshape(16, *kernel.shape[2:])


def _outputs(matrix, products, shape):
  """[16, tiles, D] -> [B, H, W, D], which is `shape`."""
  batch, rows, columns, channels = shape
  tiles = batch, rows // 2, columns // 2, channels
  found = _sums(matrix, list(products.reshape(4, 4, *tiles)))
  found = [jnp.stack(_sums(matrix, list(row)), 3) for row in found]
  return jnp.stack(found, 2).reshape(shape)


def _in_parts(part, images):
  """Applies a function of images to some of them at a time."""
  batch, rows, columns = images.shape[:3]
  most = min(batch, max(1, _TILES // (rows * columns // 4)))
  size = max(n for n in range(1, most + 1) if batch % n == 0)
  if size == batch:
    return part(images)
  parts = images.reshape(-1, size, *images.shape[1:])
  return jax.lax.map(part, parts).reshape(*images.shape[:3], -1)


def conv(images: chex.Array, kernel: chex.Array) -> chex.Array:
  """The convolution.

  Args:
    images: [B, H, W, C], H and W even.
    kernel: [3, 3, C, D].

  Returns:
    [B, H, W, D], at stride 1 with one row or column of zeros on every side.
  """
  factors = _components_of_kernel(kernel)

  def part(images):
    products = _components(_OF_IMAGES, images) @ factors
    shape = *images.shape[:3], kernel.shape[3]
    return _outputs(_TO_OUTPUTS, products, shape)

  return _in_parts(part, images)


def image_grad(grad: chex.Array, kernel: chex.Array) -> chex.Array:
  """The gradient of the images.

  Args:
    grad: [B, H, W, D], the gradient of what `conv` returned.
    kernel: [3, 3, C, D], as `conv` got it.

  Returns:
    [B, H, W, C].
  """
  factors = _components_of_kernel(kernel)

  def part(grad):
    found = _components(_OF_IMAGES_FLIPPED, grad)
    products = jnp.einsum('ktd,kcd->ktc', found, factors)
    shape = *grad.shape[:3], kernel.shape[2]
    return _outputs(_TO_OUTPUTS_FLIPPED, products, shape)

  return _in_parts(part, grad)
