"""Convolution layers."""

from __future__ import annotations

import math
from typing import Any

from tritongrad.nn import functional as F, init
from tritongrad.nn.module import Module, Parameter
from tritongrad.ops.conv import pair
from tritongrad.ops.filled import uninitialised
from tritongrad.tensor import Tensor
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.formats import channels_last


class Conv2d(Module):
    """Cross-correlation of images [N, in_channels, H, W] with out_channels windows; see `functional.conv2d`.

    weight [out_channels, in_channels/groups, R, S], stored channels-last, and bias are uniform on +-1/sqrt(fan_in).
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
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: in_channels {in_channels} and out_channels {out_channels} must be divisible by groups "
                f"{groups}"
            )
        if padding_mode != "zeros":
            raise ValueError(f"Conv2d: padding_mode must be 'zeros', got {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair(kernel_size, "Conv2d", "kernel_size")
        self.stride, self.dilation = pair(stride, "Conv2d", "stride"), pair(dilation, "Conv2d", "dilation")
        self.padding = padding if isinstance(padding, str) else pair(padding, "Conv2d", "padding")
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        weight = uninitialised(shape, device=device, dtype=dtype, memory_format=channels_last)
        self.weight = Parameter(weight)
        self.register_parameter(
            "bias", Parameter(uninitialised(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        if self.padding not in ((0, 0), "valid"):
            parts.append(f"padding={self.padding}")
        if self.dilation != (1, 1):
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)
