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
import inspect, json, sys
import triton, triton.language as tl
import triton.runtime.interpreter as stock
owners = [tl, tl.core, tl.math, tl.tensor, tl.dtype, tl.block_type, tl.core.tensor_descriptor_base, stock,
          stock.InterpreterBuilder, stock.TensorHandle, stock.ReduceOps, stock.ScanOps, stock.InterpretedFunction,
          stock.interpreter_builder, stock.TritonSemantic]
def state():
    return [dict(vars(owner)) for owner in owners]
before = state()
sys.path.insert(0, sys.argv[1])
from tritongrad_kernels import interpret  # which installs
interpret.install()
during = state()
interpret.uninstall(); interpret.uninstall()
after = state()
lazy = {"__annotations__"}  # made by being read
same = [a.keys() - lazy == b.keys() - lazy and all(a[k] is b[k] for k in a) for a, b in zip(before, after)]
print(json.dumps([same, during != before]))
triton.__version__ = sys.argv[2]
try:
    interpret.install()
except RuntimeError as error:
    print(error)
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


def test_uninstall_restores_and_unknown_versions_are_refused() -> None:
    states, refusal = fresh(RESTORES, KERNELS, "4.1.0")
    same, changed = json.loads(states)
    assert all(same) and changed
    assert "4.1.0" in refusal and "3.6, 3.7, 3.8, 3.9" in refusal


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
