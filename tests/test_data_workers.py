"""Loaders with workers: the same batches as without, also after a resumption, and no trace of the workers however an
iteration ends."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tritongrad as tg
import tritongrad.data
import tritongrad.utils.data as ours
from tests.test_data import DATA, Noisy, Stream, epochs, plain

pool = pytest.importorskip("tritongrad.data.pool", exc_type=ImportError)

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}"}
PLACES = ("thread", "process")


class Unpicklable(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")
        self.held = lambda: None


class Raising(ours.Dataset[Any]):
    """Item i is i and the process it was made in, or for some i a way to fail."""

    def __len__(self) -> int:
        return 100

    def __getitem__(self, i: int) -> Any:
        if i == 91:
            raise KeyError("item 91 is bad")
        if i == 92:
            raise Unpicklable(1, 2)
        if i == 93:
            raise SystemExit(0)
        if i == 94:
            os.kill(os.getpid(), signal.SIGKILL)
        if i == 95:
            time.sleep(1)
        return np.array([i, os.getpid()])


class Script(ours.Sampler[int]):
    """A sampler whose order a test changes."""

    def __init__(self, order: list[int]) -> None:
        self.now = order

    def __iter__(self) -> Iterator[int]:
        return iter(self.now)


def shift_stream(worker: int) -> None:
    info = ours.get_worker_info()
    assert info is not None and info.id == worker and info.num_workers == 2
    info.dataset.offset += 100


def segments() -> set[str]:
    return {name for name in os.listdir("/dev/shm") if name.startswith("psm_")}


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.fixture(autouse=True)
def _no_traces() -> Iterator[None]:
    yield
    gc.collect()  # an exception's traceback holds the frames, and so the loaders, it went through
    assert multiprocessing.active_children() == []


def loader(dataset: Any, **options: Any) -> ours.DataLoader[Any]:
    return ours.DataLoader(dataset, **{"batch_size": 4, "num_workers": 2, **options})


def labels(batches: list[Any]) -> list[Any]:
    return [batch[1]["label"] for batch in batches]


def test_processes_give_the_bits_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Order and augmentation do not depend on the number of workers, nor on the pieces an epoch is sent in."""
    before = segments()
    tg.manual_seed(3)
    whole = epochs(loader(Noisy(), num_workers=0, shuffle=True), 4)
    assert len({str(epoch) for epoch in whole}) == 4
    tg.manual_seed(3)
    kept = loader(Noisy(), shuffle=True, persistent_workers=True)
    assert epochs(kept, 2) == whole[:2]
    assert next(iter(kept))["label"].tolist() == whole[2][0][1]["label"][2]  # an epoch abandoned at its first batch
    monkeypatch.setattr(pool, "AHEAD", 2)
    assert epochs(kept) == whole[3:]
    del kept
    tg.manual_seed(3)
    assert epochs(loader(Noisy(), shuffle=True, num_workers=1, prefetch_factor=1)) == whole[:1]
    assert wait_until(lambda: segments() <= before), "shared memory was left behind"


def test_threads_give_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "AHEAD", 4)
    tg.manual_seed(3)
    whole = epochs(loader(Noisy(), num_workers=0, shuffle=True), 3)
    for options in ({"num_workers": 1}, {"num_workers": 3}, {"persistent_workers": True}):
        tg.manual_seed(3)
        got = epochs(loader(Noisy(), worker_type="thread", shuffle=True, **options), 3)
        assert [labels(epoch) for epoch in got] == [labels(epoch) for epoch in whole]


@pytest.mark.parametrize("place", PLACES)
def test_streams_are_shared(place: str) -> None:
    """Workers take turns, until each one's share is over; worker_init_fn reaches each one's own dataset."""
    dataset = Stream(11)
    options: Any = {"batch_size": 2, "worker_init_fn": shift_stream, "worker_type": place, "persistent_workers": True}
    stream = loader(dataset, **options)
    expected = [[100, 102], [101, 103], [104, 106], [105, 107], [108, 110], [109]]
    assert [b.tolist() for b in stream] == expected
    assert [b.tolist() for b in stream] == expected  # not shifted again
    assert dataset.offset == 0 and ours.get_worker_info() is None


