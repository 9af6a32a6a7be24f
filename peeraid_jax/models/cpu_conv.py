"""Convolutions in the forms that XLA's CPU compiler runs fast.

Each is the stock convolution, with sums arranged otherwise; 3x3 ones with many
channels are computed in fewer products (`winograd`).
experiments/benchmarks/README.md says what each form is worth.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax.models import winograd

_NHWC = ('NHWC', 'HWIO', 'NHWC')
# Up to it XLA leaves a convolution to Eigen; above, YNNPACK takes it.
_SMALL = 16
# From here on Eigen is the faster one for gradients of kernels.
_MANY = 64
# Images whose part of a kernel's gradient is computed at a time.
_PART = 16


def stock(images, kernel, strides, padding, groups=1, lhs_dilation=(1, 1)):
  """JAX's own; arguments as of `conv`, and by how much rows are spread."""
  return jax.lax.conv_general_dilated(
    images,
    kernel,
    strides,
    padding,
    lhs_dilation=lhs_dilation,
    dimension_numbers=_NHWC,
    feature_group_count=groups,
  )


def _columns_at_once(image_width, kernel, strides, groups) -> int:
  """How many neighbouring outputs of a row are computed as channels of one."""
  _, columns, inputs, outputs = kernel.shape
  few = inputs <= 4
  if strides != (1, 1) or groups != 1 or columns < 3:
    return 1
  if not few and max(inputs, outputs) > _SMALL:
    return 1
  most = min((64 if few else 32) // outputs, image_width // 2)
  count = 1
  while 2 * count <= most and image_width % (2 * count) == 0:
    count *= 2
  return count


def _forward(images, kernel, strides, padding, groups, lean):
  """The convolution; with few channels, several columns at once.

  A kernel of few outputs fills a part of a vector register. A wider one, with
  a shifted copy of the kernel for each of the columns, has more of them.
  """
  if not lean and winograd.suits(images, kernel, strides, padding, groups):
    return winograd.conv(images, kernel)
  low, high = padding[1]
  rows, columns, inputs, outputs = kernel.shape
  width = images.shape[2] + low + high - columns + 1
  count = _columns_at_once(width, kernel, strides, groups)
  if count == 1:
    return stock(images, kernel, strides, padding, groups)
  shifted = [
    jnp.pad(kernel, ((0, 0), (shift, count - 1 - shift), (0, 0), (0, 0)))
    for shift in range(count)
  ]
  wide = jnp.stack(shifted, axis=3).reshape(
    rows, columns + count - 1, inputs, count * outputs
  )
  found = stock(images, wide, (1, count), padding)
  return found.reshape(*found.shape[:2], width, outputs)


def _phases(grad, kernel, strides, padding, size):
  """The input gradient of a strided convolution, without dilating `grad`.

  Rows and columns of the images fall into as many phases as the stride is
  long; each sees its own part of the kernel. They are channels of one
  convolution at stride 1.
  """
  taps, pads = [], []
  for axis in (0, 1):
    stride, low = strides[axis], padding[axis][0]
    # Image row p = stride * i + phase meets output row i + offset through the
    # kernel's row p + low - stride * (i + offset).
    phase = np.arange(stride)
    first = -((kernel.shape[axis] - 1 - low) // stride)
    last = (stride - 1 + low) // stride
    offsets = np.arange(first, last + 1)
    taps.append(phase[None] + low - stride * offsets[:, None])
    pads.append(
      (-first, -(-size[axis] // stride) - grad.shape[axis + 1] + last)
    )
  parts = kernel.swapaxes(2, 3)
  for axis, index in zip((0, 2), taps, strict=True):
    inside = (index >= 0) & (index < parts.shape[axis])
    picked = jnp.take(parts, np.where(inside, index, 0), axis=axis)
    mask = inside.reshape(*[1] * axis, *index.shape, *[1] * (4 - 1 - axis // 2))
    parts = jnp.where(mask, picked, 0)
  # [offset, phase, offset', phase', out, in] -> [offset, offset', out, phases]
  count = strides[0] * strides[1] * kernel.shape[2]
  parts = parts.transpose(0, 2, 4, 1, 3, 5)
  parts = parts.reshape(*parts.shape[:3], count)
  found = stock(grad, parts, (1, 1), pads)
  batch, rows, columns = found.shape[:3]
  found = found.reshape(batch, rows, columns, *strides, kernel.shape[2])
  found = found.transpose(0, 1, 3, 2, 4, 5)
  found = found.reshape(batch, rows * strides[0], columns * strides[1], -1)
  return found[:, : size[0], : size[1]]


def _image_grad(images, kernel, strides, padding, groups, lean, grad):
  if not lean and winograd.suits(images, kernel, strides, padding, groups):
    return winograd.image_grad(grad, kernel)
  size = images.shape[1:3]
  strided = strides != (1, 1)
  if strided and groups == 1 and kernel.shape[0] > 1:
    if kernel.shape[2] <= _SMALL:
      return _phases(grad, kernel, strides, padding, size)
  pads = []
  for axis in (0, 1):
    low = kernel.shape[axis] - 1 - padding[axis][0]
    used = (grad.shape[axis + 1] - 1) * strides[axis] + 1
    pads.append((low, size[axis] - used - low + kernel.shape[axis] - 1))
  # In a loop, the stock gradient's kernel stays in a layout that is about
  # seven times slower: so it is flipped and transposed here.
  flipped = kernel[::-1, ::-1]
  if groups == 1:
    flipped = flipped.swapaxes(2, 3)
  elif kernel.shape[2] != 1 or kernel.shape[3] != groups:
    raise NotImplementedError('convolutions are dense or depthwise here')
  if strided:
    return stock(grad, flipped, (1, 1), pads, groups, strides)
  return _forward(grad, flipped, (1, 1), tuple(pads), groups, lean)


def _kernel_grad_of(images, grad, size, strides, padding):
  """The kernel gradient of some images: the batch is what is summed over."""
  pads = []
  for axis in (0, 1):
    low = padding[axis][0]
    used = (grad.shape[axis + 1] - 1) * strides[axis] + 1
    high = size[axis] - 1 + used - images.shape[axis + 1] - low
    pads.append((low, high))
  # With rows spread, and every other one looked at, nothing changes but that
  # Eigen takes it, which is faster at this than YNNPACK with many channels.
  many = max(images.shape[-1], grad.shape[-1]) >= _MANY
  spread = 2 if many else 1
  # Transposed explicitly, for the layout's sake, as in `_image_grad`.
  found = jax.lax.conv_general_dilated(
    images.transpose(3, 1, 2, 0),
    grad.transpose(1, 2, 0, 3),
    (spread, 1),
    (tuple(spread * pad for pad in pads[0]), pads[1]),
    lhs_dilation=(spread, 1),
    rhs_dilation=(spread * strides[0], strides[1]),
    dimension_numbers=_NHWC,
  )
  return found.transpose(1, 2, 0, 3)


def _kernel_grad(images, kernel, strides, padding, groups, grad):
  if groups != 1:
    return jax.linear_transpose(
      lambda k: stock(images, k, strides, padding, groups), kernel
    )(grad)[0]
  if kernel.shape[:2] == (1, 1) and padding == ((0, 0), (0, 0)):
    seen = images[:, :: strides[0], :: strides[1]]
    return jnp.einsum('bhwi,bhwo->io', seen, grad)[None, None]
  part = functools.partial(
    _kernel_grad_of, size=kernel.shape[:2], strides=strides, padding=padding
  )
  batch, rows, columns = grad.shape[:3]
  if batch <= _PART or batch % _PART or rows * columns < 64:
    return part(images, grad)

  # In parts that stay in the cache. And what enters a loop is in memory: else
  # XLA computes the images anew, out of the layer before, in a transposed
  # order that takes longer than the gradient.
  def body(total, pair):
    return total + part(*pair), None

  folded = tuple(x.reshape(-1, _PART, *x.shape[1:]) for x in (images, grad))
  # The sum of many parts needs more digits than half precision has.
  wide = jnp.promote_types(kernel.dtype, jnp.float32)
  total, _ = jax.lax.scan(body, jnp.zeros(kernel.shape, wide), folded)
  return total.astype(kernel.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _conv(images, kernel, strides, padding, groups, lean):
  return _forward(images, kernel, strides, padding, groups, lean)


def _conv_forward(images, kernel, strides, padding, groups, lean):
  found = _forward(images, kernel, strides, padding, groups, lean)
  return found, (images, kernel)


def _conv_backward(strides, padding, groups, lean, saved, grad):
  settings = *saved, strides, padding, groups
  return _image_grad(*settings, lean, grad), _kernel_grad(*settings, grad)


_conv.defvjp(_conv_forward, _conv_backward)


def _dense(images, kernel, strides, padding):
  """The convolution as one matrix product; None if that would do more.

  The matrix takes all of an image to all of its outputs. For 2x2 pixels it has
  16 blocks, where the kernel meets 36 pixels, most of them padding.
  """
  rows, columns, inputs, outputs = kernel.shape
  meets = []
  for axis, taps in enumerate((rows, columns)):
    size, (low, high) = images.shape[axis + 1], padding[axis]
    count = (size + low + high - taps) // strides[axis] + 1
    # [size, outputs, taps]: which pixel an output meets through a tap.
    met = strides[axis] * np.arange(count)[:, None] + np.arange(taps) - low
    meets.append(np.arange(size)[:, None, None] == met)
  size = meets[0].shape[1], meets[1].shape[1]
  pixels = images.shape[1] * images.shape[2]
  if pixels * size[0] * size[1] > 2 * rows * columns:
    return None
  places = np.einsum('hat,wbu->hwabtu', *meets).reshape(-1, rows * columns)
  # Sums of one number and zeros.
  matrix = places.astype(kernel.dtype) @ kernel.reshape(rows * columns, -1)
  matrix = matrix.reshape(pixels, -1, inputs, outputs).swapaxes(1, 2)
  found = images.reshape(len(images), -1) @ matrix.reshape(pixels * inputs, -1)
  return found.reshape(-1, *size, outputs)


def conv(
  images: chex.Array,
  kernel: chex.Array,
  strides: tuple[int, int],
  padding: tuple[tuple[int, int], tuple[int, int]],
  groups: int,
  *,
  lean: bool = False,
) -> chex.Array:
  """A convolution, dense or depthwise.

  Args:
    images: [B, H, W, C].
    kernel: [h, w, C / groups, out].
    strides: of rows and columns.
    padding: ((above, below), (left, right)).
    groups: 1, or the number of channels.
    lean: leaves out Winograd's form, which is faster and needs more memory.

  Returns:
    [B, H', W', out].

  Raises:
    NotImplementedError: for the gradient of other groups.
  """
  if groups == 1:
    found = _dense(images, kernel, strides, padding)
    if found is not None:
      return found
  return _conv(images, kernel, strides, padding, groups, lean)
