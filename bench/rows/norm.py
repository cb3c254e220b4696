"""Batch normalisation in training: alone, with a ReLU, and with a residual and a ReLU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bench.accuracy import Bound, LikePeer, Rounding
from bench.row import LIBRARIES, Call, Input, Row, itemsize, ranked

# What follows the normalisation in the same pass.
FOLDED = ("", "+relu", "+add+relu")
# An activation of ResNet holds a value within float32's rounding of zero for about one element in a million.
KINKS = 4e-6


@dataclass(frozen=True)
class Norm:
    """A side of a row: `nn.BatchNorm2d` and what is folded, over x; or the gradients of all it was given."""

    library: str
    folded: str
    backward: bool
    compiler: Callable[[Callable], Callable] | None = None

    def __call__(self, *tensors: Any) -> Call:
        dy, x, mean, var, weight, bias, *residual = tensors if self.backward else (None, *tensors)
        library = LIBRARIES[self.library]
        norm = library.nn.BatchNorm2d(weight.shape[0])
        norm.weight, norm.bias = library.nn.Parameter(weight), library.nn.Parameter(bias)
        norm.running_mean, norm.running_var = mean, var
        norm.num_batches_tracked = None  # a counter is no work of a norm

        def apply(library: Any, x: Any, *residual: Any) -> Any:
            y = norm(x)
            y = y + residual[0] if residual else y
            return library.relu(y) if self.folded.endswith("relu") else y

        applied = apply if self.compiler is None else self.compiler(apply)
        if not self.backward:
            norm.requires_grad_(False)
            return lambda: [applied(library, x, *residual), mean, var]
        leaves = [x.requires_grad_(), norm.weight, norm.bias, *(r.requires_grad_() for r in residual)]
        y = applied(library, x, *residual)
        return lambda: library.autograd.grad(y, leaves, dy, retain_graph=True)

    def compiled(self, compiler: Callable[[Callable], Callable]) -> Norm:
        return replace(self, compiler=compiler)


def passes(shape: tuple[int, ...], folded: str, dtype: str) -> list[Row]:
    """Forward and backward over x `shape`; parameters and statistics are float32, as mixed precision keeps them."""
    batch, channels, size, _ = shape
    image = Input(shape)
    parameters = {
        "running_mean": Input((channels,), dtype="float32"),
        "running_var": Input((channels,), mean=1.0, std=0.1, dtype="float32"),
        "weight": Input((channels,), mean=1.0, std=0.1, dtype="float32"),
        "bias": Input((channels,), dtype="float32"),
    }
    elements = batch * channels * size * size
    residual = {"residual": image} if "add" in folded else {}
    exact: Bound = Rounding(terms=elements // channels, kinks=KINKS if folded else 0.0, stored="add" in folded)
    # What a residual is added to has been rounded to 16 bits: the sign of some sums hangs on that, and through the ReLU
    # a channel's sums. torch rounds there too.
    falls = LikePeer(factor=2.0, floor=1e-3) if residual and dtype != "float32" else exact
    row = partial(
        Row,
        family="batch_norm",
        case=f"{channels}x{size}x{size} b{batch}",
        dtype=dtype,
    )
    # Traversals of the image. Forward: for statistics, then x and y. Backward: dy and x for sums, then dy, x and dx.
    # A residual is read, and its gradient written, once; the ReLU's mask follows from x unless a residual went in.
    forward, backward = (4, 8) if residual else (3, 5)
    traversal = elements * itemsize(dtype)
    return [
        row(
            bound=exact,
            op=f"forward{folded}",
            inputs={"x": image, **parameters, **residual},
            flops=8 * elements,
            bytes=forward * traversal,
            ours=Norm("tritongrad", folded, backward=False),
            peer=Norm("torch", folded, backward=False),
        ),
        row(
            bound=falls,
            op=f"backward{folded}",
            inputs={"dy": image, "x": image, **parameters, **residual},
            flops=12 * elements,
            bytes=backward * traversal,
            ours=Norm("tritongrad", folded, backward=True),
            peer=Norm("torch", folded, backward=True),
        ),
    ]


def suite(shape: tuple[int, ...], dtype: str, folds: Sequence[str] = FOLDED) -> list[Row]:
    return [row for folded in folds for row in passes(shape, folded, dtype)]


GPU = [
    *ranked(0, suite((256, 256, 56, 56), "bfloat16")),
    *suite((256, 64, 112, 112), "bfloat16", FOLDED[:2]),
    *suite((256, 512, 28, 28), "bfloat16"),
    *suite((256, 512, 7, 7), "bfloat16"),
    *suite((256, 2048, 7, 7), "bfloat16"),
    *suite((512, 64, 32, 32), "bfloat16"),  # CIFAR's
    *suite((32, 64, 56, 56), "bfloat16", FOLDED[:2]),
    *suite((64, 256, 56, 56), "float32", FOLDED[:2]),
    *ranked(2, suite((256, 256, 56, 56), "float16")),
]
INTERPRETER = [
    *suite((4, 64, 28, 28), "bfloat16"),
    *suite((4, 64, 28, 28), "float32", FOLDED[:2]),
]
