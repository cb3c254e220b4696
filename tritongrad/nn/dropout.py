"""Dropout layers."""

from __future__ import annotations

from tritongrad.nn import functional as F
from tritongrad.nn.module import Module
from tritongrad.tensor import Tensor


class Dropout(Module):
    """In training, each element 0 with probability p, else divided by 1 - p (Srivastava et al. 2014)."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
