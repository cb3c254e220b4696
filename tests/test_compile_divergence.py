"""What runs as Python but not on a GPU is refused by compiling, with the reason and the line, where Triton knows it."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import triton

from tests import divergent_kernels
from tests.test_compile import launch_of
from tritongrad_kernels import compile, dtypes
from tritongrad_kernels.launch import Pointer

VERSION = tuple(int(n) for n in triton.__version__.split(".")[:2])

# Kernel, what the reason says, and the line that is named; None where Triton only knows the kernel.
REFUSED = [
    ("_break", "Break", "break"),
    ("_continue", "Continue", "continue"),
    ("_plain_global", "global variable PLAIN", "tl.store(X, PLAIN * 1.0)"),
    ("_host_function", "function.* on_the_host", None),
    ("_append", "append", "steps.append(i)"),
    ("_defined_in_one_branch", "y is not defined", "tl.store(X, y)"),
    ("_branches_of_two_types", "Mismatched type for y", "if n > 3:"),
    ("_loop_changes_type", "Loop-carried variable total has initial type int32", "for _ in range(n):"),
    ("_loop_changes_shape", "Loop-carried variable total has initial type fp32", "for _ in range(n):"),
    ("_return_from_a_loop", "return", "if i == 2:"),
    ("_short_dot", "K >= 16", "tl.store(place, tl.dot(a, a, input_precision=\"ieee\"))"),
    ("_branch_on_a_block", "Boolean value of Tensor with more than one value", "if tl.load(X + tl.arange(0, 64)) > 0:"),
    ("_lambda", "Lambda", "f = lambda a: a + 1  # noqa: E731"),
    ("_missing_import", "np is not defined", "tl.store(X, np.pi)  # noqa: F821"),
]  # fmt: skip
LEGAL_FROM = {"_short_dot": (3, 8)}  # float32 products of 8 elements


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, compile.Report]:
    """All of them in one go: starting a worker takes longer than being refused."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        log = [launch_of(kernel(name), Pointer(dtypes.float32), 40) for name, _, _ in REFUSED]
        return {r.variant.kernel: r for r in compile.compile_all(compile.specialise(log, "sm_90"))}


def kernel(name: str) -> Any:
    return getattr(divergent_kernels, name)


@pytest.mark.parametrize("name, reason, line", REFUSED, ids=[name for name, _, _ in REFUSED])
def test_refused(name: str, reason: str, line: str | None, reports: dict[str, compile.Report]) -> None:
    error = reports[name].error
    if LEGAL_FROM.get(name, (99, 0)) <= VERSION:
        assert not error
        return
    begin = f"{name}(X *fp32:16, n i32; 4 warps, 3 stages) does not compile for sm_90: "
    assert error.startswith(begin)
    assert re.search(reason, error), error
    first = inspect.getsourcelines(kernel(name).fn)[1]
    if line is None:
        assert f"divergent_kernels.py:{first + 1}" in error
    else:
        assert error.endswith(f": `{line}`") and len(error) < 500, error