@pytest.mark.parametrize("place", PLACES)
def test_exceptions_come_as_they_were(place: str) -> None:
    order = Script([0, 1, 91])
    options: Any = {"batch_size": 1, "num_workers": 1, "persistent_workers": True, "timeout": 100}
    failing = loader(Raising(), sampler=order, worker_type=place, **options)
    with pytest.raises(KeyError, match="item 91 is bad") as caught:
        epochs(failing)
    note = caught.value.__notes__[0]
    assert f"DataLoader worker {place} 0" in note and 'raise KeyError("item 91 is bad")' in note
    order.now = [92]
    expected = RuntimeError if place == "process" else Unpicklable
    with pytest.raises(expected, match="1 and 2"):
        epochs(failing)
    order.now = [93]
    with pytest.raises(SystemExit):
        epochs(failing)
    order.now = [5]
    (first,) = failing  # and the worker is still there
    if place == "process":
        order.now = [5, 94]
        with pytest.raises(RuntimeError, match="terminated unexpectedly"):
            epochs(failing)
        order.now = [6]
        (second,) = failing
        assert second[0, 0].item() == 6 and second[0, 1].item() != first[0, 1].item() != os.getpid()


def test_what_cannot_be_sent_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="pickle") as caught:
        iter(loader([threading.Lock()]))
    assert "sent to worker processes" in caught.value.__notes__[0]


def test_break_ends_the_workers() -> None:
    for batch in loader(Raising(), sampler=range(90), num_workers=1):
        assert batch[:, 0].tolist() == [0, 1, 2, 3] and len(multiprocessing.active_children()) == 1
        break
    assert multiprocessing.active_children() == []
    iter(loader(DATA, num_workers=1))  # dropped before its first batch
    assert multiprocessing.active_children() == []


def test_sampler_that_fails_at_once() -> None:
    order = Script([])
    failing = loader(DATA, sampler=order, worker_type="thread", persistent_workers=True)
    order.now = None
    with pytest.raises(TypeError, match="NoneType"):
        iter(failing)
    order.now = [3, 1]
    assert [b.tolist() for b in failing] == [[3, 1]]


def test_timeout() -> None:
    slow = loader(Raising(), batch_size=1, sampler=[1, 95], worker_type="thread", timeout=0.2)
    with pytest.raises(RuntimeError, match=r"DataLoader timed out after 0\.2 seconds"):
        epochs(slow)


def test_persistent_workers_serve_one_iteration() -> None:
    shared = loader(DATA, worker_type="thread", persistent_workers=True)
    first = iter(shared)
    next(first)
    second = iter(shared)
    with pytest.raises(RuntimeError, match="one iteration at a time"):
        next(first)
    assert [b.tolist() for b in second] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_endless_sampler() -> None:
    def endless() -> Iterator[int]:
        while True:
            yield from range(10)

    class Endless(ours.Sampler[int]):
        def __iter__(self) -> Iterator[int]:
            return endless()

    batches = iter(loader(DATA, sampler=Endless(), worker_type="thread"))
    assert [next(batches).tolist()[0] for _ in range(6)] == [0, 4, 8, 2, 6, 0]


@pytest.mark.parametrize("stop", [0, 1, 3, 6])
@pytest.mark.parametrize("own", [False, True])
def test_resumed_epoch_has_the_remaining_batches(stop: int, own: bool) -> None:
    def loader() -> ours.DataLoader[Any]:
        generator = tg.Generator().manual_seed(9) if own else None
        return ours.DataLoader(Noisy(), 4, shuffle=True, generator=generator)

    tg.manual_seed(4)
    whole = epochs(loader(), 2)
    tg.manual_seed(4)
    stopped = loader()
    given = []
    for _, batch in zip(range(stop), stopped, strict=False):
        given.append(plain(batch))
    state = json.loads(json.dumps(stopped.state_dict()))
    random_state = tg.get_rng_state()
    tg.manual_seed(77)  # another process
    resumed = loader()
    resumed.load_state_dict(state)
    tg.set_rng_state(random_state)  # restored by the checkpoint, not by the loader
    rest = epochs(resumed)[0]
    assert given + rest == whole[0]
    assert epochs(resumed)[0] == whole[1]


