"""Making one batch: what every worker does, and this process where there are none. Needs nothing optional."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Literal

import numpy as np

from tritongrad.data.collate import collate_arrays, convert_arrays, to_tensors, walk
from tritongrad.data.dataset import Dataset, IterableDataset, batch_fetcher, fetch_items
from tritongrad.random import default_generator
from tritongrad.tensor import Tensor
from tritongrad_kernels.driver import Device

Place = Literal["here", "process", "thread"]  # where a batch is made


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker knows of itself: `id` in 0 .. num_workers-1, its `seed` in this epoch, its own `dataset`."""

    id: int
    num_workers: int
    seed: int
    dataset: Dataset[Any]


class _Current(threading.local):
    info: WorkerInfo | None = None


_current = _Current()
_of_process: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker of a DataLoader, which one it is; None anywhere else.

    An `IterableDataset` cuts its stream by it: `itertools.islice(stream, info.id, None, info.num_workers)`.
    """
    return _current.info or _of_process


def set_worker_info(info: WorkerInfo, place: Place) -> None:
    """Called once by a worker, and again for every epoch it serves."""
    global _of_process
    if place == "thread":
        _current.info = info
    else:
        _of_process = info  # seen by threads that the dataset starts, too


@contextmanager
def seeded(seed: int, place: Place) -> Iterator[None]:
    """Random choices inside the block are decided by `seed`, whatever was drawn before it.

    Here, what the user's own code draws between batches must not change: states are put back afterwards. Worker
    threads share the global generators of `random` and numpy with everybody, so only tritongrad's, which is each
    thread's own, is seeded there.
    """
    own = default_generator
    if place == "thread":
        own.manual_seed(seed)
        yield
        return
    before = (random.getstate(), np.random.get_state(), vars(own).copy()) if place == "here" else None
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        own.manual_seed(seed)
        yield
    finally:
        if before is not None:
            random.setstate(before[0])
            np.random.set_state(before[1])
            vars(own).update(before[2])


@dataclass(frozen=True)
class Fetcher:
    """How a loader's batches are made. `collate_fn` None stands for the default, which is completed by `finish`.

    `batch_size` and `drop_last` matter for an IterableDataset only; `batched` is False where items are not batched.
    """

    dataset: Dataset[Any]
    collate_fn: Callable[[Any], Any] | None
    batched: bool
    batch_size: int | None
    drop_last: bool

    @property
    def iterable(self) -> bool:
        return isinstance(self.dataset, IterableDataset)

    def batches(
        self, numbered: Iterable[tuple[int, Any]] | None, seed: int, place: Place, first: int = 0, step: int = 1
    ) -> Iterator[Any]:
        """The batches of the given numbers and keys (a list of indices, or one index where items are not batched); for
        an iterable dataset (None) those of its stream, numbered first, first + step ... Batch b is made under
        seed + b. They hold arrays where `finish` makes tensors."""
        if numbered is None:
            yield from self._stream(seed, place, first, step)
            return
        together = batch_fetcher(self.dataset) if self.collate_fn is None and self.batched else None
        for number, keys in numbered:
            if together is not None:  # no code of the user's runs
                yield together(keys)
                continue
            with seeded(seed + number, place):
                batch = self._collate(fetch_items(self.dataset, keys) if self.batched else self.dataset[keys])
            yield batch

    def _stream(self, seed: int, place: Place, first: int, step: int) -> Iterator[Any]:
        stream = None
        for number in count(first, step):
            with seeded(seed + number, place):
                stream = iter(self.dataset) if stream is None else stream
                items = list(islice(stream, self.batch_size if self.batched else 1))
                if not items or (self.drop_last and len(items) < (self.batch_size or 0)):
                    return
                batch = self._collate(items if self.batched else items[0])
            yield batch

    def _collate(self, items: Any) -> Any:
        if self.collate_fn is not None:
            return self.collate_fn(items)
        return collate_arrays(items) if self.batched else convert_arrays(items)

    def finish(self, batch: Any, device: Device | None) -> Any:
        """The second half of the default collate, in the consuming process; `device` is where tensors are to be, the
        CPU if pinned memory was asked for. What another collate made may have a way of its own to be pinned."""
        if self.collate_fn is None:
            return to_tensors(batch, device)
        return batch if device is None else walk(batch, _pinned, tuple)


def _pinned(value: Any) -> Any:
    if isinstance(value, Tensor):  # on the host it is pinned already
        return value
    return value.pin_memory() if hasattr(value, "pin_memory") else value
