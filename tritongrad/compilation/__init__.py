"""torch.compile's name: functions and modules whose launches are captured once and replayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tritongrad.compilation.compiled import (
    Compiled as Compiled,
    disable as disable,
    is_running as is_running,
    reset as reset,
)
from tritongrad.compilation.optimized import OptimizedModule as OptimizedModule
from tritongrad.nn.module import Module

PLAIN = ("eager", "aot_eager", "aot_eager_decomp_partition")


def compile(
    model: Callable | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: Mapping[str, Any] | None = None,
    disable: bool = False,
    recompile_limit: int | None = None,
    isolate_recompiles: bool | None = None,
    shapes_spec: Any = None,
    name: str | None = None,
) -> Any:
    """A function that does what `model` does, without the Python between one launch and the next.

    On a GPU the first call with arguments of given shapes runs `model` as it is, which loads its kernels; the second
    captures all that it launches in a CUDA graph. From then on a call copies its tensors to where the graph reads them,
    replays it, and returns the results, which are the caller's own. `model` may be a whole training step (zero_grad,
    forward, backward, scaler, optimizer), with the learning rate, step counts and random draws of each call; or a
    module, where the loss, `backward` and the optimizer stay outside: forward and backward are a graph each. Results
    are bitwise those of the function. Its kernels are compiled and fused anyway.

    Before each call everything that could make a replay wrong is looked at: shapes, strides, dtypes and devices of
    arguments, plain arguments, which parameters there are and whether they have gradients, train or eval, options of
    optimizers, autocast and other switches, and all else that the function can reach. Where something differs another
    capture is made beside the first, up to `recompile_limit` (8); the least used goes. What cannot be captured (hooks,
    iterators, random choices of the host, attributes that change in each call) runs as it is, with one warning, or with
    `fullgraph` a RuntimeError. Reading values on the host (item(), print, `if tensor`) is a RuntimeError.

    `.grad` of parameters is the one thing not copied: gradients lie where the graph writes them. Whoever keeps the
    Tensor has it moved before; addresses and DLPack exports taken of it are written over.

    In the interpreter the same is looked at, and the function runs; with `options={"replay": True}`, or
    TRITONGRAD_REPLAY=1, launches are kept on a tape and replayed as on a GPU. Also a decorator. `backend="eager"` and
    `disable` give the function itself; other options change nothing. TypeError for what cannot be called.
    """
    settings = dict(fullgraph=fullgraph, limit=recompile_limit, replay=(options or {}).get("replay"), name=name)
    off = disable or backend in PLAIN
    if model is None:
        return lambda function: function if off else _compiled(function, settings)
    return model if off and callable(model) else _compiled(model, settings)


def _compile_in_place(self: Module, *args: Any, **options: Any) -> None:
    """Have this module's forward captured and replayed when the module is called; see `tritongrad.compile`."""
    self.__dict__["forward"] = compile(self.forward, *args, **options)


Module.compile = _compile_in_place  # type: ignore[method-assign]


def _compiled(model: Any, settings: dict[str, Any]) -> Any:
    if not callable(model):
        raise TypeError(f"compile: expected a function or a module, got {type(model).__name__}")
    if isinstance(model, Compiled | OptimizedModule):
        return model
    return OptimizedModule(model, settings) if isinstance(model, Module) else Compiled(model, **settings)
