"""Launches for a GPU in front of a launcher that notes what it is called with. Prints what went wrong in each check.

`test_direct.py` runs it in a process that compiles, where kernels are those of a GPU.
"""

from __future__ import annotations

import itertools
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from triton import knobs
from triton.backends.nvidia import driver as nvidia
from triton.compiler import LazyDict

from tritongrad_kernels import direct, driver, dtypes, launch, memory, stand_in, triton_launcher
from tritongrad_kernels.array import Array, contiguous_strides
from tritongrad_kernels.descriptors import descriptor

GPU = driver.Device("cuda", 0)
SCALE = tl.constexpr(3)
calls: list[tuple[Any, ...]] = []


@triton.jit
def _double(x):
    return x * 2


@triton.jit
def _map(
    X, OUT, shape, strides, n, value, f: tl.constexpr, TYPE: tl.constexpr, FLAG: tl.constexpr, BLOCK: tl.constexpr
):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(X + at * strides[0], mask=at < n, other=0).to(TYPE)
    tl.store(OUT + at, f(x) + value + shape[0], mask=at < n)


@triton.jit
def _scaled(X, OUT, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(OUT + at, tl.load(X + at, mask=at < n, other=0) * SCALE, mask=at < n)


@triton.jit
def _copy(X, OUT, row):
    OUT.store([row, 0], X.load([row, 0]))


@triton.jit(do_not_specialize=["seed"], do_not_specialize_on_alignment=["step"])
def _numbers(OUT, n, seed, step, long: tl.int64, real: tl.float32, pair, any, C: tl.constexpr):
    tl.store(OUT, n)


checks: list[Callable[[], None]] = []


def check(f: Callable[[], None]) -> Callable[[], None]:
    checks.append(f)
    return f


def note(*told: Any) -> None:
    calls.append(told)


class Utils(stand_in._Utils):
    """What Triton's launcher asks of the module written in C, but for the launch itself."""

    launch = staticmethod(note)

    def build_signature_metadata(self, signature: Any) -> tuple:
        return tuple(signature)

    def encode(self, address: int, *rest: Any) -> tuple:
        return ("map", address, *(tuple(r) if isinstance(r, list) else r for r in rest))

    fill_tma_descriptor = fill_tma_descriptor_tiled = encode


def install() -> None:
    stub = stand_in._driver
    stub.utils, stub.launcher_cls = Utils(), nvidia.CudaLauncher
    nvidia.compile_module_from_src = lambda **source: Utils  # 3.6 writes a launcher for each signature
    nvidia.library_dirs = lambda: []
    nvidia.PyKernelArg, nvidia.ARG_CONSTEXPR, nvidia.ARG_KERNEL, nvidia.ARG_TUPLE = dict, 0, 1, 2


def array(*shape: int, dtype: dtypes.dtype = dtypes.float32, shift: int = 0) -> Array:
    """An array that says it is on a GPU, `shift` elements behind a boundary of 256 bytes."""
    storage = torch.zeros(int(np.prod(shape)) * dtype.itemsize + 512, dtype=torch.uint8)
    start = -storage.data_ptr() % 256 // dtype.itemsize
    return Array(memory.Memory(storage, GPU), dtype, shape, contiguous_strides(shape), start + shift)


def started(kernel: Any, grid: Any, *args: Any, **options: Any) -> tuple[Any, bool]:
    """What the launcher was called with, and whether without Triton's path."""
    before, runs = len(calls), []
    kernel.pre_run_hooks = Watched(runs)
    launch.launch(kernel, grid, *args, **options)
    assert len(calls) == before + 1
    return bare(calls[-1]), not runs


class Watched(list):
    """Hooks of a kernel: none, but Triton's path asks for them."""

    def __init__(self, asked: list) -> None:
        self.asked = asked

    def __iter__(self) -> Iterator:
        self.asked.append(1)
        return super().__iter__()


def bare(value: Any) -> Any:
    """With addresses instead of arrays, and without hooks that nobody is in and what they would be told."""
    if isinstance(value, tuple | list):
        return tuple(map(bare, value))
    if isinstance(value, LazyDict | knobs.HookChain):
        return None
    return value.data_ptr() if hasattr(value, "data_ptr") else value


def same_as_triton(kernel: Any, grid: Any, *args: Any, **options: Any) -> bool:
    """Whether a launch went past Triton; in any case its launcher was told what Triton tells it."""
    found, past = started(kernel, grid, *args, **options)
    direct.available = False
    try:
        want, other = started(kernel, grid, *args, **options)
    finally:
        direct.available = True
    assert not other
    assert found == want, f"{found}\nis not\n{want}"
    return past


def map_of(x: Array, out: Array, value: Any = 1.5, n: int = 4, shape: tuple = (4, 8), flag: bool = True) -> bool:
    return same_as_triton(
        _map, 3, x, out, shape, (1, 32), n, value, _double, tl.float32, FLAG=flag, BLOCK=4, num_warps=1
    )


# ------------------------------------------------------------------------------------------------------------- checks


@check
def what_was_launched_once_goes_past_triton_the_next_time() -> None:
    x, out = array(16), array(16)
    assert [map_of(x, out), map_of(x, out), map_of(array(16), array(16))] == [False, True, True]
    assert map_of(x, out, value=-7.25) and map_of(x, out, n=5) and map_of(x, out, shape=(4, 24))


@check
def what_triton_compiles_anew_is_left_to_it_once() -> None:
    x, out = array(16), array(16)
    changes: list[Callable[[], bool]] = [
        lambda: map_of(x, out, flag=False),
        lambda: map_of(x, out, n=16),
        lambda: map_of(x, out, n=1),
        lambda: map_of(x, out, shape=(1, 8)),
        lambda: map_of(x, out, shape=(4, 16)),
        lambda: map_of(array(16, shift=1), out),
        lambda: map_of(x, array(16, shift=2)),
        lambda: map_of(x, out, value=2),
        lambda: map_of(array(16, dtype=dtypes.bfloat16), out),
    ]
    map_of(x, out)
    assert [change() for change in changes] == [False] * len(changes)
    assert [change() for change in changes] == [True] * len(changes)
    assert map_of(x, out)


@check
def descriptors_go_as_their_maps() -> None:
    def copied(x: Array, out: Array, row: int, rows: int = 8) -> bool:
        boxes = descriptor(x, (rows, 16)), descriptor(out, (rows, 16))
        return same_as_triton(_copy, (2, 3), *boxes, row, num_warps=1)

    x, out, other = array(16, 32), array(16, 32), array(48, 64)
    assert [copied(x, out, 2), copied(x, out, 2), copied(other, out, 6)] == [False, True, True]
    told = calls[-1] if triton_launcher.VERSIONS[0] in triton.__version__ else calls[-1][-1]
    maps = [value for value in told if isinstance(value, tuple) and value[:1] == ("map",)]
    assert [value[1] for value in maps] == [other.data_ptr(), out.data_ptr()]
    assert copied(array(16, 32), array(16, 32), 2)  # where others lie
    assert [copied(x, out, 2, rows=16), copied(x, out, 2, rows=16)] == [False, True]
    halves = array(16, 32, dtype=dtypes.float16), array(16, 32, dtype=dtypes.float16)
    assert [copied(*halves, 2), copied(*halves, 2)] == [False, True]


NUMBERS = [
    *(0, 1, 2, 8, 15, 16, 17, 32, 48, 100, -1, -15, -16, 2**31 - 16, 2**31 - 1, 2**31, 2**31 + 16, -(2**31)),
    *(-(2**31) - 1, 2**32, 2**32 + 1, 2**62, 2**63 - 1, 2**63, 2**63 + 16, 2**64 - 1, -(2**63)),
]
REALS = [0.0, -0.0, 1.0, 16.0, 1e-320, 1e300, float("inf"), float("nan")]
PLAIN: list[Any] = [True, False, None, (), (1,), (16, 5), (32, 7), (1, None), (2**31, 0), (None, 3), (16, 16), (4, 5)]


@check
def launches_of_one_key_are_one_to_triton() -> None:
    """The arguments are what matters: each parameter is given each of these, and pairs of numbers together."""
    base: list[Any] = [array(4), 5, 5, 5, 5, 1.5, (5, 5), 5, 7]
    varied = [[*base[:i], v, *base[i + 1 :]] for i in range(1, 9) for v in [*NUMBERS, *REALS, *PLAIN]]
    varied += [[base[0], a, b, a, b, 0.5, (a, b), b, 7] for a, b in itertools.product(NUMBERS[:14], repeat=2)]
    varied += [[array(4, dtype=d, shift=s), *base[1:]] for d in dtypes.ALL for s in (0, 1, 2, 4, 8, 16)]
    binder = _numbers.device_caches[0][4]
    compiled: dict[Any, Any] = {}
    merged = 0
    for args in varied:
        _, specialised, options = binder(*args, num_warps=4)
        triton_key = repr(specialised), str(options)
        if not (all(map(direct._plain, args)) and direct._understood(_numbers, args, {"num_warps": 4})):
            continue
        site = direct._Site(_numbers, args)
        key = tuple(map(type, args)), direct._by_class(site, direct._key(site, tuple(args), {"num_warps": 4}, [*args]))
        merged += key in compiled
        assert compiled.setdefault(key, triton_key) == triton_key, f"{args}: {triton_key}, not {compiled[key]}"
    assert len({*compiled.values()}) > 100 and merged > 100


@check
def what_is_set_by_hand_is_left_to_triton() -> None:
    x, out = array(16), array(16)
    assert map_of(x, out) or map_of(x, out)
    heard: list[Any] = []
    knobs.runtime.launch_enter_hook.add(heard.append)
    try:
        launch.launch(_map, 3, x, out, (4, 8), (1, 32), 4, 1.5, _double, tl.float32, FLAG=True, BLOCK=4, num_warps=1)
        (metadata,) = (told for told in calls[-1] if isinstance(told, LazyDict))
        assert metadata.get()["name"] == "_map"
    finally:
        knobs.runtime.launch_enter_hook.remove(heard.append)
    assert map_of(x, out)
    with knobs.runtime.scope():
        knobs.runtime.debug = False
        assert not map_of(x, out)
    assert map_of(x, out)


@check
def a_hook_of_the_kernel_is_called() -> None:
    x, out = array(16), array(16)
    map_of(x, out)
    heard: list[Any] = []
    _map.pre_run_hooks = [lambda *args, **options: heard.append(args[0])]
    launch.launch(_map, 3, x, out, (4, 8), (1, 32), 4, 1.5, _double, tl.float32, FLAG=True, BLOCK=4, num_warps=1)
    assert heard == [x]


@check
def a_global_that_changed_is_refused() -> None:
    global SCALE
    x, out = array(16), array(16)
    assert [same_as_triton(_scaled, 1, x, out, 4, BLOCK=8) for _ in range(2)] == [False, True]
    before, SCALE = SCALE, tl.constexpr(4)
    try:
        launch.launch(_scaled, 1, x, out, 4, BLOCK=8)
    except launch.KernelError as error:
        assert "Global variable SCALE has changed" in str(error)
    else:
        raise AssertionError("launched with another global")
    finally:
        SCALE = before
    assert same_as_triton(_scaled, 1, x, out, 4, BLOCK=8)


@check
def a_failure_names_the_kernel() -> None:
    x, out = array(16), array(16)
    map_of(x, out)
    same_as_triton(_scaled, 1, x, out, 4, BLOCK=8)
    again = next(a for s in direct._sites.values() if s and s.kernel is _scaled for a in s.compiled.values())

    def fail(*told: Any) -> None:
        raise RuntimeError("Triton Error [CUDA]: out of stubs")

    proper, again.launch = again.launch, fail
    try:
        launch.launch(_scaled, 1, x, out, 4, BLOCK=8)
    except launch.KernelError as error:
        assert str(error).startswith("_scaled[(1,)](float32[16], float32[16], 4) failed: RuntimeError: Triton Error")
    else:
        raise AssertionError("nothing failed")
    finally:
        again.launch = proper


class Waiting:
    """Something pending about an array."""

    work = None

    def __init__(self) -> None:
        self.settled = 0

    def settle(self, of: memory.Memory) -> None:
        self.settled += 1
        of.pending = None


@check
def what_is_pending_is_settled_first() -> None:
    x, out = array(16), array(16)
    map_of(x, out)
    waiting = x.memory.pending = Waiting()
    launch.launch(_map, 3, x, out, (4, 8), (1, 32), 4, 1.5, _double, tl.float32, FLAG=True, BLOCK=4, num_warps=1)
    assert waiting.settled == 1 and x.memory.pending is None


@check
def a_dry_run_and_arrays_apart_go_the_long_way_and_listeners_are_told() -> None:
    x, out = array(16), array(16)
    map_of(x, out)
    count = len(calls)
    with memory.dry_run():
        launch.launch(_map, 3, x, out, (4, 8), (1, 32), 4, 1.5, _double, tl.float32, FLAG=True, BLOCK=4, num_warps=1)
    assert len(calls) == count
    with launch.recording() as log:
        assert map_of(x, out)  # or what a profiler takes would not be its time
    assert [told.kernel for told in log] == ["_map", "_map"]
    apart = Array(memory.Memory(x.memory.storage, driver.Device("cuda", 1)), x.dtype, (16,), (1,))
    try:
        launch.launch(_map, 3, x, apart, (4, 8), (1, 32), 4, 1.5, _double, tl.float32, FLAG=True, BLOCK=4, num_warps=1)
    except RuntimeError as error:
        assert "expected all tensors on one device" in str(error)
    else:
        raise AssertionError("launched on two devices")


@check
def host_memory_stays_with_triton() -> None:
    x, out = array(16), array(16)
    host = [Array(memory.Memory(a.memory.storage, driver.Device("cpu")), a.dtype, (16,), (1,)) for a in (x, out)]
    assert [map_of(*host), map_of(*host)] == [False, False]


@check
def what_is_not_understood_stays_with_triton() -> None:
    x, out = array(16), array(16)
    for likeness in ((4.0, 8), (4, 8.0), (4, True), (4.0, 1.0)):  # of tuples that were seen
        assert [map_of(x, out, shape=likeness) for _ in range(2)] == [False, False]
        assert map_of(x, out, shape=tuple(map(int, likeness))) or map_of(x, out, shape=tuple(map(int, likeness)))
    compiled = _map.warmup(x, out, (4, 8), (1, 32), 4, 1.5, _double, tl.float32, True, 4, grid=(1,), num_warps=1)
    assert triton_launcher.again(_map, compiled, 0, [], []) is not None
    compiled.run.global_scratch_size = 128
    assert triton_launcher.again(_map, compiled, 0, [], []) is None
    compiled.run.global_scratch_size = 0
    assert triton_launcher._convention(Waiting) is None and triton_launcher.again(_map, None, 0, [], []) is None


@check
def a_launch_takes_few_calls_of_python() -> None:
    x, out = array(16), array(16)
    map_of(x, out), map_of(x, out)
    _map.pre_run_hooks = []
    made: list[str] = []

    def watch(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            made.append(frame.f_code.co_name)

    arguments = (x, out, (4, 8), (1, 32), 4, 1.5, _double, tl.float32)
    sys.setprofile(watch)
    launch.launch(_map, 3, *arguments, FLAG=True, BLOCK=4, num_warps=1)
    sys.setprofile(None)
    assert made[-1] == "note" and len(made) <= 7, made


def outcome(of: Callable[[], None]) -> str | None:
    try:
        of()
    except Exception:
        return traceback.format_exc()
    return None


if __name__ == "__main__":
    install()
    print(json.dumps({each.__name__: outcome(each) for each in checks}))
