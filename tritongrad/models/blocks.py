"""What several architectures are made of, under the names torchvision.ops gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tritongrad import nn
from tritongrad.ops.filled import empty_like
from tritongrad.tensor import Tensor

Layer = Callable[..., nn.Module]
"""What makes a layer: a class, or a function that calls one with more arguments."""


def make_divisible(channels: float, divisor: int, least: int | None = None) -> int:
    """The nearest multiple of `divisor` that is not below `least` (default: the divisor), nor below 90 % of `channels`.

    Source: Sandler et al. 2018, MobileNetV2.
    """
    near = max(least or divisor, int(channels + divisor / 2) // divisor * divisor)
    return near if near >= 0.9 * channels else near + divisor


def initialise(
    model: nn.Module, conv: Callable[[Tensor], object] | None = None, linear: Callable[[Tensor], object] | None = None
) -> None:
    """Draw the weights of convolutions and linear layers by these functions, and make their biases zero."""
    for m in model.modules():
        draw = conv if isinstance(m, nn.Conv2d) else linear if isinstance(m, nn.Linear) else None
        if draw is not None:
            draw(m.weight)
            if m.bias is not None:
                nn.init.zeros_(m.bias)


def he(weight: Tensor) -> Tensor:
    """Normals that keep the size of gradients through ReLUs (He et al. 2015)."""
    return nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")


def narrow_normal(weight: Tensor) -> Tensor:
    """Normals of deviation 0.01."""
    return nn.init.normal_(weight, 0, 0.01)


class Conv2dNormActivation(nn.Sequential):
    """A convolution, by default padded to keep the image's size, then a normalisation and an activation; None for none.

    The convolution has a bias if there is no normalisation, unless `bias` says otherwise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any = 3,
        stride: Any = 1,
        padding: Any = None,
        groups: int = 1,
        norm_layer: Layer | None = nn.BatchNorm2d,
        activation_layer: Layer | None = nn.ReLU,
        dilation: Any = 1,
        inplace: bool | None = True,
        bias: bool | None = None,
    ) -> None:
        if padding is None:
            padding = _centred(kernel_size, dilation)
        bias = norm_layer is None if bias is None else bias
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        layers: list[nn.Module] = [conv]
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            layers.append(activation_layer(**({} if inplace is None else {"inplace": inplace})))
        super().__init__(*layers)
        self.out_channels = out_channels


def _centred(kernel_size: Any, dilation: Any) -> Any:
    if isinstance(kernel_size, int) and isinstance(dilation, int):
        return (kernel_size - 1) // 2 * dilation
    sizes, steps = ((v, v) if isinstance(v, int) else v for v in (kernel_size, dilation))
    return tuple((size - 1) // 2 * step for size, step in zip(sizes, steps, strict=True))


class SqueezeExcitation(nn.Module):
    """Each channel of x times a number in [0, 1] had from the means of all channels (Hu et al. 2018)."""

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Layer = nn.ReLU,
        scale_activation: Layer = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x))))) * x


def stochastic_depth(input: Tensor, p: float, mode: str, training: bool = True) -> Tensor:
    """In training, rows of the batch (mode "row") or all of it ("batch") 0 with probability p, else divided by 1 - p.

    Source: Huang et al. 2016.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"drop probability has to be between 0 and 1, but got {p}")
    if mode not in ("batch", "row"):
        raise ValueError(f"mode has to be either 'batch' or 'row', but got {mode}")
    if not training or p == 0:
        return input
    corner = tuple(slice(1 if axis or mode == "batch" else None) for axis in range(input.ndim))
    kept = empty_like(input.detach()[corner]).bernoulli_(1 - p)
    return input * (kept / (1 - p) if p < 1 else kept)


class StochasticDepth(nn.Module):
    """See `stochastic_depth`."""

    def __init__(self, p: float, mode: str) -> None:
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, x: Tensor) -> Tensor:
        return stochastic_depth(x, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"


class Permute(nn.Module):
    """x with its axes in another order."""

    def __init__(self, dims: Sequence[int]) -> None:
        super().__init__()
        self.dims = list(dims)

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.dims)
