"""One process trains: scripts that ask first run as they do with a torch built for one."""

from __future__ import annotations

import pytest

import tritongrad as tg
from tritongrad import distributed, multiprocessing


def test_scripts_that_ask_are_told() -> None:
    assert not tg.distributed.is_available() and not tg.distributed.is_initialized()
    assert not distributed.is_nccl_available() and not distributed.is_torchelastic_launched()
    assert not distributed.is_gloo_available() and not distributed.is_mpi_available()


def test_scripts_that_do_not_ask_are_refused() -> None:
    with pytest.raises(RuntimeError, match="init_process_group: distributed training is not offered"):
        distributed.init_process_group(backend="nccl", world_size=2, rank=0)
    for f in (distributed.get_rank, distributed.get_world_size, distributed.barrier, distributed.all_reduce):
        with pytest.raises(ValueError, match="Default process group has not been initialized"):
            f()


def test_multiprocessing_is_pythons() -> None:
    import multiprocessing as pythons

    assert tg.multiprocessing.Queue == pythons.Queue and multiprocessing.get_context("spawn").Process
    multiprocessing.set_sharing_strategy("file_system")
    assert multiprocessing.get_sharing_strategy() == "file_system"
    assert multiprocessing.get_sharing_strategy() in multiprocessing.get_all_sharing_strategies()
    with pytest.raises(AssertionError, match="file_system"):
        multiprocessing.set_sharing_strategy("pigeon")
    multiprocessing.set_sharing_strategy("file_descriptor")