def test_resumption_of_others() -> None:
    """Samplers that only iterate, and streams, are skipped through."""
    for make in (lambda: ours.DataLoader(DATA, 3, sampler=DATA[::-1]), lambda: ours.DataLoader(Stream(10), 3)):
        whole = epochs(make())[0]
        stopped = iter(loader := make())
        next(stopped), next(stopped)
        resumed = make()
        resumed.load_state_dict(loader.state_dict())
        assert epochs(resumed) == [whole[2:]] and epochs(resumed) == [whole]
    with pytest.raises(ValueError, match="expected a state of seed, position and generator"):
        resumed.load_state_dict({"epoch": 3})
    with pytest.raises(ValueError, match="generator of its own"):
        resumed.load_state_dict({"seed": 1, "position": 0, "generator": [1, 2]})


class Drawing(ours.Sampler[int]):
    """Draws a new order on every pass from a generator it has, as torch's documentation shows."""

    def __init__(self) -> None:
        self.generator = tg.Generator().manual_seed(5)

    def __iter__(self) -> Iterator[int]:
        for _ in range(10):
            yield int(tg.randint(1000, (1,), generator=self.generator).item()) % 10

    def __len__(self) -> int:
        return 10


class Counting(ours.Sampler[int]):
    """Has a state of its own that decides the order."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(3)

    def __iter__(self) -> Iterator[int]:
        return iter(self.random.permutation(10).tolist())

    def __len__(self) -> int:
        return 10

    def state_dict(self) -> Any:
        return self.random.bit_generator.state

    def load_state_dict(self, state: Any) -> None:
        self.random.bit_generator.state = state


SAMPLERS: dict[str, Callable[[], dict[str, Any]]] = {
    "draws from its generator": lambda: {"sampler": Drawing()},
    "state of its own": lambda: {"sampler": Counting()},
    "distributed": lambda: {"sampler": ours.DistributedSampler(DATA, 2, 1)},
    "weighted": lambda: {"sampler": ours.WeightedRandomSampler(range(10), 10)},
    "batches": lambda: {"batch_sampler": ours.BatchSampler(Counting(), 3, False), "batch_size": 1},
    "one by one": lambda: {"shuffle": True, "batch_size": None, "generator": tg.Generator().manual_seed(2)},
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", SAMPLERS)
def test_resumption_with_samplers(kind: str, workers: int) -> None:
    """The rest of the second epoch and the whole third are those of a run that nobody stopped."""

    def make() -> ours.DataLoader[Any]:
        tg.manual_seed(4)
        place: Any = "thread" if workers else "process"
        return loader(DATA, **{"batch_size": 3, "num_workers": workers, "worker_type": place, **SAMPLERS[kind]()})

    def passes(loader: ours.DataLoader[Any], numbers: list[int]) -> list[Any]:
        given = []
        for epoch in numbers:
            if isinstance(loader.sampler, ours.DistributedSampler):
                loader.sampler.set_epoch(epoch)
            given += epochs(loader)
        return given

    whole = passes(make(), [0, 1, 2])
    stopped = make()
    passes(stopped, [0])
    if kind == "distributed":
        stopped.sampler.set_epoch(1)  # type: ignore[attr-defined]
    given = [plain(batch) for _, batch in zip(range(1), stopped, strict=False)]
    state, random_state = json.loads(json.dumps(stopped.state_dict())), tg.get_rng_state()
    resumed = make()
    resumed.load_state_dict(state)
    tg.set_rng_state(random_state)
    assert given + epochs(resumed)[0] == whole[1]
    assert passes(resumed, [2]) == whole[2:]


def test_state_between_epochs_is_a_fresh_start() -> None:
    loader = ours.DataLoader(DATA, 4)
    assert loader.state_dict() == {"seed": None, "position": 0, "generator": None, "sampler": None}
    epochs(loader)
    assert loader.state_dict() == {"seed": None, "position": 0, "generator": None, "sampler": None}


def test_resumption_with_workers() -> None:
    def make(workers: int) -> ours.DataLoader[Any]:
        return loader(Noisy(), shuffle=True, num_workers=workers, worker_type="thread" if workers else "process")

    tg.manual_seed(4)
    whole = epochs(make(0))[0]
    tg.manual_seed(4)
    stopped = make(2)
    for _, batch in zip(range(3), stopped, strict=False):
        assert plain(batch)
    state = json.loads(json.dumps(stopped.state_dict()))
    assert state["position"] == 3  # what was given, not what was made ahead
    resumed = make(3)
    resumed.load_state_dict(state)
    assert labels(epochs(resumed)[0]) == labels(whole[3:])


def test_workers_collate_by_the_map_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = ours._utils.collate.default_collate_fn_map
    monkeypatch.setitem(functions, complex, lambda batch, collate_fn_map: tg.tensor([z.imag for z in batch]))
    complexes = loader([(1j, 5), (2j, 6)], num_workers=1, worker_type="thread")
    monkeypatch.undo()
    (batch,) = complexes
    assert [v.tolist() for v in batch] == [[1.0, 2.0], [5, 6]]


def test_without_grain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grain", None)
    monkeypatch.delitem(sys.modules, "tritongrad.data.pool")
    monkeypatch.delattr(tritongrad.data, "pool")
    assert len(epochs(ours.DataLoader(DATA, 4))[0]) == 3
    with pytest.raises(ImportError, match=re.escape('pip install "tritongrad[data]"')):
        iter(loader(DATA))


# No `if __name__ == "__main__"`, and everything the workers need is defined in the script itself.
SCRIPT = """
import collections, logging, time
import tritongrad as tg
from tritongrad.utils.data import DataLoader, Dataset

