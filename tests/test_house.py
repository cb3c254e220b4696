"""The rules of the house, read from the source: who imports what, and what may not be written at all."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = sorted([*ROOT.glob("tritongrad/**/*.py"), *ROOT.glob("kernels/tritongrad_kernels/**/*.py")])
LAYERS = [  # lower first; a file may import its own layer and those before it
    {"tritongrad_kernels"},
    {"tritongrad.autograd", "tritongrad.methods", "tritongrad.gpus"},
    {"tritongrad.tracing"},
    {"tritongrad.network"},
    {"tritongrad.floors"},
    {"tritongrad.printing", "tritongrad.storage"},
    {"tritongrad.tensor"},
    {"tritongrad.aliasing", "tritongrad.precision"},
    {"tritongrad.ops"},
    {"tritongrad.generator"},
    {
        "tritongrad.linalg",
        "tritongrad.random",
        "tritongrad.dropout",
        "tritongrad.native",
        "tritongrad.special",
        "tritongrad.io",
        "tritongrad.tensor_file",
    },
    {"tritongrad.rollback"},
    {"tritongrad.plan", "tritongrad.roofline"},
    {"tritongrad.nn", "tritongrad.optim", "tritongrad.data", "tritongrad.utils", "tritongrad.hub"},
    {"tritongrad.transforms", "tritongrad.func"},
    {"tritongrad.amp", "tritongrad.profiler", "tritongrad.autograd.profiler"},
    {"tritongrad.models", "tritongrad.cuda", "tritongrad.compilation", "tritongrad.backends"},
    {"tritongrad.accelerator"},
    {"tritongrad.vision"},
    {"tritongrad.precompile", "tritongrad.training"},
    {"tritongrad.cli"},
    {"tritongrad"},
]


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Modules a file imports, with the line, and whether inside a function."""
    tree = ast.parse(path.read_text())
    inner = {n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, node in inner) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno, node in inner


def layer_of(module: str) -> int:
    """The most specific layer a dotted name belongs to."""
    best, length = -1, -1
    for i, names in enumerate(LAYERS):
        for name in names:
            if (module == name or module.startswith(name + ".")) and len(name) > length:
                best, length = i, len(name)
    return best


def module_name(path: Path) -> str:
    parts = (
        path.relative_to(ROOT / "kernels" if "kernels" in path.relative_to(ROOT).parts[:1] else ROOT)
        .with_suffix("")
        .parts
    )
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: str(p.relative_to(ROOT)))
def test_layers(path: Path) -> None:
    """Lower layers never import higher ones, not even inside a function."""
    own = module_name(path)
    for name, line, _ in imports(path):
        if name.startswith("tritongrad"):
            assert layer_of(name) >= 0, f"{path}:{line}: {name} is in no layer"
            assert layer_of(name) <= layer_of(own), f"{path}:{line}: {own} imports {name}, a higher layer"


def test_torch_is_imported_in_one_file() -> None:
    guilty = {str(p.relative_to(ROOT)) for p in SHIPPED for name, _, _ in imports(p) if name.split(".")[0] == "torch"}
    assert guilty == {"kernels/tritongrad_kernels/driver.py"}


def test_triton_is_imported_only_by_kernels() -> None:
    guilty = {str(p.relative_to(ROOT)) for p in SHIPPED for name, _, _ in imports(p) if name.split(".")[0] == "triton"}
    assert all(p.startswith("kernels/") for p in guilty)


def test_project_imports_are_at_the_top() -> None:
    """An import inside a function is for optional packages, not for hiding a circle."""
    for p in SHIPPED:
        for name, line, inside in imports(p):
            assert not (inside and name.startswith("tritongrad")), f"{p}:{line}: {name} imported inside a function"


def test_no_float_atomics() -> None:
    """Results do not depend on the order in which programs run."""
    for p in SHIPPED:
        if p.parent.name != "interpret":
            assert "atomic_" not in p.read_text(), f"{p} uses an atomic operation"


def test_every_dot_names_its_precision() -> None:
    """Triton's default for float32 is tf32."""
    for p in SHIPPED:
        for node in ast.walk(ast.parse(p.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "tl.dot":
                assert any(k.arg == "input_precision" for k in node.keywords), f"{p}:{node.lineno}: tl.dot"


def test_kernels_are_launched_one_way() -> None:
    """No `kernel[grid](...)` outside launch.py."""
    for p in SHIPPED:
        for node in ast.walk(ast.parse(p.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript) and p.parent.name != "interpret":
                assert p.name == "launch.py" or "grid" not in ast.unparse(node.func), f"{p}:{node.lineno}"


def test_import_needs_only_the_five_dependencies() -> None:
    """Importing the package loads none of the optional ones, and not pickle-happy or heavy modules by accident."""
    code = """
import sys
for name in ("grain", "PIL", "typer", "rich", "matplotlib", "sklearn", "pytest", "hypothesis"):
    sys.modules[name] = None
import tritongrad, tritongrad.models
print(sorted(m for m in ("torch", "triton", "numpy", "ml_dtypes", "safetensors") if m in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=_environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    assert "torch" in done.stdout and "triton" in done.stdout


def test_triton_first_without_interpreter_is_refused() -> None:
    """Kernels decorated before the interpreter is chosen would never run: one sentence instead."""
    from tritongrad_kernels import driver

    if driver.gpu_is_usable():
        pytest.skip("this machine has a GPU, where the order of imports does not matter")
    environment = _environment()
    environment.pop("TRITON_INTERPRET", None)
    code = "import triton, tritongrad"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    assert done.returncode != 0
    assert "import tritongrad first" in done.stderr


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}"}


def test_every_launch_declares_its_bytes() -> None:
    """The sanitizer holds declarations against what was touched, but cannot miss one that is not there."""
    for path in sorted(ROOT.glob("kernels/tritongrad_kernels/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "launch":
                assert "bytes" in {k.arg for k in node.keywords}, f"{path.name}:{node.lineno}: launch without bytes="
