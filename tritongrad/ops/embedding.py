"""Rows of a table named by numbers, and numbers as rows of zeros and a one."""

from __future__ import annotations

from tritongrad.autograd import no_grad
from tritongrad.ops.comparison import where
from tritongrad.ops.gather import require_index
from tritongrad.ops.layout import to_same_device
from tritongrad.ops.norms import vector_norm
from tritongrad.ops.rows import pick, put, spread
from tritongrad.ops.slicing import erase
from tritongrad.ops.views import unsqueeze
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes, elementwise, gather as kernel, index as indices
from tritongrad_kernels.gather import Keys


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` [n, size] that `input`, of any shape, names: [*input, size].

    Row `padding_idx` gets no gradient. With `max_norm`, rows that are named and whose norm of order `norm_type` is
    larger are scaled down to it first, in `weight` itself. With `scale_grad_by_freq`, the gradient of a row is divided
    by how often it is named. Gradients are never `sparse`.
    """
    if sparse:
        raise NotImplementedError("embedding: sparse gradients are not offered; pass sparse=False")
    require_index("embedding", input)
    if weight.ndim != 2:
        raise RuntimeError(f"embedding: the weight must be a matrix, got shape {list(weight.shape)}")
    shape, rows = weight.array.shape, weight.size(0)
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise AssertionError(f"embedding: padding_idx {padding_idx} must be within the {rows} rows of the weight")

    def error(i: int) -> Exception:
        return IndexError(f"embedding: index {i} is out of range for a weight of {rows} rows")

    positions = indices.positions(to_same_device(input, weight).array, rows, error, negative=False)
    keys = Keys(positions, max(rows, 1))
    if max_norm is not None:
        _renormalise(weight, keys, float(max_norm), float(norm_type))
    share = _share(weight, keys) if scale_grad_by_freq else None

    def gradient(dy: Tensor) -> Tensor:
        g = spread(dy if share is None else dy * share, shape, (0,), keys)
        return g if padding_idx is None else erase(g, lambda a: a.select(0, padding_idx % rows))

    return record(kernel.take(weight.array, (0,), keys), (weight, lambda dy: gradient(dy)))


def _renormalise(weight: Tensor, keys: Keys, largest: float, order: float) -> None:
    """Scale the rows that keys name down to a norm of `largest`, if theirs is larger, in place."""
    with no_grad():
        rows = pick(weight, (0,), keys)
        norms = vector_norm(rows, order, -1, True)
        put(weight, (0,), keys, where(norms > largest, rows * (largest / (norms + 1e-7)), rows), True)


def _share(weight: Tensor, keys: Keys) -> Tensor:
    """[*shape of keys, 1]: one over how often each key comes up."""
    ones = Tensor(elementwise.full((), 1, dtypes.accumulator(weight.dtype), weight.device).expand(keys.array.shape))
    counts = spread(ones, (weight.size(0),), (0,), keys)
    return unsqueeze(1 / pick(counts, (0,), keys), -1).to(weight.dtype)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 [*shape, num_classes], 1 at the class each element names and 0 elsewhere.

    Without `num_classes`, one more than the largest, which the host reads.
    """
    if tensor.dtype is not dtypes.int64:
        raise RuntimeError(f"one_hot: expected an int64 tensor, got {tensor.dtype.name}")
    if num_classes == 0 or (num_classes < 0 and not tensor.numel()):
        raise RuntimeError("one_hot: the number of classes must be given for a tensor without elements, and not be 0")
    count = num_classes if num_classes > 0 else max(int(tensor.max()), 0) + 1

    def error(i: int) -> Exception:
        return RuntimeError(f"one_hot: class values must be at least 0 and smaller than {count}, got {i}")

    indices.positions(tensor.array, count, error, negative=False)
    classes = Tensor(elementwise.iota(count, tensor.device))
    return (unsqueeze(tensor, -1) == classes).to(dtypes.int64)