Pair = collections.namedtuple("Pair", "x name")

class Slow(Dataset):
    def __len__(self):
        return 1000
    def __getitem__(self, i):
        time.sleep(100 if i >= 6 else 0)
        return Pair(float(i), f"item {i}")

step = 10
collate = lambda items: (items[0], tg.tensor([p.x for p in items]) + step)
for first, x in DataLoader(Slow(), 2, num_workers=1, collate_fn=collate):
    assert type(first) is Pair and isinstance(x, tg.Tensor)
    assert logging.root.handlers == []  # or a basicConfig of the user's would do nothing
    print(first.name, x.tolist(), flush=True)
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_script_interrupted(tmp_path: Path, ending: signal.Signals) -> None:
    """Ctrl-C, and the death of the main process, end the workers quietly and soon, even amidst a slow item."""
    (tmp_path / "script.py").write_text(SCRIPT)
    main = subprocess.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, env={**ENVIRONMENT, "TMPDIR": str(tmp_path)}, text=True,
        start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert main.stdout is not None
    lines = [main.stdout.readline().strip() for _ in range(3)]
    time.sleep(1)  # until it waits for the slow item: Python ignores what a signal raises inside of a destructor
    os.killpg(main.pid, ending) if ending == signal.SIGINT else main.kill()
    start = time.monotonic()
    _, errors = main.communicate(timeout=60)  # waits until no worker holds the pipes any more
    assert lines == ["item 0 [10.0, 11.0]", "item 2 [12.0, 13.0]", "item 4 [14.0, 15.0]"], errors
    assert time.monotonic() - start < 50
    assert sorted(os.listdir(tmp_path)) == ["script.py"]
    if ending == signal.SIGINT:
        assert errors.startswith("Traceback") and errors.count("Traceback") == 1, errors
        assert errors.rstrip().endswith("KeyboardInterrupt"), errors
