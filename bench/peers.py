"""What ours is timed beside: torch on the same values, as it comes and compiled.

eager     torch as it is called. Its products are cuBLAS', its convolutions and recurrent layers cuDNN's (the fastest
          algorithm cuDNN's own search finds, on channels-last images), its attention cuDNN's or FlashAttention: beside
          those raw libraries there is nothing left to time but the same call.
compile   torch.compile, searching for the fastest templates. Without CUDA graphs: a graph would first copy a row's
          inputs into memory of its own, which is no part of the operation; launches wait in a queue in any case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import tritongrad_kernels
from bench.row import Call, Row

PEERS = ("eager", "compile")
COMPILER: dict[str, Any] = {"mode": "max-autotune-no-cudagraphs", "dynamic": False}


def chosen(words: str) -> tuple[str, ...]:
    """The peers in "eager,compile", eager always among them; ValueError for another name."""
    names = [name for name in words.split(",") if name]
    unknown = sorted(set(names) - set(PEERS))
    if unknown:
        raise ValueError(f"no peer is called {' or '.join(unknown)}: there are {' and '.join(PEERS)}")
    if "compile" in names and tritongrad_kernels.INTERPRETED:
        raise ValueError("torch.compile is a peer on a GPU only: beside the interpreter it would say nothing")
    return tuple(name for name in PEERS if name == "eager" or name in names)


def of(name: str, row: Row) -> Callable[..., Call] | None:
    """The row's side that peer `name` computes; None if it has none."""
    if name == "eager":
        return row.peer
    return _compiled(row) if row.compiles else None


def _compiled(row: Row) -> Callable[..., Call]:
    torch._dynamo.reset()  # what it compiled for other rows would count against its limit, and be looked at first
    torch._dynamo.config.recompile_limit = 256  # or it would give up, and time what it did not compile
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    torch._functorch.config.donated_buffer = False  # a gradient is taken many times of one forward pass
    if hasattr(row.peer, "compiled"):  # it knows which part of it is a function to compile
        return row.peer.compiled(_compiled_function)
    return lambda *tensors: _compile(row.peer(*tensors))


def _compiled_function(function: Callable[..., Any]) -> Callable[..., Any]:
    # A plain function, whatever is called: what torch.compile makes of a callable object differs between versions.
    return _compile(lambda library, *tensors: function(library, *tensors))


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, **COMPILER)
