"""Workers: grain iterators, in processes or threads, that make batches ahead of their use.

Worker w of n makes the batches whose number is w modulo n, so that taking them in turn gives them in order. What it is
to make it finds in a file, a `Job`, and looks for the next one before every batch: the same worker can so be sent
through any number of epochs, and through a long or endless one in pieces. (grain's own way to redirect an iterator,
`set_state`, waits for ever if the worker dies before it has answered.)

grain starts processes by spawn and pickles with cloudpickle: datasets and functions of any kind may be sent, lambdas
and classes of the main script included.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from copy import copy
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import absl.logging
import cloudpickle  # type: ignore[import-untyped]
import numpy as np

from tritongrad.data.fetch import Fetcher, Place, WorkerInfo, seeded, set_worker_info


@contextmanager
def _quiet() -> Iterator[None]:
    # grain says on import that it found no jax, and absl, which it says it through, then configures the root logger:
    # a later logging.basicConfig of the user would do nothing.
    logger, handler = absl.logging.get_absl_logger(), logging.NullHandler()
    level = logger.level
    logger.setLevel(logging.ERROR)
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)
        logger.setLevel(level)


with _quiet():
    import grain
    import grain.experimental


class End(Enum):
    """What a worker gives once its job is done. An Enum, so that it is itself again after pickling."""

    END = 0


AHEAD = 4096  # batches whose indices are sent to the workers at once
GRACE = 5.0  # seconds a worker is given to finish what it is making before it is killed
INLINE = 2**14  # bytes: larger buffers travel in shared memory, and the pipe never fills
_starting = threading.Lock()
Init = Callable[[int], None] | None


@dataclass(frozen=True)
class Job:
    """What a worker makes next: batches by number and keys, or (None) all that its share of a stream gives."""

    seed: int
    batches: list[tuple[int, Any]] | None

    def post(self, directory: Path, worker: int, serial: int) -> None:
        """Leave this for a worker to find; whole, or not at all."""
        draft = directory / "draft"
        draft.write_bytes(cloudpickle.dumps(self))
        draft.rename(directory / f"{worker}.{serial}")


@dataclass(frozen=True)
class Failure:
    """An exception on its way from a worker, with the text of its traceback."""

    error: BaseException
    text: str
    worker: str


class WorkerDataset(grain.IterDataset[Any]):
    """What one worker makes. `load` gives, in the worker, how to make it and the user's worker_init_fn."""

    def __init__(
        self, load: Callable[[], tuple[Fetcher, Init]], index: int, count: int, place: Place, directory: Path
    ) -> None:
        super().__init__()
        self.load, self.index, self.count, self.place, self.directory = load, index, count, place, directory

    def __iter__(self) -> WorkerIterator:
        return WorkerIterator(self)


class WorkerIterator(grain.DatasetIterator[Any]):
    """Gives (serial number of the job, batch); for a batch, `End.END` once the job is done, or a `Failure`."""

    def __init__(self, work: WorkerDataset) -> None:
        super().__init__()
        self._work, self._serial = work, 0
        self._fetcher: Fetcher | None = None
        self._batches: Iterator[Any] = iter(())

    def get_state(self) -> dict[str, Any]:
        return {}  # grain asks after every batch; where we are, the loader knows

    def set_state(self, state: dict[str, Any]) -> None:
        raise NotImplementedError("workers are redirected by jobs")

    def __next__(self) -> Any:
        place = self._work.place
        try:
            if (job := self._newest_job()) is not None:
                self._batches = self._make(job)
            batch = next(self._batches, End.END)
            return self._serial, pack(batch) if place == "process" else batch
        except BaseException as error:  # SystemExit in a dataset must not end the worker without a word
            self._batches = iter(())
            text = "".join(traceback.format_exception(error))
            failure = Failure(error, text, f"DataLoader worker {place} {self._work.index}")
            return self._serial, pack_failure(failure) if place == "process" else failure

    def _newest_job(self) -> Job | None:
        job = None
        while (file := self._work.directory / f"{self._work.index}.{self._serial + 1}").exists():
            job, self._serial = file.read_bytes(), self._serial + 1
            file.unlink()
        return None if job is None else pickle.loads(job)

    def _make(self, job: Job) -> Iterator[Any]:
        work, fetcher, init = self._work, self._fetcher, None
        if fetcher is None:
            if work.place == "process":
                _follow_parent(work.directory)
            fetcher, init = work.load()
        seed = job.seed + work.index
        set_worker_info(WorkerInfo(work.index, work.count, seed, fetcher.dataset), work.place)
        if init is not None:
            with seeded(seed, work.place):
                init(work.index)
        self._fetcher = fetcher
        return fetcher.batches(job.batches, job.seed, work.place, work.index, work.count)


