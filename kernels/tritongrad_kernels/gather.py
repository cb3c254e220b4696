"""Reading, writing and summing the rows of an array that keys name.

An array is seen as [N, R]: some of its `axes`, flattened in the order given, count N rows, and the other axes are the R
elements of each. `Keys` name rows; the same one may be named many times. What is written to one place from several is
settled by position: the last value stays, and values are folded first to last. To find what goes where, keys are sorted
stably, so that equal ones are neighbours and in order; one program then deals with all of a row. So results are the
same bits for any tile and any order of programs, and nothing is written twice.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, elementwise
from tritongrad_kernels.array import Array, contiguous_strides, empty, footprint
from tritongrad_kernels.elementwise import TRITON_TYPE, _offsets, merge_axes
from tritongrad_kernels.launch import cdiv, launch, next_power_of_2, tile
from tritongrad_kernels.reduce import _in_logical_order
from tritongrad_kernels.sort import argsort_stable


class Keys:
    """Rows named by position.

    array   int64 [...], contiguous, every value in 0 .. bound-1
    rising  whether each key is larger than the one before
    """

    def __init__(self, array: Array, bound: int, rising: bool = False) -> None:
        self.array, self.bound, self.rising = array, bound, rising

    @functools.cached_property
    def order(self) -> Array:
        """The positions of the keys, flattened, by rising key; equals stay in order."""
        flat = self.array.view((self.array.size,), (1,))
        return elementwise.iota(flat.size, flat.device) if self.rising else argsort_stable(flat, self.bound)

    @functools.cached_property
    def sorted(self) -> Array:
        """The keys in rising order."""
        flat = self.array.view((self.array.size,), (1,))
        return flat if self.rising else take(flat, (0,), Keys(self.order, self.array.size))


@triton.jit
def _tile_of(n_keys, n_rest, KEYS: tl.constexpr, REST: tl.constexpr):
    """What this program does: positions among the keys, and elements of a row."""
    blocks = tl.cdiv(n_rest, REST)
    pid = tl.program_id(0).to(tl.int64)
    return (pid // blocks) * KEYS + tl.arange(0, KEYS), (pid % blocks) * REST + tl.arange(0, REST)


@triton.jit
def _take(
    X, INDEX, OUT, rows, rowstrides, rest, xs, outs, n_keys, n_rest: tl.int64, KEYS: tl.constexpr, REST: tl.constexpr
):  # fmt: skip
    """out[k, r] = x[keys[k], r].

    Shapes  keys [n_keys] contiguous, out [n_keys, n_rest] contiguous, x [rows, rest] by strides.
    Grid    one program per KEYS keys and REST elements of a row.
    Bytes   read keys once and the rows they name, write out once.
    """
    k, r = _tile_of(n_keys, n_rest, KEYS, REST)
    key = tl.load(INDEX + k, mask=k < n_keys, other=0)
    mask = (k < n_keys)[:, None] & (r < n_rest)[None, :]
    x = tl.load(X + _offsets(key, rows, rowstrides)[:, None] + _offsets(r, rest, xs)[None, :], mask=mask, other=0)
    tl.store(OUT + (k * n_rest)[:, None] + _offsets(r, rest, outs)[None, :], x, mask=mask)


@triton.jit
def _put(
    V, ORDER, SORTED, X, places, placestrides, rows, rowstrides, rest, vs, xs, n_keys, n_rest: tl.int64,
    KEYS: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    """x[keys[k], r] = v[k, r] for the last k of those with equal keys.

    Shapes  v [places, rest] and x [rows, rest] by strides; order [n_keys] the positions of the keys in rising order,
            sorted [n_keys] the keys in that order.
    Grid    one program per KEYS keys and REST elements of a row.
    Bytes   read order, sorted and the last rows of v once, write as much of x.
    """
    p, r = _tile_of(n_keys, n_rest, KEYS, REST)
    key = tl.load(SORTED + p, mask=p < n_keys, other=0)
    following = tl.load(SORTED + p + 1, mask=p + 1 < n_keys, other=-1)
    last = (p < n_keys) & (key != following)
    k = tl.load(ORDER + p, mask=last, other=0)
    mask = last[:, None] & (r < n_rest)[None, :]
    v = tl.load(V + _offsets(k, places, placestrides)[:, None] + _offsets(r, rest, vs)[None, :], mask=mask, other=0)
    x = X + _offsets(key, rows, rowstrides)[:, None] + _offsets(r, rest, xs)[None, :]
    tl.store(x, v.to(X.dtype.element_ty), mask=mask)


@triton.jit
def _end_of_run(SORTED, p, key, end, bits):
    """The first position after p, at most `end`, whose key is another, by bisection of fewer than 2^bits positions."""
    low, high = p, end.to(tl.int64)
    for _ in range(bits):
        middle = low + (high - low) // 2
        same = tl.load(SORTED + middle) == key
        low, high = tl.where(same, middle, low), tl.where(same, high, middle)
    return high


@triton.jit
def _fold(acc, V, ORDER, p, count, inside, places, placestrides, columns, f: tl.constexpr):
    """acc f v[order[p]] f v[order[p + 1]] ..., `count` terms, each row of acc its own."""
    for t in range(0, tl.max(count, 0)):
        more = t < count
        k = tl.load(ORDER + p + t, mask=more, other=0)
        mask = more[:, None] & inside[None, :]
        v = tl.load(V + _offsets(k, places, placestrides)[:, None] + columns[None, :], mask=mask, other=0)
        acc = tl.where(mask, f(acc, v.to(acc.dtype)), acc)
    return acc


@triton.jit
def _fold_blocks(
    V, ORDER, SORTED, OUT, places, placestrides, rest, vs, n_blocks, n_rest: tl.int64, n_keys, block, bits,
    f: tl.constexpr, KEYS: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    """out[b, r] = the v[k, r], folded by f, whose key is at position block b of the sorted keys and just before it.

    Only where there is such a k; otherwise out[b] is left as it is.

    Shapes  as `_put`; out [n_blocks, n_rest] contiguous, of the type that is folded in.
    Grid    one program per KEYS blocks and REST elements of a row.
    Bytes   read sorted, order and v once, write out once, at most.
    """
    b, r = _tile_of(n_blocks, n_rest, KEYS, REST)
    p = b * block
    later = (b > 0) & (b < n_blocks)
    key = tl.load(SORTED + p, mask=later, other=0)
    later = later & (tl.load(SORTED + p - 1, mask=later, other=-1) == key)
    p = tl.where(later, p, 0)
    end = _end_of_run(SORTED, p, key, tl.where(later, tl.minimum(p + block, n_keys), 1), bits)
    k = tl.load(ORDER + p, mask=later, other=0)
    mask = later[:, None] & (r < n_rest)[None, :]
    columns = _offsets(r, rest, vs)
    acc = tl.load(V + _offsets(k, places, placestrides)[:, None] + columns[None, :], mask=mask, other=0)
    count = tl.where(later, end - p - 1, 0)
    acc = acc.to(OUT.dtype.element_ty)
    acc = _fold(acc, V, ORDER, p + 1, count, r < n_rest, places, placestrides, columns, f)
    tl.store(OUT + (b * n_rest)[:, None] + r[None, :], acc, mask=mask)


@triton.jit
def _run_from(SORTED, i, n, n_keys, bits):
    """Runs of equal keys counted by position: i, the key there, and whether a run begins with it."""
    key = tl.load(SORTED + i, mask=i < n_keys, other=-1)
    before = tl.load(SORTED + i - 1, mask=(i > 0) & (i < n_keys), other=-1)
    return i, key, (i < n_keys) & (before != key)


@triton.jit
def _run_of(SORTED, i, n, n_keys, bits):
    """Runs of equal keys counted by key: that of key i, found by bisection of fewer than 2^bits positions."""
    low, high = tl.zeros_like(i), tl.zeros_like(i) + n_keys
    for _ in range(bits):
        middle = low + (high - low) // 2
        less = (low < high) & (tl.load(SORTED + middle, mask=low < high, other=0) < i)
        low, high = tl.where(less, middle + 1, low), tl.where(less, high, middle)
    key = tl.load(SORTED + low, mask=low < n_keys, other=-1)
    return low, key, (i < n) & (key == i)


@triton.jit
def _fold_rows(
    V, ORDER, SORTED, BLOCKS, X, places, placestrides, rows, rowstrides, rest, vs, xs, n, n_keys, n_rest: tl.int64,
    block, bits, run: tl.constexpr, f: tl.constexpr, ACC: tl.constexpr, KEYS: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    """x[key, r] = x[key, r] f v[k, r] for every k with that key, in order.

    One lane deals with all of a key: with those in the block of `block` sorted positions where they begin one by one,
    with the others by the results of `_fold_blocks`, so that a key that comes up m times costs 2 sqrt(m) steps. `run`
    says which key a lane has: that of a position, or that of a row, whichever are fewer.

    Shapes  as `_put`; blocks as the result of `_fold_blocks`; n lanes.
    Grid    one program per KEYS lanes and REST elements of a row.
    Bytes   read sorted, order, v and blocks once, read and write the rows of x that keys name, at most.
    """
    i, r = _tile_of(n, n_rest, KEYS, REST)
    inside, columns = r < n_rest, _offsets(r, rest, vs)
    p, key, there = run(SORTED, i, n, n_keys, bits)
    p, key = tl.where(there, p, 0), tl.where(there, key, 0)
    end = _end_of_run(SORTED, p, key, tl.where(there, n_keys, 1), bits)
    x = X + _offsets(key, rows, rowstrides)[:, None] + _offsets(r, rest, xs)[None, :]
    mask = there[:, None] & inside[None, :]
    acc = tl.load(x, mask=mask, other=0).to(ACC)
    near = tl.minimum(end, (p // block + 1) * block)
    acc = _fold(acc, V, ORDER, p, tl.where(there, near - p, 0), inside, places, placestrides, columns, f)
    count = tl.where(there, (end - 1) // block - p // block, 0)
    for t in range(0, tl.max(count, 0)):
        more = (t < count)[:, None] & inside[None, :]
        b = p // block + 1 + t
        v = tl.load(BLOCKS + (b * n_rest)[:, None] + r[None, :], mask=more, other=0)
        acc = tl.where(more, f(acc, v), acc)
    tl.store(x, acc.to(X.dtype.element_ty), mask=mask)


# ---------------------------------------------------------------------------------------------------------- launchers


def take(x: Array, axes: Sequence[int], keys: Keys) -> Array:
    """The named rows [*shape of keys, *other axes of x], C-ordered."""
    rest = [a for a in range(x.ndim) if a not in axes]
    shape = tuple(x.shape[a] for a in rest)
    out = empty((*keys.array.shape, *shape), x.dtype, x.device)
    dims, (outs, xs) = merge_axes(shape, contiguous_strides(shape), [x.strides[a] for a in rest])
    n_keys, n_rest = keys.array.size, math.prod(shape)
    config, grid = _tiles("rows", n_keys, n_rest, x)
    launch(
        _take, grid, x, keys.array, out, *_rows(x, axes), dims, xs, outs, n_keys, n_rest,
        bytes=min(x.footprint, out.nbytes) + footprint(keys.array, out), at_most=True, **config,
    )  # fmt: skip
    return out


def put(x: Array, axes: Sequence[int], keys: Keys, v: Array) -> Array:
    """Write v [*shape of keys, *other axes of x] to the named rows of x, the last of those that go to one row."""
    v = elementwise.contiguous(v, always=True) if v.memory is x.memory else v
    n_keys, n_rest, *layout = _layout(x, axes, keys, v)
    config, grid = _tiles("rows", n_keys, n_rest, x)
    launch(
        _put, grid, v, keys.order, keys.sorted, x, *layout, n_keys, n_rest,
        bytes=footprint(v, keys.order, keys.sorted) + min(x.footprint, v.size * x.dtype.itemsize), at_most=True,
        **config,
    )  # fmt: skip
    return x


def fold(f: Any, x: Array, axes: Sequence[int], keys: Keys, v: Array) -> Array:
    """Fold v [*shape of keys, *other axes of x] into the named rows of x by formula f of two, first to last.

    Halves are carried in float32 and integers in int64 until all of a row is folded in.
    """
    v = elementwise.contiguous(v, always=True) if v.memory is x.memory else v
    n_keys, n_rest, *layout = _layout(x, axes, keys, v)
    acc = dtypes.accumulator(x.dtype)
    block = max(32, next_power_of_2(math.isqrt(n_keys)))
    blocks = empty((cdiv(n_keys, block), n_rest), acc, x.device)
    places, placestrides, _, _, rest, vs, _ = layout
    order, keyed, moved = keys.order, keys.sorted, footprint(v, keys.order, keys.sorted)
    if n_keys > block:
        config, grid = _tiles("rows", blocks.shape[0], n_rest, x)
        launch(
            _fold_blocks, grid, v, order, keyed, blocks, places, placestrides, rest, vs, blocks.shape[0], n_rest,
            n_keys, block, block.bit_length(), f, flops=v.size, bytes=moved + blocks.nbytes, at_most=True, **config,
        )  # fmt: skip
    lanes, run = min((keys.bound, _run_of), (n_keys, _run_from), key=lambda way: way[0])
    config, grid = _tiles("rows", lanes if n_keys else 0, n_rest, x)
    touched = 2 * min(x.footprint, v.size * x.dtype.itemsize) + blocks.nbytes
    launch(
        _fold_rows, grid, v, order, keyed, blocks, x, *layout, lanes, n_keys, n_rest, block, n_keys.bit_length(), run,
        f, TRITON_TYPE[acc], flops=v.size, bytes=moved + touched, at_most=True, **config,
    )  # fmt: skip
    return x


def _tiles(name: str, n_keys: int, n_rest: int, x: Array) -> tuple[dict[str, int], int]:
    """Blocks of keys and of the elements of a row, and how many programs these make."""
    config = tile(name, itemsize=x.dtype.itemsize, KEYS=n_keys, REST=n_rest)
    return config, cdiv(n_keys, config["KEYS"]) * cdiv(n_rest, config["REST"])


def _rows(x: Array, axes: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides of the axes that count the rows, joined where they can be."""
    shape, strides = [x.shape[a] for a in axes], [x.strides[a] for a in axes]
    return _in_logical_order(shape, strides, contiguous_strides(shape))


def _layout(x: Array, axes: Sequence[int], keys: Keys, v: Array) -> tuple:
    """The numbers of keys and of elements of a row; how v, by key, x, by row, and both, within a row, lie."""
    rest = [a for a in range(x.ndim) if a not in axes]
    shape, shown = [x.shape[a] for a in rest], keys.array.shape
    dims, (xs, vs) = merge_axes(shape, [x.strides[a] for a in rest], v.strides[len(shown) :])
    places = _in_logical_order(shown, v.strides[: len(shown)], contiguous_strides(shown))
    return keys.array.size, math.prod(shape), *places, *_rows(x, axes), dims, vs, xs
