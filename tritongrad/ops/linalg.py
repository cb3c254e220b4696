"""Matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tritongrad.ops import reduce
from tritongrad.ops.arithmetic import mul
from tritongrad.ops.joining import stack
from tritongrad.ops.numpy_names import numpy_names
from tritongrad.ops.older_forms import factors_between
from tritongrad.ops.operands import into, refuse, result_type
from tritongrad.ops.views import expand, permute, reshape, squeeze, t, transpose, unsqueeze
from tritongrad.precision import lowered, widest
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes, elementwise, formulas, matmul as kernel
from tritongrad_kernels.array import Array
from tritongrad_kernels.elementwise import broadcast_shapes


def described(*tensors: Tensor) -> str:
    return " and ".join(f"{x.dtype.name}{list(x.shape)}" for x in tensors)


def require_alike(name: str, *tensors: Any) -> None:
    """Tensors of one dtype on one device, or one sentence."""
    for x in tensors:
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: expected tensors, got {' and '.join(type(x).__name__ for x in tensors)}")
    if any(x.dtype is not tensors[0].dtype for x in tensors):
        raise RuntimeError(f"{name}: expected all to have the same dtype, got {described(*tensors)}")
    if any(x.device != tensors[0].device for x in tensors):
        places = " and ".join(str(x.device) for x in tensors)
        raise RuntimeError(f"{name}: expected all on the same device, got {places}")


def _check(name: str, a: Tensor, b: Tensor) -> None:
    require_alike(name, a, b)
    if a.dtype is dtypes.bool_:
        raise NotImplementedError(f"{name}: not defined for bool tensors")
    if a.ndim == 0 or b.ndim == 0:
        raise RuntimeError(f"{name}: both arguments need at least one dimension, got {described(a, b)}")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise RuntimeError(f"{name}: the inner extents of {described(a, b)} differ")
    try:
        broadcast_shapes(a.array.shape[:-2], b.array.shape[:-2])
    except ValueError:
        raise RuntimeError(f"{name}: the batch dimensions of {described(a, b)} do not broadcast together") from None


@lowered
def matmul(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The product of matrices [..., M, K] and [..., K, N], batch axes broadcast; a vector is a row on the left and a
    column on the right, and its axis is dropped from the result. Both have one dtype; integers are exact modulo 2^64.
    """
    a, b = input, other
    _check("matmul", a, b)
    if a.ndim == 1 and b.ndim == 1:
        y = reshape(_product(unsqueeze(a, 0), unsqueeze(b, 1)), ())
    elif a.ndim == 1:
        y = squeeze(_product(unsqueeze(a, 0), b), -2)
    elif b.ndim == 1:
        y = squeeze(_product(a, unsqueeze(b, 1)), -1)
    elif b.ndim == 2 and a.ndim > 2:  # one tall product instead of many small ones
        y = reshape(_product(_rows(a), b), (*a.shape[:-1], b.shape[-1]))
    else:
        y = _product(a, b)
    return into(out, "matmul", y)


def _rows(x: Tensor) -> Tensor:
    """All but the last axis joined into one."""
    return reshape(x, (math.prod(x.array.shape[:-1]), x.array.shape[-1]))


def _product(a: Tensor, b: Tensor) -> Tensor:
    return record(
        kernel.matmul(a.array, b.array),
        (a, lambda dy: matmul(dy, transpose(b, -2, -1))),
        (b, lambda dy: matmul(transpose(a, -2, -1), dy)),
    )


@lowered
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """[..., K] times weight [N, K] transposed, plus bias [N]: [..., N]. A weight [K] gives [...]."""
    x = input
    require_alike("linear", x, weight, *([] if bias is None else [bias]))
    if weight.ndim == 1:
        y = matmul(x, weight)
        return y if bias is None else y + bias
    if x.ndim == 0 or weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        raise RuntimeError(
            f"linear: an input {described(x)} does not go with a weight {described(weight)}; "
            f"expected [..., {weight.shape[-1] if weight.ndim else '?'}] of the same dtype"
        )
    n = weight.array.shape[0]
    if bias is not None and bias.array.shape != (n,):
        if bias.ndim and bias.array.shape[-1] not in (1, n):
            raise RuntimeError(f"linear: expected a bias of shape [{n}], got {list(bias.shape)}")
        return matmul(x, t(weight)) + bias
    rows = _rows(x) if x.ndim != 2 else x
    y = record(
        kernel.matmul(rows.array, weight.array.T, None if bias is None else bias.array),
        (rows, lambda dy: matmul(dy, weight)),
        (weight, lambda dy: matmul(t(dy), rows)),
        (bias, lambda dy: dy),  # the graph sums it over rows
    )
    return y if x.ndim == 2 else reshape(y, (*x.shape[:-1], n))


