"""SparseAdam, which is refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tritongrad.optim.fused import require, require_betas
from tritongrad.optim.optimizer import Optimizer
from tritongrad.tensor import Tensor


class SparseAdam(Optimizer):
    """Adam for gradients that are sparse tensors, of which there are none here: RuntimeError wherever it is made."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        require("SparseAdam", lr, eps=eps)
        require_betas("SparseAdam", betas)
        raise RuntimeError("SparseAdam: gradients are never sparse tensors here; use Adam, for dense gradients")
