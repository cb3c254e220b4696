"""Tables of vectors, looked up by number."""

from __future__ import annotations

from typing import Any

from tritongrad.autograd import no_grad
from tritongrad.nn import functional as F, init
from tritongrad.nn.module import Module, Parameter
from tritongrad.ops.filled import uninitialised
from tritongrad.tensor import Tensor
from tritongrad_kernels.dtypes import dtype


class _Table(Module):
    """A weight [num_embeddings, embedding_dim], standard normal, the row `padding_idx` 0."""

    def _set_table(
        self, size: tuple[int, int], padding_idx: int | None, weight: Tensor | None, frozen: bool, **options: Any
    ) -> None:
        self.num_embeddings, self.embedding_dim = size
        if padding_idx is not None and not -size[0] <= padding_idx < max(size[0], 1):
            raise AssertionError(f"padding_idx {padding_idx} must be within num_embeddings {size[0]}")
        self.padding_idx = padding_idx if padding_idx is None or padding_idx >= 0 else padding_idx + size[0]
        if weight is not None and tuple(weight.shape) != tuple(size):
            raise AssertionError(
                f"Shape of weight {list(weight.shape)} does not match num_embeddings and embedding_dim {list(size)}"
            )
        values = uninitialised(size, **options) if weight is None else weight
        self.weight = Parameter(values, requires_grad=not frozen)
        if weight is None:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.normal_(self.weight)
        self._fill_padding_idx_with_zero()

    def _fill_padding_idx_with_zero(self) -> None:
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)


class Embedding(_Table):
    """The rows of a table that integers name; see `functional.embedding`."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        size = (num_embeddings, embedding_dim)
        self._set_table(size, padding_idx, _weight, _freeze, device=device, dtype=dtype)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer with this table, which is not trained if `freeze`."""
        _require_matrix(embeddings)
        rows, size = embeddings.shape
        return cls(rows, size, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, embeddings, freeze)

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        parts = [f"{self.num_embeddings}, {self.embedding_dim}"]
        if self.padding_idx is not None:
            parts.append(f"padding_idx={self.padding_idx}")
        parts += _unusual(self, scale_grad_by_freq=False, sparse=False)
        return ", ".join(parts)


class EmbeddingBag(_Table):
    """Sums, means or maxima of bags of rows of a table; see `functional.embedding_bag`."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.mode, self.sparse = scale_grad_by_freq, mode, sparse
        self.include_last_offset = include_last_offset
        size = (num_embeddings, embedding_dim)
        self._set_table(size, padding_idx, _weight, False, device=device, dtype=dtype)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """A layer with this table, which is not trained if `freeze`."""
        _require_matrix(embeddings)
        rows, size = embeddings.shape
        layer = cls(
            rows, size, max_norm, norm_type, scale_grad_by_freq, mode, sparse, embeddings, include_last_offset,
            padding_idx,
        )  # fmt: skip
        layer.weight.requires_grad = not freeze
        return layer

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        parts = [f"{self.num_embeddings}, {self.embedding_dim}", *_unusual(self, scale_grad_by_freq=False)]
        parts.append(f"mode={self.mode!r}")
        if self.padding_idx is not None:
            parts.append(f"padding_idx={self.padding_idx}")
        return ", ".join(parts)


def _unusual(layer: _Table, **also: Any) -> list[str]:
    """What a repr says of the settings that are not the default."""
    usual = {"max_norm": None, "norm_type": 2, **also}
    return [f"{k}={getattr(layer, k)}" for k, default in usual.items() if getattr(layer, k) != default]


def _require_matrix(embeddings: Tensor) -> None:
    if embeddings.ndim != 2:
        raise AssertionError(f"Embeddings parameter is expected to be 2-dimensional, got {list(embeddings.shape)}")
