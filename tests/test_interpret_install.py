"""The repaired interpreter is put in place and taken away again, and tracers see the lines of kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import tritongrad_kernels
from tests.interpreted import interpreted

pytestmark = interpreted

KERNELS = os.path.dirname(os.path.dirname(tritongrad_kernels.__file__))

RESTORES = """
import ctypes, inspect, json, sys
import triton, triton.language as tl
import triton.runtime.interpreter as stock
from triton.language.extra import libdevice
from triton.language.extra.cuda import libdevice as cuda
owners = [tl, tl.core, tl.math, tl.tensor, tl.dtype, tl.block_type, tl.core.tensor_descriptor_base, stock,
          stock.InterpreterBuilder, stock.TensorHandle, stock.ReduceOps, stock.ScanOps, stock.InterpretedFunction,
          stock.interpreter_builder, stock.TritonSemantic, libdevice, cuda]
def state():
    return [dict(vars(owner)) for owner in owners]
before = state()
sys.path.insert(0, sys.argv[1])
from tritongrad_kernels import interpret  # which installs
interpret.install()
during = state()
changed = [a != b for a, b in zip(before, during)]

class Allocated(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd a b c d e".split()]
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def mapped(megabytes):
    "Whether that much, when the heap has less to spare, is mapped for itself alone, to be returned when it is freed."
    if not hasattr(libc, "mallinfo2"):
        return None
    libc.mallinfo2.restype = Allocated
    before = libc.mallinfo2().hblks
    block = libc.malloc(megabytes << 20)
    after = libc.mallinfo2().hblks
    libc.free(block)
    return after > before

kept = mapped(4)
interpret.uninstall(); interpret.uninstall()
after = state()
lazy = {"__annotations__"}  # made by being read
same = [a.keys() - lazy == b.keys() - lazy and all(a[k] is b[k] for k in a) for a, b in zip(before, after)]
print(json.dumps([same, changed, [kept, mapped(24)]]))
"""


def fresh(script: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_uninstall_restores() -> None:
    same, changed, mapped = json.loads(fresh(RESTORES, KERNELS)[0])
    assert all(same) and sum(changed) >= 12
    assert mapped in ([False, True], [None, None])


UNKNOWN = """
import sys
import triton
triton.__version__ = "4.1.0"
{before}
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    sys.path[:0] = {roots!r}
    try:
        import tritongrad_kernels
    except RuntimeError as error:
        print(error)
        sys.exit()
print(*[warning.message for warning in caught])
import ml_dtypes, numpy as np
from tests.interpreted import Buffer, cast
x, y = Buffer(np.ones(4), np.float32), Buffer(np.zeros(4), np.float64)
cast[(1,)](x, y, 4)
print(y.data.sum())
for pair in ((x, Buffer(np.zeros(4), ml_dtypes.bfloat16)), (Buffer(np.zeros(4), ml_dtypes.bfloat16), x)):
    try:
        cast[(1,)](*pair, 4)
    except Exception as error:
        print(error)
"""


def on_an_unknown_version(before: str = "") -> list[str]:
    return fresh(UNKNOWN.format(before=before, roots=[KERNELS, os.path.dirname(KERNELS)]))


def test_an_unknown_version_warns_and_refuses_bfloat16() -> None:
    warning, total, *refusals = on_an_unknown_version()
    stranger = "triton 4.1.0 is none that tritongrad's interpreter knows (3.6, 3.7, 3.8, 3.9)"
    assert warning == f"{stranger}: kernels run untested, and bfloat16 is refused"
    assert total == "4.0" and len(refusals) == 2
    assert all(refusal.endswith(f"{stranger}, so it refuses bfloat16") for refusal in refusals)


def test_a_version_that_cannot_be_repaired_is_refused() -> None:
    (refusal,) = on_an_unknown_version("import triton.runtime.interpreter as stock; del stock.ScanOps")
    assert refusal.startswith("triton 4.1.0 is none that") and "cannot be repaired: " in refusal


COVERED = '''
import triton
import triton.language as tl


@triton.jit
def inner(x):
    y = x + 1
    return y


@triton.jit(
    do_not_specialize=["n"],
)
def outer(
    out,
    n,
    DOUBLE: tl.constexpr,
):
    """A docstring.

    def not_a_definition(): this line must confuse nobody.
    """
    v = inner(
        n,
    )
    if DOUBLE:
        v = v * 2
    else:
        v = v * 3
    tl.store(out, v)
'''

TRACED = """
import sys
import tritongrad_kernels
import numpy, covered
class Out:
    data = numpy.zeros(1, "i4"); dtype = data.dtype
    def data_ptr(self): return self.data.ctypes.data
lines = set()
def trace(frame, event, argument):
    if frame.f_code.co_filename == covered.__file__ and event == "line":
        lines.add(frame.f_lineno)
    return trace
sys.settrace(trace)
covered.outer[(1,)](Out(), 5, True)
sys.settrace(None)
print(Out.data[0], *sorted(lines))
"""


def test_lines_of_kernels_are_traced(tmp_path: Any) -> None:
    (tmp_path / "covered.py").write_text(COVERED)
    roots = [str(tmp_path), KERNELS]
    (report,) = fresh(f"import sys; sys.path[:0] = {roots!r}\n{TRACED}")
    result, *lines = map(int, report.split())
    source = COVERED.splitlines()
    reached = {source[line - 1].strip() for line in lines}
    assert result == 12
    assert {"y = x + 1", "return y", "v = inner(", "if DOUBLE:", "v = v * 2", "tl.store(out, v)"} <= reached
    assert "v = v * 3" not in reached and "else:" not in reached
