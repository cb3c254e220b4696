"""Losses of a number against another: how far off it is."""

from __future__ import annotations

import math
import warnings

from tritongrad.autograd import no_grad
from tritongrad.ops.arithmetic import abs, square
from tritongrad.ops.comparison import clamp, lt, where
from tritongrad.ops.filled import full_like
from tritongrad.ops.reduce import sum
from tritongrad.ops.reduction import chosen, reduced
from tritongrad.ops.transcendental import exp, log
from tritongrad.ops.views import unsqueeze
from tritongrad.precision import raised
from tritongrad.tensor import Tensor
from tritongrad_kernels import elementwise


def _require_alike(name: str, input: Tensor, target: Tensor) -> None:
    """RuntimeError where shapes do not broadcast; a warning where they differ, which is seldom meant."""
    if input.array.shape == target.array.shape:
        return
    described = f"input {input.dtype.name}{list(input.shape)} and target {target.dtype.name}{list(target.shape)}"
    try:
        elementwise.broadcast_shapes(input.array.shape, target.array.shape)
    except ValueError:
        raise RuntimeError(f"{name}: {described} do not broadcast together") from None
    warnings.warn(
        f"{name}: using a target size that is different to the input size: {described}. This will likely lead to "
        f"incorrect results due to broadcasting. Please ensure they have the same size.",
        stacklevel=3,
    )


def _weighted(name: str, loss: Tensor, weight: Tensor | None, like: Tensor) -> Tensor:
    if weight is not None and weight.shape != like.shape:
        raise ValueError(
            f"{name}: weights and input must have the same size, got {list(weight.shape)} and {list(like.shape)}"
        )
    return loss if weight is None else loss * weight


def _averaged(name: str, loss: Tensor, weight: Tensor | None, like: Tensor, reduction: str) -> Tensor:
    """The loss, reduced; a weighted one has a weighted mean."""
    weighted = _weighted(name, loss, weight, like)
    if weight is not None and reduction == "mean":
        return sum(weighted) / sum(weight)
    return reduced(weighted, reduction, name)


@raised
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)^2, averaged over all elements, summed, or as they are. `weight` has the shape of input."""
    _require_alike("mse_loss", input, target)
    return _averaged("mse_loss", square(input - target), weight, input, chosen(reduction, size_average, reduce))


@raised
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|, averaged over all elements, summed, or as they are. `weight` has the shape of input."""
    _require_alike("l1_loss", input, target)
    return _averaged("l1_loss", abs(input - target), weight, input, chosen(reduction, size_average, reduce))


@raised
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d^2 / (2 beta) for d = |input - target| below beta, else d - beta / 2. Source: Girshick 2015, "Fast R-CNN"."""
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    _require_alike("smooth_l1_loss", input, target)
    d = abs(input - target)
    loss = d if beta == 0 else where(lt(d, beta), d * d * (0.5 / beta), d - 0.5 * beta)
    return reduced(loss, chosen(reduction, size_average, reduce), "smooth_l1_loss")


@raised
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d^2 / 2 for d = |input - target| up to delta, else delta (d - delta / 2). Source: Huber 1964."""
    if delta <= 0:
        raise RuntimeError(f"huber_loss: delta must be greater than 0, got {delta}")
    _require_alike("huber_loss", input, target)
    d = abs(input - target)
    loss = where(d <= delta, d * d * 0.5, delta * (d - 0.5 * delta))
    return reduced(_weighted("huber_loss", loss, weight, input), reduction, "huber_loss")


@raised
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-log p(target) under Poisson's distribution of rate exp(input), or input, without log(target!).

    `full` adds Stirling's approximation of that for targets above 1.
    """
    loss = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        stirling = target * log(target) - target + 0.5 * log(2 * math.pi * target)
        loss = loss + where(target > 1, stirling, 0.0)
    return reduced(loss, chosen(reduction, size_average, reduce), "poisson_nll_loss")


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log var + (input - target)^2 / var) / 2, var being at least eps; `full` adds log(2 pi) / 2.

    `var` has the shape of input, or lacks its last axis, or has 1 in the place of one. Source: Nix and Weigend 1994.
    """
    spread = var if isinstance(var, Tensor) else full_like(input.detach(), var)
    if (spread < 0).any().item():
        raise ValueError("gaussian_nll_loss: var has negative entries")
    if spread.shape != input.shape:
        if input.shape[:-1] == spread.shape:
            spread = unsqueeze(spread, -1)
        elif input.ndim != spread.ndim or [m for n, m in zip(input.shape, spread.shape, strict=True) if n != m] != [1]:
            raise ValueError(
                f"gaussian_nll_loss: var is of incorrect size {list(spread.shape)} for input {list(input.shape)}"
            )
    with no_grad():
        lacking = clamp(eps - spread, min=0.0)
    spread = spread + lacking  # has the gradient of var also where it was raised
    loss = 0.5 * (log(spread) + square(input - target) / spread)
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction, "gaussian_nll_loss")