@widest
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y[..., o] = sum over i, j of input1[..., i] weight[o, i, j] input2[..., j], plus bias[o]."""
    require_alike("bilinear", input1, input2, weight)
    if weight.ndim != 3 or input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear: expected [..., I], [..., J] and [O, I, J], got {described(input1, input2, weight)}"
        )
    if (input1.shape[-1], input2.shape[-1]) != tuple(weight.shape[1:]):
        raise RuntimeError(f"bilinear: the inner extents of {described(input1, input2, weight)} differ")
    o, i, j = weight.array.shape
    rows = _rows(input1)
    left = reshape(matmul(rows, reshape(permute(weight, 1, 0, 2), (i, o * j))), (rows.array.shape[0], o, j))
    y = reshape(matmul(left, unsqueeze(_rows(input2), 2)), (*input1.shape[:-1], o))
    return y if bias is None else y + bias


# ----------------------------------------------------------------------------------------------- products of fixed rank


def _require_ranks(name: str, wanted: str, ranks: Sequence[int], *tensors: Any) -> None:
    require_alike(name, *tensors)
    if [x.ndim for x in tensors] != list(ranks):
        shapes = " and ".join(str(list(x.shape)) for x in tensors)
        raise RuntimeError(f"{name}: expected {wanted}, got shapes {shapes}")


@lowered
def mm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The product of two matrices."""
    _require_ranks("mm", "two matrices", (2, 2), input, mat2)
    return matmul(input, mat2, out=out)


@lowered
def bmm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The products of two stacks of matrices, [B, M, K] and [B, K, N]."""
    _require_ranks("bmm", "[B, M, K] and [B, K, N]", (3, 3), input, mat2)
    if input.shape[0] != mat2.shape[0]:
        raise RuntimeError(f"bmm: expected [B, M, K] and [B, K, N], got {list(input.shape)} and {list(mat2.shape)}")
    return matmul(input, mat2, out=out)


@lowered
def mv(input: Tensor, vec: Tensor, *, out: Tensor | None = None) -> Tensor:
    """A matrix times a vector."""
    _require_ranks("mv", "a matrix and a vector", (2, 1), input, vec)
    return matmul(input, vec, out=out)


@widest
def dot(input: Tensor, tensor: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inner product of two vectors."""
    _require_ranks("dot", "two vectors", (1, 1), input, tensor)
    return matmul(input, tensor, out=out)


