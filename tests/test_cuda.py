"""torch.cuda's names, with a GPU and without."""

from __future__ import annotations

import time

import pytest

import tritongrad as tg
from tritongrad_kernels import driver

HERE = tg.cuda.is_available()


def test_events_take_the_time() -> None:
    start, end = (tg.cuda.Event(enable_timing=True) for _ in range(2))
    with pytest.raises(ValueError, match="recorded"):
        start.elapsed_time(end)
    start.record()
    time.sleep(0.02)
    tg.ones(4).sum()
    end.record()
    end.synchronize()
    assert end.query() and start.elapsed_time(end) >= 15
    with pytest.raises(ValueError, match="enable_timing"):
        start.elapsed_time(tg.cuda.Event())
    with pytest.raises(NotImplementedError, match="between processes"):
        tg.cuda.Event(interprocess=True)
    assert repr(start).startswith("<torch.cuda.Event")


def test_streams() -> None:
    side, main = tg.cuda.Stream(), tg.cuda.current_stream()
    x = tg.ones(8)
    side.wait_stream(main)
    with tg.cuda.stream(side):
        assert tg.cuda.current_stream() == side
        y = x * 2
    with side:
        y = y + 1
    main.wait_event(side.record_event())
    side.synchronize()
    assert side.query() and y.tolist() == [3.0] * 8 and tg.cuda.current_stream() == main
    tg.cuda.set_stream(tg.cuda.default_stream())
    assert tg.cuda.current_stream() == main and hash(main) == hash(tg.cuda.current_stream())
    assert side.device.type == "cuda" and side.device_index == 0 and side.priority == 0 and "Stream" in repr(side)
    with tg.cuda.stream(None):
        assert tg.cuda.current_stream() == main


def test_memory_figures() -> None:
    keep = tg.ones(1 << 10)
    assert keep.device.type == ("cuda" if HERE else "cpu")
    for now, peak in (("memory_allocated", "max_memory_allocated"), ("memory_reserved", "max_memory_reserved")):
        assert (0 < getattr(tg.cuda, now)() <= getattr(tg.cuda, peak)()) is HERE or getattr(tg.cuda, now)() == 0
    assert "Allocated memory" in tg.cuda.memory_summary() and bool(tg.cuda.memory_stats()) is HERE
    tg.cuda.empty_cache()
    tg.cuda.reset_peak_memory_stats()
    tg.cuda.synchronize()
    with pytest.raises(NotImplementedError, match="is not offered"):
        tg.cuda.set_per_process_memory_fraction(0.5)


def test_no_room_is_a_runtime_error() -> None:
    assert tg.cuda.OutOfMemoryError is tg.OutOfMemoryError and issubclass(tg.OutOfMemoryError, RuntimeError)
    with pytest.raises(tg.cuda.OutOfMemoryError, match="out of memory: could not allocate"):
        tg.empty(1 << 60)


@pytest.mark.skipif(HERE, reason="with a GPU there is something to ask")
def test_without_a_gpu() -> None:
    c = tg.cuda
    assert not c.is_initialized() and c.device_count() == 0 and c.get_arch_list() == []
    assert not c.is_bf16_supported() and not c.is_tf32_supported()
    for ask in (c.current_device, c.get_device_name, c.get_device_properties, c.mem_get_info, c.init):
        with pytest.raises(RuntimeError, match="there is no GPU here"):
            ask()
    with pytest.raises(RuntimeError, match="there is no GPU here"):
        c.set_device(0)
    c.set_device(-1)
    with c.device(None), c.device(-1), c.device_of(tg.ones(1)):
        assert tg.ones(1).device.type == "cpu"
    with pytest.raises(RuntimeError):
        c.FloatTensor(2)


def test_another_gpu_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """On two GPUs, as far as they need not be there."""
    monkeypatch.setattr(driver, "DEFAULT_DEVICE", driver.Device("cuda", 0))
    monkeypatch.setattr(driver, "gpu_count", lambda: 2)
    monkeypatch.setattr(driver, "gpu_name", lambda index: f"GPU {index}")
    assert tg.cuda.current_device() == 0 and tg.cuda.get_device_name() == "GPU 0"
    with tg.cuda.device("cuda:1"):
        assert tg.cuda.current_device() == 1 and tg.device("cuda").index == 1 and tg.cuda.get_device_name() == "GPU 1"
    tg.cuda.set_device(tg.device("cuda", 1))
    assert tg.cuda.current_device() == 1 and tg.device("cuda:0").index == 0
    with pytest.raises(RuntimeError, match="not available"):
        tg.cuda.set_device(2)
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        tg.cuda.set_device("cpu")


def test_ranges_for_profilers() -> None:
    nvtx = tg.cuda.nvtx
    assert nvtx.range_push("a") == 0 and nvtx.range_push("b") == 1 and nvtx.range_pop() == 1
    with nvtx.range("step {}", 3):
        nvtx.mark("here")
    nvtx.range_end(nvtx.range_start("c"))
    assert nvtx.range_pop() == 0
