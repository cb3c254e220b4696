"""Fail if any statement of a device function was executed by no test.

The interpreter notes the lines that it runs (`interpret.state.executed`), and every test process leaves them in the
folder DEVICE_LINES. There is no way to exempt a line: one that no test reaches should not exist.
"""

import ast
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "kernels" / "tritongrad_kernels"


def is_jit(decorator: ast.expr) -> bool:
    """True of `jit` and `triton.jit`, called with arguments or not."""
    name = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(name).split(".")[-1] == "jit"


def device_functions(tree: ast.Module) -> list[ast.FunctionDef]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [function for function in functions if any(map(is_jit, function.decorator_list))]


def runs_nothing(node: ast.stmt) -> bool:
    """True of a docstring or other bare constant, and of a declaration without a value."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Global | ast.Nonlocal) or (isinstance(node, ast.AnnAssign) and node.value is None)


def statements(function: ast.FunctionDef) -> Iterator[range]:
    """The lines of each statement in the body; of one that holds others (if, for, while) those before the first."""
    for node in ast.walk(function):
        if isinstance(node, ast.stmt) and node is not function and not runs_nothing(node):
            inner = [child.lineno for child in ast.walk(node) if isinstance(child, ast.stmt) and child is not node]
            last = min(inner) - 1 if inner else node.end_lineno or node.lineno
            yield range(node.lineno, max(node.lineno, last) + 1)


def main() -> int:
    executed: dict[str, set[int]] = defaultdict(set)
    for report in Path(os.environ["DEVICE_LINES"]).glob("*.json"):
        for path, lines in json.loads(report.read_text(encoding="utf-8")).items():
            executed[path] |= set(lines)
    functions, total, missed = 0, 0, []
    for path in sorted(KERNELS.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for function in device_functions(ast.parse(source)):
            functions += 1
            for lines in sorted(statements(function), key=lambda lines: lines.start):
                total += 1
                if executed[str(path)].isdisjoint(lines):
                    text = source.splitlines()[lines.start - 1].strip()
                    missed.append(
                        f"{path.relative_to(ROOT)}:{lines.start}: no test runs this, in {function.name}: {text}"
                    )
    print(
        *missed, f"device code: {total - len(missed)} of {total} statements of {functions} functions executed", sep="\n"
    )
    return 1 if missed or not functions else 0


if __name__ == "__main__":
    sys.exit(main())