@widest
def vdot(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """As `dot`: the conjugate of a real vector is itself."""
    _require_ranks("vdot", "two vectors", (1, 1), input, other)
    return matmul(input, other, out=out)


def inner(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Sums of products over the last axes: [..., K] and [--, K] give [..., --]. A number multiplies."""
    if input.ndim == 0 or other.ndim == 0:
        return into(out, "inner", mul(input, other))
    require_alike("inner", input, other)
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(f"inner: the last extents of {described(input, other)} differ")
    y = matmul(_rows(input), t(_rows(other)))
    return into(out, "inner", reshape(y, (*input.shape[:-1], *other.shape[:-1])))


def outer(input: Tensor, vec2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Every product of an element of one vector with one of the other."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(f"outer: expected two vectors, got shapes {list(input.shape)} and {list(vec2.shape)}")
    return into(out, "outer", mul(unsqueeze(input, 1), unsqueeze(vec2, 0)))


def ger(input: Tensor, vec2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`outer` by its name in BLAS."""
    return outer(input, vec2, out=out)


# --------------------------------------------------------------------------------------------------- products and sums


def _scaled(x: Tensor, factor: Any) -> Tensor:
    return x if factor == 1 else x * factor


def _sum_with_product(name: str, c: Tensor, a: Tensor, b: Tensor, beta: Any, alpha: Any) -> Tensor:
    """beta c + alpha a b, rounded once; c broadcasts to the product, and is not looked at where beta is 0."""
    require_alike(name, c, a, b)
    _check(name, a, b)
    shape = (*a.array.shape[:-1], b.array.shape[-1])
    try:
        c.array.expand(shape)
    except ValueError:
        raise RuntimeError(f"{name}: {described(c)} does not expand to the product's shape {list(shape)}") from None
    if not c.dtype.is_floating_point:
        beta, alpha = int(beta), int(alpha)
    return record(
        _values(c.array, a.array, b.array, beta, alpha),
        (c, lambda dy: _scaled(dy, beta)),
        (a, lambda dy: _scaled(matmul(dy, transpose(b, -2, -1)), alpha)),
        (b, lambda dy: _scaled(matmul(transpose(a, -2, -1), dy), alpha)),
    )


def _values(c: Array, a: Array, b: Array, beta: Any, alpha: Any) -> Array:
    kind, wide = c.dtype, dtypes.accumulator(c.dtype)
    if beta == alpha == 1 and c.ndim == 1 and c.shape[0] == b.shape[-1] and kind.is_floating_point:
        return kernel.matmul(a, b, c)
    y = kernel.matmul(a, b, dtype=wide)
    if alpha != 1:
        y = elementwise.map(formulas._mul, y, alpha)
    if beta == 0:
        return elementwise.cast(y, kind)
    if beta == 1:
        return elementwise.map(formulas._add, y, c, dtype=kind, compute=wide)
    return elementwise.map(formulas._multiply_add, c, beta, y, dtype=kind, compute=wide)


@factors_between
@lowered
def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None
) -> Tensor:
    """beta input + alpha mat1 mat2. With a beta of 0 NaN and infinities of `input` do not matter."""
    _require_ranks("addmm", "two matrices", (2, 2), mat1, mat2)
    return into(out, "addmm", _sum_with_product("addmm", input, mat1, mat2, beta, alpha))


@lowered
def addmv(
    input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None
) -> Tensor:
    """beta input + alpha mat vec."""
    _require_ranks("addmv", "a matrix and a vector", (2, 1), mat, vec)
    column = unsqueeze(input, 1) if input.ndim == 1 else input
    y = _sum_with_product("addmv", column, mat, unsqueeze(vec, 1), beta, alpha)
    return into(out, "addmv", squeeze(y, 1))


def addr(
    input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None
) -> Tensor:
    """beta input + alpha vec1 vec2^T."""
    product = _scaled(outer(vec1, vec2), alpha)
    try:
        c = expand(input, product.shape)
    except RuntimeError:
        raise RuntimeError(f"addr: {described(input)} does not expand to shape {list(product.shape)}") from None
    if beta == 0:
        y = record(product.array, (product, lambda dy: dy), (c, lambda dy: dy.zeros_like()))
    else:
        y = _scaled(c, beta) + product
    return into(out, "addr", y)


@lowered
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None
) -> Tensor:
    """beta input + alpha batch1 batch2, for stacks of matrices [B, M, K] and [B, K, N]."""
    _require_stacks("baddbmm", batch1, batch2)
    return into(out, "baddbmm", _sum_with_product("baddbmm", input, batch1, batch2, beta, alpha))


@lowered
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None
) -> Tensor:
    """beta input + alpha sum over b of batch1[b] batch2[b]."""
    _require_stacks("addbmm", batch1, batch2)
    b, m, k = batch1.array.shape
    side_by_side = reshape(permute(batch1, 1, 0, 2), (m, b * k))
    return addmm(input, side_by_side, reshape(batch2, (b * k, batch2.array.shape[2])), beta=beta, alpha=alpha, out=out)


def _require_stacks(name: str, a: Tensor, b: Tensor) -> None:
    _require_ranks(name, "[B, M, K] and [B, K, N]", (3, 3), a, b)
    if a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1]:
        raise RuntimeError(f"{name}: expected [B, M, K] and [B, K, N], got {list(a.shape)} and {list(b.shape)}")


# -------------------------------------------------------------------------------------------------- products of several


