"""What a function would launch on a GPU, found out without one: `plan`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any, NamedTuple

from tritongrad import roofline
from tritongrad.floors import Floor, floors
from tritongrad.gpus import GPU, named, of_arch
from tritongrad.rollback import reachable, unchanged
from tritongrad.tracing import tracing
from tritongrad_kernels import launch, memory
from tritongrad_kernels.descriptors import Described
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.launch import Launch, Pointer

DEFAULT_GPU = "H200"
PRECISIONS = ("ieee", "tf32", "tf32x3")
_CONVOLUTIONS = {
    "_conv2d": "conv forward",
    "_conv2d_tma": "conv forward",
    "_haloed": "conv forward",
    "_conv2d_input_grad": "conv input grad",
    "_conv2d_weight_grad": "conv weight grad",
    "_conv2d_input_grad_tma": "conv input grad",
    "_conv2d_weight_grad_tma": "conv weight grad",
    "_conv2d_grads_tma": "conv grads",
    "_conv3d": "conv forward",
    "_conv3d_input_grad": "conv input grad",
    "_conv3d_weight_grad": "conv weight grad",
}

# Modules that are parts of one family.
_PARTS = {"matmul_tma": "matmul", "norm_statistics": "norm", "norm_grad": "norm", "attention_grad": "attention"}


@dataclass(frozen=True)
class PlannedLaunch:
    """One launch: flops and bytes as its launcher declares them, and the least milliseconds they take."""

    kernel: str
    family: str
    grid: tuple[int, ...]
    flops: int
    bytes: int
    floor_ms: float


class Total(NamedTuple):
    """Launches taken together."""

    launches: int
    flops: int
    bytes: int
    floor_ms: float


class Table(NamedTuple):
    """Columns of text; the first `left` of them are words."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    left: int = 1

    def __str__(self) -> str:
        lines = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i < self.left else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )


@dataclass(frozen=True)
class Plan:
    """The launches of one call of a function, in order, and what they cost at least on a GPU.

    peak_memory  most bytes in use at once, in blocks of 512 as the allocator gives them, with the tensors that were
                 there before and that the function can reach
    floors       what designs that fuse more or less would take for the same step (see `tritongrad.floors`), by "a",
                 "b", "b1", "c", "c+"; None if the function records no operation
    """

    name: str
    gpu: GPU
    launches: tuple[PlannedLaunch, ...]
    peak_memory: int
    floors: Mapping[str, Floor] | None

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.launches)

    @property
    def flops(self) -> int:
        return sum(one.flops for one in self.launches)

    @property
    def floor_ms(self) -> float:
        """The least milliseconds for all launches one after another: the sum of max(flops/peak, bytes/bandwidth)."""
        return sum(one.floor_ms for one in self.launches)

    def families(self) -> dict[str, Total]:
        """Totals by family of kernels, the longest first."""
        groups: dict[str, list[PlannedLaunch]] = {}
        for one in self.launches:
            groups.setdefault(one.family, []).append(one)
        totals = {name: _total(group) for name, group in groups.items()}
        return dict(sorted(totals.items(), key=lambda item: -item[1].floor_ms))

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings, lists and dicts: bytes as integers, times in milliseconds."""
        known = self.floors or {}
        return {
            "name": self.name,
            "gpu": self.gpu.name,
            "arch": self.gpu.arch,
            "bytes": self.bytes,
            "flops": self.flops,
            "launches": len(self.launches),
            "floor_ms": self.floor_ms,
            "peak_memory": self.peak_memory,
            "floors": {design: floor.ms for design, floor in known.items()} if known else None,
            "floor_bytes": {design: floor.bytes for design, floor in known.items()} if known else None,
            "floor_launches": {design: floor.launches for design, floor in known.items()} if known else None,
            "by_family": {name: total._asdict() for name, total in self.families().items()},
            "by_launch": [{**asdict(one), "grid": list(one.grid)} for one in self.launches],
        }

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=1)

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw the launches under the GPU's roofline into an image file, for which matplotlib must be installed."""
        roofline.draw(self.launches, self.gpu, f"{self.name} on {self.gpu.name}", path)

    # ------------------------------------------------------------------------------------------------------ as text

    def launch_table(self) -> Table:
        """Every launch in order."""
        rows = [
            (str(i), one.kernel, one.family, "x".join(map(str, one.grid)), f"{one.flops / 1e9:,.3f}",
             f"{one.bytes / 1e6:,.3f}", f"{one.floor_ms * 1e3:,.1f}")
            for i, one in enumerate(self.launches)
        ]  # fmt: skip
        return Table(("#", "kernel", "family", "grid", "GFLOP", "MB", "floor us"), rows, left=3)

    def family_table(self) -> Table:
        """Totals by family, and of all."""
        totals = [*self.families().items(), ("all", _total(self.launches))]
        rows = [
            (name, f"{t.launches:,}", f"{t.flops / 1e12:.3f}", f"{t.bytes / 1e9:.2f}", f"{t.floor_ms:.2f}")
            for name, t in totals
        ]
        return Table(("family", "launches", "TFLOP", "GB", "floor ms"), rows)

    def floor_table(self) -> Table:
        """This plan beside the design floors, and how many times a design's floor this plan's is."""
        designs = {"this plan": Floor(self.floor_ms, self.bytes, len(self.launches)), **(self.floors or {})}
        rows = [
            (name, f"{f.launches:,}", f"{f.bytes / 1e9:.2f}", f"{f.ms:.2f}", f"{self.floor_ms / (f.ms or 1):.2f}")
            for name, f in designs.items()
        ]
        return Table(("design", "launches", "GB", "floor ms", "plan/design"), rows)

    def headline(self) -> str:
        """The function, the GPU and its ceilings in a line."""
        gpu = self.gpu
        return (
            f"{self.name} on {gpu.name} ({gpu.arch}): {gpu.tensor / 1e12:.0f} TFLOP/s in 16 bits, "
            f"{gpu.bandwidth / 1e12:.2f} TB/s"
        )

    def __str__(self) -> str:
        return (
            f"{self.headline()}\n({self.gpu.source})\n\n{self.family_table()}\n\n{self.floor_table()}\n\n"
            f"peak memory {self.peak_memory / 1e9:.2f} GB"
        )


