"""A kernel that Triton has launched, to be launched again without Triton's path to it.

That path ends in a function in C, which is handed the grid, the stream, what Triton knows of the kernel, and its
arguments. None of it is public: so a version of Triton must be one of those below, and its source must hold the very
call that is imitated here. For any other, and for kernels that want scratch memory, `again` gives None.

Source: `CudaLauncher` in triton/backends/nvidia/driver.py of Triton 3.6 to 3.9.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import triton
from triton.backends.nvidia import driver as nvidia
from triton.compiler import CompiledKernel

from tritongrad_kernels.descriptors import Descriptor, native

VERSIONS = ("3.6.", "3.7.", "3.8.", "3.9.")
KNOWN = triton.__version__.startswith(VERSIONS)

_MAPS = 1 << 10  # tensor maps that a kernel keeps
_NOTHING = (None, None, None)  # what hooks are told, and two hooks
_SCRATCH = (None, None)
_MORE = (None,) * (len(inspect.signature(nvidia.make_tensordesc_arg).parameters) - 2)  # 3.9 has one it does not use


@dataclass(frozen=True)
class _Convention:
    """How a version calls the function: `call` is its source, `head` what it gives before the kernel's arguments.

    These follow one by one, or in one sequence.
    """

    call: str
    head: Callable[[Any, Any], tuple[Any, ...]]
    one_by_one: bool


_BEGIN = "self.launch(gridX, gridY, gridZ, stream, function, self.launch_cooperative_grid, self.launch_pdl, "
_HOOKS = "kernel_metadata, launch_metadata, launch_enter_hook, launch_exit_hook, global_scratch, profile_scratch, "
_CONVENTIONS = (
    _Convention(
        _BEGIN + "global_scratch, profile_scratch, *args)",
        lambda run, compiled: (*_SCRATCH, compiled.packed_metadata, *_NOTHING),
        one_by_one=True,
    ),
    *(
        _Convention(
            f"{_BEGIN}{_HOOKS}self.arg_annotations, self.kernel_signature, {args})",
            lambda run, compiled: (
                *(compiled.packed_metadata, *_NOTHING, *_SCRATCH),
                *(run.arg_annotations, run.kernel_signature),
            ),
            one_by_one=False,
        )
        for args in ("args", "kernel_args")
    ),
)


@functools.cache
def _convention(launcher: type) -> _Convention | None:
    """What this class of Triton's keeps to, if that is known."""
    if not KNOWN or (launcher.__module__, launcher.__name__) != ("triton.backends.nvidia.driver", "CudaLauncher"):
        return None
    source = " ".join(inspect.getsource(launcher).split())
    return next((convention for convention in _CONVENTIONS if convention.call in source), None)


class Again:
    """A compiled kernel on its device: `launch(*grid, stream(device), *head, ...)`, ending in its arguments.

    one_by_one  whether those follow one by one, or as a list
    globals     (where, name, value) of those it was compiled with
    constants   its last arguments
    kept        for who knows things by their identities
    """

    __slots__ = ("_maps", "constants", "globals", "head", "kept", "launch", "metas", "one_by_one", "stream")

    def __init__(self, kernel: Any, compiled: Any, convention: _Convention, constants: Any, kept: Any) -> None:
        run = compiled.run
        self.metas = getattr(compiled.metadata, "tensordesc_meta", None) or ()
        self._maps: dict[Any, Sequence[Any]] = {}
        self.launch = inspect.getclosurevars(run.launch).nonlocals["launcher"] if self.metas else run.launch
        flags = run.launch_cooperative_grid, run.launch_pdl
        self.head = (compiled.function, *flags, *convention.head(run, compiled))
        self.one_by_one = convention.one_by_one
        self.stream = triton.runtime.driver.active.get_current_stream
        self.globals = [(space, name, space.get(name)) for (name, _), (_, space) in kernel.used_global_vals.items()]
        self.constants, self.kept = constants, kept

    def put_maps(self, places: Sequence[int], args: Sequence[Any], given: list[Any]) -> None:
        """Replace the address of each descriptor in `given`, at `places`, by the arguments that stand for it.

        Its tensor map, shape and strides: the driver encodes the map the first time only.
        """
        for k in reversed(range(len(places))):
            place = places[k]
            box = args[place]
            name = k, given[place], box.shape, box.strides
            found = self._maps.get(name)
            if found is None:
                found = self._encoded(box, k, name)
            given[place : place + 1] = found

    def _encoded(self, box: Descriptor, k: int, name: Any) -> Sequence[Any]:
        if len(self._maps) >= _MAPS:
            self._maps.clear()
        found = self._maps[name] = nvidia.make_tensordesc_arg(native(box), self.metas[k], *_MORE)
        return found


def again(kernel: Any, compiled: Any, boxes: int, constants: Sequence[Any], kept: Any) -> Again | None:
    """What launches again what Triton launched as `compiled`, with arguments of which `boxes` are descriptors."""
    if not isinstance(compiled, CompiledKernel):
        return None
    try:
        run = compiled.run
        convention = _convention(type(run))  # type: ignore[arg-type]
        if convention is None or run.global_scratch_size or run.profile_scratch_size or getattr(run, "gsan_enabled", 0):
            return None
        found = Again(kernel, compiled, convention, constants, kept)
    except (AttributeError, KeyError, TypeError, OSError):  # not as it was in the versions above
        return None
    return found if len(found.metas) == boxes else None
