"""What a row of the benchmark is, and the random tensors it runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

import tritongrad as tg
from bench.accuracy import Bound
from tritongrad_kernels import array, driver, dtypes

Call = Callable[[], Sequence]

# What a dtype's results are judged against: the peer on the same values in a dtype with far more digits.
WIDER = {"float16": torch.float32, "bfloat16": torch.float32, "float32": torch.float64}


@dataclass(frozen=True)
class Input:
    """A tensor to draw: normal numbers of the row's dtype, or with `classes` integers below it.

    Four axes are an image or a convolution's weight, and lie channels-last, five likewise; with `rowwise` they lie as
    they are written, like the heads of attention.
    """

    shape: tuple[int, ...]
    mean: float = 0.0
    std: float = 1.0
    dtype: str | None = None
    classes: int | None = None
    rowwise: bool = False

    def laid_out(self, t: torch.Tensor) -> torch.Tensor:
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        return t if self.rowwise else t.contiguous(memory_format=formats.get(t.ndim, torch.contiguous_format))


# Our API is torch's, so most rows are one function of the library and its tensors, for both sides.
LIBRARIES: dict[str, Any] = {"tritongrad": tg, "torch": torch}


@dataclass(frozen=True)
class Forward:
    """A side of a row: `function(library, *tensors)` is timed."""

    library: str
    function: Callable[..., Any]

    def __call__(self, *tensors: Any) -> Call:
        library, function = LIBRARIES[self.library], self.function
        return lambda: _listed(function(library, *tensors))

    def compiled(self, compiler: Callable[[Callable], Callable]) -> Forward:
        return replace(self, function=compiler(self.function))


@dataclass(frozen=True)
class Backward:
    """A side of a row: the gradients of `function(library, *tensors)` for `tensors[k]`, k in `wanted`, are timed.

    The row's first tensor is the gradient of the result; the forward pass is run once, untimed.
    """

    library: str
    function: Callable[..., Any]
    wanted: tuple[int, ...]

    def __call__(self, dy: Any, *tensors: Any) -> Call:
        library = LIBRARIES[self.library]
        leaves = [tensors[k].requires_grad_() for k in self.wanted]
        y = self.function(library, *tensors)
        return lambda: library.autograd.grad(y, leaves, dy, retain_graph=True)

    def compiled(self, compiler: Callable[[Callable], Callable]) -> Backward:
        return replace(self, function=compiler(self.function))


def _listed(result: Any) -> Sequence:
    return list(result) if isinstance(result, tuple | list) else [result]


@dataclass(frozen=True)
class Row:
    """One line of the benchmark.

    `ours` takes tritongrad tensors and `peer` torch tensors of the same values; each prepares what is not to be timed
    and gives the call that is, which gives the tensors to compare. `flops` and `bytes` are what the operation cannot do
    without; 0 bytes stand for a sequence of kernels, to be counted launch by launch. A row can be pickled.

    rank      when its turn comes: the rows that a few minutes on a GPU should see have 0, the long tail has 2
    compiles  whether torch.compile can be a peer; not of whole training steps, which have a benchmark of their own
    """

    family: str
    op: str
    case: str
    dtype: str
    inputs: dict[str, Input]
    flops: int
    bytes: int
    ours: Callable[..., Call]
    peer: Callable[..., Call]
    bound: Bound
    rank: int = 1
    compiles: bool = True

    @property
    def group(self) -> str:
        return f"{self.family} {self.op}"

    @property
    def name(self) -> str:
        return f"{self.group} {self.case} {self.dtype}"

    @property
    def shapes(self) -> dict[str, list[int]]:
        return {name: list(i.shape) for name, i in self.inputs.items()}


def itemsize(dtype: str) -> int:
    return dtypes.by_name(dtype).itemsize


def device() -> torch.device:
    """Where kernels run here, and therefore where the peer does."""
    return torch.device(str(driver.DEFAULT_DEVICE))


def draw(row: Row, seed: int) -> list[torch.Tensor]:
    """The row's inputs. torch draws them, so that a fault in our random numbers cannot flatter our kernels."""
    generator = torch.Generator(device()).manual_seed(seed)
    return [_draw(i, i.dtype or row.dtype, generator) for i in row.inputs.values()]


def _draw(i: Input, dtype: str, generator: torch.Generator) -> torch.Tensor:
    if i.classes is not None:
        return torch.randint(i.classes, i.shape, generator=generator, device=generator.device)
    values = torch.randn(i.shape, generator=generator, device=generator.device)
    return i.laid_out(values.mul_(i.std).add_(i.mean).to(getattr(torch, dtype)))


def widened(row: Row, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Copies of the inputs in the dtype that results are judged in."""
    return [t.to(WIDER[row.dtype], copy=True) if t.is_floating_point() else t.clone() for t in inputs]


def as_ours(t: torch.Tensor) -> tg.Tensor:
    """A tritongrad tensor with the values, and the strides, of a dense torch tensor."""
    dtype = dtypes.by_name(str(t.dtype).removeprefix("torch."))
    copied = tg.Tensor(array.empty(t.shape, dtype, strides=t.stride()))
    as_torch(copied).copy_(t)
    return copied


def as_torch(t: tg.Tensor) -> torch.Tensor:
    """The memory of a tritongrad tensor as torch sees it: no copy."""
    a = t.array
    whole = a.memory.storage[: a.memory.storage.numel() // a.dtype.itemsize * a.dtype.itemsize]
    return whole.view(getattr(torch, a.dtype.name)).as_strided(a.shape, a.strides, a.offset)


def forward(function: Callable[..., Any], **fields: Any) -> Row:
    """A row of `function(library, *tensors)`; the other arguments are the row's fields."""
    return Row(ours=Forward("tritongrad", function), peer=Forward("torch", function), **fields)


def backward(function: Callable[..., Any], dy: Input, inputs: dict[str, Input], wanted: str, **fields: Any) -> Row:
    """A row of the gradients of `function(library, *tensors)` for the inputs named in `wanted`.

    `dy` is the gradient of the result, drawn like an input.
    """
    places = tuple(list(inputs).index(name) for name in wanted.split())
    sides = [Backward(library, function, places) for library in LIBRARIES]
    return Row(inputs={"dy": dy, **inputs}, ours=sides[0], peer=sides[1], **fields)


def both(
    function: Callable[..., Any], wanted: str, *, inputs: dict[str, Input], op: str = "", flops: tuple[int, int],
    bytes: tuple[int, int], bound: Bound, result: tuple[int, ...], backward_bound: Bound | None = None,
    **fields: Any,
) -> list[Row]:  # fmt: skip
    """A row for `function` and one for its gradients; `flops` and `bytes` are a pair: of one, of the other.

    `result` is the shape of what the function gives.
    """
    dy = Input(result, rowwise=any(i.rowwise for i in inputs.values()))
    before, after = (f"{op} {direction}".strip() for direction in ("forward", "backward"))
    return [
        forward(function, inputs=inputs, op=before, flops=flops[0], bytes=bytes[0], bound=bound, **fields),
        backward(
            function, dy, inputs, wanted, op=after, flops=flops[1], bytes=bytes[1], bound=backward_bound or bound,
            **fields,
        ),
    ]  # fmt: skip


def ranked(rank: int, rows: Iterable[Row]) -> list[Row]:
    """The rows with another rank."""
    return [replace(row, rank=rank) for row in rows]
