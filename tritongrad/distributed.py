"""torch.distributed as it is in a torch built without it: scripts ask whether it is there, and train in one process.

What would need other processes raises the error that torch has for a script that never called `init_process_group`.
"""

from __future__ import annotations

from typing import Any, NoReturn


def is_available() -> bool:
    """False: training on several processes is not offered."""
    return False


def is_initialized() -> bool:
    """False, since it cannot be."""
    return False


def is_nccl_available() -> bool:
    """False."""
    return False


def is_gloo_available() -> bool:
    """False."""
    return False


def is_mpi_available() -> bool:
    """False."""
    return False


def is_torchelastic_launched() -> bool:
    """False."""
    return False


def init_process_group(*args: Any, **options: Any) -> NoReturn:
    """RuntimeError: there is nothing to begin."""
    raise RuntimeError("init_process_group: distributed training is not offered; is_available() is False")


def _refused(*args: Any, **options: Any) -> NoReturn:
    """ValueError: no group of processes was begun."""
    raise ValueError(
        "Default process group has not been initialized, and cannot be: distributed training is not offered"
    )


get_rank = get_world_size = get_backend = destroy_process_group = _refused
barrier = all_reduce = all_gather = broadcast = reduce = gather = scatter = reduce_scatter = _refused
