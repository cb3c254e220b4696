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
        if not got.is_floating_point():
            if different := int((got != want).sum()):
                raise WrongResult(f"output {k}: {different} of {got.numel()} numbers are different")
            return 0.0
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


@dataclass(frozen=True)
class Drawn:
    """Numbers drawn at random: their mean and standard deviation, and what values there may be, if not all.

    Ten times the deviation that independent numbers of this many would have is allowed, and what the dtype rounds off.
    """

    mean: float
    std: float
    values: tuple[float, ...] | None = None

    def check(self, got: Tensors, want: Tensors, peer: Tensors) -> Error:
        """How far mean and deviation are off, against a deviation; WrongResult if that is not allowed."""
        worst = Error(0.0, 0.0)
        for k, (g, w) in enumerate(zip(got, want, strict=True)):
            _same_kind(k, g, w)
            rounded = ROUNDOFF[g.dtype] * max(map(abs, self.values or (1.0,)))
            allowed = 10 * self.std / math.sqrt(g.numel()) + rounded
            exact = g.float()
            mean, std = float(exact.mean(dtype=torch.float64)), float(exact.std())
            off = max(abs(mean - self.mean), abs(std - self.std))
            if off > allowed:
                raise WrongResult(f"output {k}: mean {mean:.4g} and deviation {std:.4g} are not what was to be drawn")
            if self.values is not None:
                nearest = torch.stack([(exact - v).abs() for v in self.values]).amin(0)
                if bool((nearest > rounded).any()):
                    raise WrongResult(f"output {k}: values other than {self.values}")
            worst = max(worst, Error(off / self.std, off / allowed), key=lambda e: e.of_bound)
        return worst


Bound = Rounding | LikePeer | Drawn


def relative_error(got: Tensors, want: Tensors) -> float:
    """|got - want| / |want|, Euclidean, over all tensors together."""
    pairs = [
        (g.to(w.dtype), w) if w.is_floating_point() else (g.double(), w.double())
        for g, w in zip(got, want, strict=True)
    ]
    off = sum(float(torch.linalg.vector_norm(g - w)) ** 2 for g, w in pairs)
    size = sum(float(torch.linalg.vector_norm(w)) ** 2 for _, w in pairs)
    return math.sqrt(off / size) if size else math.sqrt(off)


def _same_kind(k: int, got: torch.Tensor, want: torch.Tensor) -> None:
    if got.shape != want.shape:
        raise WrongResult(f"output {k} has shape {list(got.shape)}, expected {list(want.shape)}")
    if not bool(torch.isfinite(got).all()):
        raise WrongResult(f"output {k} is not finite everywhere")
