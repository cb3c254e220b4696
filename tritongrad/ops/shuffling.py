"""Channels exchanged with pixels, and among themselves: each a view, and one copy of it."""

from __future__ import annotations

from tritongrad.ops.layout import clone
from tritongrad.ops.views import permute, reshape
from tritongrad.tensor import Tensor
from tritongrad_kernels.formats import contiguous_format


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """[..., C r r, H, W] -> [..., C, H r, W r]: r x r channels become a square of pixels (Shi et al. 2016)."""
    r = _require("pixel_shuffle", input, upscale_factor, "upscale_factor")
    *batch, c, h, w = input.shape
    if c % (r * r):
        raise RuntimeError(
            f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={c} is not divisible by {r * r}"
        )
    k = len(batch)
    split = reshape(input, (*batch, c // (r * r), r, r, h, w))
    return _laid(permute(split, (*range(k + 1), k + 3, k + 1, k + 4, k + 2)), (*batch, c // (r * r), h * r, w * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """[..., C, H r, W r] -> [..., C r r, H, W]: what `pixel_shuffle` does, undone."""
    r = _require("pixel_unshuffle", input, downscale_factor, "downscale_factor")
    *batch, c, h, w = input.shape
    for what, extent, axis in (("height", h, -2), ("width", w, -1)):
        if extent % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {what} to be divisible by downscale_factor, "
                f"but input.size({axis})={extent} is not divisible by {r}"
            )
    k = len(batch)
    split = reshape(input, (*batch, c, h // r, r, w // r, r))
    return _laid(permute(split, (*range(k + 1), k + 2, k + 4, k + 1, k + 3)), (*batch, c * r * r, h // r, w // r))


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """[N, C, ...] with channels, seen as a matrix of `groups` rows, in order of its columns (Zhang et al. 2018)."""
    if input.ndim < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    n, c, *rest = input.shape
    if c % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    split = reshape(input, (n, groups, c // groups, *rest))
    return _laid(permute(split, (0, 2, 1, *range(3, split.ndim))), input.shape)


def _laid(view: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A view copied in its own order, even where nothing moves, and seen in another shape."""
    return reshape(clone(view, memory_format=contiguous_format), shape)


def _require(name: str, x: Tensor, factor: int, argument: str) -> int:
    if x.ndim < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {x.ndim} dimension(s)"
        )
    if factor <= 0:
        raise RuntimeError(f"{name} expects a positive {argument}, but got {factor}")
    return factor
