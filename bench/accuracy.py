"""Whether a result is right: no time counts before this says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

# Relative error of one correctly rounded operation. Sums run in float32 for all of these.
ROUNDOFF = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11, torch.float32: 2.0**-24}
CEILING = 0.9

Tensors = Sequence[torch.Tensor]


class WrongResult(Exception):
    """A result is further from the reference than its dtype allows."""


@dataclass(frozen=True)
class Error:
    """`norm` is |got - want| / |want| over all outputs; `of_bound` the largest error as a share of the allowed one."""

    norm: float
    of_bound: float


@dataclass(frozen=True)
class Rounding:
    """Every element must be its exact value rounded, plus what float32 loses in a sum of `terms` terms.

    `kinks` is the share of elements allowed outside, because a ReLU whose input is within rounding of zero may fall
    either way. With `stored`, a result on the way, as large as the largest of all, is rounded too: what is added to it
    is added to what torch would have stored.
    """

    terms: int = 1
    kinks: float = 0.0
    stored: bool = False

    def check(self, got: Tensors, want: Tensors, peer: Tensors) -> Error:
        """The error of `got`; WrongResult if it is not allowed."""
        worst = max(self._check(k, g, w) for k, (g, w) in enumerate(zip(got, want, strict=True)))
        return Error(relative_error(got, want), worst)

    def _check(self, k: int, got: torch.Tensor, want: torch.Tensor) -> float:
        _same_kind(k, got, want)
        summed = 8 * ROUNDOFF[torch.float32] * (2 + math.sqrt(self.terms)) * want.square().mean().sqrt()
        allowed = want.abs().mul_(1.1 * ROUNDOFF[got.dtype]).add_(summed)
        if self.stored:
            allowed.add_(1.1 * ROUNDOFF[got.dtype] * want.abs().max())
        share = got.to(want.dtype, copy=True).sub_(want).abs_().div_(allowed)
        outside = share > 1
        count = int(outside.sum())
        if count > self.kinks * got.numel():
            raise WrongResult(
                f"output {k}: {count} of {got.numel()} elements are off by more than rounding, "
                f"up to {float(share.max()):.3g} times the allowed error"
            )
        return float(share.masked_fill_(outside, 0).max())


@dataclass(frozen=True)
class LikePeer:
    """Each output's relative error in norm may be `factor` times the peer's own, or `floor` where that is exact.

    For whole training steps, whose conditioning no formula knows. Never as much as `CEILING`: a gradient of zeros is
    off by 1.
    """

    factor: float
    floor: float

    def check(self, got: Tensors, want: Tensors, peer: Tensors) -> Error:
        """The error of `got`; WrongResult if it is not allowed."""
        worst = 0.0
        for k, (g, w, p) in enumerate(zip(got, want, peer, strict=True)):
            _same_kind(k, g, w)
            error = relative_error([g], [w])
            allowed = min(max(self.factor * relative_error([p], [w]), self.floor), CEILING)
            if error > allowed:
                raise WrongResult(f"output {k}: off by {error:.3g} in norm, allowed is {allowed:.3g}")
            worst = max(worst, error / allowed)
        return Error(relative_error(got, want), worst)


Bound = Rounding | LikePeer


def relative_error(got: Tensors, want: Tensors) -> float:
    """|got - want| / |want|, Euclidean, over all tensors together."""
    off = sum(float(torch.linalg.vector_norm(g.to(w.dtype) - w)) ** 2 for g, w in zip(got, want, strict=True))
    size = sum(float(torch.linalg.vector_norm(w)) ** 2 for w in want)
    return math.sqrt(off / size) if size else math.sqrt(off)


def _same_kind(k: int, got: torch.Tensor, want: torch.Tensor) -> None:
    if got.shape != want.shape:
        raise WrongResult(f"output {k} has shape {list(got.shape)}, expected {list(want.shape)}")
    if not bool(torch.isfinite(got).all()):
        raise WrongResult(f"output {k} is not finite everywhere")
