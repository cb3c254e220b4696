"""Recurrent layers and cells against torch's, by direction, lengths of sequences and dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn
from tritongrad.ops.packing import Steps
from tritongrad.ops.recurrent import along, gru_layer, lstm_layer, rnn_layer

GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}
VF = torch._C._VariableFunctions
EVEN, FALLING, ONE = (3, 3, 3), (3, 3, 2, 1), (5,)


def arrays(mode: str, sizes: tuple[int, ...], features: int = 4, units: int = 5, projected: int = 0) -> list:
    """Input, state(s), weights and biases."""
    rows, gates, out = sum(sizes), GATES[mode] * units, projected or units
    shapes = [(rows, features), (sizes[0], out), (gates, features), (gates, out), (gates,), (gates,)]
    shapes += [(sizes[0], units)] if mode == "lstm" else []
    shapes += [(projected, units)] if projected else []
    return [randn(*shape, seed=k) for k, shape in enumerate(shapes)]


def ours(mode: str, sizes: tuple[int, ...], reverse: bool) -> Any:
    def run(x: Any, h: Any, *rest: Any) -> Any:
        weights, more = rest[:4], rest[4:]
        steps = Steps(sizes, reverse)
        if mode == "lstm":
            results = along(lstm_layer, x, (h, more[0]), (*weights, more[1] if more[1:] else None), steps)
        elif mode == "gru":
            results = along(gru_layer, x, h, weights, steps)
        else:
            results = along(rnn_layer, x, h, weights, steps, mode)
        return tg.cat([r.reshape(-1) for r in results])

    return run


def theirs(mode: str, sizes: tuple[int, ...], reverse: bool) -> Any:
    """One direction of torch's layer, which has the reverse one only beside the other."""

    def run(x: Any, h: Any, *rest: Any) -> Any:
        weights, more = rest[:4], rest[4:]
        if more[1:]:
            weights = (*weights, more[1])
        both = lambda t: torch.stack([t, t])  # noqa: E731
        state = (both(h), both(more[0])) if mode == "lstm" else both(h)
        function = getattr(VF, mode if mode in ("lstm", "gru") else f"rnn_{mode}")
        options = (True, 1, 0.0, False, True)
        results = function(x, torch.tensor(sizes), state, (*weights, *weights), *options)
        way = int(reverse)
        return torch.cat([results[0].chunk(2, 1)[way].reshape(-1), *(r[way].reshape(-1) for r in results[1:])])

    return run


@pytest.mark.parametrize("mode, sizes, reverse", [
    ("lstm", FALLING, False), ("gru", FALLING, False), ("tanh", FALLING, False), ("relu", EVEN, True),
])  # fmt: skip
def test_layers(tiles: str, mode: str, sizes: tuple[int, ...], reverse: bool) -> None:
    check(ours(mode, sizes, reverse), theirs(mode, sizes, reverse), *arrays(mode, sizes), terms=30)


@pytest.mark.parametrize("mode, sizes, reverse", [
    ("lstm", EVEN, True), ("lstm", FALLING, True), ("gru", ONE, False), ("tanh", EVEN, False), ("gru", EVEN, True),
])  # fmt: skip
def test_second_derivatives(mode: str, sizes: tuple[int, ...], reverse: bool) -> None:
    check(ours(mode, sizes, reverse), theirs(mode, sizes, reverse), *arrays(mode, sizes), terms=60, second=True)


@pytest.mark.parametrize("sizes, reverse, second", [(FALLING, False, True), (EVEN, True, False)])
def test_projection(sizes: tuple[int, ...], reverse: bool, second: bool) -> None:
    values = arrays("lstm", sizes, projected=3)
    check(ours("lstm", sizes, reverse), theirs("lstm", sizes, reverse), *values, terms=60, second=second)


@pytest.mark.parametrize("mode", ["lstm", "gru", "relu"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_dtypes(mode: str, dtype: str) -> None:
    check(ours(mode, EVEN, False), theirs(mode, EVEN, False), *arrays(mode, EVEN), dtype=dtype, terms=60)


@pytest.mark.parametrize("mode", ["lstm", "gru", "tanh"])
def test_gradients_of_some_results_only(mode: str) -> None:
    """What nobody used has no gradient to read: the output, the last states."""
    for used in range(3 if mode == "lstm" else 2):
        numbers = []
        for m in (tg, torch):
            values = [m.tensor(a).requires_grad_() for a in arrays(mode, FALLING)]
            y = (ours if m is tg else theirs)(mode, FALLING, False)(*values)
            ends = np.cumsum([0, 9 * 5, 3 * 5, 3 * 5])
            m.autograd.backward((y[int(ends[used]) : int(ends[used + 1])] ** 2).sum())
            numbers.append([v.grad.tolist() for v in values])
        for a, b in zip(*numbers, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


CELLS = {"rnn_tanh_cell": 1, "rnn_relu_cell": 1, "lstm_cell": 4, "gru_cell": 3}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("batch, biases", [(3, True), (1, False)])
def test_cells(name: str, batch: int, biases: bool) -> None:
    gates = CELLS[name] * 5
    shapes = [(batch, 4), (batch, 5), (batch, 5), (gates, 4), (gates, 5), *([(gates,), (gates,)] if biases else [])]

    def run(m: Any) -> Any:
        def f(x: Any, h: Any, c: Any, *weights: Any) -> Any:
            if name == "lstm_cell":
                return m.cat(getattr(m, name)(x, (h, c), *weights))
            return getattr(m, name)(x, h, *weights) + c

        return f

    check(run(tg), run(torch), *(randn(*s, seed=k) for k, s in enumerate(shapes)), terms=30, second=biases)


def test_cells_refuse_what_does_not_fit() -> None:
    x, h, w, u = tg.ones(2, 4), tg.ones(2, 5), tg.ones(15, 4), tg.ones(15, 5)
    for call, said in (
        (lambda: tg.gru_cell(x[:, :3], h, w, u), "got 3 expected 4"),
        (lambda: tg.gru_cell(x, h[:1], w, u), "batch size 2 doesn't match hidden0 batch size 1"),
        (lambda: tg.gru_cell(x, h[:, :3], w, u), "got 3, expected 5"),
        (lambda: tg.gru_cell(x, h.double(), w, u), "same dtype"),
        (lambda: tg.gru_cell(x[0], h, w, u), "2 dimensions"),
    ):
        with pytest.raises(RuntimeError, match=said):
            call()


def test_no_rows() -> None:
    x = tg.ones(0, 4, requires_grad=True)
    h = tg.gru_cell(x, tg.ones(0, 5), tg.ones(15, 4), tg.ones(15, 5))
    h.sum().backward()
    assert h.shape == (0, 5) and x.grad is not None and x.grad.shape == (0, 4)


def test_autocast_makes_halves() -> None:
    values = [tg.tensor(a).float().requires_grad_() for a in arrays("lstm", EVEN)]
    with tg.autocast("cpu"):
        y = ours("lstm", EVEN, False)(*values)
    assert y.dtype is tg.bfloat16
    y.float().sum().backward()
    assert all(v.grad is not None and v.grad.dtype is tg.float32 for v in values)
