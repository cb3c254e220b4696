"""The windows of images side by side, and their sum back in place: each other's gradients, both gathers."""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, empty, footprint
from tritongrad_kernels.elementwise import TRITON_TYPE, contiguous
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.windows import Pair, output_sizes, rows_read, taps_inside, touched


@triton.jit
def _unfold(
    X, OUT, rows, positions: tl.int64, H, W: tl.int64, Q, R, S, SH, SW, PH, PW, DH, DW,
    BK: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """out[n,c,r,s,p,q] = x[n,c, p SH + r DH - PH, q SW + s DW - PW], 0 outside of x.

    Shapes  x [N,C,H,W], out [N,C,R,S,P,Q], both in C order; `rows` is N C R S, `positions` P Q.
    Grid    one program per BK rows (n, c, r, s) x BP positions (p, q).
    Bytes   read x (overlap hits L2), write out.
    """
    blocks = tl.cdiv(positions, BP)
    pid = tl.program_id(0).to(tl.int64)
    position = (pid % blocks) * BP + tl.arange(0, BP)
    row = (pid // blocks) * BK + tl.arange(0, BK)
    plane = row // (R * S)
    tap = row - plane * (R * S)
    h = (position // Q * SH - PH)[None, :] + (tap // S * DH)[:, None]
    w = (position % Q * SW - PW)[None, :] + (tap % S * DW)[:, None]
    mask = (row < rows)[:, None] & (position < positions)[None, :]
    ok = mask & (h >= 0) & (h < H) & (w >= 0) & (w < W)
    x = tl.load(X + tl.where(ok, (plane[:, None] * H + h) * W + w, 0), mask=ok, other=0.0)
    tl.store(OUT + (row * positions)[:, None] + position[None, :], x, mask=mask)


@triton.jit
def _fold(
    X, OUT, planes, pixels: tl.int64, W, P, Q: tl.int64, R, S, SH, SW, PH, PW, DH, DW,
    ACC: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """out[n,c,h,w] = the sum of x[n,c,r,s,p,q] over the places (p, q) and (r, s) that `_unfold` takes from (h, w).

    Shapes  x [N,C,R,S,P,Q], out [N,C,H,W], both in C order; `planes` is N C, `pixels` H W.
    Grid    one program per BK planes x BP pixels.
    Bytes   read what of x lies on the image, write out.
    """
    blocks = tl.cdiv(pixels, BP)
    pid = tl.program_id(0).to(tl.int64)
    pixel = (pid % blocks) * BP + tl.arange(0, BP)
    plane = (pid // blocks) * BK + tl.arange(0, BK)
    h = pixel // W
    w = pixel - h * W
    mask = (plane < planes)[:, None] & (pixel < pixels)[None, :]
    acc = tl.zeros((BK, BP), ACC)
    for tap in range(0, R * S):
        p = h + PH - tap // S * DH
        q = w + PW - tap % S * DW
        ok = (p >= 0) & (q >= 0) & (p % SH == 0) & (q % SW == 0) & (p // SH < P) & (q // SW < Q)
        start = tl.where(ok, p // SH * Q + q // SW, 0)
        source = ((plane * (R * S) + tap) * (P * Q))[:, None] + start[None, :]
        acc += tl.load(X + source, mask=mask & ok[None, :], other=0.0).to(ACC)
    tl.store(OUT + (plane * pixels)[:, None] + pixel[None, :], acc.to(OUT.dtype.element_ty), mask=mask)


def unfold(x: Array, window: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """The windows of x [N,C,H,W] as [N,C,R,S,P,Q]."""
    x = contiguous(x)
    n, c, h, w = x.shape
    sizes = output_sizes((h, w), window, stride, padding, dilation)
    out = empty((n, c, *window, *sizes), x.dtype, x.device)
    rows, positions = n * c * window[0] * window[1], sizes[0] * sizes[1]
    config = tile("fold", itemsize=x.dtype.itemsize, BK=rows, BP=positions)
    launch(
        _unfold,
        cdiv(rows, config["BK"]) * cdiv(positions, config["BP"]),
        x,
        out,
        rows, positions, h, w, sizes[1], *window, *stride, *padding, *dilation,
        bytes=touched(rows_read, x, (h, w), sizes, window, stride, padding, dilation) + footprint(out),
        **config,
    )  # fmt: skip
    return out


def fold(x: Array, sizes: Sequence[int], stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """The windows x [N,C,R,S,P,Q] added up where they lie in images of `sizes`, [N,C,H,W]."""
    x = contiguous(x)
    n, c, *window = x.shape[:4]
    h, w = sizes
    out = empty((n, c, h, w), x.dtype, x.device)
    config = tile("fold", itemsize=x.dtype.itemsize, BK=n * c, BP=h * w)
    inside = 1
    for axis in range(2):
        inside *= taps_inside(sizes[axis], x.shape[4 + axis], window[axis], stride[axis], padding[axis], dilation[axis])
    launch(
        _fold,
        cdiv(n * c, config["BK"]) * cdiv(h * w, config["BP"]),
        x,
        out,
        n * c, h * w, w, *x.shape[4:], *window, *stride, *padding, *dilation,
        TRITON_TYPE[dtypes.accumulator(x.dtype)],
        flops=n * c * inside,
        bytes=n * c * inside * x.dtype.itemsize + footprint(out),
        **config,
    )  # fmt: skip
    return out
