"""Samplers: in which order, and in which groups, a loader asks for the elements of a dataset.

Every order is drawn on the host by numpy's counter-based Philox under one seed, so it is the same on every machine,
whatever the number of workers, and can be drawn again when an interrupted epoch is resumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np

from tritongrad.random import Generator, default_generator
from tritongrad.tensor import Tensor

T = TypeVar("T", covariant=True)


def host_random(seed: int) -> np.random.Generator:
    """numpy's random numbers for the host under a seed of 64 bits."""
    return np.random.Generator(np.random.Philox(key=seed))


def ordered(sampler: Iterable[T], seed: int) -> Iterator[T]:
    """One pass over `sampler`, under `seed` if it is one of ours; anything else is iterated as it comes."""
    return sampler.order(seed) if isinstance(sampler, Sampler) else iter(sampler)


class Sampler(Generic[T]):
    """Base class of samplers: define `__iter__`, and `__len__` if the length is known.

    A subclass that can draw the same order twice defines `order(seed)` instead, and `generator` where its seeds come
    from one. The loader then can resume an epoch exactly; with `__iter__` alone it skips as many batches of a new pass.
    """

    generator: Generator | None = None

    def __init__(self, data_source: Any = None) -> None:
        """`data_source` is not used; older torch code passes it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Whoever overrides __iter__ of, say, RandomSampler means the loader to use that, not the inherited `order`.
        if "__iter__" in cls.__dict__ and "order" not in cls.__dict__:
            cls.order = Sampler.order  # type: ignore[method-assign]

    def __iter__(self) -> Iterator[T]:
        if type(self).order is Sampler.order:
            raise NotImplementedError(f"{type(self).__name__}: a sampler defines __iter__")
        return self.order((self.generator or default_generator).host_seed())

    def order(self, seed: int) -> Iterator[T]:
        """The elements of one pass, decided by `seed`."""
        return iter(self)


class SequentialSampler(Sampler[int]):
    """0, 1, 2 ... len(data_source) - 1."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def order(self, seed: int) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Every index once in random order, or `num_samples` of them; with `replacement`, independent draws.

    Without replacement, `num_samples` above len(data_source) goes through several random orders one after another.
    Seeds come from `generator`, else from this thread's default generator, one for each pass.
    Raises ValueError if there is nothing to draw from.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source, self.replacement, self.generator = data_source, replacement, generator
        self._num_samples = num_samples
        if not isinstance(replacement, bool):
            raise TypeError(f"RandomSampler: replacement should be a boolean value, but got replacement={replacement}")
        _check_count("RandomSampler", self.num_samples)
        if len(data_source) == 0:
            raise ValueError(f"RandomSampler: cannot draw {num_samples} samples from an empty data source")

    @property
    def num_samples(self) -> int:
        # Not fixed at construction: a dataset may grow between epochs.
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def order(self, seed: int) -> Iterator[int]:
        random, n, left = host_random(seed), len(self.data_source), self.num_samples
        if self.replacement:
            yield from random.integers(n, size=left).tolist()
            return
        while left > 0:
            yield from random.permutation(n)[:left].tolist()
            left -= n

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices in random order."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices, self.generator = indices, generator

    def order(self, seed: int) -> Iterator[int]:
        chosen = self.indices.tolist() if isinstance(self.indices, Tensor | np.ndarray) else self.indices
        return (chosen[i] for i in host_random(seed).permutation(len(chosen)).tolist())

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """`num_samples` indices, index i with probability weights[i] / sum(weights).

    With `replacement=False` an index is drawn at most once: each draw is among those left, in proportion to weight.
    Raises ValueError for weights that are no distribution, or too few of them above zero.
    """

    def __init__(
        self,
        weights: Sequence[float] | Tensor | np.ndarray,
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        _check_count("WeightedRandomSampler", num_samples)
        if not isinstance(replacement, bool):
            raise ValueError(
                f"WeightedRandomSampler: replacement should be a boolean value, but got replacement={replacement}"
            )
        self.weights = np.array(weights.tolist() if isinstance(weights, Tensor) else weights, dtype=np.float64)
        self.num_samples, self.replacement, self.generator = num_samples, replacement, generator
        if self.weights.ndim != 1:
            raise ValueError(
                "WeightedRandomSampler: weights should be a 1d sequence but given weights have shape "
                f"{self.weights.shape}"
            )
        if not np.isfinite(self.weights).all() or (self.weights < 0).any():
            raise ValueError("WeightedRandomSampler: weights must be finite and not negative")
        positive = np.count_nonzero(self.weights)
        if positive == 0 or (not replacement and positive < num_samples):
            raise ValueError(
                f"WeightedRandomSampler: {positive} weights are above zero, too few to draw {num_samples} samples "
                f"{'with' if replacement else 'without'} replacement"
            )

    def order(self, seed: int) -> Iterator[int]:
        random = host_random(seed)
        if self.replacement:
            share = self.weights / self.weights.max()  # so that the sum cannot overflow
            return iter(random.choice(len(share), self.num_samples, p=share / share.sum()).tolist())
        # Exponential clocks of rate w ring in the order of successive weighted draws (Efraimidis and Spirakis 2006).
        # In logarithms, so that the smallest weights do not make the clock overflow and tie with weight zero.
        with np.errstate(divide="ignore"):
            rings = np.log(random.standard_exponential(len(self.weights))) - np.log(self.weights)
        return iter(np.argsort(rings, kind="stable")[: self.num_samples].tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[Any]]):
    """Lists of `batch_size` consecutive elements of `sampler`; the last, shorter one only unless `drop_last`."""

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last
        self.generator = getattr(sampler, "generator", None)

    def order(self, seed: int) -> Iterator[list[Any]]:
        elements = ordered(self.sampler, seed)
        while batch := list(islice(elements, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]  # TypeError, as it should be, if the sampler has no length
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


class DistributedSampler(Sampler[int]):
    """The share of process `rank` among `num_replicas`: every num_replicas-th index of an order they all have.

    The order is random under `seed` and the number given to `set_epoch`, which is to be called before every epoch, or
    else all epochs have the same; with `shuffle=False` it is that of the dataset. Shares are of equal length: some
    indices come twice, or with `drop_last` the last are left out.

    Raises RuntimeError without `num_replicas` and `rank`, which torch asks its process group for, ValueError for a rank
    outside 0 .. num_replicas-1.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            raise RuntimeError(
                "DistributedSampler: requires num_replicas and rank, because there is no process group here to ask"
            )
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset, self.num_replicas, self.rank = dataset, num_replicas, rank
        self.shuffle, self.seed, self.drop_last, self.epoch = shuffle, seed, drop_last, 0
        count = len(dataset)
        self.num_samples = count // num_replicas if drop_last else -(-count // num_replicas)
        self.total_size = self.num_samples * num_replicas

    def order(self, seed: int) -> Iterator[int]:
        count = len(self.dataset)
        shared = host_random((self.seed + self.epoch) % 2**64).permutation(count) if self.shuffle else np.arange(count)
        return iter(np.resize(shared, self.total_size)[self.rank :: self.num_replicas].tolist())

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Have the next pass be in the order of this epoch."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch = state["epoch"]


def _check_count(name: str, count: object) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count <= 0:
        raise ValueError(f"{name}: num_samples should be a positive integer value, but got num_samples={count}")
