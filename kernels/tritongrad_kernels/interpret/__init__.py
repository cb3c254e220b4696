"""Repairs for Triton's CPU interpreter, which runs every kernel of this project where there is no GPU.

Stock, the interpreter computes bfloat16 on raw bit patterns (no error, wrong numbers), patches `triton.language` again
for every launch and every nested call, and moves memory one element at a time. `install()` replaces those parts in
place, and `uninstall()` puts every attribute back. Nothing here imports torch: a kernel argument is anything with
`.data_ptr()` (an address in this process) and `.dtype`.

Choices that define results, where a GPU would leave them open:
- bfloat16 arithmetic is float32 arithmetic rounded to nearest even after each operation. `tl.sum` and `tl.cumsum` of
  bfloat16 accumulate in float32 and round once, and so does `tl.fma`. An atomic addition takes lane after lane.
- `tl.sum` of floats adds the second half of the axis to the first, and again, whatever the layout of the block.
- A generic `tl.reduce` combines neighbours, (0, 1), (2, 3), ..., then neighbours of the results: a balanced tree that
  keeps operand order. A generic `tl.associative_scan` doubles its reach: element i takes i-1, then i-2, then i-4, ...
- Python floats passed to a kernel become float32 scalars, as compiled code receives them.

Everything a kernel reads or writes goes through one `Memory` object, and every launch through `run_grid`: replacing
`interpret.state.memory` or `interpret.state.run_grid` is all a checking tool has to do. `interpret.state.tf32` chooses
how tf32 rounds. `state` is their only place: this package has no second name for them, and `interpret.memory` is the
file of the `Memory` class.

- numbers: Triton's types in numpy, bfloat16, tf32
- memory: blocks of pointers, `Memory`
- operations, reductions: what replaces the methods of Triton's interpreter
- libdevice: CUDA's functions of numbers
- rewrite: a kernel's body as Python must run it
- programs, launching: the programs of a launch and their order; arguments
- excerpts: large launches in part
- state: what a tool may replace or set
- patches, language: attributes replaced in Triton, and the language's functions, once
"""

from __future__ import annotations

import ctypes
import dataclasses
import inspect
import warnings
from collections.abc import Callable

import triton
import triton.language as tl
import triton.runtime.interpreter as stock

from tritongrad_kernels.interpret import state as state
from tritongrad_kernels.interpret.excerpts import excerpt as excerpt
from tritongrad_kernels.interpret.language import patch_language
from tritongrad_kernels.interpret.launching import call, run
from tritongrad_kernels.interpret.libdevice import Extern, patch_libdevice
from tritongrad_kernels.interpret.memory import Addresses as Addresses, Box as Box, Memory as Memory
from tritongrad_kernels.interpret.numbers import narrow as narrow, numpy_type, to_tf32 as to_tf32, widen as widen
from tritongrad_kernels.interpret.operations import Builder, Semantic
from tritongrad_kernels.interpret.patches import Patches, originals
from tritongrad_kernels.interpret.programs import Kernel as Kernel, order as order
from tritongrad_kernels.interpret.reductions import Reduce, Scan
from tritongrad_kernels.interpret.rewrite import LanguageError as LanguageError

SUPPORTED = ("3.6", "3.7", "3.8", "3.9")

_patches: Patches | None = None


def installed() -> bool:
    return _patches is not None


def install() -> None:
    """Repair Triton's interpreter in this process. Calling it again changes nothing.

    On a version of Triton that is not in SUPPORTED this warns, and kernels that meet bfloat16 fail: an operation that
    came with that version would compute on its bit patterns. RuntimeError if the repairs do not fit at all.
    """
    global _patches
    if _patches is not None:
        return
    if not isinstance(tl.standard._sum_combine, stock.InterpretedFunction):
        raise RuntimeError("triton was imported before TRITON_INTERPRET=1 was set, so its functions are compiled ones.")
    known = triton.__version__.startswith(tuple(f"{version}." for version in SUPPORTED))
    stranger = f"triton {triton.__version__} is none that tritongrad's interpreter knows ({', '.join(SUPPORTED)})"
    patches = Patches()
    try:
        _patch_operations(patches)
        patch_language(patches)
        patch_libdevice(patches)
        if not known:
            patches.set_attr(stock.TensorHandle, "__post_init__", _without_bf16(stranger))
    except Exception as error:
        patches.restore()
        if known:
            raise
        raise RuntimeError(f"{stranger}, and its own cannot be repaired: {error}") from error
    _patches = patches
    _keep_freed_memory(mapped_from=1 << 25, most=1 << 28)
    if not known:
        warnings.warn(f"{stranger}: kernels run untested, and bfloat16 is refused", RuntimeWarning, stacklevel=2)


def uninstall() -> None:
    """Put back every attribute `install` replaced, and glibc's limits on the memory it keeps."""
    global _patches
    if _patches is not None:
        _patches.restore()
        _patches = None
        _keep_freed_memory(mapped_from=1 << 17, most=1 << 17)


def _keep_freed_memory(mapped_from: int, most: int) -> None:
    """Let glibc keep up to `most` freed bytes: blocks come and go, and page faults cost more than the arithmetic.

    Allocations from `mapped_from` bytes on are returned at once. glibc starts with 128 KB for both, and raises them by
    itself as long as nobody sets them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-3, mapped_from)  # M_MMAP_THRESHOLD
        mallopt(-1, most)  # M_TRIM_THRESHOLD


def _without_bf16(reason: str) -> Callable:
    def check(handle: stock.TensorHandle) -> None:
        if handle.dtype.scalar == tl.bfloat16:
            raise NotImplementedError(f"{reason}, so it refuses bfloat16")

    return check


def _patch_operations(patches: Patches) -> None:
    for ours, theirs in (
        (Builder, stock.InterpreterBuilder),
        (Extern, stock.InterpreterBuilder),
        (Semantic, stock.TritonSemantic),
        (Reduce, stock.ReduceOps),
        (Scan, stock.ScanOps),
    ):
        for name, method in vars(ours).items():
            if inspect.isfunction(method):
                original = getattr(theirs, name, None)
                if original is not None:
                    originals[method] = original
                patches.set_attr(theirs, name, method)
    options = dataclasses.replace(stock.interpreter_builder.options, sanitize_overflow=False)
    patches.set_attr(stock.interpreter_builder, "options", options)
    patches.set_attr(stock, "_get_np_dtype", numpy_type)
    patches.set_attr(stock.TensorHandle, "__post_init__", lambda self: None)
    patches.set_attr(stock.InterpretedFunction, "run", run)
    patches.set_attr(stock.InterpretedFunction, "__call__", call)