def pack(batch: Any) -> tuple[Any, ...]:
    """A batch as its pickle and the large buffers in it, which grain moves through shared memory.

    Everything is pickled here, where a failure is reported like any other, and by cloudpickle, which gives instances of
    the main script's classes back as just those.
    """
    buffers: list[np.ndarray] = []

    def in_band(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes > INLINE:
            buffers.append(np.frombuffer(raw, np.uint8))
        return raw.nbytes <= INLINE

    stream = cloudpickle.dumps(batch, protocol=5, buffer_callback=in_band)
    return (stream if len(stream) <= INLINE else np.frombuffer(stream, np.uint8), *buffers)


def unpack(packed: tuple[Any, ...], lend: bool) -> Any:
    """The batch again. With `lend`, its arrays are the shared memory itself, to be let go of soon: each holds a file
    descriptor. Otherwise they are copies."""
    stream, *buffers = packed
    return pickle.loads(bytes(stream), buffers=buffers if lend else [np.array(b) for b in buffers])


def pack_failure(failure: Failure) -> tuple[Any, ...]:
    """A failure packed; an exception that does not survive pickling is replaced by a RuntimeError that quotes it."""
    try:
        packed = pack(failure)
        unpack(packed, lend=True)
        return packed
    except Exception:
        error = failure.error
        return pack(Failure(RuntimeError(f"{type(error).__name__}: {error}"), failure.text, failure.worker))


class Pool:
    """The workers of a loader. They live until `close`, which also happens when the pool is no longer referenced."""

    def __init__(self, fetcher: Fetcher, init: Init, count: int, place: Place, ahead: int, timeout: float) -> None:
        load = partial(_copied, fetcher, init) if place == "thread" else partial(pickle.loads, _pickled(fetcher, init))
        self._count, self._place, self._timeout = count, place, timeout
        self._lend = fetcher.collate_fn is None  # the default collate's arrays are copied into tensors at once
        self._serial = 0  # of the last jobs posted
        self._iteration: object = None  # the one these were for
        self._workers: list[grain.DatasetIterator[Any]] = []
        self._processes: list[Any] = []
        self._directory = Path(tempfile.mkdtemp(prefix="tritongrad-"))
        self.broken = False  # a worker died, hangs, or could not be started
        self.close = weakref.finalize(self, _close, self._workers, self._processes, self._directory)
        for index in range(count):
            work = WorkerDataset(load, index, count, place, self._directory)
            if place == "thread":
                ready = grain.experimental.ThreadPrefetchIterDataset(work, prefetch_buffer_size=ahead)
            else:
                half = -(-ahead // 2)  # grain keeps as many there and here
                ready = work.mp_prefetch(grain.MultiprocessingOptions(num_workers=1, per_worker_buffer_size=half))
            self._workers.append(iter(ready))

    def begin(self, seed: int, batches: Iterable[tuple[int, Any]] | None) -> Iterator[Any]:
        """Start the workers on numbered batches, or (None) on their shares of a stream. What they still had from
        before is discarded. Gives the batches in order of number."""
        self._iteration = iteration = object()
        try:
            if batches is None:
                self._post(seed, [None] * self._count)
                return self._streams(iteration)
            numbered = iter(batches)
            return self._chunks(iteration, seed, numbered, self._post_chunk(seed, numbered))
        except BaseException:
            self.broken = True
            self.close()
            raise

    def _post_chunk(self, seed: int, numbered: Iterator[tuple[int, Any]]) -> list[int]:
        """Post jobs for the next batches; gives their numbers."""
        chunk = list(islice(numbered, AHEAD))
        self._post(seed, [[b for b in chunk if b[0] % self._count == w] for w in range(self._count)])
        return [number for number, _ in chunk]

    def _chunks(self, iteration: object, seed: int, rest: Iterator[tuple[int, Any]], chunk: list[int]) -> Iterator[Any]:
        while chunk:
            for number in chunk:
                yield self._take(number % self._count, iteration)
            chunk = self._post_chunk(seed, rest) if len(chunk) == AHEAD else []

    def _streams(self, iteration: object) -> Iterator[Any]:
        active = list(range(self._count))
        while active:
            for worker in tuple(active):
                batch = self._take(worker, iteration)
                if batch is End.END:
                    active.remove(worker)
                else:
                    yield batch

    def _post(self, seed: int, shares: list[Any]) -> None:
        self._serial += 1
        for worker, share in enumerate(shares):
            Job(seed, share).post(self._directory, worker, self._serial)
        if self._serial == 1:
            self._start()

    def _start(self) -> None:
        with _spawning() if self._place == "process" else nullcontext() as children:
            for worker in self._workers:
                worker.get_state()  # before which there is nothing to start
                worker.start_prefetch()
            deadline = monotonic() + 60
            while children and len(self._processes) < self._count:  # they are started by threads of grain's
                if monotonic() > deadline:
                    raise RuntimeError(f"DataLoader: only {len(self._processes)} of {self._count} workers started")
                sleep(1e-3)
                self._processes += [p for p in children() if p not in self._processes]

    def _take(self, worker: int, iteration: object) -> Any:
        serial = 0
        while serial != self._serial:  # what was made for an iteration that was abandoned
            if iteration is not self._iteration:
                raise RuntimeError(
                    "DataLoader: persistent workers serve one iteration at a time, and a newer one has begun"
                )
            serial, batch = self._next(self._workers[worker])
        if self._place == "process":
            batch = unpack(batch, self._lend)
        if isinstance(batch, Failure):
            batch.error.add_note(f"Raised in {batch.worker}. Its traceback:\n{batch.text}")
            raise batch.error
        return batch

    def _next(self, worker: grain.DatasetIterator[Any]) -> Any:
        try:
            return next(worker) if not self._timeout else _within(self._timeout, lambda: next(worker))
        except Exception:
            self.broken = True
            raise


def _pickled(fetcher: Fetcher, init: Init) -> bytes:
    try:
        return cloudpickle.dumps((fetcher, init))
    except Exception as error:
        error.add_note("DataLoader: dataset, collate_fn and worker_init_fn are pickled to be sent to worker processes")
        raise


def _copied(fetcher: Fetcher, init: Init) -> tuple[Fetcher, Init]:
    """For a thread: an iterable dataset, which worker_init_fn may cut, becomes each worker's own."""
    return (replace(fetcher, dataset=copy(fetcher.dataset)) if fetcher.iterable else fetcher), init


@contextmanager
def _spawning() -> Iterator[Callable[[], list[Any]]]:
    """Processes that grain starts in the block are fit to be workers; yields a function that lists those running.

    They do not run the main script again, as spawn would have them do, but `worker_main`: scripts need no
    `if __name__ == "__main__"` and start faster. Their kernels run in the interpreter: no worker ever opens the GPU.
    They do not see Ctrl-C, which a terminal sends to all processes: it is for this one to end them.
    """
    with _starting:
        main, interpret = sys.modules["__main__"], os.environ.get("TRITON_INTERPRET")
        spec, before = main.__spec__, set(_grain_processes())
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # inherited by threads and processes
        try:
            main.__spec__ = find_spec("tritongrad.data.worker_main")
            os.environ["TRITON_INTERPRET"] = "1"
            yield lambda: [p for p in _grain_processes() if p not in before]
        finally:
            main.__spec__ = spec
            os.environ.pop("TRITON_INTERPRET")
            if interpret is not None:
                os.environ["TRITON_INTERPRET"] = interpret
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _grain_processes() -> list[Any]:
    return [p for p in multiprocessing.active_children() if p.name.startswith("grain-process-prefetch")]


def _follow_parent(directory: Path) -> None:
    """End this worker process as soon as its parent is gone, however that came about."""

    def follow() -> None:
        multiprocessing.parent_process().join()  # type: ignore[union-attr]
        shutil.rmtree(directory, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """The result of `call` if it comes within `seconds`, else RuntimeError."""
    result: Future[Any] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return result.result(seconds)
    except TimeoutError:
        raise RuntimeError(f"DataLoader timed out after {seconds} seconds") from None


def _close(workers: list[grain.DatasetIterator[Any]], processes: list[Any], directory: Path) -> None:
    """End all workers together, killing processes that do not stop within `GRACE`."""
    closers = [threading.Thread(target=worker.close, daemon=True) for worker in workers]
    deadline = monotonic() + GRACE
    with suppress(RuntimeError):  # from Python 3.12 on no thread can be started while the interpreter ends
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join(max(0.0, deadline - monotonic()))
    for process in processes:
        if process.is_alive():
            process.kill()
        process.join()
    shutil.rmtree(directory, ignore_errors=True)
