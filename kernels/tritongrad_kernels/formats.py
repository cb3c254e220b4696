"""In which order memory holds the elements, by the names torch has for it: memory formats and layouts."""

from __future__ import annotations

from collections.abc import Sequence

from tritongrad_kernels.array import Array, channels_last_strides, contiguous_strides


class memory_format:
    """The order of a dense tensor's elements in memory: one of the four below."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"tritongrad.{self.name}"

    def __reduce__(self) -> str:
        return self.name  # the constant of this name, which pickle finds here


class layout:
    """How elements lie in memory: always by strides."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"tritongrad.{self.name}"

    def __reduce__(self) -> str:
        return self.name


contiguous_format = memory_format("contiguous_format")  # C order
preserve_format = memory_format("preserve_format")  # that of the tensor it is copied from
channels_last = memory_format("channels_last")  # [N, C, H, W] stored as [N, H, W, C]
channels_last_3d = memory_format("channels_last_3d")  # [N, C, D, H, W] stored as [N, D, H, W, C]

strided = layout("strided")

_RANK = {channels_last: 4, channels_last_3d: 5}


def require_format(name: str, form: object) -> memory_format:
    """`form` if it is a memory format; TypeError otherwise."""
    if not isinstance(form, memory_format):
        raise TypeError(f"{name}: argument 'memory_format' must be a memory_format, not {type(form).__name__}")
    return form


def require_strided(name: str, given: object) -> None:
    """TypeError for what is no layout. None stands for strided, the only one there is."""
    if given is not None and not isinstance(given, layout):
        raise TypeError(f"{name}: argument 'layout' must be a layout, not {type(given).__name__}")


def strides_in(shape: Sequence[int], form: memory_format) -> tuple[int, ...]:
    """The strides of a dense array of this shape in a format other than preserve_format."""
    if form in _RANK and len(shape) != _RANK[form]:
        raise RuntimeError(f"required rank {_RANK[form]} tensor to use {form.name} format, got shape {list(shape)}")
    return channels_last_strides(shape) if form in _RANK else contiguous_strides(shape)


def suggested(a: Array) -> memory_format:
    """The format that torch takes an array to be in: contiguous_format unless strides rise from channels to batch.

    Source: `is_channels_last_strides_2d` in PyTorch's c10/core/MemoryFormat.h; extents of 1 make it ambiguous.
    """
    if a.ndim not in _RANK.values() or 0 in a.shape or not a.strides[1]:
        return contiguous_format
    least = 0
    for axis in (1, *range(a.ndim - 1, 1, -1), 0):
        if a.strides[axis] < least or (axis == 0 and least == a.strides[1]):
            return contiguous_format
        least = a.strides[axis] * a.shape[axis]
    return next(form for form, rank in _RANK.items() if rank == a.ndim)


def lies_in(a: Array, form: memory_format) -> bool:
    """Whether memory holds the elements in that order; false where the format is for arrays of another rank."""
    return a.ndim == _RANK.get(form, a.ndim) and a.has_strides(strides_in(a.shape, form))
