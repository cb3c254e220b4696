"""Repairs for Triton's CPU interpreter, which runs every kernel of this project where there is no GPU.

Stock, the interpreter computes bfloat16 on raw bit patterns (no error, wrong numbers), patches `triton.language` again
for every launch and every nested call, and moves memory one element at a time. `install()` replaces those parts in
place, and `uninstall()` puts every attribute back; only the limits on memory that glibc keeps stay raised. Nothing here
imports torch: a kernel argument is anything with `.data_ptr()` (an address in this process) and `.dtype`.

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
- state: what a tool may replace or set
- patches, language: attributes replaced in Triton, and the language's functions, once
"""

from __future__ import annotations

import ctypes
import dataclasses
import inspect

import triton
import triton.language as tl
import triton.runtime.interpreter as stock

from tritongrad_kernels.interpret import state as state
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
    """Repair Triton's interpreter in this process. Calling it again changes nothing."""
    global _patches
    if _patches is not None:
        return
    version = triton.__version__
    if not version.startswith(tuple(f"{known}." for known in SUPPORTED)):
        raise RuntimeError(
            f"triton {version} is installed, but tritongrad's interpreter is tested with {', '.join(SUPPORTED)} only."
        )
    if not isinstance(tl.standard._sum_combine, stock.InterpretedFunction):
        raise RuntimeError("triton was imported before TRITON_INTERPRET=1 was set, so its functions are compiled ones.")
    _patches = Patches()
    _patch_operations(_patches)
    patch_language(_patches)
    patch_libdevice(_patches)
    _keep_freed_memory()


def uninstall() -> None:
    """Put back every attribute `install` replaced."""
    global _patches
    if _patches is not None:
        _patches.restore()
        _patches = None


def _keep_freed_memory() -> None:
    """Ask glibc to keep 256 MB of freed memory: blocks come and go, and page faults cost more than the arithmetic."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD
        mallopt(-1, 1 << 28)  # M_TRIM_THRESHOLD


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
