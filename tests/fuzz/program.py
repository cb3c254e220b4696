"""Random programs of one line, run by torch and by us, which must agree.

A `Program` is a line of code over tensors `a`, `b`, .. that means the same in both libraries, and how those tensors
come to be: shape, dtype, what values they have and how they lie in memory. Its repr is all that is needed to run it
again. `Maker` draws programs; the other files here say of which operations.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import tritongrad as tg
from tests.check import EPS, compare

HALVES = ("float16", "bfloat16")
FLOATS = ("float64", "float32", *HALVES)
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")
ALL = (*FLOATS, *INTEGERS, "bool")
SPECIAL = np.array([math.nan, math.inf, -math.inf, 0.0, -0.0])

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operand:
    """A leaf, and the view of it that a program is given.

    `view` is code over `base`, a tensor of shape `stored`. `values` says what numbers: "eighths" from -2 to 2 (whole
    numbers and bools of as many kinds), some "special" among them, all "distinct", or whole numbers (low, high) with
    high left out. One that is `written` to is a view of a copy of the leaf, and the copy is a result too.
    """

    stored: Shape
    dtype: str
    view: str = "base"
    values: Any = "eighths"
    seed: int = 0
    written: bool = False

    def numbers(self) -> np.ndarray:
        rng, count = np.random.default_rng(self.seed), math.prod(self.stored)
        if isinstance(self.values, tuple):
            flat = rng.integers(*self.values, count).astype(np.float64)
        elif self.values == "distinct":
            flat = (rng.permutation(count) - count // 2) / 4
        else:
            flat = rng.integers(-16, 17, count) / 8
        if self.values == "special" and self.dtype in FLOATS:
            flat = np.where(rng.random(count) < 0.3, rng.choice(SPECIAL, count), flat)
        if self.dtype not in FLOATS and not isinstance(self.values, tuple):
            flat = (
                np.abs(flat * 4) % 2
                if self.dtype == "bool"
                else np.round(flat * (4 if self.values == "distinct" else 2))
            )
        if self.dtype == "uint8":
            flat = flat - flat.min(initial=0)
        return flat.reshape(self.stored)

    def build(self, lib: Any, dtype: str) -> tuple[Any, Any, Any]:
        """The leaf, its copy to be written to (or None), and the view."""
        numbers = self.numbers()
        leaf = lib.tensor(numbers if dtype in FLOATS else numbers.astype(np.int64)).to(getattr(lib, dtype))
        if dtype in FLOATS:
            leaf = leaf.detach().requires_grad_()
        base = leaf.clone() if self.written else leaf
        return leaf, base if self.written else None, eval(self.view, {"base": base})


@dataclass(frozen=True)
class Program:
    """`terms` is the longest sum behind one number; torch's results of a `coarse` one are only good for float32."""

    code: str
    operands: dict[str, Operand]
    terms: int = 1
    aliases: bool = False
    slack: float = 8.0
    gradients: bool = True
    coarse: bool = False

    def run(self, lib: Any, exact: bool = False) -> tuple[list[Any], list[Any], list[Any]]:
        """Leaves, results (flat, what was written to at the end) and what the line was given."""
        built = [o.build(lib, "float64" if exact and o.dtype in FLOATS else o.dtype) for o in self.operands.values()]
        names = {name: view for name, (_, _, view) in zip(self.operands, built, strict=True)}
        result = eval(self.code, {"torch": lib, "F": lib.nn.functional, **names})
        leaves = [leaf for leaf, _, _ in built if leaf.requires_grad]
        return leaves, [*_flat(result), *(copy for _, copy, _ in built if copy is not None)], list(names.values())

    def check(self) -> None:
        """Same results, dtypes, shapes and gradients as torch's; or the same type of exception."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                leaves, want, given = self.run(torch)
            except Exception as error:
                return self._check_refused(error)
            exact_leaves, exact, _ = self.run(torch, True)
        try:
            our_leaves, got, our_given = self.run(tg)
        except Exception as error:
            several = "write one memory location several times" in str(error)  # which torch lets pass here and there
            if several or ("division by zero" in str(error) and not all(t.numel() for t in given)):
                return
            raise AssertionError(f"refused: {type(error).__name__}: {error}") from error
        assert len(got) == len(want), f"{len(got)} results, expected {len(want)}"
        for k, (g, w, e) in enumerate(zip(got, want, exact, strict=True)):
            self._check_result(f"result {k}", g, w, e)
            if isinstance(w, torch.Tensor) and w.is_floating_point() and all(t.numel() for t in given):
                assert g.requires_grad == w.requires_grad, f"result {k}: requires_grad is {g.requires_grad}"
        if self.aliases:
            for g, w in zip(got, want, strict=True):
                _check_aliasing(g, w, our_given[0], given[0])
        if self.gradients and not any(o.values == "special" for o in self.operands.values()):
            self._check_gradients(our_leaves, got, leaves, want, exact_leaves, exact)

    def _check_refused(self, error: Exception) -> None:
        try:
            self.run(tg)
        except Exception as ours:
            kinds = f"{type(ours).__name__}: {ours}; expected {type(error).__name__}: {error}"
            assert isinstance(ours, type(error)), f"refused as {kinds}"
            return
        halves = any(o.dtype in HALVES for o in self.operands.values())
        if not (halves and "not implemented for" in str(error)):
            raise AssertionError(f"not refused; expected {type(error).__name__}: {error}")

    def _check_result(self, what: str, got: Any, want: Any, exact: Any) -> None:
        if not isinstance(want, torch.Tensor):
            assert got == want or (got != got and want != want), f"{what}: {got!r}, expected {want!r}"
            return
        kind = str(want.dtype).removeprefix("torch.")
        assert isinstance(got, tg.Tensor), f"{what}: {got!r}, expected a tensor"
        assert got.dtype.name == kind, f"{what}: {got.dtype.name}, expected {kind}"
        if kind in FLOATS:
            compare(what, got.detach(), exact.detach().to(want.dtype), self._bound(kind))
        else:
            compare(what, got.detach(), want.detach(), 0)

    def _bound(self, *kinds: str) -> float:
        """Halves are summed in float32 and rounded once, so that only the others' sums show how long they are."""
        eps = max(EPS[k] for k in (*kinds, *["float32"] * self.coarse))
        return self.slack * eps * (2 + (math.sqrt(self.terms) if eps < EPS["float16"] else 0))

    def _check_gradients(
        self, ours: list, got: list, leaves: list, want: list, exact_leaves: list, exact: list
    ) -> None:
        if not leaves:
            return
        rng = np.random.default_rng(7)
        roots, their_roots, dys, their_dys, kinds = [], [], [], [], set()
        for g, w, e in zip(got, want, exact, strict=True):
            if not isinstance(w, torch.Tensor) or not (w.requires_grad and g.requires_grad):
                continue
            dy = rng.integers(-8, 9, tuple(w.shape)) / 4
            roots.append(g), their_roots.append(e), kinds.add(g.dtype.name)
            dys.append(tg.tensor(dy, dtype=g.dtype)), their_dys.append(torch.tensor(dy, dtype=e.dtype))
        if not roots:
            return
        kinds |= {leaf.dtype.name for leaf in ours}
        try:
            expected = torch.autograd.grad(their_roots, exact_leaves, their_dys, allow_unused=True)
        except (RuntimeError, NotImplementedError):  # torch has no gradient of this
            return
        found = tg.autograd.grad(roots, ours, dys, allow_unused=True)
        for name, leaf, native, g, e in zip(self._floating(), exact_leaves, leaves, found, expected, strict=True):
            e = torch.zeros_like(leaf) if e is None or e._is_zerotensor() else e.detach()
            g = tg.zeros(tuple(leaf.shape), dtype=getattr(tg, str(native.dtype)[6:])) if g is None else g
            assert g.dtype.name == str(native.dtype)[6:], f"gradient of {name}: {g.dtype.name}"
            compare(f"gradient of {name}", g, e.to(native.dtype), 4 * self._bound(*kinds))

    def _floating(self) -> list[str]:
        return [name for name, o in self.operands.items() if o.dtype in FLOATS]


def _flat(result: Any) -> list[Any]:
    if isinstance(result, tuple | list) and not isinstance(result, torch.Size | tg.Size):
        return [leaf for part in result for leaf in _flat(part)]
    return [tuple(result)] if isinstance(result, tuple) else [result]


def _check_aliasing(got: Any, want: Any, given: Any, their_given: Any) -> None:
    """A view is one where torch's is, with the same strides."""
    theirs = want.untyped_storage().data_ptr() == their_given.untyped_storage().data_ptr()
    if want.numel():
        assert (got.array.memory is given.array.memory) == theirs, f"a view where torch {'has' if theirs else 'copies'}"
        assert tuple(got.stride()) == want.stride(), f"strides {tuple(got.stride())}, expected {want.stride()}"
