"""Second derivatives of every family of operations against differences of the first, in float64 on a few elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import randn
from tritongrad.autograd import gradgradcheck

Shape = tuple[int, ...]


def holds(f: Callable[..., Any], *values: Any) -> None:
    """The second derivatives of f at these values, or at normals of these shapes, are those of differences."""
    arrays = [np.asarray(v) if isinstance(v, list) else randn(*v, seed=k) for k, v in enumerate(values)]
    assert gradgradcheck(f, [tg.tensor(a, dtype=tg.float64, requires_grad=True) for a in arrays])


ANYWHERE = [-1.3, 0.4, 1.7]  # where no formula changes: not at 0, 0.5, 1, 3
POSITIVE = [0.3, 2.1]
INSIDE = [-0.7, 0.2]
ABOVE = [1.2, 3.5]
INSIDE_UNIT = [0.3, 0.8]

UNARY: dict[str, list[float]] = {
    **dict.fromkeys(
        ["abs", "ceil", "deg2rad", "frac", "neg", "reciprocal", "sign", "square", "trunc", "asinh", "atan", "cos"],
        ANYWHERE,
    ),
    **dict.fromkeys(
        ["cosh", "erf", "erfc", "exp", "exp2", "expm1", "sigmoid", "sin", "sinc", "sinh", "tanh"], ANYWHERE
    ),
    **dict.fromkeys(["digamma", "lgamma", "log", "log10", "log1p", "log2", "rsqrt", "sqrt"], POSITIVE),
    **dict.fromkeys(["acos", "asin", "atanh", "erfinv", "tan"], INSIDE),
    "acosh": ABOVE,
    "logit": INSIDE_UNIT,
}
ACTIVATIONS = ["celu", "elu", "gelu", "hardsigmoid", "hardshrink", "hardswish", "hardtanh", "leaky_relu", "logsigmoid",
               "mish", "relu", "relu6", "selu", "silu", "softplus", "softshrink", "softsign", "tanhshrink"]  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str) -> None:
    holds(getattr(tg, name), UNARY[name])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    holds(getattr(F, name), ANYWHERE)


BINARY: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(tg, name)
        for name in ["add", "sub", "mul", "div", "pow", "atan2", "hypot", "logaddexp", "logaddexp2", "xlogy", "maximum"]
    },
    **{name: getattr(tg, name) for name in ["minimum", "fmax", "fmin", "copysign", "remainder", "fmod", "float_power"]},
    "addcmul": lambda x, y: tg.addcmul(x, x, y, value=0.3),
    "addcdiv": lambda x, y: tg.addcdiv(y, x, y, value=0.3),
    "lerp": lambda x, y: tg.lerp(x, y, x * y),
    "where": lambda x, y: tg.where(x > y, x * y, y**2),
    "clamp": lambda x, y: tg.clamp(x**2, y / 3, y) ** 2,
    "prelu": lambda x, y: F.prelu(x - 1, y[:1]) ** 2,
    "polygamma": lambda x, y: tg.polygamma(1, x) * y,
    "dist": tg.dist,
    "mse_loss": F.mse_loss,
    "mul_": lambda x, y: (x * 1).mul_(y).exp_().add_(x),
    "broadcast": lambda x, y: x.unsqueeze(1) * y / (x.unsqueeze(1) + y),
}


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str) -> None:
    holds(BINARY[name], POSITIVE, [1.4, 0.5])


REDUCTIONS: dict[str, Callable[[tg.Tensor], Any]] = {
    "sum": lambda x: x.sum(0) ** 2,
    "mean": lambda x: x.mean((0, 1)) ** 2,
    "prod": lambda x: x.prod(1),
    "prod_of_all": lambda x: x.prod(),
    "prod_with_zeros": lambda x: (x * tg.tensor([1.0, 0.0], dtype=tg.float64)).prod(1),
    "var": lambda x: x.var(0),
    "std": lambda x: x.std(correction=0),
    "std_mean": lambda x: tg.std_mean(x, 0),
    "norm": lambda x: x.norm(),
    "norm_3": lambda x: x.norm(3, dim=0),
    "norm_1": lambda x: x.norm(1) ** 2,
    "norm_inf": lambda x: x.norm(float("inf"), dim=1) ** 2,
    "logsumexp": lambda x: x.logsumexp(1),
    "amax": lambda x: x.amax(0) ** 2,
    "amin": lambda x: x.amin((0, 1)) ** 3,
    "max": lambda x: x.max(1)[0] ** 2,
    "median": lambda x: x.median() ** 2,
    "quantile": lambda x: x.quantile(0.3) ** 2,
    "nansum": lambda x: x.nansum(1) ** 2,
    "nanmean": lambda x: x.nanmean() ** 2,
    "cov": lambda x: tg.cov(x),
    "cumsum": lambda x: x.cumsum(0) ** 2,
    "cumprod": lambda x: x.cumprod(0),
    "logcumsumexp": lambda x: x.logcumsumexp(0),
    "cummax": lambda x: x.cummax(0)[0] ** 2,
    "diff": lambda x: x.diff(dim=0) ** 2,
    "trapezoid": lambda x: tg.trapezoid(x**2, dim=0),
    "sort": lambda x: x.sort(0)[0] ** 2,
    "topk": lambda x: x.topk(2, 0)[0] ** 2,
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(0),
    "glu": lambda x: F.glu(x, 1),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str) -> None:
    holds(REDUCTIONS[name], (3, 2))


PRODUCTS: list[tuple[Callable[..., Any], Sequence[Shape]]] = [
    (tg.matmul, [(2,), (2,)]),
    (tg.matmul, [(2,), (2, 2)]),
    (tg.matmul, [(2, 3), (3,)]),
    (tg.matmul, [(2, 1, 2), (2, 1)]),
    (tg.matmul, [(2, 1, 1, 1), (2, 1, 1)]),
    (tg.addmm, [(2,), (1, 2), (2, 2)]),
    (tg.baddbmm, [(1, 1, 2), (1, 1, 2), (1, 2, 2)]),
    (lambda x, y: tg.einsum("ij,ik->jk", x, y), [(2, 1), (2, 2)]),
    (lambda x: tg.einsum("ii->i", x) ** 2, [(2, 2)]),
    (F.linear, [(1, 2), (2, 2), (2,)]),
    (F.bilinear, [(1, 2), (1, 1), (1, 2, 1)]),
    (tg.kron, [(1, 2), (2, 1)]),
    (lambda x: tg.cross(x, x.flip(0) ** 2, 0), [(3,)]),
    (lambda x: tg.linalg.det(x), [(2, 2)]),
    (lambda x: tg.linalg.inv(x + 3 * tg.eye(2, dtype=tg.float64)), [(2, 2)]),
]


@pytest.mark.parametrize(("f", "shapes"), PRODUCTS)
def test_products(f: Callable[..., Any], shapes: Sequence[Shape]) -> None:
    holds(f, *shapes)


IMAGES: dict[str, tuple[Callable[..., Any], Sequence[Shape]]] = {
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [(1, 1, 2, 1), (1, 1, 2, 1), (1,)]),
    "conv2d_strided": (lambda x, w: F.conv2d(x, w, stride=2, dilation=(1, 2)), [(1, 1, 1, 3), (2, 1, 1, 2)]),
    "conv2d_groups": (lambda x, w: F.conv2d(x, w, groups=2), [(1, 2, 1, 2), (2, 1, 1, 1)]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2, 1) ** 2, [(1, 1, 3, 2)]),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2, 1, 1, count_include_pad=False) ** 2, [(1, 1, 2, 3)]),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (2, 1)) ** 2, [(1, 1, 3, 2)]),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), [(3, 1), (1,), (1,)]),
    "batch_norm_eval": (
        lambda x, w, b: F.batch_norm(x, tg.ones(1).double(), 2 * tg.ones(1).double(), w, b) ** 2,
        [(2, 1), (1,), (1,)],
    ),
    "cross_entropy": (lambda x: F.cross_entropy(x, tg.tensor([2, 0]), label_smoothing=0.1), [(2, 3)]),
    "cross_entropy_weighted": (
        lambda x: F.cross_entropy(x, tg.tensor([1, 0]), tg.tensor([0.5, 2.0]).double(), ignore_index=0),
        [(2, 2)],
    ),
    "cross_entropy_of_probabilities": (lambda x, q: F.cross_entropy(x, q, reduction="sum"), [(2, 2), (2, 2)]),
    "nll_loss": (lambda x: F.nll_loss(x**2, tg.tensor([1, 0])), [(2, 2)]),
}


@pytest.mark.parametrize("name", IMAGES)
def test_layers(name: str) -> None:
    f, shapes = IMAGES[name]
    holds(f, *shapes)


I, J = tg.tensor([1, 0, 1]), tg.tensor([[1, 0], [1, 1]])

PLACES: dict[str, Callable[[tg.Tensor], Any]] = {
    "gather": lambda x: x.gather(0, J) ** 2,
    "scatter": lambda x: (x**2).scatter(0, J[:1], x[:1] ** 3),
    "scatter_add": lambda x: (x**2).scatter_add(0, J, x**3),
    "index_select": lambda x: x.index_select(0, I) ** 2,
    "index_add": lambda x: (x**2).index_add(0, I, x[[0, 1, 0]] ** 3, alpha=0.5),
    "index_copy": lambda x: (x**2).index_copy(0, I[:1], x[1:] ** 3),
    "index_fill": lambda x: (x**2).index_fill(1, I[:1], x[0, 0] ** 3),
    "take": lambda x: x.take(J) ** 2,
    "embedding": lambda x: F.embedding(I, x) ** 2,
    "getitem": lambda x: x[I, :1] ** 2 + x[None, -1, ..., ::2] ** 3,
    "getitem_by_mask": lambda x: x[J == 1] ** 2,
    "setitem": lambda x: assigned(x**2, x[0] ** 3),
    "index_put": lambda x: (x**2).index_put((I,), x[[0, 1, 0]] ** 3, accumulate=True),
    "masked_fill": lambda x: (x**2).masked_fill(J == 1, x[0, 0] ** 3),
    "masked_select": lambda x: x.masked_select(J == 1) ** 2,
    "masked_scatter": lambda x: (x**2).masked_scatter(J == 1, x**3),
    "tril": lambda x: x.tril() ** 2,
    "view": lambda x: x.view(4) ** 2,
    "permute": lambda x: x.permute(1, 0).reshape(4) ** 2,
    "expand": lambda x: x[:, :1].expand(2, 3) ** 2 * x[:, 1:],
    "unfold": lambda x: x.unfold(1, 2, 1) ** 2 + x.unfold(0, 1, 1) ** 3,
    "as_strided": lambda x: x.as_strided((3, 2), (1, 1)) ** 2,
    "diagonal": lambda x: x.diagonal() ** 2,
    "diag_embed": lambda x: x.diag_embed(1) ** 2,
    "split": lambda x: x.split(1)[1] * x.split(1, 1)[0],
    "pad": lambda x: F.pad(x, (1, -1, 0, 1)) ** 2,
    "pad_reflect": lambda x: F.pad(x, (1, 1), "reflect") ** 2,
    "cat": lambda x: tg.cat([x, x**2], 1) ** 2,
    "stack": lambda x: tg.stack([x, x**2]) ** 2,
    "flip": lambda x: x.flip(0) * x,
    "roll": lambda x: x.roll(1, 1) * x,
    "repeat": lambda x: x.repeat(1, 2) ** 2,
    "repeat_interleave": lambda x: x.repeat_interleave(tg.tensor([2, 1]), 0) ** 2,
    "a written view": lambda x: written(x * 1, x),
}


def assigned(x: tg.Tensor, value: tg.Tensor) -> tg.Tensor:
    x[:, 0] = value
    x[I[:1], 1] *= 2
    return x


def written(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    x[:, 1].mul_(y[0])
    return x**2


@pytest.mark.parametrize("name", PLACES)
def test_places(name: str) -> None:
    holds(PLACES[name], (2, 2))
