"""Convolutions in forms that XLA's CPU compiler runs fast.

`conv` computes what JAX's own ("stock") convolution computes, up to rounding:
sums are arranged in another way, 3x3 convolutions with many channels take
fewer products (`winograd`), and those of the smallest images are one matrix
product (`matrix_conv`). Gradients have forms of their own. The speed-up of each
form stands in experiments/benchmarks/README.md.

All functions share these arguments: images [B, H, W, C]; kernel
[h, w, C / groups, outputs]; strides of rows and columns; padding ((above,
below), (left, right)); groups, 1 or the number of channels; low_memory, see
`conv`. `grad` is the gradient of the convolution's result.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax.models import matrix_conv, winograd

_NHWC = ('NHWC', 'HWIO', 'NHWC')
# Up to this many channels XLA's CPU compiler calls the library Eigen for a
# convolution, above it YNNPACK.
_EIGEN_CHANNELS = 16
# From this many channels on, Eigen computes gradients of kernels faster.
_MANY_CHANNELS = 64
# A kernel's gradient is computed for this many images at a time.
_IMAGES_PER_PART = 16


def stock(images, kernel, strides, padding, groups=1, lhs_dilation=(1, 1)):
  """JAX's own convolution.

  Args:
    images, kernel, strides, padding, groups: as in `conv`.
    lhs_dilation: distances of the images' rows and columns; zeros between.
  """
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
  """How many neighbouring output columns are computed as channels of one.

  1 where that is no faster. The number divides `image_width`.
  """
  _, columns, inputs, outputs = kernel.shape
  few_inputs = inputs <= 4
  if strides != (1, 1) or groups != 1 or columns < 3:
    return 1
  if not few_inputs and max(inputs, outputs) > _EIGEN_CHANNELS:
    return 1
  most = min((64 if few_inputs else 32) // outputs, image_width // 2)
  count = 1
  while 2 * count <= most and image_width % (2 * count) == 0:
    count *= 2
  return count


def _forward(images, kernel, strides, padding, groups, low_memory):
  """The convolution; with few channels, several columns at once.

  A kernel with few outputs fills only a part of a vector register. A wider
  kernel, with one shifted copy of the kernel per column, computes neighbouring
  columns as further outputs, and fills the register.
  """
  if not low_memory and winograd.suits(
    images, kernel, strides, padding, groups
  ):
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
  result = stock(images, wide, (1, count), padding)
  return result.reshape(*result.shape[:2], width, outputs)


def _strided_image_grad(grad, kernel, strides, padding, size):
  """The images' gradient of a strided convolution, without dilating `grad`.

  With stride s, rows p and p + s of the images meet the same rows of the
  kernel: rows have s phases, each with its own part of the kernel, and so have
  columns. All phases are computed as channels of one convolution at stride 1,
  and then interleaved.

  Args:
    grad: gradient of the convolution's result, [B, H', W', C'].
    kernel, strides, padding: as the convolution was given them.
    size: (rows, columns) of the images.
  """
  kernel_index, pads = [], []
  for axis in (0, 1):
    stride, low = strides[axis], padding[axis][0]
    # Image row p = stride * i + phase contributes to output row i + offset
    # through the kernel's row p + low - stride * (i + offset).
    phase = np.arange(stride)
    first = -((kernel.shape[axis] - 1 - low) // stride)
    last = (stride - 1 + low) // stride
    offsets = np.arange(first, last + 1)
    kernel_index.append(phase[None] + low - stride * offsets[:, None])
    pads.append(
      (-first, -(-size[axis] // stride) - grad.shape[axis + 1] + last)
    )
  parts = kernel.swapaxes(2, 3)
  for axis, index in zip((0, 2), kernel_index, strict=True):
    inside = (index >= 0) & (index < parts.shape[axis])
    picked = jnp.take(parts, np.where(inside, index, 0), axis=axis)
    mask = inside.reshape(*[1] * axis, *index.shape, *[1] * (4 - 1 - axis // 2))
    parts = jnp.where(mask, picked, 0)
  # [offset, phase, offset', phase', out, in] -> [offset, offset', out, phases]
  count = strides[0] * strides[1] * kernel.shape[2]
  parts = parts.transpose(0, 2, 4, 1, 3, 5)
  parts = parts.reshape(*parts.shape[:3], count)
  phases = stock(grad, parts, (1, 1), pads)
  batch, rows, columns = phases.shape[:3]
  phases = phases.reshape(batch, rows, columns, *strides, kernel.shape[2])
  result = phases.transpose(0, 1, 3, 2, 4, 5)
  result = result.reshape(batch, rows * strides[0], columns * strides[1], -1)
  return result[:, : size[0], : size[1]]


def _image_grad(images, kernel, strides, padding, groups, low_memory, grad):
  """The gradient of the images, [B, H, W, C]."""
  if not low_memory and winograd.suits(
    images, kernel, strides, padding, groups
  ):
    return winograd.image_grad(grad, kernel)
  size = images.shape[1:3]
  strided = strides != (1, 1)
  if strided and groups == 1 and kernel.shape[0] > 1:
    if kernel.shape[2] <= _EIGEN_CHANNELS:
      return _strided_image_grad(grad, kernel, strides, padding, size)
  pads = []
  for axis in (0, 1):
    low = kernel.shape[axis] - 1 - padding[axis][0]
    used = (grad.shape[axis + 1] - 1) * strides[axis] + 1
    pads.append((low, size[axis] - used - low + kernel.shape[axis] - 1))
  # Flipping and transposing the kernel is left to the compiler by JAX's own
  # gradient. Inside a loop it then keeps a layout that is about seven times
  # slower, so it is done explicitly here.
  flipped = kernel[::-1, ::-1]
  if groups == 1:
    flipped = flipped.swapaxes(2, 3)
  elif kernel.shape[2] != 1 or kernel.shape[3] != groups:
    raise NotImplementedError(
      'convolutions are dense or depthwise here, got '
      f'groups={groups} and a kernel of shape {kernel.shape}'
    )
  if strided:
    return stock(grad, flipped, (1, 1), pads, groups, strides)
  return _forward(grad, flipped, (1, 1), tuple(pads), groups, low_memory)


def _kernel_grad_of_part(images, grad, size, strides, padding):
  """The kernel's gradient, summed over some of the images.

  It is a convolution of the images with `grad` in which the batch takes the
  place of the channels.

  Args:
    images: the convolution's input, [B, H, W, C].
    grad: gradient of its result, [B, H', W', C'].
    strides, padding: as the convolution was given them.
    size: (rows, columns) of the kernel.
  """
  pads = []
  for axis in (0, 1):
    low = padding[axis][0]
    used = (grad.shape[axis + 1] - 1) * strides[axis] + 1
    high = size[axis] - 1 + used - images.shape[axis + 1] - low
    pads.append((low, high))
  # XLA leaves dilated convolutions to Eigen, which is faster at this one with
  # many channels. Dilating all rows by 2, and computing every other row of the
  # result, selects Eigen and does not change the values.
  many_channels = max(images.shape[-1], grad.shape[-1]) >= _MANY_CHANNELS
  spread = 2 if many_channels else 1
  # Transposed explicitly, for the layout's sake, as in `_image_grad`.
  result = jax.lax.conv_general_dilated(
    images.transpose(3, 1, 2, 0),
    grad.transpose(1, 2, 0, 3),
    (spread, 1),
    (tuple(spread * pad for pad in pads[0]), pads[1]),
    lhs_dilation=(spread, 1),
    rhs_dilation=(spread * strides[0], strides[1]),
    dimension_numbers=_NHWC,
  )
  return result.transpose(1, 2, 0, 3)


def _kernel_grad(images, kernel, strides, padding, groups, grad):
  """The gradient of the kernel, [h, w, C / groups, outputs]."""
  if groups != 1:
    return jax.linear_transpose(
      lambda k: stock(images, k, strides, padding, groups), kernel
    )(grad)[0]
  if kernel.shape[:2] == (1, 1) and padding == ((0, 0), (0, 0)):
    used = images[:, :: strides[0], :: strides[1]]
    return jnp.einsum('bhwi,bhwo->io', used, grad)[None, None]
  grad_of_part = functools.partial(
    _kernel_grad_of_part,
    size=kernel.shape[:2],
    strides=strides,
    padding=padding,
  )
  batch, rows, columns = grad.shape[:3]
  size = _IMAGES_PER_PART
  if batch <= size or batch % size or rows * columns < 64:
    return grad_of_part(images, grad)

  # A loop over parts that fit in the cache. The loop also forces the images
  # into memory: otherwise XLA fuses the layer before into the gradient, and
  # computes it in a transposed order that takes longer than the gradient.
  def body(total, part):
    return total + grad_of_part(*part), None

  parts = tuple(x.reshape(-1, size, *x.shape[1:]) for x in (images, grad))
  # The sum over many parts needs more digits than half precision has.
  sum_dtype = jnp.promote_types(kernel.dtype, jnp.float32)
  total, _ = jax.lax.scan(body, jnp.zeros(kernel.shape, sum_dtype), parts)
  return total.astype(kernel.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _conv(images, kernel, strides, padding, groups, low_memory):
  return _forward(images, kernel, strides, padding, groups, low_memory)


def _conv_forward(images, kernel, strides, padding, groups, low_memory):
  result = _forward(images, kernel, strides, padding, groups, low_memory)
  return result, (images, kernel)


def _conv_backward(strides, padding, groups, low_memory, residuals, grad):
  settings = *residuals, strides, padding, groups
  return _image_grad(*settings, low_memory, grad), _kernel_grad(*settings, grad)


_conv.defvjp(_conv_forward, _conv_backward)


def conv(
  images: chex.Array,
  kernel: chex.Array,
  strides: tuple[int, int],
  padding: tuple[tuple[int, int], tuple[int, int]],
  groups: int,
  *,
  low_memory: bool = False,
) -> chex.Array:
  """A convolution, dense or depthwise.

  Args:
    images: [B, H, W, C].
    kernel: [h, w, C / groups, out].
    strides: strides of rows and columns.
    padding: ((above, below), (left, right)).
    groups: 1, or the number of channels.
    low_memory: do without Winograd's form, which is faster and needs more
      memory.

  Returns:
    [B, H', W', out].

  Raises:
    NotImplementedError: other groups, when the images' gradient is taken.
  """
  if groups == 1:
    if matrix_conv.suits(images, kernel, strides, padding):
      return matrix_conv.conv(images, kernel, strides, padding)
  return _conv(images, kernel, strides, padding, groups, low_memory)
