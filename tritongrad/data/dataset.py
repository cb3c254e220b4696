"""Datasets: where items come from."""

from __future__ import annotations

import bisect
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar, cast

import numpy as np

from tritongrad.data.collate import host
from tritongrad.data.sampler import host_random
from tritongrad.random import Generator, default_generator
from tritongrad.tensor import Tensor

T = TypeVar("T", covariant=True)


class Dataset(Generic[T]):
    """Items by index: define `__getitem__(index)` and, for all samplers but hand-made ones, `__len__`.

    `__getitems__(indices)`, giving a list of items, may be defined where several are fetched faster together.
    Items are best numpy arrays and Python numbers: workers then never start a kernel.
    """

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError(f"{type(self).__name__}: a dataset defines __getitem__")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset[Any]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T]):
    """Items as a stream: define `__iter__`. With workers, each iterates over its own copy of the dataset, so `__iter__`
    must give each its share: see `get_worker_info`."""

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError(f"{type(self).__name__}: an iterable dataset defines __iter__")

    def __add__(self, other: Dataset[Any]) -> ChainDataset[Any]:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Item i is the tuple of the i-th elements, along the first axis, of the given tensors.

    A loader takes whole batches from the tensors' host memory at once; tensors on a GPU are copied to the host first
    and again whenever they have been written to.
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise ValueError("TensorDataset: expected at least one tensor")
        if any(t.ndim == 0 or len(t) != len(tensors[0]) for t in tensors):
            raise AssertionError(
                f"TensorDataset: Size mismatch between tensors of shapes {[list(t.shape) for t in tensors]}"
            )
        self.tensors = tensors
        self._hosted: list[tuple[Any, int, np.ndarray]] = []  # memory, its version, its elements then

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def collated(self, indices: list[int]) -> list[np.ndarray]:
        """The items at `indices`, stacked."""
        now = [(t.array, t._version) for t in self.tensors]
        if [(array, version) for array, version, _ in self._hosted] != now:
            self._hosted = [(*key, host(t)) for key, t in zip(now, self.tensors, strict=True)]
        return [np.take(values, indices, axis=0) for _, _, values in self._hosted]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_hosted": []}


class StackDataset(Dataset[Any]):
    """Item i is the tuple of the i-th items of several datasets, or, of datasets given by keyword, a dict of them.

    Raises ValueError for no datasets, both kinds, or lengths that differ.
    """

    datasets: tuple[Any, ...] | dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ValueError("StackDataset: datasets are given by position or by keyword, but both were used")
        if not args and not kwargs:
            raise ValueError("StackDataset: At least one dataset should be passed")
        self.datasets = args or kwargs
        lengths = [len(d) for d in args or kwargs.values()]
        if len(set(lengths)) > 1:
            raise ValueError(f"StackDataset: Size mismatch between datasets of {lengths} items")

    def _items(self, fetch: Callable[[Any], Any]) -> Any:
        if isinstance(self.datasets, dict):
            return {name: fetch(d) for name, d in self.datasets.items()}
        return tuple(fetch(d) for d in self.datasets)

    def __getitem__(self, index: Any) -> Any:
        return self._items(lambda d: d[index])

    def __getitems__(self, indices: list[int]) -> list[Any]:
        columns = self._items(lambda d: _exactly(fetch_items(d, indices), len(indices)))
        if isinstance(columns, dict):
            return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return list(zip(*columns, strict=True))

    def __len__(self) -> int:
        return _length(
            self.datasets[next(iter(self.datasets))] if isinstance(self.datasets, dict) else self.datasets[0]
        )


class ConcatDataset(Dataset[T]):
    """The items of several datasets, one after another."""

    def __init__(self, datasets: Iterable[Dataset[T]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = list(accumulate(_length(d) for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> T:
        if not -len(self) <= index < len(self):
            raise IndexError(f"ConcatDataset: index {index} is out of range for {len(self)} items")
        index %= len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]


class ChainDataset(IterableDataset[T]):
    """The items of several iterable datasets, one after another."""

    def __init__(self, datasets: Iterable[Dataset[T]]) -> None:
        self.datasets = datasets

    def _streams(self) -> Iterator[IterableDataset[T]]:
        for d in self.datasets:
            if not isinstance(d, IterableDataset):
                raise AssertionError("ChainDataset only supports IterableDataset")
            yield d

    def __iter__(self) -> Iterator[T]:
        for d in self._streams():
            yield from d

    def __len__(self) -> int:
        return sum(_length(d) for d in self._streams())


class Subset(Dataset[T]):
    """The items of `dataset` at `indices`."""

    def __init__(self, dataset: Dataset[T], indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[T]:
        if type(self).__getitem__ is not Subset.__getitem__:  # a subclass that transforms items
            return [self[i] for i in indices]
        return fetch_items(self.dataset, [self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Dataset[T], lengths: Sequence[int | float], generator: Generator | None = None
) -> list[Subset[T]]:
    """`dataset` cut at random into parts of the given lengths, which share no item.

    Lengths may be fractions that sum to 1: each part gets floor(fraction * len(dataset)), and what is left over goes to
    the parts in turn, one item each. Raises ValueError unless the lengths sum to len(dataset).
    """
    total = _length(dataset)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        for i, fraction in enumerate(lengths):
            if not 0 <= fraction <= 1:
                raise ValueError(f"Fraction at index {i} is not between 0 and 1")
        counts = [math.floor(total * fraction) for fraction in lengths]
        for i in range(total - sum(counts)):
            counts[i % len(counts)] += 1
        for i, count in enumerate(counts):
            if count == 0:
                warnings.warn(
                    f"Length of split at index {i} is 0. This might result in an empty dataset.", stacklevel=2
                )
    else:
        counts = cast(list[int], list(lengths))
    if sum(counts) != total:
        raise ValueError(
            f"Sum of input lengths does not equal the length of the input dataset! {list(counts)} do not sum to {total}"
        )
    order = host_random((generator or default_generator).host_seed()).permutation(total).tolist()
    return [Subset(dataset, order[end - n : end]) for n, end in zip(counts, accumulate(counts), strict=True)]


def fetch_items(dataset: Dataset[T], indices: list[Any]) -> list[T]:
    """The items at `indices`, fetched together where the dataset can."""
    together = getattr(dataset, "__getitems__", None)
    return together(indices) if callable(together) else [dataset[i] for i in indices]


def _exactly(items: list[Any], count: int) -> list[Any]:
    if len(items) != count:
        raise ValueError(f"Nested dataset's output size mismatch. Expected {count}, got {len(items)}")
    return items


def batch_fetcher(dataset: Dataset[Any]) -> Callable[[list[int]], list[np.ndarray]] | None:
    """The function that gives the items at a list of indices already stacked, if this kind of dataset has one.

    Only for exactly these classes: a subclass may have changed what an item is.
    """
    if type(dataset) is TensorDataset:
        return dataset.collated
    if type(dataset) is Subset:
        inner, indices = batch_fetcher(dataset.dataset), dataset.indices
        return inner and (lambda chosen: inner([indices[i] for i in chosen]))
    return None


def _length(dataset: Dataset[Any]) -> int:
    return len(dataset)  # type: ignore[arg-type]  # TypeError from Python if it has none
