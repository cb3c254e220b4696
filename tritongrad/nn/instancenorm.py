"""Instance normalisation layers."""

from __future__ import annotations

import warnings
from typing import Any

from tritongrad.nn import functional as F
from tritongrad.nn.batchnorm import _NormBase, require_rank
from tritongrad.tensor import Tensor
from tritongrad_kernels.dtypes import dtype


class _InstanceNorm(_NormBase):
    """Normalise each channel of each element of the batch; the batch axis may be missing."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _get_no_batch_dim(self) -> int:
        """How many dimensions an input without a batch axis has."""
        raise NotImplementedError

    def _check_input_dim(self, input: Tensor) -> None:
        alone = self._get_no_batch_dim()
        require_rank(input, alone, alone + 1)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        alone = self._get_no_batch_dim()
        axis = input.ndim - alone
        if input.shape[axis] != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={axis} to match num_features ({self.num_features}), "
                    f"but got: {input.shape[axis]}."
                )
            warnings.warn(
                f"input's size at dim={axis} does not match num_features. You can silence this warning by not passing "
                "in num_features, which is not used because affine=False",
                stacklevel=2,
            )
        return self._normalised(input.unsqueeze(0)).squeeze(0) if input.ndim == alone else self._normalised(input)

    def _normalised(self, input: Tensor) -> Tensor:
        return F.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of [N, C, L] or [C, L]."""

    def _get_no_batch_dim(self) -> int:
        return 2


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of [N, C, H, W] or [C, H, W]."""

    def _get_no_batch_dim(self) -> int:
        return 3


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of [N, C, D, H, W] or [C, D, H, W]."""

    def _get_no_batch_dim(self) -> int:
        return 4
