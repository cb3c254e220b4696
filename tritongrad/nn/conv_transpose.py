"""Transposed convolution layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tritongrad.nn import functional as F
from tritongrad.nn.conv import _ConvNd
from tritongrad.ops.conv import each
from tritongrad.tensor import Tensor
from tritongrad_kernels.dtypes import dtype


class _ConvTransposeNd(_ConvNd):
    """What transposed convolutions have in common: the result's size may be asked for."""

    def __init__(self, *arguments: Any) -> None:
        *_, padding_mode, _, _ = arguments
        if padding_mode != "zeros":
            raise ValueError(f"{type(self).__name__}: padding_mode must be 'zeros', got {padding_mode!r}")
        super().__init__(*arguments)

    def _transposed(self, function: Callable[..., Tensor], x: Tensor, output_size: Sequence[int] | None) -> Tensor:
        extra = self.output_padding if output_size is None else self._reaching(x, list(output_size))
        return function(x, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _reaching(self, x: Tensor, wanted: list[int]) -> tuple[int, ...]:
        """The output padding that gives this size. ValueError where none does."""
        n, name = len(self.stride), type(self).__name__
        lead = x.ndim - n
        sizes = wanted[lead:] if len(wanted) == lead + n else wanted
        if len(sizes) != n:
            raise ValueError(
                f"{name}: output_size must have {n} or {lead + n} elements for {x.ndim} axes, got {wanted}"
            )
        pads = self.padding if not isinstance(self.padding, str) else (0,) * n
        least = [
            (size - 1) * st - 2 * pad + d * (w - 1) + 1
            for size, st, pad, d, w in zip(
                x.shape[lead:], self.stride, pads, self.dilation, self.kernel_size, strict=True
            )
        ]
        if any(not low <= size < low + st for size, low, st in zip(sizes, least, self.stride, strict=True)):
            most = [low + st - 1 for low, st in zip(least, self.stride, strict=True)]
            raise ValueError(
                f"{name}: an output_size of {sizes} cannot be had of {list(x.shape)}: it can be {least} to {most}"
            )
        return tuple(size - low for size, low in zip(sizes, least, strict=True))


class ConvTranspose1d(_ConvTransposeNd):
    """The transpose of `Conv1d`, for sequences [N, in_channels, L]; see `functional.conv_transpose1d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            each(kernel_size, 1, "ConvTranspose1d", "kernel_size"),
            each(stride, 1, "ConvTranspose1d", "stride"),
            each(padding, 1, "ConvTranspose1d", "padding"),
            each(dilation, 1, "ConvTranspose1d", "dilation"),
            True,
            each(output_padding, 1, "ConvTranspose1d", "output_padding"),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return self._transposed(F.conv_transpose1d, input, output_size)


class ConvTranspose2d(_ConvTransposeNd):
    """The transpose of `Conv2d`, for images [N, in_channels, H, W]; see `functional.conv_transpose2d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            each(kernel_size, 2, "ConvTranspose2d", "kernel_size"),
            each(stride, 2, "ConvTranspose2d", "stride"),
            each(padding, 2, "ConvTranspose2d", "padding"),
            each(dilation, 2, "ConvTranspose2d", "dilation"),
            True,
            each(output_padding, 2, "ConvTranspose2d", "output_padding"),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return self._transposed(F.conv_transpose2d, input, output_size)


class ConvTranspose3d(_ConvTransposeNd):
    """The transpose of `Conv3d`, for volumes [N, in_channels, D, H, W]; see `functional.conv_transpose3d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            each(kernel_size, 3, "ConvTranspose3d", "kernel_size"),
            each(stride, 3, "ConvTranspose3d", "stride"),
            each(padding, 3, "ConvTranspose3d", "padding"),
            each(dilation, 3, "ConvTranspose3d", "dilation"),
            True,
            each(output_padding, 3, "ConvTranspose3d", "output_padding"),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return self._transposed(F.conv_transpose3d, input, output_size)
