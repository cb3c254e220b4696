"""tritongrad.data against torch.utils.data, in one process; workers and resumption are in test_data_workers.py."""

from __future__ import annotations

import collections
import importlib
import multiprocessing
import random
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.utils.data as theirs

import tritongrad as tg
import tritongrad.utils.data as ours
from tritongrad_kernels import launch


class Point(NamedTuple):
    x: Any
    y: Any


class Stubborn(dict):
    """A mapping that cannot be filled again."""

    def __copy__(self) -> Any:
        raise TypeError

    def update(self, *_: Any) -> None:
        raise TypeError


class StubbornList(collections.UserList):
    def __setitem__(self, i: Any, value: Any) -> None:
        raise TypeError


class Noisy(ours.Dataset[Any]):
    """Items of every kind, with noise from all three sources of random numbers, large enough for shared memory."""

    def __len__(self) -> int:
        return 22

    def __getitem__(self, i: int) -> Any:
        noise = np.random.rand() + random.random() + (tg.random.default_generator.host_seed() % 1000)
        image = np.full((40, 40), i + noise, np.float32)
        return {"image": image, "label": i, "half": image[:3, 0].astype(ml_dtypes.bfloat16), "name": str(i)}


class Stream(ours.IterableDataset[int]):
    """0 .. stop-1, shared among the workers."""

    def __init__(self, stop: int) -> None:
        self.stop, self.offset = stop, 0

    def __iter__(self) -> Iterator[int]:
        info = ours.get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        return iter(range(self.offset + first, self.offset + self.stop, step))


class Sized(Stream):
    def __len__(self) -> int:
        return self.stop


class OneShort(list):
    """Gives fewer items than were asked for."""

    def __getitems__(self, indices: list[int]) -> list[int]:
        return indices[1:]


