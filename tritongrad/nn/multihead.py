"""Attention of several heads as a module."""

from __future__ import annotations

from typing import Any

from tritongrad.nn import functional as F, init
from tritongrad.nn.attention import added
from tritongrad.nn.linear import Linear
from tritongrad.nn.module import Module, Parameter
from tritongrad.ops.filled import uninitialised
from tritongrad.tensor import Tensor
from tritongrad_kernels.dtypes import dtype


class NonDynamicallyQuantizableLinear(Linear):
    """A Linear under the name that torch gives the last one of MultiheadAttention."""


class MultiheadAttention(Module):
    """Attention of `num_heads` heads; see `functional.multi_head_attention_forward` for masks and results.

    query is [L, N, embed_dim], key [S, N, kdim], value [S, N, vdim]; with `batch_first` N comes first; one sequence may
    come without N. Where kdim and vdim are embed_dim, the three projections are one parameter. Projections are drawn as
    `init.xavier_uniform_` does, biases are 0, and bias_k and bias_v are drawn as `init.xavier_normal_` does.
    """

    __constants__ = ("batch_first",)

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads}"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads, self.dropout, self.batch_first = num_heads, dropout, batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError(f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}")

        def parameter(name: str, wanted: bool, *shape: int) -> None:
            values = uninitialised(*shape, device=device, dtype=dtype) if wanted else None
            self.register_parameter(name, None if values is None else Parameter(values))

        same = self._qkv_same_embed_dim
        separate = {"q_proj_weight": embed_dim, "k_proj_weight": self.kdim, "v_proj_weight": self.vdim}
        for name, width in separate.items() if not same else ():
            parameter(name, True, embed_dim, width)
        parameter("in_proj_weight", same, 3 * embed_dim, embed_dim)
        for name in separate if same else ():
            parameter(name, False)
        parameter("in_proj_bias", bias, 3 * embed_dim)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, device, dtype)
        self.bias_k: Parameter | None = None
        self.bias_v: Parameter | None = None
        if add_bias_kv:
            self.bias_k = Parameter(uninitialised(1, 1, embed_dim, device=device, dtype=dtype))
            self.bias_v = Parameter(uninitialised(1, 1, embed_dim, device=device, dtype=dtype))
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        swapped = self.batch_first and query.ndim == 3
        if swapped:
            query, key, value = (t.transpose(0, 1) for t in (query, key, value))
        y, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (y.transpose(0, 1) if swapped else y), weights

    def merge_masks(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, query: Tensor
    ) -> tuple[Tensor | None, int | None]:
        """Both masks as one to add to [N, num_heads, L, L] scores, and 2; or that of padding alone and 1; or Nones."""
        padding = None if key_padding_mask is None else added(key_padding_mask, query.dtype)
        if attn_mask is None:
            return padding, None if padding is None else 1
        batch, length = query.shape[0], query.shape[1]
        mask = added(attn_mask, query.dtype).reshape(-1, 1 if attn_mask.ndim == 2 else self.num_heads, length, length)
        whole = mask.expand(batch, self.num_heads, length, length)
        return (whole if padding is None else whole + padding.reshape(batch, 1, 1, length)), 2
