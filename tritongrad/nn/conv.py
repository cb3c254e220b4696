"""Convolution layers in one, two and three dimensions, and their transposes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tritongrad.nn import functional as F, init
from tritongrad.nn.module import Module, Parameter
from tritongrad.ops.conv import each
from tritongrad.ops.filled import uninitialised
from tritongrad.ops.views import movedim
from tritongrad.tensor import Tensor
from tritongrad_kernels.dtypes import dtype

_PADDINGS = ("same", "valid")
_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions have: parameters, their initial values, and the numbers that say how windows move.

    weight  [out_channels, in_channels/groups, *kernel_size], or transposed [in_channels, out_channels/groups, ...];
            stored channels-last. Uniform on +-1/sqrt(fan_in), as is the bias [out_channels].
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: str | tuple[int, ...],
        dilation: tuple[int, ...],
        transposed: bool,
        output_padding: tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: in_channels {in_channels} and out_channels {out_channels} must be divisible by groups "
                f"{groups}"
            )
        if isinstance(padding, str) and (padding not in _PADDINGS or (padding == "same" and set(stride) != {1})):
            raise ValueError(
                f"{name}: padding {padding!r} with stride {stride}: expected 'valid', or 'same' at stride 1"
            )
        if padding_mode not in _MODES:
            raise ValueError(f"{name}: padding_mode must be one of {', '.join(_MODES)}, got {padding_mode!r}")
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.transposed, self.output_padding = transposed, output_padding
        self.groups, self.padding_mode = groups, padding_mode
        self._reversed_padding_repeated_twice = _borders(padding, kernel_size, dilation)
        self.weight = Parameter(
            weight_memory(in_channels, out_channels, kernel_size, groups, transposed, device, dtype)
        )
        self.register_parameter(
            "bias", Parameter(uninitialised(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        fan_in = math.prod(self.weight.shape[1:])
        if self.bias is not None and fan_in:
            bound = 1 / math.sqrt(fan_in)
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        zeros, ones = (0,) * len(self.stride), (1,) * len(self.stride)
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        for name, default in (("padding", zeros), ("dilation", ones), ("output_padding", zeros), ("groups", 1)):
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)

    def _convolved(self, function: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """`function` of x with its borders put on, unless they are zeros, which are never stored."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode), 0
        return function(x, weight, bias, self.stride, padding, self.dilation, self.groups)


def weight_memory(
    in_channels: int,
    out_channels: int,
    kernel_size: tuple[int, ...],
    groups: int,
    transposed: bool,
    device: Any,
    dtype: dtype | None,
) -> Tensor:
    """A weight without values, channels-last."""
    across = (in_channels, out_channels // groups) if transposed else (out_channels, in_channels // groups)
    return movedim(uninitialised((across[0], *kernel_size, across[1]), device=device, dtype=dtype), -1, 1)


def _borders(padding: str | tuple[int, ...], window: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """Widths as `functional.pad` takes them, last axis first: the smaller half of an odd one goes before."""
    if isinstance(padding, str):
        total = [d * (w - 1) if padding == "same" else 0 for d, w in zip(dilation, window, strict=True)]
        return [width for t in reversed(total) for width in (t // 2, t - t // 2)]
    return [width for p in reversed(padding) for width in (p, p)]


class Conv1d(_ConvNd):
    """Cross-correlation of sequences [N, in_channels, L] with out_channels windows; see `functional.conv1d`.

    A padding_mode other than "zeros" is one of `functional.pad`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            each(kernel_size, 1, "Conv1d", "kernel_size"),
            each(stride, 1, "Conv1d", "stride"),
            padding if isinstance(padding, str) else each(padding, 1, "Conv1d", "padding"),
            each(dilation, 1, "Conv1d", "dilation"),
            False,
            (0,),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self._convolved(F.conv1d, input, weight, bias)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class Conv2d(_ConvNd):
    """Cross-correlation of images [N, in_channels, H, W] with out_channels windows; see `functional.conv2d`.

    A padding_mode other than "zeros" is one of `functional.pad`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            each(kernel_size, 2, "Conv2d", "kernel_size"),
            each(stride, 2, "Conv2d", "stride"),
            padding if isinstance(padding, str) else each(padding, 2, "Conv2d", "padding"),
            each(dilation, 2, "Conv2d", "dilation"),
            False,
            (0, 0),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self._convolved(F.conv2d, input, weight, bias)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class Conv3d(_ConvNd):
    """Cross-correlation of volumes [N, in_channels, D, H, W] with out_channels windows; see `functional.conv3d`.

    A padding_mode other than "zeros" is one of `functional.pad`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            each(kernel_size, 3, "Conv3d", "kernel_size"),
            each(stride, 3, "Conv3d", "stride"),
            padding if isinstance(padding, str) else each(padding, 3, "Conv3d", "padding"),
            each(dilation, 3, "Conv3d", "dilation"),
            False,
            (0, 0, 0),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self._convolved(F.conv3d, input, weight, bias)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)
