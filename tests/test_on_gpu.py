"""What tests do differently on a GPU, tried without one."""

from __future__ import annotations

import contextlib

import pytest

from tests import on_gpu
from tritongrad_kernels import driver, launch, memory


@pytest.mark.parametrize(("name", "taken"), [("sm_80", True), ("sm_90", True), ("sm_100", False), ("interpret", False)])
def test_tiles_of_another_gpu_are_not_launched(name: str, taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "arch", lambda: "sm_90")
    asked: list[str] = []
    column = on_gpu.own_columns_only(lambda name: asked.append(name) or contextlib.nullcontext())
    with contextlib.nullcontext() if taken else pytest.raises(pytest.skip.Exception, match="not for this GPU"):
        column(name)
    assert asked == [name] * taken
    with memory.dry_run():
        column(name)
    assert asked[-1] == name


def test_a_broken_gpu_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu.check_health()

    def broken() -> None:
        raise RuntimeError("an illegal memory access")

    monkeypatch.setattr(driver, "synchronize", broken)
    with pytest.raises(pytest.exit.Exception, match="an illegal memory access"):
        on_gpu.check_health()
