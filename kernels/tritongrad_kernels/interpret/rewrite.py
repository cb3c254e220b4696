"""Kernels as Python functions, rewritten where Python would compute something else than compiled code."""

from __future__ import annotations

import ast
import builtins
import contextlib
import inspect
import sys
import textwrap
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import triton
import triton.language as tl
import triton.runtime.interpreter as stock
from triton.compiler.code_generator import CodeGenerator
from triton.runtime.jit import JITCallable

from tritongrad_kernels.interpret import excerpts, state

COMPILES_CHAINS = not triton.__version__.startswith(("3.6.", "3.7.", "3.8."))
"""Whether Triton compiles `a < b < c`."""

_WITH_THEIR_PARENT = ("Starred", "FormattedValue")  # read by the compiler's rule for what they stand in


class LanguageError(Exception):
    """A kernel says what Triton's language does not have. Names the function, its file and the line."""


class _Rewriter(ast.NodeTransformer):
    """The places where running a kernel as plain Python would differ from compiling it.

    Assigned numbers become tensors; `and`, `or`, `not` and chained comparisons of tensors become logical operations on
    every lane, and `min` and `max` those of every lane; the counter of a `range` has a compiled one's type. What Triton
    does not compile is an error where it is reached: a branch on a block of more than one lane, a statement or
    expression its compiler has no rule for, a variable from outside the kernel that is no `tl.constexpr`. Helpers are
    free variables of the result, under the names of `_HELPERS`: nothing is written into the kernel's module.
    """

    def __init__(self, definition: ast.FunctionDef, outside: Mapping[str, Any]) -> None:
        self.temporaries = 0
        self.outside = outside
        self.inside = {node.arg for node in ast.walk(definition.args) if isinstance(node, ast.arg)}
        for node in ast.walk(definition):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.inside.add(node.id)

    def visit(self, node: ast.AST) -> Any:
        kind = type(node).__name__
        if isinstance(node, ast.stmt | ast.expr) and kind not in _WITH_THEIR_PARENT:
            if not hasattr(CodeGenerator, f"visit_{kind}"):
                return _refusal(node, f"Triton's language has no {kind}")
        return super().visit(node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        name = node.id
        if not isinstance(node.ctx, ast.Load) or name in self.inside:
            return node
        if name in self.outside:
            readable = _is_readable(self.outside[name])
            return node if readable else _refusal(node, f"{name} is from outside the kernel and no tl.constexpr")
        if name in ("min", "max", "range"):
            return ast.Name(f"__{name}", ast.Load())
        if hasattr(builtins, name) and name not in CodeGenerator.builtin_namespace:
            return _refusal(node, f"Triton's language has no {name}")
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        if len(node.targets) > 1:
            return _refusal(node, "a kernel cannot assign to several targets at once")
        self.generic_visit(node)
        node.value = _call("__tensor", node.value, ast.Constant(False))
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
            if not ast.unparse(node.annotation).endswith("constexpr"):
                node.value = _call("__tensor", node.value, ast.Constant(False))
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        self.generic_visit(node)
        node.test = _call("__holds", node.test)
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        if not isinstance(node.iter, ast.Call):
            return _refusal(node, "a kernel's loop goes over range, tl.range or tl.static_range")
        self.generic_visit(node)
        if ast.unparse(node.iter.func) == "tl.range":
            node.iter = _call("__range", *node.iter.args)  # its other arguments say how a GPU should run the loop
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        return self._join("and" if isinstance(node.op, ast.And) else "or", node.values)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        if any(isinstance(op, ast.In | ast.NotIn) for op in node.ops):
            return _refusal(node, "Triton's language has no `in`")
        if len(node.ops) > 1 and not COMPILES_CHAINS:
            return _refusal(node, f"triton {triton.__version__} compiles no chained comparison: join two with &")
        self.generic_visit(node)
        if len(node.ops) == 1:
            return node
        parts: list[ast.expr] = []
        left = node.left
        for k, (op, right) in enumerate(zip(node.ops, node.comparators, strict=True)):
            name = self._temporary()
            last = k + 1 == len(node.ops)
            value = right if last else ast.NamedExpr(ast.Name(name, ast.Store()), right)
            parts.append(ast.Compare(left, [op], [value]))
            left = ast.Name(name, ast.Load())
        return self._join("and", parts)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return _call("__not", node.operand) if isinstance(node.op, ast.Not) else node

    def visit_branch(self, node: Any) -> ast.AST:
        self.generic_visit(node)
        node.test = _call("__truth", node.test)
        return node

    visit_If = visit_While = visit_IfExp = visit_branch

    def _join(self, op: str, values: list[ast.expr]) -> ast.expr:
        """`__open(op, t := a) and __both(op, t, b)`, so that b is evaluated only where a compiler would."""
        joined = values[0]
        for value in values[1:]:
            name = self._temporary()
            test = _call("__open", ast.Constant(op), ast.NamedExpr(ast.Name(name, ast.Store()), joined))
            both = _call("__both", ast.Constant(op), ast.Name(name, ast.Load()), value)
            joined = ast.IfExp(test, both, ast.Name(name, ast.Load()))
        return joined

    def _temporary(self) -> str:
        self.temporaries += 1
        return f"__t{self.temporaries}"


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _refusal(node: ast.AST, message: str) -> Any:
    """A statement or expression that fails when it is reached: a branch that a constant closes may hold anything."""
    refusal = ast.copy_location(_call("__refuse", ast.Constant(message)), node)
    return ast.copy_location(ast.Expr(refusal), node) if isinstance(node, ast.stmt) else refusal


def _is_readable(value: Any) -> bool:
    """Whether compiled code may read a variable of this value from outside the kernel: Triton's own rule."""
    return (
        value is None
        or isinstance(value, types.ModuleType | tl.constexpr | tl.dtype | JITCallable | stock.InterpretedFunction)
        or getattr(value, "__triton_builtin__", False)
        or getattr(value, "__triton_aggregate__", False)
        or str(getattr(value, "__module__", "")).startswith(("triton.language", "triton.experimental.gluon.language"))
        or (isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields"))
        or triton.knobs.compilation.allow_non_constexpr_globals
    )


# ---- what rewritten kernels call ----


def _refuse(message: str) -> None:
    raise _error(message, sys._getframe(1))


def _error(message: str, kernel: types.FrameType) -> LanguageError:
    code = kernel.f_code
    return LanguageError(f"{code.co_name} ({code.co_filename}:{kernel.f_lineno}): {message}")


def _truth(value: Any) -> bool:
    if isinstance(value, tl.tensor) and value.handle.data.size > 1:
        advice = "a kernel cannot branch on a block of several values: reduce it, or use tl.where"
        raise _error(advice, sys._getframe(1))
    return bool(value)


def _holds(value: Any) -> bool:
    return bool(value.handle.data.all()) if isinstance(value, tl.tensor) else bool(value)


def _extreme(tritons: str, pythons: Callable) -> Callable:
    def extreme(*values: Any, **named: Any) -> Any:
        tensors = any(isinstance(value, tl.tensor) for value in values)
        return getattr(tl.core, tritons)(*values, **named) if tensors else pythons(*values, **named)

    return extreme


def _range(*bounds: Any) -> Iterable[Any]:
    """The turns of a loop. A compiled counter has the widest type of the bounds, and goes one step past the last turn.

    Bounds that are plain numbers are of 32 bits where that holds them. A counter of 32 bits is a plain number, too.
    """
    turns = range(*bounds)
    if any(isinstance(b, tl.tensor) and b.dtype.primitive_bitwidth == 64 for b in bounds):
        return (_int64(k) for k in excerpts.ends(turns, excerpts.turns))
    if state.check_integers is not None and turns:
        state.check_integers("add", np.array([turns[-1]], np.int32), np.array([turns.step], np.int32))
    return excerpts.ends(turns, excerpts.turns)


def _int64(value: int) -> tl.tensor:
    return tl.tensor(stock.TensorHandle(np.array([value], np.int64), tl.int64), tl.int64)


def _is_open(op: str, left: Any) -> bool:
    """Whether `left op right` still depends on right. Only constants decide early, as when compiling."""
    return isinstance(left, tl.tensor) or bool(left) == (op == "and")


def _both(op: str, left: Any, right: Any) -> Any:
    if not isinstance(left, tl.tensor):
        return right
    if not isinstance(right, tl.tensor):
        return left if bool(right) == (op == "and") else right
    return left.logical_and(right) if op == "and" else left.logical_or(right)


def _not(value: Any) -> Any:
    return value.__not__() if isinstance(value, tl.tensor) else not value


_HELPERS: dict[str, Callable] = {
    "__tensor": stock.interpreter_semantic.to_tensor,
    "__truth": _truth,
    "__open": _is_open,
    "__both": _both,
    "__not": _not,
    "__holds": _holds,
    "__refuse": _refuse,
    "__min": _extreme("builtin_min", min),
    "__max": _extreme("builtin_max", max),
    "__range": _range,
}


def rewrite(function: types.FunctionType) -> types.FunctionType:
    """The function with its body rewritten: same globals, defaults, closure, file and line numbers."""
    try:
        lines, first_line = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return function  # made at run time, without source
    definition = ast.parse(textwrap.dedent("".join(lines))).body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list = []
    free = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    cells = free | {name: types.CellType(helper) for name, helper in _HELPERS.items()}
    rewriter = _Rewriter(definition, function.__globals__ | _contents(free))
    definition.body = [rewriter.visit(statement) for statement in definition.body]
    if state.executed is not None:
        cells["__executed"] = types.CellType(state.executed.setdefault(function.__code__.co_filename, set()).add)
        definition.body = _noting(definition.body, first_line - 1)
    module = ast.parse(f"def outer({', '.join(cells)}): pass")
    module.body[0].body = [definition]  # type: ignore[attr-defined]
    ast.fix_missing_locations(module)
    ast.increment_lineno(module, first_line - 1)
    code = _find_code(compile(module, function.__code__.co_filename, "exec", dont_inherit=True), function.__name__)
    if function.__name__ in code.co_freevars and function.__name__ not in cells:  # it calls itself
        cells[function.__name__] = types.CellType(function.__globals__[function.__name__])
    new = types.FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, tuple(cells[n] for n in code.co_freevars)
    )
    new.__kwdefaults__ = function.__kwdefaults__
    return new


def _noting(statements: list[ast.stmt], offset: int) -> list[ast.stmt]:
    """The statements, before each of them a call that notes its line."""
    noting: list[ast.stmt] = []
    for statement in statements:
        line = ast.Constant(statement.lineno + offset)
        noting += [ast.copy_location(ast.Expr(_call("__executed", line)), statement), statement]
        for inner in ("body", "orelse"):
            if getattr(statement, inner, None):
                setattr(statement, inner, _noting(getattr(statement, inner), offset))
    return noting


def _contents(free: Mapping[str, types.CellType]) -> dict[str, Any]:
    """The variables of the enclosing functions that have a value by now."""
    values = {}
    for name, cell in free.items():
        with contextlib.suppress(ValueError):
            values[name] = cell.cell_contents
    return values


def _find_code(code: types.CodeType, name: str) -> types.CodeType:
    """The code of function `name`, defined in the one function of a module."""
    outer = next(c for c in code.co_consts if isinstance(c, types.CodeType))
    return next(c for c in outer.co_consts if isinstance(c, types.CodeType) and c.co_name == name)
