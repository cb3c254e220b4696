"""DataLoader: a dataset in batches of tensors."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from itertools import islice
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from tritongrad.autograd import observation
from tritongrad.data.collate import collate, customised, default_collate, default_collate_fn_map, default_convert
from tritongrad.data.dataset import Dataset
from tritongrad.data.fetch import Fetcher
from tritongrad.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, ordered
from tritongrad.random import Generator, default_generator
from tritongrad.tensor import Tensor
from tritongrad_kernels.array import from_host
from tritongrad_kernels.driver import Device

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
    pin_memory: leave the default collate's tensors in host memory, which on a machine with a GPU is pinned; what
        `collate_fn` gives is asked to `pin_memory()` itself where it has that method.
    timeout: seconds to wait for a batch from a worker before RuntimeError; 0 waits for ever.
    worker_init_fn: called once in every worker with its number, before its first batch; for a thread, in that thread.
    persistent_workers: keep the workers from epoch to epoch. A worker process takes seconds to start, so prefer this
        to the default, which is torch's. Such a loader serves one iteration at a time: a new one ends the one before.
        Workers keep the dataset as it was when they were started.
    multiprocessing_context: checked as torch does, and not used: worker processes are always spawned.
    pin_memory_device: accepted and not used.
    in_order: accepted and not used: batches always come in order.

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
        in_order: bool = True,
        worker_type: Literal["process", "thread"] = "process",
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context, worker_type)
        batched = batch_size is not None or batch_sampler is not None
        collating = collate_fn
        if collate_fn is None or collate_fn is default_collate:
            changed = batched and customised()  # workers do not see a map changed here
            collating = partial(collate, collate_fn_map=dict(default_collate_fn_map)) if changed else None
        self._fetcher = Fetcher(dataset, collating, batched, batch_size, drop_last)
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
        self.drop_last, self.generator, self.in_order = drop_last, generator, in_order
        self.num_workers, self.worker_type = num_workers, worker_type
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)
        self.pin_memory, self.pin_memory_device, self.timeout = pin_memory, pin_memory_device, timeout
        self.worker_init_fn, self.multiprocessing_context = worker_init_fn, multiprocessing_context
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self._pool: Any = None  # kept between epochs if persistent
        self._resumed: tuple[int, int] | None = None
        self._seed: int | None = None  # of the epoch under way
        self._position = 0  # batches of it that were given
        self._at_start: tuple[Any, Any] = (None, None)  # states of generator and sampler when it began
        self._told: int | None = None  # the length that a user was told a stream has
        self._made = True

    def __setattr__(self, name: str, value: Any) -> None:
        fixed = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")
        if name in fixed and "_made" in self.__dict__:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    def __len__(self) -> int:
        """Batches in an epoch. TypeError if the dataset or sampler has no length."""
        if not self._fetcher.iterable:
            return len(self._keys())  # type: ignore[arg-type]
        count = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is not None:
            count = count // self.batch_size if self.drop_last else -(-count // self.batch_size)
        self._told = count
        return count

    def __iter__(self) -> Iterator[T]:
        own, stateful = self._own_generator(), self._stateful_sampler()
        seed, position = self._resumed or ((own or default_generator).host_seed(), 0)
        self._resumed, self._seed, self._position = None, seed, position
        self._at_start = _state(own), stateful and stateful.state_dict()
        pool = self._workers() if self.num_workers else None
        numbered = self._numbered(seed, position)
        batches = pool.begin(seed, numbered) if pool is not None else self._fetcher.batches(numbered, seed, "here")
        if self._fetcher.iterable:
            batches = islice(batches, position, None)
        return self._give(batches, seed, pool)

    def state_dict(self) -> dict[str, Any]:
        """Where in which epoch this loader is, in plain numbers: {"seed", "position", "generator", "sampler"}.

        After it was loaded into a loader of the same options, that one's next epoch consists of exactly the batches
        that were still to come, and those after it are as they would have been. Between epochs the seed is None.
        `generator` is the state of the loader's or sampler's own generator if it has one. The default generator is not
        the loader's to save. `sampler` is what the sampler's `state_dict()` gave when the epoch began, if it has that.
        """
        own, stateful = self._own_generator(), self._stateful_sampler()
        generator, sampler = _state(own), stateful and stateful.state_dict()
        seed, position = self._resumed or (self._seed, self._position)
        if self._seed is not None:
            sampler = self._at_start[1]
            if not _repeats(self._keys()):  # it will draw from its generator again
                generator = self._at_start[0]
        return {"seed": seed, "position": position, "generator": generator, "sampler": sampler}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next epoch go on where the loader that gave `state` was.

        The order is drawn again and its beginning skipped, without fetching it. A sampler of the user's that only has
        `__iter__` is asked for a new pass, whose beginning is skipped: it repeats its order if that comes from its
        `generator` or from what its `state_dict()` and `load_state_dict()` save. The beginning of an IterableDataset is
        read and discarded. Raises ValueError if `state` is no such state.
        """
        if set(state) | {"sampler"} != {"seed", "position", "generator", "sampler"}:
            raise ValueError(f"DataLoader: expected a state of seed, position and generator, got keys {sorted(state)}")
        own, stateful = self._own_generator(), self._stateful_sampler()
        if (own is None) != (state["generator"] is None):
            raise ValueError("DataLoader: the state is of a loader with a generator of its own, or this one has one")
        if own is not None:
            own.set_state(Tensor(from_host(np.array(state["generator"], np.uint8), Device("cpu"))))
        if stateful is not None and state.get("sampler") is not None:
            stateful.load_state_dict(state["sampler"])
        self._resumed = None if state["seed"] is None else (state["seed"], state["position"])
        self._seed, self._position = None, 0

    def _keys(self) -> Iterable[Any] | None:
        return self.batch_sampler if self.batch_sampler is not None else self.sampler

    def _own_generator(self) -> Generator | None:
        return getattr(self._keys(), "generator", None) or self.generator

    def _stateful_sampler(self) -> Any:
        """What gives the order, if it has a state that can be saved."""
        keys = self._keys()
        for candidate in (keys, getattr(keys, "sampler", None)):
            if hasattr(candidate, "state_dict") and hasattr(candidate, "load_state_dict"):
                return candidate
        return None

    def _numbered(self, seed: int, position: int) -> Iterator[tuple[int, Any]] | None:
        """The keys of each batch still to come, with its number; None for an iterable dataset."""
        keys = self._keys()
        return None if keys is None else islice(enumerate(ordered(keys, seed)), position, None)

    def _give(self, batches: Iterator[Any], seed: int, pool: Any) -> Iterator[Any]:
        """`batches` finished and counted. However the iteration ends, workers that are not to be kept end with it."""
        device, done = Device("cpu") if self.pin_memory else None, False
        try:
            for batch in observation.each("enumerate(DataLoader)", batches):
                batch = self._fetcher.finish(batch, device)
                if self._seed == seed:
                    self._position += 1
                    if self._told is not None and self._position > self._told:
                        self._warn_of_length()
                yield batch
            done = True
        finally:
            if done and self._seed == seed:
                self._seed, self._position = None, 0
            if pool is not None and (pool.broken or pool is not self._pool):
                pool.close()

    def _warn_of_length(self) -> None:
        warnings.warn(
            f"DataLoader: the length of {type(self.dataset).__name__} was reported to be {self._told} (when accessing "
            f"len(dataloader)), but {self._position} batches have been fetched. With workers, each is to give its own "
            "share of the stream: see get_worker_info.",
            stacklevel=4,
        )
        self._told = None

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
        methods = multiprocessing.get_all_start_methods()
        if isinstance(multiprocessing_context, str):
            if multiprocessing_context not in methods:
                raise ValueError(
                    f"DataLoader: multiprocessing_context option should specify a valid start method in {methods}, "
                    f"but got {multiprocessing_context!r}"
                )
        elif not isinstance(multiprocessing_context, multiprocessing.context.BaseContext):
            raise TypeError(
                "DataLoader: multiprocessing_context option should be a valid context object or a string specifying "
                f"the start method, but got {multiprocessing_context!r}"
            )


def _state(generator: Generator | None) -> list[int] | None:
    return None if generator is None else generator.get_state().tolist()


def _repeats(keys: Any) -> bool:
    """Whether a sampler gives the same order again for the same seed."""
    if isinstance(keys, BatchSampler):
        keys = keys.sampler
    return isinstance(keys, Sampler) and type(keys).order is not Sampler.order


def _check_iterable(shuffle: object, sampler: object, batch_sampler: object) -> None:
    for name, value in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
        if value is not None:
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
            )