def plain(value: Any) -> Any:
    """A nested structure with its tensors, ours or torch's, as (dtype, values) and its types named."""
    if isinstance(value, tg.Tensor | torch.Tensor):
        return str(value.dtype).split(".")[-1], list(value.shape), value.tolist()
    if isinstance(value, Mapping):
        return type(value).__name__, {k: plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return type(value).__name__, [plain(v) for v in value]
    return value


def epochs(loader: ours.DataLoader[Any], n: int = 1) -> list[Any]:
    return [[plain(batch) for batch in loader] for _ in range(n)]


# ------------------------------------------------------------------------------------------------------------- collate

BATCHES = {
    "floats": [1.5, 2.0],
    "ints": [1, -2],
    "bools": [True, False],
    "ints and floats": [1, 2.5],
    "strings": ["a", "b"],
    "bytes": [b"a", b"b"],
    "float32 arrays": [np.ones((2, 1), np.float32), np.zeros((2, 1), np.float32)],
    "uint8 arrays": [np.arange(3, dtype=np.uint8)] * 2,
    "0-d arrays": [np.array(1), np.array(2)],
    "empty arrays": [np.zeros((0, 2)), np.zeros((0, 2))],
    "arrays of two dtypes": [np.ones(2, np.float32), np.ones(2, np.int64)],
    "not contiguous": [np.arange(6).reshape(2, 3).T, np.arange(6).reshape(2, 3)[:, ::-1].T.copy()],
    "numpy scalars": [np.float32(1), np.float32(2)],
    "tuples": [(1, "a", 2.0), (3, "b", 4.0)],
    "lists": [[1, 2], [3, 4]],
    "dicts": [{"a": 1, "b": (2, "x")}, {"a": 3, "b": (4, "y")}],
    "ordered dict": [collections.OrderedDict(z=1, a=2.0)] * 2,
    "default dict": [collections.defaultdict(list, a=1), collections.defaultdict(list, a=2)],
    "read-only mapping": [types.MappingProxyType({"a": 1})] * 2,
    "own sequence": [collections.UserList([1, 2.0])] * 2,
    "ranges": [range(3), range(1, 4)],
    "stubborn types": [Stubborn({"a": StubbornList([1, 2])})] * 2,
    "namedtuples": [Point(1, np.ones(2)), Point(2, np.zeros(2))],
    "nested": [{"p": Point([1, 2.0], {"q": (np.int16(3),)})}] * 3,
    "one item": [(7, np.arange(2))],
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_default_collate(batch: list[Any]) -> None:
    assert plain(ours.default_collate(batch)) == plain(theirs.default_collate(batch))


@pytest.mark.parametrize("item", [v[0] for v in BATCHES.values()], ids=BATCHES)
def test_default_convert(item: Any) -> None:
    assert plain(ours.default_convert(item)) == plain(theirs.default_convert(item))


def test_collate_of_tensors_launches_nothing() -> None:
    items = [(tg.tensor([1.0, 2.0]), tg.tensor(i)) for i in range(3)]
    with launch.recording() as launches:
        x, y = ours.default_collate(items)
    assert not launches and plain(x) == ("float32", [3, 2], [[1.0, 2.0]] * 3) and y.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ([np.ones(2), np.ones(3)], RuntimeError, r"equal size, but got \[2\] at entry 0 and \[3\] at entry 1"),
        ([(1, 2), (1,)], RuntimeError, "each element in list of batch should be of equal size"),
        ([object()], TypeError, "must contain tensors, numpy arrays, numbers, dicts or lists; found .*object"),
        ([np.array(["a"])], TypeError, "found array of <U1"),
        ([np.ones(2, np.uint32)], TypeError, "numpy dtype uint32 has no counterpart"),
        ([tg.tensor([1.0], requires_grad=True)], RuntimeError, "detach"),
    ],
)
def test_collate_refuses(batch: list[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ours.default_collate(batch)


class Word:
    """An item nobody knows how to batch."""

    def __init__(self, text: str) -> None:
        self.text = text


class Loud(Word):
    pass


def test_collate_by_a_map_of_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    def join(lib: Any) -> Any:
        def function(batch: Any, *, collate_fn_map: Any = None) -> Any:
            return lib._utils.collate.collate([len(w.text) for w in batch], collate_fn_map=collate_fn_map)

        return function

    items = [(Word("a"), {"x": Loud("bc"), "y": 1.5, "z": np.arange(2)})] * 2
    for lib in (ours, theirs):
        collating: Any = lib._utils.collate
        with pytest.raises(TypeError, match=r"default_collate: batch must contain .*; found .*Word"):
            lib.default_collate(items)
        with pytest.raises(TypeError, match=r"must contain tensors"):
            collating.collate([1, 2])
        monkeypatch.setitem(collating.default_collate_fn_map, Word, join(lib))
    assert plain(ours.default_collate(items)) == plain(theirs.default_collate(items))
    ((batch,), (expected,)) = epochs(ours.DataLoader(items, 2)), epochs(theirs.DataLoader(items, 2))  # type: ignore
    assert batch == expected
    monkeypatch.setitem(ours._utils.collate.default_collate_fn_map, Loud, lambda batch, collate_fn_map: "loud")
    assert ours.default_collate(items)[1]["x"] == "loud"


def test_names_of_the_modules_behind() -> None:
    for module in ("dataset", "sampler", "distributed", "dataloader", "_utils.collate", "_utils.worker"):
        mine = importlib.import_module(f"tritongrad.utils.data.{module}")
        names = [n for n in vars(importlib.import_module(f"torch.utils.data.{module}")) if hasattr(mine, n)]
        for name in (n for n in names if n in vars(ours) and not n.startswith("__")):
            assert getattr(mine, name) is getattr(ours, name)


# ------------------------------------------------------------------------------------------------------------ datasets


def test_stack_dataset() -> None:
    for stack in (
        lambda lib: lib.StackDataset(range(5), list("abcde")),
        lambda lib: lib.StackDataset(image=range(5), text=lib.Subset(list("abcdefg"), range(5))),
    ):
        got, expected = stack(ours), stack(theirs)
        assert len(got) == 5 and got[3] == expected[3] and got.__getitems__([4, 0]) == expected.__getitems__([4, 0])
        assert epochs(ours.DataLoader(got, 2)) == epochs(theirs.DataLoader(expected, 2))


def test_tensor_dataset() -> None:
    x, y = np.random.rand(7, 3), np.arange(7)
    dataset = ours.TensorDataset(tg.tensor(x), tg.tensor(y))
    expected = theirs.TensorDataset(torch.tensor(x), torch.tensor(y))
    with launch.recording() as launches:
        assert plain(dataset[2]) == plain(expected[2]) and len(dataset) == 7
        got = epochs(ours.DataLoader(ours.Subset(dataset, [6, 1, 3]), 2))
    assert not launches
    assert got == epochs(theirs.DataLoader(theirs.Subset(expected, [6, 1, 3]), 2))
    dataset.tensors[1].zero_()
    assert [b[1].sum().item() for b in ours.DataLoader(dataset, 4)] == [0, 0]
    with pytest.raises(AssertionError, match="Size mismatch"):
        ours.TensorDataset(tg.tensor(x), tg.tensor(y[:2]))


def test_dataset_algebra() -> None:
    a, b = ours.Subset(range(10, 13), [2, 0]), ours.Subset(range(3), [1])
    both = a + b
    assert [both[i] for i in (0, 1, 2, -1, -3)] == [12, 10, 1, 1, 12] and len(both) == 3
    assert list(both) == [12, 10, 1]
    assert list(Stream(2) + Stream(3)) == [0, 1, 0, 1, 2]
    with pytest.raises(AssertionError, match="empty iterable"):
        ours.ConcatDataset([])
    with pytest.raises(AssertionError, match="does not support IterableDataset"):
        ours.ConcatDataset([Stream(2)])
    with pytest.raises(AssertionError, match="only supports IterableDataset"):
        list(Stream(2) + a)
    with pytest.raises(IndexError, match="index 3 is out of range for 3 items"):
        both[3]
    assert len(Sized(2) + Sized(3)) == 5


def test_subset_of_a_subset_and_its_subclasses() -> None:
    class Doubled(ours.Subset[int]):
        def __getitem__(self, index: int) -> int:
            return 2 * super().__getitem__(index)

    inner = ours.Subset(np.arange(10, 20), [5, 6, 7])
    assert inner[[0, 2]].tolist() == [15, 17]
    assert [b.tolist() for b in ours.DataLoader(ours.Subset(inner, [2, 0, 1]), 2)] == [[17, 15], [16]]
    assert [b.tolist() for b in ours.DataLoader(Doubled(inner, [2, 0, 1]), 2)] == [[34, 30], [32]]


def test_what_a_base_class_lacks_is_named() -> None:
    for use, name in (
        (lambda: ours.Dataset()[0], "Dataset: a dataset defines __getitem__"),
        (lambda: iter(ours.IterableDataset()), "IterableDataset: an iterable dataset defines __iter__"),
        (lambda: iter(ours.Sampler()), "Sampler: a sampler defines __iter__"),
    ):
        with pytest.raises(NotImplementedError, match=name):
            use()
    with pytest.raises(ValueError, match="expected at least one tensor"):
        ours.TensorDataset()


@pytest.mark.parametrize("lengths", [[3, 7], [0.3, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25], [10], [1.0]])
def test_random_split(lengths: list[float]) -> None:
    dataset: Any = list("abcdefghij")
    parts = ours.random_split(dataset, lengths, generator=tg.Generator().manual_seed(1))
    assert [len(p) for p in parts] == [len(p) for p in theirs.random_split(dataset, lengths)]
    assert sorted(item for part in parts for item in part) == dataset
    again = ours.random_split(dataset, lengths, generator=tg.Generator().manual_seed(1))
    assert [p.indices for p in parts] == [p.indices for p in again]
    with pytest.warns(UserWarning, match="Length of split at index 0 is 0"):
        assert [len(p) for p in ours.random_split(dataset, [0.0, 1.0])] == [0, 10]
    with pytest.raises(ValueError, match="Sum of input lengths"):
        ours.random_split(dataset, [3, 8])
    with pytest.raises(ValueError, match="index 0 is not between"):
        ours.random_split(dataset, [1.5, -0.5])


# ------------------------------------------------------------------------------------------------------------ samplers


def test_samplers_draw_what_they_promise() -> None:
    data = range(10)
    assert list(ours.SequentialSampler(data)) == list(data)
    shuffled = ours.RandomSampler(data)
    first, second = list(shuffled), list(shuffled)
    assert sorted(first) == sorted(second) == list(data) and first != second
    thrice = list(ours.RandomSampler(data, num_samples=25))
    assert sorted(thrice[:10]) == sorted(thrice[10:20]) == list(data) and len(set(thrice[20:])) == 5
    drawn = list(ours.RandomSampler(data, replacement=True, num_samples=2000))
    assert len(drawn) == 2000 and all(140 < n < 270 for n in collections.Counter(drawn).values())
    assert sorted(ours.SubsetRandomSampler([5, 3, 8])) == [3, 5, 8]
    assert sorted(ours.SubsetRandomSampler(tg.tensor([5, 3]))) == [3, 5]


def test_weighted_sampler_follows_its_weights() -> None:
    weights = [0.0, 1.0, 3.0, 4.0]
    counts = collections.Counter(ours.WeightedRandomSampler(weights, 8000))
    np.testing.assert_allclose([counts[i] / 8000 for i in range(4)], np.array(weights) / 8, atol=0.02)
    pairs = collections.Counter(tuple(ours.WeightedRandomSampler(weights, 2, replacement=False)) for _ in range(4000))
    expected = {(a, b): weights[a] / 8 * weights[b] / (8 - weights[a]) for a in (1, 2, 3) for b in (1, 2, 3) if a != b}
    assert set(pairs) == set(expected)
    assert all(abs(pairs[p] / 4000 - expected[p]) < 0.03 for p in expected)
    assert sorted(ours.WeightedRandomSampler([1e-300, 0, 1e300], 2, replacement=False)) == [0, 2]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_batch_sampler(size: int, drop_last: bool) -> None:
    got, expected = ours.BatchSampler(range(5), size, drop_last), theirs.BatchSampler(range(5), size, drop_last)
    assert list(got) == list(expected) and len(got) == len(expected)


def test_subclass_that_redefines_iter_is_iterated() -> None:
    class Backwards(ours.RandomSampler):
        def __iter__(self) -> Iterator[int]:
            return iter(range(len(self) - 1, -1, -1))

    assert [b.tolist() for b in ours.DataLoader(range(5), 2, sampler=Backwards(range(5)))] == [[4, 3], [2, 1], [0]]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("count", "replicas"), [(10, 3), (9, 3), (1, 4), (0, 2)])
def test_distributed_sampler(count: int, replicas: int, drop_last: bool) -> None:
    def shares(lib: Any, **options: Any) -> list[Any]:
        return [lib.DistributedSampler(range(count), replicas, r, drop_last=drop_last, **options)
                for r in range(replicas)]  # fmt: skip

    if count >= replicas or not drop_last:  # torch's length is below zero there
        got, expected = shares(ours, shuffle=False), shares(theirs, shuffle=False)
        assert [list(s) for s in got] == ([list(s) for s in expected] if count else [[], []])
        assert [len(s) for s in got] == [len(s) for s in expected]
    shuffled = shares(ours, seed=3)
    first = [list(s) for s in shuffled]
    assert [list(s) for s in shuffled] == first  # the same epoch
    together = {i for s in first for i in s}
    assert len(together) == (count // replicas * replicas if drop_last else count)
    for sampler in shuffled:
        sampler.set_epoch(1)
    if count > 5:
        assert [list(s) for s in shuffled] != first


def test_distributed_sampler_needs_to_be_told() -> None:
    with pytest.raises(RuntimeError, match="no process group"):
        ours.DistributedSampler(DATA)


# -------------------------------------------------------------------------------------------------------------- loader

DATA: Any = list(range(10))
REFUSED = [
    (
        lambda lib: lib.DataLoader([], shuffle=True),
        ValueError,
        "num_samples should be a positive integer value, but got",
    ),
    (lambda lib: lib.DataLoader(DATA, 0), ValueError, "batch_size should be a positive integer value"),
    (lambda lib: lib.DataLoader(DATA, drop_last=1), ValueError, "drop_last should be a boolean"),
    (lambda lib: lib.DataLoader(DATA, shuffle=True, sampler=DATA), ValueError, "mutually exclusive with shuffle"),
    (lambda lib: lib.DataLoader(DATA, 2, batch_sampler=[[1]]), ValueError, "mutually exclusive with batch_size"),
    (lambda lib: lib.DataLoader(DATA, None, drop_last=True), ValueError, "disables auto-batching"),
    (lambda lib: lib.DataLoader(DATA, num_workers=-1), ValueError, "num_workers option should be non-negative"),
    (lambda lib: lib.DataLoader(DATA, timeout=-1), ValueError, "timeout option should be non-negative"),
    (lambda lib: lib.DataLoader(DATA, prefetch_factor=2), ValueError, "could only be specified in multiprocessing"),
    (lambda lib: lib.DataLoader(DATA, persistent_workers=True), ValueError, "needs num_workers > 0"),
    (
        lambda lib: lib.DataLoader(DATA, num_workers=1, multiprocessing_context="rope"),
        ValueError,
        "multiprocessing_context option should specify a valid start method in .*, but got .*rope",
    ),
    (
        lambda lib: lib.DataLoader(DATA, num_workers=1, multiprocessing_context=3),
        TypeError,
        "multiprocessing_context option should be a valid context object",
    ),
    (
        lambda lib: lib.DataLoader(DATA, multiprocessing_context="spawn"),
        ValueError,
        "multiprocessing_context can only be used with",
    ),
    (
        lambda lib: setattr(lib.DataLoader(DATA), "batch_size", 3),
        ValueError,
        "batch_size attribute should not be set after DataLoader is initialized",
    ),
    (lambda lib: lib.StackDataset(), ValueError, "At least one dataset should be passed"),
    (lambda lib: lib.StackDataset(DATA, [1]), ValueError, "Size mismatch between datasets"),
    (lambda lib: lib.StackDataset(DATA, x=DATA), ValueError, "but both"),
    (
        lambda lib: lib.StackDataset(OneShort()).__getitems__([1, 2]),
        ValueError,
        "output size mismatch. Expected 2, got 1",
    ),
    (
        lambda lib: lib.DistributedSampler(DATA, 2, 2),
        ValueError,
        r"Invalid rank 2, rank should be in the interval \[0, 1\]",
    ),
    (lambda lib: lib.RandomSampler(DATA, replacement=1), TypeError, "replacement should be a boolean value"),
    (lambda lib: lib.RandomSampler(DATA, num_samples=-1), ValueError, "num_samples should be a positive integer"),
    (lambda lib: lib.WeightedRandomSampler([[1.0]], 1), ValueError, "weights should be a 1d sequence"),
    (lambda lib: lib.WeightedRandomSampler([1.0], 0), ValueError, "num_samples should be a positive integer"),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_options_torch_refuses_too(make: Any, error: type[Exception], message: str) -> None:
    for lib in (ours, theirs):
        with pytest.raises(error, match=message):
            make(lib)


def test_options_of_our_own() -> None:
    for options, message in (
        ({"worker_type": "fibre"}, "'process' or 'thread', but got 'fibre'"),
        ({"num_workers": 1, "prefetch_factor": 0}, "prefetch_factor option should be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            ours.DataLoader(DATA, **options)
    with pytest.raises(ValueError, match="expected unspecified shuffle option"):
        ours.DataLoader(Stream(3), shuffle=True)
    with pytest.raises(ValueError, match="cannot draw 3 samples from an empty data source"):
        ours.RandomSampler([], num_samples=3)
    with pytest.raises(ValueError, match="weights must be finite and not negative"):
        ours.WeightedRandomSampler([1.0, -1.0], 1)
    with pytest.raises(ValueError, match="replacement should be a boolean"):
        ours.WeightedRandomSampler([1.0], 1, replacement=1)
    with pytest.raises(ValueError, match="too few to draw 3 samples without"):
        ours.WeightedRandomSampler([1, 0, 1], 3, replacement=False)
    for context in ("fork", multiprocessing.get_context("spawn")):
        assert ours.DataLoader(DATA, num_workers=1, multiprocessing_context=context).num_workers == 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 4},
        {"batch_size": 4, "drop_last": True},
        {"batch_size": None},
        {"sampler": [3, 1, 2], "batch_size": 2},
        {"batch_sampler": [[1, 2], [3], [4, 5, 6]]},
        {"batch_size": 3, "collate_fn": lambda items: {"sum": sum(items)}},
    ],
)
def test_in_this_process(options: dict[str, Any]) -> None:
    got, expected = ours.DataLoader(DATA, **options), theirs.DataLoader(DATA, **options)
    assert epochs(got, 2) == epochs(expected, 2)
    assert len(got) == len(expected) and got.batch_size == expected.batch_size


@pytest.mark.parametrize("options", [{"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": None}])
def test_iterable_in_this_process(options: dict[str, Any]) -> None:
    class Theirs(theirs.IterableDataset):
        def __iter__(self) -> Iterator[int]:
            return iter(range(7))

    assert epochs(ours.DataLoader(Stream(7), **options), 2) == epochs(theirs.DataLoader(Theirs(), **options), 2)


def test_length_of_an_iterable() -> None:
    lengths = [len(ours.DataLoader(Sized(7), **options)) for options in ({"batch_size": 3}, {"batch_size": None})]
    assert [*lengths, len(ours.DataLoader(Sized(7), 3, drop_last=True))] == [3, 7, 2]
    with pytest.raises(TypeError):
        len(ours.DataLoader(Stream(7)))


def test_a_stream_longer_than_it_said() -> None:
    class Longer(Sized):
        def __len__(self) -> int:
            return self.stop - 4

    loader = ours.DataLoader(Longer(7), 2)
    assert len(epochs(loader)[0]) == 4  # nobody asked for the length
    assert len(loader) == 2
    with pytest.warns(UserWarning, match="Longer was reported to be 2 .* but 3 batches have been fetched"):
        epochs(loader)


def test_what_a_collate_function_makes_is_pinned() -> None:
    class Batch:
        def __init__(self, items: list[int]) -> None:
            self.items, self.pinned = tg.tensor(items), 0

        def pin_memory(self) -> Batch:
            self.pinned += 1
            return self

    (batch,) = ours.DataLoader(DATA, 10, collate_fn=lambda items: {"a": (Batch(items), tg.tensor(1))}, pin_memory=True)
    assert batch["a"][0].pinned == 1 and batch["a"][1].item() == 1
    (batch,) = ours.DataLoader(DATA, 10, collate_fn=Batch, in_order=False)
    assert batch.pinned == 0


def test_seeds_decide_the_order() -> None:
    def order(**options: Any) -> list[Any]:
        return epochs(ours.DataLoader(list(range(50)), 7, shuffle=True, **options), 2)

    tg.manual_seed(1)
    first = order()
    assert first[0] != first[1] and order() != first
    tg.manual_seed(1)
    assert order() == first
    tg.manual_seed(2)
    assert order() != first
    mine = order(generator=tg.Generator().manual_seed(5))
    tg.manual_seed(1)
    assert order(generator=tg.Generator().manual_seed(5)) == mine
    assert order() == first  # a generator of the loader's own leaves the default one alone


def test_loading_leaves_random_states_alone() -> None:
    random.seed(1), np.random.seed(2)
    expected = random.random(), np.random.rand()
    random.seed(1), np.random.seed(2)
    loader = iter(ours.DataLoader(Noisy(), 4))
    before = tg.get_rng_state().tolist()
    for _ in loader:
        assert tg.get_rng_state().tolist() == before
    assert (random.random(), np.random.rand()) == expected