@lowered
def multi_dot(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """The product of matrices, in the order of fewest multiplications; the first and last may be vectors.

    Source: the matrix-chain recurrence, Cormen et al., "Introduction to Algorithms", 15.2.
    """
    chain = list(tensors)
    if len(chain) < 2:
        raise RuntimeError(f"multi_dot: expected at least 2 tensors, got {len(chain)}")
    require_alike("multi_dot", *chain)
    ranks = [x.ndim for x in chain]
    if any(r != 2 for r in ranks[1:-1]) or ranks[0] not in (1, 2) or ranks[-1] not in (1, 2):
        raise RuntimeError(f"multi_dot: expected matrices between matrices or vectors, got {described(*chain)}")
    head, tail = ranks[0] == 1, ranks[-1] == 1
    if head:
        chain[0] = unsqueeze(chain[0], 0)
    if tail:
        chain[-1] = unsqueeze(chain[-1], 1)
    sizes = [chain[0].array.shape[0], *(x.array.shape[1] for x in chain)]
    y = _multiplied(chain, _splits(sizes), 0, len(chain) - 1)
    y = squeeze(y, 1) if tail else y
    return into(out, "multi_dot", squeeze(y, 0) if head else y)


def _splits(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Where to cut each run of the chain, matrix i being sizes[i] x sizes[i + 1]."""
    cost, cut, n = {(i, i): 0 for i in range(len(sizes) - 1)}, {}, len(sizes) - 1
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j], cut[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )
    return cut


def _multiplied(chain: list[Tensor], cut: dict[tuple[int, int], int], i: int, j: int) -> Tensor:
    if i == j:
        return chain[i]
    k = cut[i, j]
    return matmul(_multiplied(chain, cut, i, k), _multiplied(chain, cut, k + 1, j))


@lowered
def chain_matmul(*matrices: Tensor, out: Tensor | None = None) -> Tensor:
    """`multi_dot` of matrices given one by one; a single one is its own product."""
    return matrices[0] if len(matrices) == 1 else multi_dot(matrices, out=out)


# ------------------------------------------------------------------------------------------------ products along axes


@widest
def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Tensor | None = None) -> Tensor:
    """Sums of products over the last `dims` axes of a and the first of b, or over the pairs of axes in two lists."""
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0 or dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot: cannot contract {dims} dimensions of {described(a, b)}")
        over_a, over_b = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        listed = [list(ds) if isinstance(ds, list | tuple) else [ds] for ds in dims]
        over_a, over_b = [a.axis(d) for d in listed[0]], [b.axis(d) for d in listed[1]]
    extents = [a.array.shape[d] for d in over_a]
    if len(over_a) != len(over_b) or extents != [b.array.shape[d] for d in over_b]:
        raise RuntimeError(f"tensordot: dimensions {over_a} and {over_b} of {described(a, b)} do not match")
    kept_a = [d for d in range(a.ndim) if d not in over_a]
    kept_b = [d for d in range(b.ndim) if d not in over_b]
    left, right = [a.array.shape[d] for d in kept_a], [b.array.shape[d] for d in kept_b]
    k = math.prod(extents)
    y = matmul(
        reshape(permute(a, *kept_a, *over_a), (math.prod(left), k)),
        reshape(permute(b, *over_b, *kept_b), (k, math.prod(right))),
    )
    return into(out, "tensordot", reshape(y, (*left, *right)))


def kron(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Every element of `input` times all of `other`, as a block in its place."""
    ndim = max(input.ndim, other.ndim)
    a = reshape(input, (*[1] * (ndim - input.ndim), *input.shape))
    b = reshape(other, (*[1] * (ndim - other.ndim), *other.shape))
    for axis in range(ndim):
        a, b = unsqueeze(a, 2 * axis + 1), unsqueeze(b, 2 * axis)
    blocks = [n * m for n, m in zip(a.array.shape[::2], b.array.shape[1::2], strict=True)]
    return into(out, "kron", reshape(mul(a, b), blocks))


@numpy_names
@widest
def cross(input: Tensor, other: Tensor, dim: int | None = None, *, out: Tensor | None = None) -> Tensor:
    """Vector products along `dim`, by default the first axis of extent 3; other axes broadcast."""
    refuse("cross", result_type(input, other), "b")
    if input.ndim != other.ndim:
        raise RuntimeError(f"cross: expected as many dimensions of both, got {described(input, other)}")
    if dim is None:
        shape = input.array.shape
        dim = shape.index(3) if 3 in shape else -1
    axis = input.axis(dim)
    if input.ndim == 0 or input.shape[axis] != 3 or other.shape[axis] != 3:
        raise RuntimeError(f"cross: expected an extent of 3 along dimension {dim}, got {described(input, other)}")
    (a0, a1, a2), (b0, b1, b2) = input.unbind(axis), other.unbind(axis)
    parts = (a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0)
    return into(out, "cross", stack(parts, axis))


@numpy_names
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """Sums of products along one axis, the others broadcast."""
    return into(out, "vecdot", reduce.sum(x * y, dim))
