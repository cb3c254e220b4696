"""Sums of products written by their indices."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any, NoReturn

from tritongrad.ops import reduce
from tritongrad.ops.arithmetic import mul
from tritongrad.ops.linalg import matmul, require_alike
from tritongrad.ops.slicing import diagonal
from tritongrad.ops.views import expand, permute, reshape
from tritongrad.precision import lowered
from tritongrad.tensor import Tensor

_LETTERS = string.ascii_uppercase + string.ascii_lowercase
Label = Any  # a letter, or an int <= 0 for an axis under an ellipsis, 0 the last
Term = tuple[Tensor, list[Label]]


@lowered
def einsum(equation: Any, *operands: Any) -> Tensor:
    """Multiply operands and sum over the indices that the result lacks: `einsum("bij,bjk->bik", x, y)`.

    An index that an operand names twice stands for its diagonal; `...` for axes that broadcast. Without `->` the result
    has the axes under `...` and then, in alphabetical order, every index named once. Operands may come in a list, and
    indices as lists of numbers, `einsum(x, [0, 1], y, [1, 2], [0, 2])`. Extents of 1 broadcast.

    Operands are contracted two at a time, each time the pair whose product adds the fewest elements, as one batched
    matrix product, or an elementwise one where nothing is summed.
    """
    if isinstance(equation, Tensor):
        equation, operands = _from_lists((equation, *operands))
    elif len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    if not operands:
        _refuse("at least one operand is needed")
    require_alike("einsum", *operands)
    terms, output = _terms(equation.replace(" ", ""), operands)
    _require_extents(terms, output)
    while len(terms) > 1:
        i, j = _cheapest(terms, output)
        needed = {*output, *(label for k, (_, labels) in enumerate(terms) if k not in (i, j) for label in labels)}
        terms = [*(t for k, t in enumerate(terms) if k not in (i, j)), _contracted(terms[i], terms[j], needed)]
    x, labels = _summed(terms[0], set(output))
    return permute(x, *(labels.index(label) for label in output)) if output != labels else x


def _refuse(why: str) -> NoReturn:
    raise RuntimeError(f"einsum(): {why}")


def _from_lists(arguments: tuple) -> tuple[str, tuple[Tensor, ...]]:
    """The equation that operands, each followed by a list of numbers, stand for."""

    def letters(numbers: Sequence[Any]) -> str:
        if any(n is not Ellipsis and not 0 <= n < len(_LETTERS) for n in numbers):
            _refuse(f"subscripts must be numbers from 0 to {len(_LETTERS) - 1} or Ellipsis, got {list(numbers)}")
        return "".join("..." if n is Ellipsis else _LETTERS[n] for n in numbers)

    paired = len(arguments) // 2 * 2
    equation = ",".join(letters(numbers) for numbers in arguments[1:paired:2])
    if paired < len(arguments):
        equation += "->" + letters(arguments[-1])
    return equation, arguments[:paired:2]


def _labels(text: str) -> list[str]:
    """The indices of one operand or the result; `...` is one of them."""
    found = text.replace("...", " ")
    for place, letter in enumerate(found):
        if letter not in _LETTERS and letter != " ":
            _refuse(f"invalid subscript {letter!r} at index {place} of {text!r}; subscripts must be in [a-zA-Z]")
    if found.count(" ") > 1:
        _refuse(f"more than one ellipsis in {text!r}")
    return list(found)


def _terms(equation: str, operands: Sequence[Tensor]) -> tuple[list[Term], list[Label]]:
    """Each operand with a distinct label for each axis, its diagonals taken; the labels of the result."""
    left, arrow, right = equation.partition("->")
    parts = [_labels(text) for text in left.split(",")]
    if len(parts) != len(operands):
        more = "more" if len(operands) > len(parts) else "fewer"
        _refuse(f"{more} operands were provided than specified in the equation ({len(operands)} for {equation!r})")
    hidden, named = 0, [label for part in parts for label in part if label != " "]
    spelled = []
    for k, (x, part) in enumerate(zip(operands, parts, strict=True)):
        rest = x.ndim - len(part) + part.count(" ")
        if rest < 0 or (rest and " " not in part):
            _refuse(
                f"the number of subscripts in the equation ({len(part) - part.count(' ')}) does not match the number "
                f"of dimensions ({x.ndim}) for operand {k}" + ("" if " " in part else " and no ellipsis was given")
            )
        hidden = max(hidden, rest)
        spelled.append([n for label in part for n in (range(1 - rest, 1) if label == " " else [label])])
    ellipsis: list[Label] = list(range(1 - hidden, 1))
    if arrow:
        wanted = _labels(right)
        for label in wanted:
            if label != " " and label not in named:
                _refuse(f"output subscript {label} does not appear in the equation for any input operand")
            if wanted.count(label) > 1:
                _refuse(f"output subscript {label} appears more than once in the output")
        output = [n for label in wanted for n in (ellipsis if label == " " else [label])]
    else:
        output = ellipsis + sorted(label for label in set(named) if named.count(label) == 1)
    return [_diagonals(x, labels, k) for k, (x, labels) in enumerate(zip(operands, spelled, strict=True))], output


def _diagonals(x: Tensor, labels: list[Label], k: int) -> Term:
    """The operand with each label on one axis."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            n, m = x.array.shape[i], x.array.shape[j]
            if n != m:
                _refuse(f"subscript {label} is repeated for operand {k} but the sizes don't match, {m} != {n}")
            x = diagonal(x, 0, i, j)
            labels = [*(other for d, other in enumerate(labels) if d not in (i, j)), label]
    return x, labels


