"""Layers that put a border around their input; see `functional.pad`."""

from __future__ import annotations

from typing import Any

from tritongrad.nn import functional as F
from tritongrad.nn.module import Module
from tritongrad.tensor import Tensor


class _PadNd(Module):
    """A border of given widths: one for all sides, or two an axis, last axis first."""

    mode, axes = "constant", 1
    value: float | None = None

    def __init__(self, padding: Any) -> None:
        super().__init__()
        widths = tuple(padding) if hasattr(padding, "__iter__") else (padding,) * (2 * self.axes)
        self.padding = widths

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_PadNd):
    """A border of one value."""

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _CircularPadNd(_PadNd):
    """A border from the other end."""

    mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (self.axes + 1, self.axes + 2):
            raise ValueError(
                f"{type(self).__name__}: expected {self.axes + 1} or {self.axes + 2} axes, got {list(input.shape)}"
            )
        return super().forward(input)


class ConstantPad1d(_ConstantPadNd):
    """A border of `value` around the last axis; `padding` is a number or two widths, last axis first."""

    axes = 1


class ZeroPad1d(ConstantPad1d):
    """A border of zeros around the last axis."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ReflectionPad1d(_PadNd):
    """A border around the last axis, mirrored at the outermost elements."""

    mode, axes = "reflect", 1


class ReplicationPad1d(_PadNd):
    """A border around the last axis that repeats the outermost elements."""

    mode, axes = "replicate", 1


class CircularPad1d(_CircularPadNd):
    """A border around the last axis, as if the input went on periodically."""

    axes = 1


class ConstantPad2d(_ConstantPadNd):
    """A border of `value` around the last two axes; `padding` is a number or four widths, last axis first."""

    axes = 2


class ZeroPad2d(ConstantPad2d):
    """A border of zeros around the last two axes."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ReflectionPad2d(_PadNd):
    """A border around the last two axes, mirrored at the outermost elements."""

    mode, axes = "reflect", 2


class ReplicationPad2d(_PadNd):
    """A border around the last two axes that repeats the outermost elements."""

    mode, axes = "replicate", 2


class CircularPad2d(_CircularPadNd):
    """A border around the last two axes, as if the input went on periodically."""

    axes = 2


class ConstantPad3d(_ConstantPadNd):
    """A border of `value` around the last three axes; `padding` is a number or six widths, last axis first."""

    axes = 3


class ZeroPad3d(ConstantPad3d):
    """A border of zeros around the last three axes."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ReflectionPad3d(_PadNd):
    """A border around the last three axes, mirrored at the outermost elements."""

    mode, axes = "reflect", 3


class ReplicationPad3d(_PadNd):
    """A border around the last three axes that repeats the outermost elements."""

    mode, axes = "replicate", 3


class CircularPad3d(_CircularPadNd):
    """A border around the last three axes, as if the input went on periodically."""

    axes = 3
