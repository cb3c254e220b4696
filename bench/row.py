"""What a row of the benchmark is, and the random tensors it runs on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

import tritongrad as tg
from bench.accuracy import Bound
from tritongrad_kernels import array, dtypes, memory

Call = Callable[[], Sequence]

# What a dtype's results are judged against: the peer on the same values in a dtype with far more digits.
WIDER = {"float16": torch.float32, "bfloat16": torch.float32, "float32": torch.float64}


@dataclass(frozen=True)
class Input:
    """A tensor to draw: normal numbers of the row's dtype, or with `classes` integers below it.

    Four axes are an image or a convolution's weight, and lie channels-last.
    """

    shape: tuple[int, ...]
    mean: float = 0.0
    std: float = 1.0
    dtype: str | None = None
    classes: int | None = None


@dataclass(frozen=True)
class Row:
    """One line of the benchmark.

    `ours` takes tritongrad tensors and `peer` torch tensors of the same values; each prepares what is not to be timed
    and gives the call that is, which gives the tensors to compare. `flops` and `bytes` are what the operation cannot do
    without; 0 bytes stand for a sequence of kernels, to be counted launch by launch. A row can be pickled.
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
    return torch.device(str(memory.DEFAULT_DEVICE))


def draw(row: Row, seed: int) -> list[torch.Tensor]:
    """The row's inputs. torch draws them, so that a fault in our random numbers cannot flatter our kernels."""
    generator = torch.Generator(device()).manual_seed(seed)
    return [_draw(i, i.dtype or row.dtype, generator) for i in row.inputs.values()]


def _draw(i: Input, dtype: str, generator: torch.Generator) -> torch.Tensor:
    if i.classes is not None:
        return torch.randint(i.classes, i.shape, generator=generator, device=generator.device)
    values = torch.randn(i.shape, generator=generator, device=generator.device)
    t = values.mul_(i.std).add_(i.mean).to(getattr(torch, dtype))
    return t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t


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
