"""Attention as torch.nn.functional has it, and names of torch's implementations of it."""

from __future__ import annotations

import contextlib
import enum
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from tritongrad.dropout import dropout
from tritongrad.generator import default_generator
from tritongrad.ops.attention import attention
from tritongrad.ops.filled import zeros
from tritongrad.ops.joining import cat
from tritongrad.ops.linalg import linear, matmul
from tritongrad.ops.masking import masked_fill
from tritongrad.ops.softmax import softmax
from tritongrad.ops.views import transpose
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes
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


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of `num_heads` heads, each on its part of linear maps of query, key and value; joined and mapped again.

    query is [L, N, W] or, of one sequence, [L, W]; key [S, N, Wk], value [S, N, Wv]. The maps are the three thirds of
    `in_proj_weight` [3 W, W], or `q_proj_weight` [W, W], `k_proj_weight` [W, Wk] and `v_proj_weight` [W, Wv].
    `attn_mask` [L, S] or [N num_heads, L, S] and `key_padding_mask` [N, S] are True, or -inf to add, where a query may
    not see a key. `bias_k` and `bias_v` [1, 1, W] are one more key and value, `add_zero_attn` adds one of zeros, and
    `static_k` and `static_v` [N num_heads, S, W / num_heads] stand for what would be computed. `is_causal` says that
    `attn_mask`, which must be there, is the causal one.

    Returns the result [L, N, W] and, if `need_weights`, the probabilities [N, L, S], a mean over heads, or with
    `average_attn_weights=False` [N, num_heads, L, S]. Without them attention is fused. Source: Vaswani et al. 2017.
    """
    batched = _check_operands(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, width = query.array.shape
    check_mask("key_padding_mask", key_padding_mask, "attn_mask", attn_mask)
    check_mask("attn_mask", attn_mask)
    if is_causal and attn_mask is None:
        raise RuntimeError("multi_head_attention_forward: is_causal is a hint about attn_mask, which must be given too")
    is_causal = is_causal and key_padding_mask is None and not need_weights
    heads = (num_heads, width // num_heads)
    if width != embed_dim_to_check or math.prod(heads) != width:
        raise AssertionError(
            f"multi_head_attention_forward: expected a query of {embed_dim_to_check} numbers for {num_heads} heads, "
            f"got {width}"
        )
    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else _thirds(in_proj_weight)
    shared = 2 if use_separate_proj_weight else 3
    if key.shape[:shared] != value.shape[:shared]:
        raise AssertionError(
            f"multi_head_attention_forward: key {list(key.shape)} and value {list(value.shape)} do not go together"
        )
    maps = zip((query, key, value), weights, _thirds(in_proj_bias), strict=True)
    q, k, v = (_projection(x, w, b) for x, w, b in maps)
    mask = None if is_causal else _mask_of_heads(attn_mask, (batch, num_heads, length, key.array.shape[0]))
    if (bias_k is None) != (bias_v is None) or (bias_k is not None and (static_k is not None or static_v is not None)):
        raise AssertionError("multi_head_attention_forward: bias_k and bias_v go together, and not with a static key")
    extra = int(bias_k is not None) + int(add_zero_attn)
    if bias_k is not None and bias_v is not None:
        k, v = cat([k, bias_k.expand(1, batch, width)]), cat([v, bias_v.expand(1, batch, width)])
    q, k, v = (t.unflatten(-1, heads).permute(1, 2, 0, 3) for t in (q, k, v))
    k, v = _static(k, static_k, "static_k"), _static(v, static_v, "static_v")
    if add_zero_attn:
        k, v = (cat([t, zeros(batch, num_heads, 1, heads[1], dtype=t.dtype, device=t.device)], -2) for t in (k, v))
    mask, padding = _extended(mask, extra), _extended(key_padding_mask, extra)
    if padding is not None:
        if padding.shape != (batch, k.shape[-2]):
            raise AssertionError(
                f"multi_head_attention_forward: expected a key_padding_mask [{batch}, {k.shape[-2] - extra}], "
                f"got {list(padding.shape)} for keys with {extra} more"
            )
        mask = _both(mask, padding.reshape(batch, 1, 1, -1), q.dtype)
    chance = dropout_p if training else 0.0
    p = None
    if need_weights:
        y, p = _attended(q, k, v, mask, chance)
        p = p.mean(1) if average_attn_weights else p
    else:
        allowed = ~mask if mask is not None and mask.dtype is dtypes.bool_ else mask
        y = scaled_dot_product_attention(q, k, v, allowed, chance, is_causal)
    y = linear(y.permute(2, 0, 1, 3).reshape(length, batch, width), out_proj_weight, out_proj_bias)
    return (y, p) if batched else (y.squeeze(1), None if p is None else p.squeeze(0))


def check_mask(name: str, mask: Tensor | None, other_name: str = "", other: Tensor | None = None) -> None:
    """AssertionError unless a mask is of bools or floating-point numbers; a warning if another is of another kind."""
    if mask is None:
        return
    if mask.dtype is not dtypes.bool_ and not mask.dtype.is_floating_point:
        raise AssertionError(f"only bool and floating types of {name} are supported, got {mask.dtype.name}")
    if other is not None and other.dtype is not mask.dtype:
        warnings.warn(f"{name} and {other_name} of different dtypes are deprecated: use one for both", stacklevel=3)


def added(mask: Tensor, dtype: dtypes.dtype) -> Tensor:
    """A mask to add to scores: of bools, -inf where they are True."""
    if mask.dtype is not dtypes.bool_:
        return mask
    return masked_fill(zeros(*mask.shape, dtype=dtype, device=mask.device), mask, -math.inf)


def _check_operands(
    query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None, num_heads: int
) -> bool:
    """Whether there is an axis of batches; AssertionError if not all agree."""
    if query.ndim not in (2, 3):
        raise AssertionError(f"multi_head_attention_forward: expected a 2-d or 3-d query, got {query.ndim}-d")
    if key.ndim != query.ndim or value.ndim != query.ndim:
        raise AssertionError(
            f"multi_head_attention_forward: expected key and value to be {query.ndim}-d as query is, "
            f"got {key.ndim}-d and {value.ndim}-d"
        )
    if padding is not None and padding.ndim != query.ndim - 1:
        raise AssertionError(
            f"multi_head_attention_forward: expected a {query.ndim - 1}-d key_padding_mask, got {padding.ndim}-d"
        )
    if mask is not None and mask.ndim not in (2, 3):
        raise AssertionError(f"multi_head_attention_forward: expected a 2-d or 3-d attn_mask, got {mask.ndim}-d")
    whole = (num_heads, query.shape[0], key.shape[0])
    if mask is not None and query.ndim == 2 and mask.ndim == 3 and mask.shape != whole:
        raise AssertionError(
            f"multi_head_attention_forward: expected an attn_mask {list(whole)}, got {list(mask.shape)}"
        )
    return query.ndim == 3


def _thirds(packed: Tensor | None) -> Sequence[Tensor | None]:
    return (None, None, None) if packed is None else packed.chunk(3)


def _projection(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is None:
        raise AssertionError("multi_head_attention_forward: a weight of the projections is None")
    return linear(x, weight, bias)


def _mask_of_heads(mask: Tensor | None, whole: tuple[int, int, int, int]) -> Tensor | None:
    """An attn_mask so that it broadcasts to `whole`."""
    if mask is None:
        return None
    batch, heads, *pairs = whole
    if mask.shape != (*([batch * heads] if mask.ndim == 3 else []), *pairs):
        raise RuntimeError(
            f"multi_head_attention_forward: expected an attn_mask {pairs} or {[batch * heads, *pairs]}, "
            f"got {list(mask.shape)}"
        )
    return mask.reshape(batch, heads, *pairs) if mask.ndim == 3 else mask


def _static(computed: Tensor, given: Tensor | None, name: str) -> Tensor:
    """What was given [batch heads, S, E] instead of what was computed [batch, heads, S, E]."""
    if given is None:
        return computed
    batch, heads, _, width = computed.array.shape
    if given.ndim != 3 or given.shape[0] != batch * heads or given.shape[2] != width:
        raise AssertionError(
            f"multi_head_attention_forward: expected {name} of shape [{batch * heads}, S, {width}], "
            f"got {list(given.shape)}"
        )
    return given.reshape(batch, heads, -1, width)


def _extended(mask: Tensor | None, extra: int) -> Tensor | None:
    """A mask, with as many more keys that everything may see."""
    if mask is None or not extra:
        return mask
    return cat([mask, zeros(*mask.shape[:-1], extra, dtype=mask.dtype, device=mask.device)], -1)


def _both(mask: Tensor | None, other: Tensor, dtype: dtypes.dtype) -> Tensor:
    if mask is None:
        return other
    if mask.dtype is other.dtype is dtypes.bool_:
        return mask | other
    return added(mask, dtype) + added(other, dtype)


def _attended(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, chance: float) -> tuple[Tensor, Tensor]:
    """The result and the probabilities that went into it; where everything is forbidden they are NaN."""
    scores = matmul(q * math.sqrt(1 / q.shape[-1]), transpose(k, -2, -1))
    if mask is not None:
        scores = masked_fill(scores, mask, -math.inf) if mask.dtype is dtypes.bool_ else scores + mask
    p = dropout(softmax(scores, -1), chance)
    return matmul(p, v), p


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
