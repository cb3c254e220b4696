"""DataLoader: a dataset in batches of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import islice
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from tritongrad.data.collate import default_collate, default_convert
from tritongrad.data.dataset import Dataset
from tritongrad.data.fetch import Fetcher
from tritongrad.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, ordered
from tritongrad.random import Generator, default_generator
from tritongrad.tensor import Tensor
from tritongrad_kernels.array import from_host
from tritongrad_kernels.memory import Device

T = TypeVar("T", covariant=True)


class DataLoader(Generic[T]):
    """Iterating gives the dataset in batches, once; iterating again gives another epoch.

    dataset: a `Dataset`, or anything with `__getitem__` and `__len__`; or an `IterableDataset`.
    batch_size: items in a batch; the last batch is shorter unless `drop_last`. None gives the items one by one.
    shuffle: a new random order every epoch. `sampler` gives the order instead, `batch_sampler` the batches.
    num_workers: 0 makes batches in this process when they are asked for. Otherwise so many workers make them ahead,
        `prefetch_factor` (default 2) each; this needs `pip install "tritongrad[data]"`.
    worker_type: "process", or "thread", which starts at once and suits items whose making releases Python's lock.
    collate_fn: makes a batch of a list of items, in the worker; default `default_collate`, whose tensors are made in
        this process, on the default device.
    pin_memory: leave the default collate's tensors in host memory, which on a machine with a GPU is pinned.
    timeout: seconds to wait for a batch from a worker before RuntimeError; 0 waits for ever.
    worker_init_fn: called once in every worker with its number, before its first batch; for a thread, in that thread.
    persistent_workers: keep the workers from epoch to epoch. A worker process takes seconds to start, so prefer this
        to the default, which is torch's. Such a loader serves one iteration at a time: a new one ends the one before.
        Workers keep the dataset as it was when they were started.
    multiprocessing_context: "spawn" or None; there is no other way here.
    pin_memory_device: accepted and not used.

    Order and random numbers. Every epoch has a seed, drawn from `generator` (the sampler's, if it has one), else from
    this thread's default generator: `tritongrad.manual_seed` decides all. From it come the order and, for batch b of
    the epoch, the state of `random`, `numpy.random` and `tritongrad` while that batch is made: the same batches, random
    augmentation included, result from any number of worker processes and from none, and after a resumption. Outside,
    those states are untouched. Threads share `random` and `numpy.random`, so with `worker_type="thread"` only
    tritongrad's random numbers repeat. An IterableDataset is seeded likewise, but what it gives depends on how it
    shares its items among the workers.

    Samplers are asked for up to 4096 batches ahead when there are workers.

    Worker processes are spawned, see no GPU (tensors made in them are on the CPU until the batch is here), and receive
    the dataset by cloudpickle: one that holds much memory is copied to each. Batches come through /dev/shm, which in a
    container may be small. An exception in a worker is raised here as it was there, with a note that holds its
    traceback; one that cannot be pickled becomes a RuntimeError.

    Raises ValueError for options that contradict each other, ImportError for workers without grain.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        worker_type: Literal["process", "thread"] = "process",
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context, worker_type)
        batched = batch_size is not None or batch_sampler is not None
        default = collate_fn is None or collate_fn is default_collate
        self._fetcher = Fetcher(dataset, None if default else collate_fn, batched, batch_size, drop_last)
        if self._fetcher.iterable:
            _check_iterable(shuffle, sampler, batch_sampler)
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ValueError(
                "DataLoader: batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
                "and drop_last"
            )
        if batch_size is None and drop_last:
            raise ValueError(
                "DataLoader: batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
            )
        if sampler is None and batch_sampler is None and not self._fetcher.iterable:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)  # type: ignore[arg-type]
        if sampler is not None and batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset, self.sampler, self.batch_sampler = dataset, sampler, batch_sampler
        self.batch_size = batch_size if sampler is not None or self._fetcher.iterable else None
        self.drop_last, self.generator, self.num_workers, self.worker_type = (
            drop_last,
            generator,
            num_workers,
            worker_type,
        )
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)
        self.pin_memory, self.pin_memory_device, self.timeout = pin_memory, pin_memory_device, timeout
        self.worker_init_fn, self.multiprocessing_context = worker_init_fn, multiprocessing_context
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self._pool: Any = None  # kept between epochs if persistent
        self._resumed: tuple[int, int] | None = None
        self._seed: int | None = None  # of the epoch under way
        self._position = 0  # batches of it that were given

    def __len__(self) -> int:
        """Batches in an epoch. TypeError if the dataset or sampler has no length."""
        if not self._fetcher.iterable:
            return len(self._keys())  # type: ignore[arg-type]
        items = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return items
        return items // self.batch_size if self.drop_last else -(-items // self.batch_size)

    def __iter__(self) -> Iterator[T]:
        seed, position = self._resumed or ((self._own_generator() or default_generator).host_seed(), 0)
        self._resumed, self._seed, self._position = None, seed, position
        pool = self._workers() if self.num_workers else None
        numbered = self._numbered(seed, position)
        batches = pool.begin(seed, numbered) if pool is not None else self._fetcher.batches(numbered, seed, "here")
        if self._fetcher.iterable:
            batches = islice(batches, position, None)
        return self._give(batches, seed, pool)

    def state_dict(self) -> dict[str, Any]:
        """Where in which epoch this loader is, in plain numbers: {"seed", "position", "generator"}.

        After it was loaded into a loader of the same options, that one's next epoch consists of exactly the batches
        that were still to come. Between epochs the seed is None. `generator` is the state of the loader's or sampler's
        own generator if it has one. The default generator is not the loader's to save.
        """
        own = self._own_generator()
        state = own.get_state().tolist() if own is not None else None
        seed, position = self._resumed or (self._seed, self._position)
        return {"seed": seed, "position": position, "generator": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next epoch go on where the loader that gave `state` was.

        The order is drawn again and its beginning skipped, without fetching it. A sampler of the user's that only has
        `__iter__` is asked for a new pass, whose beginning is skipped; the beginning of an IterableDataset is read and
        discarded. Raises ValueError if `state` is no such state.
        """
        if set(state) != {"seed", "position", "generator"}:
            raise ValueError(f"DataLoader: expected a state of seed, position and generator, got keys {sorted(state)}")
        own = self._own_generator()
        if (own is None) != (state["generator"] is None):
            raise ValueError("DataLoader: the state is of a loader with a generator of its own, or this one has one")
        if own is not None:
            own.set_state(Tensor(from_host(np.array(state["generator"], np.uint8))))
        self._resumed = None if state["seed"] is None else (state["seed"], state["position"])
        self._seed, self._position = None, 0

    def _keys(self) -> Iterable[Any] | None:
        return self.batch_sampler if self.batch_sampler is not None else self.sampler

    def _own_generator(self) -> Generator | None:
        return getattr(self._keys(), "generator", None) or self.generator

    def _numbered(self, seed: int, position: int) -> Iterator[tuple[int, Any]] | None:
        """The keys of each batch still to come, with its number; None for an iterable dataset."""
        keys = self._keys()
        return None if keys is None else islice(enumerate(ordered(keys, seed)), position, None)

    def _give(self, batches: Iterator[Any], seed: int, pool: Any) -> Iterator[Any]:
        """`batches` finished and counted. However the iteration ends, workers that are not to be kept end with it."""
        device, done = Device("cpu") if self.pin_memory else None, False
        try:
            for batch in batches:
                batch = self._fetcher.finish(batch, device)
                if self._seed == seed:
                    self._position += 1
                yield batch
            done = True
        finally:
            if done and self._seed == seed:
                self._seed, self._position = None, 0
            if pool is not None and (pool.broken or pool is not self._pool):
                pool.close()

    def _workers(self) -> Any:
        if self._pool is not None and not self._pool.broken:
            return self._pool
        pool = _import_pool().Pool(
            self._fetcher, self.worker_init_fn, self.num_workers, self.worker_type, self.prefetch_factor, self.timeout
        )
        self._pool = pool if self.persistent_workers else None
        return pool


def _import_pool() -> ModuleType:
    try:
        return import_module("tritongrad.data.pool")  # not before workers are wanted, because grain is optional
    except ImportError as error:
        raise ImportError(
            'DataLoader: num_workers > 0 needs grain, which cannot be imported: pip install "tritongrad[data]"'
        ) from error


def _check_workers(
    num_workers: int,
    timeout: float,
    prefetch_factor: int | None,
    persistent_workers: bool,
    multiprocessing_context: Any,
    worker_type: str,
) -> None:
    if num_workers < 0:
        raise ValueError(
            "DataLoader: num_workers option should be non-negative; use num_workers=0 to disable multiprocessing"
        )
    if timeout < 0:
        raise ValueError("DataLoader: timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "DataLoader: prefetch_factor option could only be specified in multiprocessing; "
            "let num_workers > 0 to enable it, otherwise set prefetch_factor to None"
        )
    if prefetch_factor is not None and prefetch_factor < 1:
        raise ValueError(f"DataLoader: prefetch_factor option should be positive, but got {prefetch_factor}")
    if persistent_workers and num_workers == 0:
        raise ValueError("DataLoader: persistent_workers option needs num_workers > 0")
    if worker_type not in ("process", "thread"):
        raise ValueError(f"DataLoader: worker_type must be 'process' or 'thread', but got {worker_type!r}")
    if multiprocessing_context is not None:
        if num_workers == 0:
            raise ValueError("DataLoader: multiprocessing_context can only be used with num_workers > 0")
        method = getattr(multiprocessing_context, "get_start_method", lambda: multiprocessing_context)()
        if method != "spawn":
            raise ValueError(
                f"DataLoader: worker processes are spawned; multiprocessing_context must be 'spawn' or None, "
                f"but got {multiprocessing_context!r}"
            )


def _check_iterable(shuffle: object, sampler: object, batch_sampler: object) -> None:
    for name, value in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
        if value is not None:
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
            )
