"""Recurrent layers of one direction, and the cells they are made of.

A layer takes packed rows [rows, features] (see `packing`; padded sequences of one length are packed as they lie) and
gives the state after each step, [rows, units], with each sequence's last state. The input's share of the gates is one
product for all steps, a step one product with the recurrent weights and one launch, and so it is on the way back; the
gradients of all weights are products over all steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tritongrad.autograd import is_grad_enabled
from tritongrad.ops import activation
from tritongrad.ops.joining import cat
from tritongrad.ops.linalg import described, linear, require_alike
from tritongrad.ops.packing import Steps, turned
from tritongrad.ops.slicing import chunk, narrow
from tritongrad.ops.transcendental import sigmoid, tanh
from tritongrad.ops.views import ravel
from tritongrad.precision import lowered
from tritongrad.tensor import Tensor, differentiable, record_several
from tritongrad_kernels import dtypes, elementwise, formulas, recurrent as kernel, reduce
from tritongrad_kernels.array import Array, empty
from tritongrad_kernels.matmul import matmul
from tritongrad_kernels.recurrent import Incoming

Optional = Tensor | None
Weights = tuple[Tensor, Tensor, Optional, Optional]
"""Of the input and of the state, [G units, features] for G gates, and their biases [G units] or None."""


@lowered
def rnn_layer(
    input: Tensor, hx: Tensor, weights: Weights, steps: Steps, nonlinearity: str = "tanh"
) -> tuple[Tensor, Tensor]:
    """h' = f(W_ih x + b_ih + W_hh h + b_hh) at each step, f being tanh or relu: (all h', the last of each sequence)."""
    x, (w_ih, w_hh, b_ih, b_hh), first = input.array, _arrays(weights), elementwise.contiguous(hx.array)
    acc, count = dtypes.accumulator(input.dtype), x.shape[0]
    gates = matmul(x, w_ih.T, b_ih)
    out, h = empty((count, first.shape[1]), input.dtype, input.device), first
    for a, z in steps.spans:
        share = matmul(h.slice(0, 0, z - a), w_hh.T, b_hh, acc)
        h = out.slice(0, a, z)
        kernel.rnn(nonlinearity, gates.slice(0, a, z), share, h)

    def composition(input: Tensor, hx: Tensor, *weights: Optional) -> Sequence[Tensor]:
        f = tanh if nonlinearity == "tanh" else activation.relu

        def step(gates: Tensor, state: Tensor, h: Tensor) -> tuple[Tensor, ...]:
            return (f(gates + state),)

        return _composed(step, steps, input, (hx,), weights)

    inputs = (input, hx, *weights)

    def gradient(gradients: Sequence[Optional], wanted: list[bool]) -> Sequence[Optional]:
        if is_grad_enabled():
            return _again(composition, inputs, gradients)
        dout, dlast = map(_given, gradients)
        dgates, dnext = empty(gates.shape, input.dtype, input.device), None
        for a, z, _ in steps.backwards:
            incoming = _incoming(dout, dnext, dlast, a, z)
            kernel.rnn_grad(nonlinearity, incoming, out.slice(0, a, z), dgates.slice(0, a, z))
            dnext = matmul(dgates.slice(0, a, z), w_hh, dtype=acc)
        dx, *dweights = _products(dgates, dgates, x, w_ih, steps.before(out, first), (wanted[0], *wanted[2:]))
        return [dx, _tensor(dnext), *dweights]

    return record_several((out, steps.last(out)), inputs, gradient)  # type: ignore[return-value]


@lowered
def lstm_layer(
    input: Tensor, state: tuple[Tensor, Tensor], weights: tuple, steps: Steps
) -> tuple[Tensor, Tensor, Tensor]:
    """At each step, with i, f, g, o from W_ih x + b_ih + W_hh h + b_hh: c' = sigmoid(f) c + sigmoid(i) tanh(g) and
    h' = sigmoid(o) tanh(c'), projected by the fifth of the weights [size, units] where there is one.

    Gives all h', and the last h and c of each sequence. Sources: Hochreiter and Schmidhuber 1997; for the projection,
    Sak, Senior and Beaufays 2014, arXiv:1402.1128.
    """
    hx, cx = state
    x, (w_ih, w_hh, b_ih, b_hh, w_hr) = input.array, _arrays(weights)
    first, first_cell = elementwise.contiguous(hx.array), elementwise.contiguous(cx.array)
    acc, count, units = dtypes.accumulator(input.dtype), x.shape[0], first_cell.shape[1]
    gates = matmul(x, w_ih.T, b_ih)
    cells = empty((count, units), acc, input.device)
    hidden = empty((count, units), input.dtype, input.device)
    out = hidden if w_hr is None else empty((count, first.shape[1]), input.dtype, input.device)
    h, c = first, first_cell
    for a, z in steps.spans:
        share = matmul(h.slice(0, 0, z - a), w_hh.T, b_hh, acc)
        before, c, h = c.slice(0, 0, z - a), cells.slice(0, a, z), out.slice(0, a, z)
        kernel.lstm(gates.slice(0, a, z), share, before, c, hidden.slice(0, a, z))
        if w_hr is not None:
            elementwise.copy_into(matmul(hidden.slice(0, a, z), w_hr.T), h)
    last_cell = elementwise.cast(steps.last(cells), input.dtype)

    def composition(input: Tensor, hx: Tensor, cx: Tensor, *weights: Optional) -> Sequence[Tensor]:
        def step(gates: Tensor, state: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
            i, f, g, o = chunk(gates + state, 4, 1)
            c = sigmoid(f) * c + sigmoid(i) * tanh(g)
            h = sigmoid(o) * tanh(c)
            return (h if weights[4] is None else linear(h, weights[4])), c

        return _composed(step, steps, input, (hx, cx), weights)

    inputs = (input, hx, cx, *weights)

    def gradient(gradients: Sequence[Optional], wanted: list[bool]) -> Sequence[Optional]:
        if is_grad_enabled():
            return _again(composition, inputs, gradients)
        dout, dlast, dcell = _given(gradients[0]), _given(gradients[1]), _carried(gradients[2], cx, acc)
        dgates, dnext = empty(gates.shape, input.dtype, input.device), None
        projected = None if w_hr is None else _Projected(dout, _carried(gradients[1], hx, acc), w_hr, out)
        for a, z, previous in steps.backwards:
            incoming = projected.incoming(a, z) if projected else _incoming(dout, dnext, dlast, a, z)
            before = _previous(cells, first_cell, previous, z - a)
            kernel.lstm_grad(
                incoming, dcell.slice(0, 0, z - a), gates.slice(0, a, z), before, cells.slice(0, a, z),
                dgates.slice(0, a, z),
            )  # fmt: skip
            dnext = matmul(dgates.slice(0, a, z), w_hh, dtype=acc)
            if projected:
                elementwise.copy_into(dnext, projected.reached.slice(0, 0, z - a))
        past = steps.before(out, first)
        dx, *dweights = _products(dgates, dgates, x, w_ih, past, (wanted[0], *wanted[3:7]))
        dw_hr = Tensor(matmul(projected.sums.T, hidden)) if projected and wanted[7] else None
        return [dx, _tensor(dnext), Tensor(dcell), *dweights, dw_hr]

    return record_several((out, steps.last(out), last_cell), inputs, gradient)  # type: ignore[return-value]


@lowered
def gru_layer(input: Tensor, hx: Tensor, weights: Weights, steps: Steps) -> tuple[Tensor, Tensor]:
    """At each step, with r, z, n from W_ih x + b_ih and r', z', n' from W_hh h + b_hh:
    h' = (1 - z) n + z h, z = sigmoid(z + z'), n = tanh(n + sigmoid(r + r') n').

    Gives all h', and the last of each sequence. Source: Cho et al. 2014, arXiv:1406.1078, in cuDNN's form.
    """
    x, (w_ih, w_hh, b_ih, b_hh), first = input.array, _arrays(weights), elementwise.contiguous(hx.array)
    acc, shape = dtypes.accumulator(input.dtype), (x.shape[0], first.shape[1])
    gates = matmul(x, w_ih.T, b_ih)
    recalled, out = (empty(shape, input.dtype, input.device) for _ in range(2))
    h = first
    for a, z in steps.spans:
        before = h.slice(0, 0, z - a)
        share = matmul(before, w_hh.T, b_hh, acc)
        h = out.slice(0, a, z)
        kernel.gru(gates.slice(0, a, z), share, before, recalled.slice(0, a, z), h)

    def composition(input: Tensor, hx: Tensor, *weights: Optional) -> Sequence[Tensor]:
        def step(gates: Tensor, state: Tensor, h: Tensor) -> tuple[Tensor, ...]:
            (r, z, n), (r_state, z_state, n_state) = chunk(gates, 3, 1), chunk(state, 3, 1)
            n = tanh(n + sigmoid(r + r_state) * n_state)
            return (n + sigmoid(z + z_state) * (h - n),)

        return _composed(step, steps, input, (hx,), weights)

    inputs = (input, hx, *weights)

    def gradient(gradients: Sequence[Optional], wanted: list[bool]) -> Sequence[Optional]:
        if is_grad_enabled():
            return _again(composition, inputs, gradients)
        dout, dlast = map(_given, gradients)
        dgates, dstate = (empty(gates.shape, input.dtype, input.device) for _ in range(2))
        dpast, dnext = empty(first.shape, acc, input.device), None
        for a, z, previous in steps.backwards:
            kernel.gru_grad(
                _incoming(dout, dnext, dlast, a, z), dpast.slice(0, 0, z - a), gates.slice(0, a, z),
                _previous(out, first, previous, z - a), recalled.slice(0, a, z), dgates.slice(0, a, z),
                dstate.slice(0, a, z),
            )  # fmt: skip
            dnext = matmul(dstate.slice(0, a, z), w_hh, dtype=acc)
        dx, *dweights = _products(dgates, dstate, x, w_ih, steps.before(out, first), (wanted[0], *wanted[2:]))
        dhx = Tensor(elementwise.map(formulas._add, dnext, dpast)) if wanted[1] and dnext is not None else None
        return [dx, dhx, *dweights]

    return record_several((out, steps.last(out)), inputs, gradient)  # type: ignore[return-value]


def along(
    layer: Callable[..., tuple], input: Tensor, state: object, weights: object, steps: Steps, *more: str
) -> tuple:
    """A layer over packed rows in the direction of `steps`, whatever the lengths of the sequences are."""
    if steps.even or not steps.reverse:
        return layer(input, state, weights, steps, *more)
    forwards = Steps(steps.sizes)
    out, *last = layer(turned(input, forwards), state, weights, forwards, *more)
    return turned(out, forwards), *last


# -------------------------------------------------------------------------------------------------------------- cells


def _checked(name: str, input: Tensor, states: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor) -> Steps:
    """One step, or a RuntimeError if the shapes do not fit together."""
    require_alike(name, input, *states, w_ih, w_hh)
    if input.ndim != 2 or any(s.ndim != 2 for s in states):
        raise RuntimeError(f"{name}: expected an input and states of 2 dimensions, got {described(input, *states)}")
    if input.shape[1] != w_ih.shape[1]:
        raise RuntimeError(f"input has inconsistent input_size: got {input.shape[1]} expected {w_ih.shape[1]}")
    for k, s in enumerate(states):
        if s.shape[0] != input.shape[0]:
            raise RuntimeError(f"Input batch size {input.shape[0]} doesn't match hidden{k} batch size {s.shape[0]}")
        if s.shape[1] != w_hh.shape[1]:
            raise RuntimeError(f"hidden{k} has inconsistent hidden_size: got {s.shape[1]}, expected {w_hh.shape[1]}")
    return Steps((input.array.shape[0],))


@lowered
def rnn_tanh_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """tanh(W_ih x + b_ih + W_hh h + b_hh) for x [N, features] and h [N, units]."""
    steps = _checked("rnn_tanh_cell", input, (hx,), w_ih, w_hh)
    return rnn_layer(input, hx, (w_ih, w_hh, b_ih, b_hh), steps, "tanh")[0]


@lowered
def rnn_relu_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """relu(W_ih x + b_ih + W_hh h + b_hh) for x [N, features] and h [N, units]."""
    steps = _checked("rnn_relu_cell", input, (hx,), w_ih, w_hh)
    return rnn_layer(input, hx, (w_ih, w_hh, b_ih, b_hh), steps, "relu")[0]


@lowered
def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The step of `lstm_layer` for x [N, features] and hx = (h, c), each [N, units]: (h', c')."""
    state = h, c = tuple(hx)
    steps = _checked("lstm_cell", input, state, w_ih, w_hh)
    _, h, c = lstm_layer(input, (h, c), (w_ih, w_hh, b_ih, b_hh, None), steps)
    return h, c


@lowered
def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """The step of `gru_layer` for x [N, features] and h [N, units]."""
    return gru_layer(input, hx, (w_ih, w_hh, b_ih, b_hh), _checked("gru_cell", input, (hx,), w_ih, w_hh))[0]


# ----------------------------------------------------------------------------------------------- parts of the layers


def _arrays(tensors: Sequence[Optional]) -> list:
    return [None if t is None else t.array for t in tensors]


def _tensor(a: Array | None) -> Optional:
    return None if a is None else Tensor(a)


def _given(gradient: Optional) -> Array | None:
    return None if gradient is None else elementwise.contiguous(gradient.array)


def _carried(gradient: Optional, like: Tensor, kind: dtypes.dtype) -> Array:
    """A gradient as an array to be carried, and written to, from step to step."""
    if gradient is None:
        return elementwise.full(like.array.shape, 0, kind, like.device)
    return elementwise.copy_into(gradient.array, empty(like.array.shape, kind, like.device))


def _incoming(dout: Array | None, dnext: Array | None, dlast: Array | None, a: int, z: int) -> Incoming:
    following = 0 if dnext is None else dnext.shape[0]
    return Incoming(
        None if dout is None else dout.slice(0, a, z), dnext, dlast if following < z - a else None, following
    )


class _Projected:
    """Gradients of what an LSTM's projection gave, summed step by step before they go through it."""

    def __init__(self, dout: Array | None, reached: Array, w_hr: Array, out: Array) -> None:
        self.dout, self.reached, self.w_hr = dout, reached, w_hr
        self.sums = empty(out.shape, out.dtype, out.device)

    def incoming(self, a: int, z: int) -> Incoming:
        total, reached = self.sums.slice(0, a, z), self.reached.slice(0, 0, z - a)
        if self.dout is None:
            elementwise.copy_into(reached, total)
        else:
            elementwise.map(formulas._add, self.dout.slice(0, a, z), reached, compute=reached.dtype, out=total)
        return Incoming(matmul(total, self.w_hr, dtype=reached.dtype), None, None, 0)


def _previous(states: Array, first: Array, start: int | None, count: int) -> Array:
    """The states that a step of `count` rows began with, those of the step before standing from row `start` on."""
    return first if start is None else states.slice(0, start, start + count)


def _products(
    dgates: Array, dstate: Array, x: Array, w_ih: Array, past: Array, wanted: Sequence[bool]
) -> list[Optional]:
    """The gradients of input, both weights and both biases from those of the gates, in the input's and the state's
    share of them."""
    return [
        Tensor(matmul(dgates, w_ih)) if wanted[0] else None,
        Tensor(matmul(dgates.T, x)) if wanted[1] else None,
        Tensor(matmul(dstate.T, past)) if wanted[2] else None,
        Tensor(reduce.sum(dgates, (0,))) if wanted[3] else None,
        Tensor(reduce.sum(dstate, (0,))) if wanted[4] else None,
    ]


def _composed(
    step: Callable[..., tuple[Tensor, ...]],
    steps: Steps,
    input: Tensor,
    state: tuple[Tensor, ...],
    weights: Sequence[Optional],
) -> list[Tensor]:
    """A layer from operations that can be differentiated any number of times: output and last states.

    `step` takes both shares of the gates and the states of one step, and gives the new states.
    """
    w_ih, w_hh, b_ih, b_hh, *_ = weights
    assert w_ih is not None and w_hh is not None
    gates = linear(input, w_ih, b_ih)
    out, ended = [], []
    for a, z in steps.spans:
        ended.append([narrow(s, 0, z - a, s.size(0) - (z - a)) for s in state])
        state = tuple(narrow(s, 0, 0, z - a) for s in state)
        state = step(narrow(gates, 0, a, z - a), linear(state[0], w_hh, b_hh), *state)
        out.append(state[0])
    last = [cat([s, *reversed(rest)]) for s, *rest in zip(state, *ended, strict=True)]
    return [cat(out[::-1] if steps.reverse else out), *last]


def _again(composition: Callable, inputs: Sequence[Optional], gradients: Sequence[Optional]) -> list[Optional]:
    """The gradients of a layer with several results, recorded so that they can be differentiated again."""
    given = [k for k, g in enumerate(gradients) if g is not None]

    def joined(*tensors: Optional) -> Tensor:
        results = composition(*tensors)
        return cat([ravel(results[k]) for k in given])

    return differentiable(joined, inputs, cat([ravel(g) for g in gradients if g is not None]))
