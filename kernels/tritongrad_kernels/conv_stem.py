"""The first convolution of a network, whose image has too few channels to be copied in boxes: 7 x 7 of 3, say.

The image is written once more in a form that can: of four channels or eight, with zeros about it, in the dtype and the
order that products want. Then one row of a window lies in one piece of memory, S pixels x channels, and these are the
channels of a convolution with R x 1 taps. The pieces of neighbouring windows overlap: that is a stride of a descriptor.

A window of 7 pixels is copied as 8, and its filters have zeros for the last: an infinite or NaN pixel reaches one
window further than it should.
"""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl

from tritongrad_kernels.array import Array, channels_last_strides, empty
from tritongrad_kernels.conv_tma import View, forward
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.launch import cdiv, has_tma, launch, next_power_of_2, tile
from tritongrad_kernels.windows import Pair, output_sizes

LONGEST = 64
"""Elements of a window's row that one copy takes: 128 bytes of half precisions."""


@triton.jit
def _haloed(
    X, OUT, xn: tl.int64, xc: tl.int64, xh: tl.int64, xw: tl.int64, C, H, WIDTH, top, left, rows, columns, pixels,
    CHANNELS: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """out[n, h + top, w + left, c] = x[n, c, h, w], and 0 where there is no such pixel or channel.

    Shapes  x [N, C, H, WIDTH] at any strides, out [N, rows, columns, CHANNELS]; `pixels` of all images of out.
    Grid    one program per BP pixels of out.
    Bytes   read x once, write out once.
    """
    pixel = tl.program_id(0) * BP + tl.arange(0, BP)
    row = pixel // columns
    n = row // rows
    h = row - n * rows - top
    w = pixel - row * columns - left
    c = tl.arange(0, CHANNELS)
    inside = (pixel < pixels) & (h >= 0) & (h < H) & (w >= 0) & (w < WIDTH)
    place = n.to(tl.int64) * xn + h * xh + w * xw
    x = tl.load(X + place[:, None] + (c * xc)[None, :], mask=inside[:, None] & (c < C)[None, :], other=0.0)
    place = pixel.to(tl.int64)[:, None] * CHANNELS + c[None, :]
    tl.store(OUT + place, x.to(OUT.dtype.element_ty), mask=(pixel < pixels)[:, None])


def haloed(x: Array, channels: int, rows: int, columns: int, top: int, left: int, kind: dtype) -> Array:
    """x [N,C,H,W] in the midst of zeros: channels-last [N, channels, rows, columns] of dtype `kind`."""
    n, c, h, w = x.shape
    shape = (n, channels, rows, columns)
    out = empty(shape, kind, x.device, channels_last_strides(shape))
    config = tile("haloed", BP=n * rows * columns)
    read = x.slice(2, 0, min(h, rows - top)).slice(3, 0, min(w, columns - left))
    launch(
        _haloed, cdiv(n * rows * columns, config["BP"]), x, out, *x.strides, c, h, w, top, left, rows, columns,
        n * rows * columns, channels, bytes=read.footprint + out.footprint, **config,
    )  # fmt: skip
    return out


def suits(
    x: Array, weight_shape: Sequence[int], kind: dtype, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> bool:
    """Whether a convolution of x [N,C,H,W] with filters of dtype `kind` goes by `stem_image`."""
    (n, c, h, w), (o, _, r, s) = x.shape, weight_shape
    if not has_tma() or kind.itemsize != 2 or groups > 1 or c > 8 or dilation[1] > 1 or x.size == 0 or o % 8:
        return False
    p, q = output_sizes((h, w), (r, s), stride, padding, dilation)
    rows, columns = _sides((p, q), (r, s), stride, dilation, _channels(c, stride))
    return _row(s, _channels(c, stride)) <= LONGEST and max(o, n) * rows * columns < MOST_PIXELS


MOST_PIXELS = (1 << 31) - (1 << 16)
"""Of a haloed image: they are counted in 32 bits, past the last one up to the end of a tile."""


def _channels(c: int, stride: Pair) -> int:
    """Of the haloed image: a step from window to window is a multiple of 16 bytes."""
    return 4 if c <= 4 and stride[1] % 2 == 0 else 8


def _row(s: int, channels: int) -> int:
    """Elements of one row of a window, zeros that make it a power of two included."""
    return max(16, next_power_of_2(s * channels))


def _sides(pixels: Pair, window: Pair, stride: Pair, dilation: Pair, channels: int) -> Pair:
    """Rows and columns of the haloed image: what the windows reach, and no more."""
    rows = (pixels[0] - 1) * stride[0] + (window[0] - 1) * dilation[0] + 1
    columns = (pixels[1] - 1) * stride[1] + _row(window[1], channels) // channels
    return cdiv(rows, stride[0]) * stride[0], cdiv(columns * channels, 8) * 8 // channels


def stem_image(
    x: Array, weight_shape: Sequence[int], kind: dtype, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """x [N,C,H,W], of any dtype and memory order, with what its windows reach beyond it: channels-last, of `kind`."""
    _, c, h, w = x.shape
    window = (weight_shape[2], weight_shape[3])
    pixels = output_sizes((h, w), window, stride, padding, dilation)
    channels = _channels(c, stride)
    rows, columns = _sides((pixels[0], pixels[1]), window, stride, dilation, channels)
    return haloed(x, channels, rows, columns, *padding, kind)


def stem_view(image: Array, weight_shape: Sequence[int], pixels: Pair, stride: Pair, dilation: Pair) -> View:
    """A `stem_image` as the convolution with R x 1 taps sees it: its channels are the rows of a window."""
    (n, channels, rows, columns), (sh, sw), (p, q) = image.shape, stride, pixels
    _, c, r, s = weight_shape
    length = _row(s, channels)
    pitch = columns * channels
    return View(
        (n, rows // sh, sh, q, length), (rows * pitch, sh * pitch, pitch, sw * channels, 1), (n, p, q), length,
        (r, 1), (sh, 1), (0, 0), (dilation[0], 1), r * (length - s * c),
    )  # fmt: skip


def stem(
    image: Array,
    weight: Array,
    bias: Array | None,
    y: Array,
    stride: Pair,
    dilation: Pair,
    want_moments: bool,
    precision: str,
    acc: tl.dtype,
) -> Array | None:
    """Store the convolution of a `stem_image` with weight [O,C,R,S] into y [N,O,P,Q]; the moments of y, if wanted."""
    seen = stem_view(image, weight.shape, (y.shape[2], y.shape[3]), stride, dilation)
    return forward(image, stem_filters(weight, image.shape[1]), bias, y, seen, want_moments, None, precision, acc)


def stem_filters(weight: Array, channels: int) -> Array:
    """weight [O,C,R,S] for a `stem_view`, [O, length, R, 1] channels-last, with zeros where a row has more."""
    o, _, r, s = weight.shape
    length = _row(s, channels)
    wide = haloed(weight, channels, r, length // channels, 0, 0, weight.dtype)
    shape = (o, length, r, 1)
    return wide.view(shape, channels_last_strides(shape))
