"""Attention as torch.nn.functional has it, and names of torch's implementations of it."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from typing import Any

from tritongrad.generator import default_generator
from tritongrad.ops.attention import attention
from tritongrad.tensor import Tensor
from tritongrad_kernels.attention_problem import Dropout


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale query key^T + attn_mask) value, each probability dropped with chance `dropout_p`.

    Everything else is as `tritongrad.ops.attention.attention` says. Dropout is not switched off by evaluation mode:
    pass 0 there.
    """
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(
            f"scaled_dot_product_attention: dropout probability has to be between 0 and 1, but got {dropout_p}"
        )
    drop = Dropout(float(dropout_p), *default_generator.next_stream()) if dropout_p else None
    return attention(query, key, value, attn_mask, drop, is_causal, scale, enable_gqa)


class SDPBackend(enum.IntEnum):
    """torch's implementations of attention. Here there is one, fused; these are names that scripts use."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextlib.contextmanager
def sdpa_kernel(backends: Any, set_priority: bool = False) -> Iterator[dict]:
    """Accepts a backend or a list of backends, in a `with` or as a decorator; attention is computed as ever."""
    if not isinstance(backends, list | SDPBackend):
        raise AssertionError(f"sdpa_kernel: expected an SDPBackend or a list of them, got {type(backends).__name__}")
    yield {}
