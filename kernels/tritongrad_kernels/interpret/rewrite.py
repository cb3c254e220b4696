"""Kernels as Python functions, rewritten where Python would compute something else than compiled code."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Callable
from typing import Any

import triton.language as tl
import triton.runtime.interpreter as stock


class _Rewriter(ast.NodeTransformer):
    """The few places where running a kernel as plain Python would differ from compiling it.

    Assigned numbers become tensors; `and`, `or`, `not` and chained comparisons of tensors become logical operations on
    every lane; a branch on a block of more than one lane is refused. Helpers are free variables of the result, under
    the names of `_HELPERS`: nothing is written into the kernel's module.
    """

    def __init__(self) -> None:
        self.temporaries = 0

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        if len(node.targets) > 1:
            raise ValueError(f"line {node.lineno}: a kernel cannot assign to several targets at once")
        self.generic_visit(node)
        node.value = _call("__tensor", node.value, ast.Constant(False))
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        return self._join("and" if isinstance(node.op, ast.And) else "or", node.values)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
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


def _truth(value: Any) -> bool:
    if isinstance(value, tl.tensor) and value.handle.data.size > 1:
        raise TypeError("a kernel cannot branch on a block of several values: reduce it, or use tl.where")
    return bool(value)


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
    definition.body = [_Rewriter().visit(statement) for statement in definition.body]
    module = ast.parse(f"def outer({', '.join(cells)}): pass")
    module.body[0].body = [definition]  # type: ignore[attr-defined]
    ast.fix_missing_locations(module)
    ast.increment_lineno(module, first_line - 1)
    code = _find_code(compile(module, function.__code__.co_filename, "exec", dont_inherit=True), function.__name__)
    new = types.FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, tuple(cells[n] for n in code.co_freevars)
    )
    new.__kwdefaults__ = function.__kwdefaults__
    return new


def _find_code(code: types.CodeType, name: str) -> types.CodeType:
    """The code of function `name`, defined in the one function of a module."""
    outer = next(c for c in code.co_consts if isinstance(c, types.CodeType))
    return next(c for c in outer.co_consts if isinstance(c, types.CodeType) and c.co_name == name)
