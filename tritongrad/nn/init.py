"""Initial values of parameters, in place. Distributions equal torch.nn.init's."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

from tritongrad import random
from tritongrad.autograd import no_grad
from tritongrad.ops.comparison import clamp, where
from tritongrad.ops.decomposition import qr
from tritongrad.ops.filled import empty_like
from tritongrad.ops.joining import repeat
from tritongrad.ops.ranges import eye as identity
from tritongrad.ops.sort import argsort
from tritongrad.ops.transcendental import erfinv
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes

_LINEAR = ("linear", "sigmoid", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity's input should spread more than its output, as torch tabulates it."""
    gains = {"tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4, **dict.fromkeys(_LINEAR, 1.0)}
    if nonlinearity == "leaky_relu":
        if param is not None and (isinstance(param, bool) or not isinstance(param, int | float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in gains:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return gains[nonlinearity]


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs an output of this weight has, and how many outputs an input."""
    if tensor.ndim < 2:
        raise ValueError(
            f"Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got {list(tensor.shape)}"
        )
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def _require_rank(tensor: Tensor, *ranks: int) -> None:
    if tensor.ndim not in ranks:
        wanted = ", ".join(map(str, ranks[:-1])) + (", or " if ranks[1:] else "") + str(ranks[-1])
        raise ValueError(f"Only tensors with {wanted} dimensions are supported")


@no_grad()
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform on [a, b)."""
    return random.uniform_(tensor, a, b, generator=generator)


@no_grad()
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal."""
    return random.normal_(tensor, mean, std, generator=generator)


@no_grad()
def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Normal, given that it lies in [a, b]: the inverse distribution function of uniforms."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )
    low, high = (math.erf((edge - mean) / (std * math.sqrt(2))) for edge in (a, b))
    wide = empty_like(tensor, dtype=dtypes.accumulator(tensor.dtype), requires_grad=False)
    drawn = erfinv(random.uniform_(wide, low, high, generator=generator)) * (std * math.sqrt(2)) + mean
    return tensor.copy_(clamp(drawn, a, b))


@no_grad()
def constant_(tensor: Tensor, val: float) -> Tensor:
    """One number throughout."""
    return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1.0)


@no_grad()
def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix, as far as it goes."""
    _require_rank(tensor, 2)
    return tensor.copy_(identity(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


@no_grad()
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution's weight that hands on as many channels of each group as it can: 1 in the middle of the window."""
    _require_rank(tensor, 3, 4, 5)
    if tensor.shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    tensor.fill_(0)
    if not tensor.numel():
        return tensor
    middle = tensor[(slice(None), slice(None), *(n // 2 for n in tensor.shape[2:]))]
    share = identity(tensor.shape[0] // groups, tensor.shape[1], dtype=tensor.dtype, device=tensor.device)
    middle.copy_(repeat(share, groups, 1))
    return tensor


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform on +-gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    bound = gain * math.sqrt(6 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with deviation gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_calculate_fan_in_and_fan_out(tensor))), generator)


def _is_empty(tensor: Tensor) -> bool:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
    return 0 in tensor.shape


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Uniform on +-gain sqrt(3 / fan) (He et al. 2015)."""
    if _is_empty(tensor):
        return tensor
    fan = _calculate_correct_fan(tensor, mode)
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3 / fan)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Normal with deviation gain / sqrt(fan) (He et al. 2015)."""
    if _is_empty(tensor):
        return tensor
    fan = _calculate_correct_fan(tensor, mode)
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(fan), generator)


@no_grad()
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """A random matrix with orthonormal rows or columns, whichever are fewer, times `gain` (Saxe et al. 2013).

    More than two axes are joined to the second. It is Q of a normal matrix, each column with the sign that R's
    diagonal has, which makes all such matrices equally likely.
    """
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if not tensor.numel():
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    kind = dtypes.accumulator(tensor.dtype)
    drawn = random.randn(rows, columns, generator=generator, dtype=kind, device=tensor.device)
    q, r = qr(drawn.t() if rows < columns else drawn)
    q = q * where(r.diagonal() < 0, -1.0, 1.0)
    q = q.t() if rows < columns else q
    return tensor.copy_((q * gain).reshape(tensor.shape))


@no_grad()
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal, with the fraction `sparsity` of the elements of each column, rounded up, set to 0 (Martens 2010)."""
    _require_rank(tensor, 2)
    normal_(tensor, 0.0, std, generator)
    order = argsort(random.rand(tensor.shape, generator=generator, device=tensor.device), 0)
    return tensor.masked_fill_(order < math.ceil(sparsity * tensor.shape[0]), 0.0)


def _deprecated(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function under its name of old, without the underscore, with a FutureWarning."""
    new = function.__name__
    old = new[:-1]

    @functools.wraps(function)
    def renamed(*args: Any, **kwargs: Any) -> Tensor:
        message = f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`."
        warnings.warn(message, FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    renamed.__name__ = renamed.__qualname__ = old
    return renamed


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
