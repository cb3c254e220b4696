"""Scaled dot-product attention, fused where that is worth it and composed of other operations where it is not."""

from __future__ import annotations

import math

from tritongrad.autograd import enable_grad, is_grad_enabled
from tritongrad.ops.comparison import where
from tritongrad.ops.filled import ones
from tritongrad.ops.joining import repeat_interleave
from tritongrad.ops.linalg import described, matmul, require_alike
from tritongrad.ops.masking import masked_fill, tril
from tritongrad.ops.softmax import softmax
from tritongrad.ops.views import flatten, transpose, unflatten, unsqueeze
from tritongrad.precision import lowered
from tritongrad.tensor import Tensor, differentiable, record_joint
from tritongrad_kernels import attention as kernel, attention_grad, dtypes, random as random_numbers
from tritongrad_kernels.attention_problem import WIDEST, Dropout, Problem, is_short
from tritongrad_kernels.elementwise import broadcast_shapes


@lowered
def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout: Dropout | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """dropout(softmax(scale query key^T + attn_mask)) value.

    query is [..., L, E], key [..., S, E] and value [..., S, Ev]; leading axes broadcast together. The
    mask is of bools, True where a query may see a key, or of numbers to add to the scores, and broadcasts to
    [..., L, S]; `is_causal` stands for the mask whose entry i, j is True up to j = i. A query that may see no key gives
    0. `scale` is 1/sqrt(E) unless given. With `enable_gqa`, each of the heads (axis -3) of key and value serves as many
    successive ones of query as there are for it.

    Heads of up to 256 numbers in float32 and halves are had by one kernel that stores no scores, forward, and by two
    backward (in the interpreter, which runs one program at a time, only where there are many scores); the rest, a
    gradient of the mask and second derivatives are compositions. Source: Dao 2023.
    """
    _check(query, key, value, attn_mask, is_causal, enable_gqa)
    heads = query.shape[-3] if enable_gqa else 1
    grouped = enable_gqa and key.shape[-3] == value.shape[-3] != heads
    if grouped:
        query = unflatten(query, -3, (key.shape[-3], heads // key.shape[-3]))
        key, value = unsqueeze(key, -3), unsqueeze(value, -3)
        attn_mask = _grouped_mask(attn_mask, (query.shape[-4], query.shape[-3]))
    elif enable_gqa:
        key, value = (
            t if t.shape[-3] == heads else repeat_interleave(t, heads // t.shape[-3], -3) for t in (key, value)
        )
    width = query.shape[-1]
    factor = (1 / math.sqrt(width) if width else 1.0) if scale is None else float(scale)
    fused = query.dtype is not dtypes.float64 and max(width, value.shape[-1]) <= WIDEST
    if not fused or not 0 < abs(factor) < math.inf or is_short(query.shape[-2], key.shape[-2]):
        y = _composed(query, key, value, attn_mask, dropout, is_causal, factor)
    else:
        y = _flash_attention(query if factor > 0 else -query, key, value, attn_mask, dropout, is_causal, abs(factor))
    return flatten(y, -4, -3) if grouped else y


def _grouped_mask(mask: Tensor | None, groups: tuple[int, int]) -> Tensor | None:
    if mask is None or mask.ndim < 3:
        return mask
    return unsqueeze(mask, -3) if mask.shape[-3] == 1 else unflatten(mask, -3, groups)


def _flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout: Dropout | None,
    is_causal: bool,
    scale: float,
) -> Tensor:
    pairs = (query.array.shape[-2], key.array.shape[-2])
    bias = None if mask is None else mask.array.expand((*mask.array.shape[:-2], *pairs))
    problem = Problem(query.array, key.array, value.array, bias, scale, is_causal, dropout)
    out, lse = kernel.attention(problem)
    inputs = (query, key, value, mask)

    def composition(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        return _composed(query, key, value, mask, dropout, is_causal, scale)

    def gradient(dy: Tensor, wanted: list[bool]) -> list[Tensor | None]:
        if is_grad_enabled():
            return differentiable(composition, inputs, dy)
        dq, delta = attention_grad.attention_query_grad(problem, out, lse, dy.array)
        grads: list[Tensor | None] = [Tensor(dq), None, None, None]
        if wanted[1] or wanted[2]:
            grads[1:3] = map(Tensor, attention_grad.attention_key_grad(problem, lse, delta, dy.array))
        if wanted[3]:
            fixed = (query.detach(), key.detach(), value.detach())
            with enable_grad():
                grads[3] = differentiable(lambda m: composition(*fixed, m), [mask], dy)[0].detach()
        return grads

    return record_joint(out, inputs, gradient, causal=is_causal)


def _composed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout: Dropout | None,
    is_causal: bool,
    scale: float,
) -> Tensor:
    """The same from operations that can be differentiated any number of times; halves in float32."""
    wide = dtypes.accumulator(query.dtype)
    scores = matmul(query.to(wide), transpose(key.to(wide), -2, -1)) * scale
    if is_causal:
        mask = tril(ones(*scores.shape[-2:], dtype=dtypes.bool_, device=scores.device))
    if mask is not None:
        scores = where(mask, scores, -math.inf) if mask.dtype is dtypes.bool_ else scores + mask.to(wide)
        blind = (scores.detach() == -math.inf).all(-1, keepdim=True)
        p = masked_fill(softmax(masked_fill(scores, blind, 0.0), -1), blind, 0.0)
    else:
        p = softmax(scores, -1)
    if dropout is not None:
        p = where(_kept(p, dropout), p * dropout.rescale, 0.0)
    return matmul(p, value.to(wide)).to(query.dtype)


def _kept(p: Tensor, dropout: Dropout) -> Tensor:
    """What dropout leaves of probabilities: the choice that the kernels make."""
    *rows, keys = p.array.shape
    padded = (*rows, -(-keys // 4) * 4)
    drawn = random_numbers.uniform(padded, 0.0, 1.0, dtypes.float32, p.device, dropout.seed, dropout.stream)
    return Tensor(drawn.slice(len(rows), 0, keys)) >= dropout.threshold / (1 << 24)


def _check(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, enable_gqa: bool) -> None:
    name = "scaled_dot_product_attention"
    require_alike(name, query, key, value)
    shapes = described(query, key, value)
    if min(t.ndim for t in (query, key, value)) < 2 or not query.dtype.is_floating_point:
        raise RuntimeError(f"{name}: expected floating-point tensors of at least 2 dimensions, got {shapes}")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(f"{name}: expected [..., L, E], [..., S, E] and [..., S, Ev], got {shapes}")
    leading = [t.array.shape[:-2] for t in (query, key, value)]
    if enable_gqa:
        if min(map(len, leading)) == 0:
            raise IndexError(f"{name}: enable_gqa needs an axis of heads, which {shapes} have not")
        heads = query.shape[-3]
        if any(n != heads and (n == 0 or heads % n) for n in (key.shape[-3], value.shape[-3])):
            raise RuntimeError(f"{name}: the heads of key and value must divide those of query, got {shapes}")
        leading = [leading[0], *((*axes[:-1], 1) for axes in leading[1:])]
    try:
        batch = broadcast_shapes(*leading)
    except ValueError:
        raise RuntimeError(f"{name}: the leading axes of {shapes} do not broadcast together") from None
    if mask is None:
        return
    if not isinstance(mask, Tensor):
        raise TypeError(f"{name}: expected a tensor as attn_mask, got {type(mask).__name__}")
    if is_causal:
        raise RuntimeError(f"{name}: attn_mask should not be set when is_causal=True")
    if mask.dtype not in (dtypes.bool_, dtypes.float32, query.dtype):
        raise RuntimeError(
            f"{name}: expected attn_mask of dtype bool, float32 or {query.dtype.name}, got {described(mask)}"
        )
    if mask.device != query.device:
        raise RuntimeError(f"{name}: expected attn_mask on {query.device}, got {mask.device}")
    whole = (*batch, query.shape[-2], key.shape[-2])
    try:
        fits = broadcast_shapes(mask.array.shape, whole) == whole
    except ValueError:
        fits = False
    if not fits:
        raise RuntimeError(f"{name}: expected attn_mask to broadcast to {list(whole)}, got {described(mask)}")