def _extents(terms: Sequence[Term]) -> dict[Label, int]:
    """The extent behind each label, where some operands may have 1."""
    extents: dict[Label, int] = {}
    for x, labels in terms:
        for label, n in zip(labels, x.array.shape, strict=True):
            if extents.get(label, 1) == 1:
                extents[label] = n
    return extents


def _require_extents(terms: Sequence[Term], output: list[Label]) -> None:
    extents = _extents(terms)
    for k, (x, labels) in enumerate(terms):
        for label, n in zip(labels, x.array.shape, strict=True):
            if n not in (1, extents[label]):
                name = label if isinstance(label, str) else "..."
                _refuse(
                    f"subscript {name} has size {n} for operand {k} which does not broadcast with previously seen "
                    f"size {extents[label]}"
                )


def _cheapest(terms: Sequence[Term], output: list[Label]) -> tuple[int, int]:
    """The pair whose product has the fewest elements more than the two together; the first of equals."""

    def growth(pair: tuple[int, int]) -> int:
        two = [terms[k] for k in pair]
        others = {*output, *(label for k, (_, labels) in enumerate(terms) if k not in pair for label in labels)}
        kept = math.prod(n for label, n in _extents(two).items() if label in others)
        return kept - sum(x.numel() for x, _ in two)

    return min(((i, j) for j in range(len(terms)) for i in range(j)), key=growth)


def _summed(term: Term, needed: set[Label]) -> Term:
    """The operand summed over the labels nobody needs."""
    x, labels = term
    gone = [axis for axis, label in enumerate(labels) if label not in needed]
    return (reduce.sum(x, gone), [label for label in labels if label in needed]) if gone else term


def _contracted(one: Term, other: Term, needed: set[Label]) -> Term:
    """The product of two operands, summed over the labels that nobody else needs."""
    a, a_labels = _summed(one, needed | set(other[1]))
    b, b_labels = _summed(other, needed | set(a_labels))
    extents = _extents([(a, a_labels), (b, b_labels)])
    shared = [label for label in a_labels if label in b_labels]
    batch, inner = [n for n in shared if n in needed], [n for n in shared if n not in needed]
    left, right = [n for n in a_labels if n not in shared], [n for n in b_labels if n not in shared]
    result = batch + left + right

    def arranged(x: Tensor, labels: list[Label], order: list[Label], shape: list[int]) -> Tensor:
        x = permute(x, *(labels.index(label) for label in order))
        return reshape(expand(x, [extents[label] for label in order]), shape)

    def size(labels: list[Label]) -> int:
        return math.prod(extents[label] for label in labels)

    if not inner:  # nothing to sum: extents of 1 broadcast by themselves
        a = reshape(
            permute(a, *(a_labels.index(n) for n in batch + left)), [*_of(a, a_labels, batch + left), *[1] * len(right)]
        )
        shape = [*_of(b, b_labels, batch), *[1] * len(left), *_of(b, b_labels, right)]
        return mul(a, reshape(permute(b, *(b_labels.index(n) for n in batch + right)), shape)), result
    a = arranged(a, a_labels, batch + left + inner, [size(batch), size(left), size(inner)])
    b = arranged(b, b_labels, batch + inner + right, [size(batch), size(inner), size(right)])
    return reshape(matmul(a, b), [extents[label] for label in result]), result


def _of(x: Tensor, labels: list[Label], order: list[Label]) -> list[int]:
    return [x.array.shape[labels.index(label)] for label in order]
