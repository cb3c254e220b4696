"""Batch normalisation layers."""

from __future__ import annotations

from typing import Any

from tritongrad.autograd import no_grad
from tritongrad.nn import functional as F
from tritongrad.nn.module import Module, Parameter
from tritongrad.ops.creation import tensor
from tritongrad.ops.filled import ones, zeros
from tritongrad.tensor import Tensor
from tritongrad_kernels.dtypes import dtype


class _BatchNorm(Module):
    """Normalise each channel by the batch's statistics in training, by running ones otherwise.

    momentum  how far running statistics move towards the batch's; None averages over all batches so far.
    """

    ranks: tuple[int, ...]
    shapes: str

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        options = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(ones(num_features, **options)) if affine else None)
        self.register_parameter("bias", Parameter(zeros(num_features, **options)) if affine else None)
        self.register_buffer("running_mean", zeros(num_features, **options) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features, **options) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", tensor(0, device=device) if track_running_stats else None)

    @no_grad()
    def reset_running_stats(self) -> None:
        """Running statistics as at the beginning."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Everything as at the beginning."""
        self.reset_running_stats()
        if self.affine:
            with no_grad():
                self.weight.fill_(1)
                self.bias.zero_()

    def forward(self, x: Tensor, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        """The normalised x, with `residual` added and a ReLU applied in the same pass where wanted."""
        if x.ndim not in self.ranks or x.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}: expected an input {self.shapes} with {self.num_features} channels, "
                f"got shape {list(x.shape)}"
            )
        momentum = self.momentum
        if self.training and self.track_running_stats:
            with no_grad():
                self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1.0 / max(self.num_batches_tracked.item(), 1)  # a dry run counts none
        by_batch = self.training or not self.track_running_stats
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            by_batch,
            momentum or 0.0,
            self.eps,
            residual=residual,
            relu=relu,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of [N, C] or [N, C, L]."""

    ranks, shapes = (2, 3), "[N, C] or [N, C, L]"


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of [N, C, H, W]."""

    ranks, shapes = (4,), "[N, C, H, W]"