def plan(fn: Callable[..., Any], *args: Any, gpu: GPU | str = DEFAULT_GPU, name: str = "", **kwargs: Any) -> Plan:
    """What `fn(*args, **kwargs)` would launch and need on `gpu`, with nothing allocated and nothing launched.

    `fn` runs twice, and the second call is planned: by then an optimizer has its state. Shapes are as they are; only
    values are missing, and what the host reads from new tensors is zero. Afterwards everything `fn` can reach is as
    before, also if it raises: parameters, gradients, optimizer state, buffers, versions, random numbers, counters and
    lists (`tritongrad.rollback` says what cannot be undone). `gpu` is one of `tritongrad.gpus.GPUS` by name, an
    architecture such as "sm_90", or a GPU with ceilings of your own.

        print(tg.plan(train_step, images, labels))
    """
    if memory.in_dry_run():
        raise RuntimeError("plan: the function to be planned plans itself")
    card = gpu if isinstance(gpu, GPU) else of_arch(gpu) if gpu.startswith("sm_") else named(gpu)
    roots = (fn, args, kwargs)
    with unchanged(roots), memory.dry_run() as run, launch.column(card.arch), launch.recording() as log:
        fn(*args, **kwargs)
        del log[:]
        there = _bytes_there(roots)
        run.peak = run.live
        with tracing() as trace:
            fn(*args, **kwargs)
        given = floors(trace, card, _precision(log), _moments(log)) if trace.operations else None
        peak = there + run.peak
    launches = tuple(planned(one, card) for one in log)
    return Plan(name or getattr(fn, "__name__", type(fn).__name__), card, launches, peak, given)


def _bytes_there(roots: Any) -> int:
    """Memory of real tensors that the function can reach: what it replaced in its first call is not among it."""
    found = [m for m in reachable(roots) if isinstance(m, memory.Memory) and not isinstance(m, memory.DryMemory)]
    return sum(-(-m.nbytes // 512) * 512 for m in found)


def planned(one: Launch, gpu: GPU) -> PlannedLaunch:
    """A launch with its family and the least time it takes on `gpu`."""
    seconds = gpu.seconds(one.flops, one.bytes, _product_dtype(one), _precision([one]))
    return PlannedLaunch(one.kernel, family_of(one), one.grid, one.flops, one.bytes, seconds * 1e3)


def family_of(one: Launch) -> str:
    """The family of a launch: the module of its kernel, and for convolutions which of their three products it is."""
    module = one.function.fn.__module__.rsplit(".", 1)[-1]
    return _CONVOLUTIONS.get(one.kernel, _PARTS.get(module, module))


def _product_dtype(one: Launch) -> dtype | None:
    """The dtype of the factors if the launch multiplies matrices: that of its first array."""
    if family_of(one) not in (*_CONVOLUTIONS.values(), "matmul", "small_matmul", "attention"):
        return None
    return next((a.dtype for a in one.arguments if isinstance(a, Pointer | Described)), None)


def _precision(log: list[Launch]) -> str:
    """How the first product among these launches multiplies float32."""
    given = (a for one in log for a in (*one.arguments, *one.options.values()))
    return next((a for a in given if isinstance(a, str) and a in PRECISIONS), "ieee")


def _moments(log: list[Launch]) -> int | None:
    """How many tensors per parameter the optimizer keeps that was launched; None if none was."""
    for one in log:
        if one.kernel in ("_adam", "_sgd", "_update"):
            names = inspect.signature(one.function.fn).parameters
            given = dict(zip(names, one.arguments, strict=False))
            kept = {"_adam": (2, "AMSGRAD"), "_sgd": (0, "MOMENTUM"), "_update": (0, "STATES")}
            least, more = kept[one.kernel]
            return least + int(given[more])
    return None


def _total(launches: Any) -> Total:
    return Total(
        len(launches),
        sum(one.flops for one in launches),
        sum(one.bytes for one in launches),
        sum(one.floor_ms for one in launches),
    )
