"""One time step of recurrent layers, after its products: from what the gates sum up to the new state, and back.

A step of a layer of N rows and H units is one product of the state with the recurrent weights and one of these
launches. The input's share of the gates, GATES [N, G H], is formed for all steps at once; the launch adds the state's
share, STATE [N, G H], and leaves in GATES what the gradient needs. All arrays lie row by row without gaps; unit j of
gate k is in column k H + j, in torch's order of the gates. Sums and new cells are formed in float32 (float64 for
float64).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.activations import _relu
from tritongrad_kernels.array import Array, footprint
from tritongrad_kernels.channels import _load, _tile
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.transcendental import _sigmoid, _tanh


@triton.jit
def _tanh_slope(y):
    """The derivative of tanh where it is y."""
    return 1.0 - y * y


@triton.jit
def _relu_slope(y):
    return tl.where(y > 0, 1.0, 0.0)


@triton.jit
def _units(N, H, BM: tl.constexpr, BC: tl.constexpr):
    """Rows [BM, 1], columns [1, BC] and mask of this program's tile of an [N, H] matrix."""
    block, j, inside = _tile(N, H, BM, BC)
    n = block * BM + tl.arange(0, BM)
    return n[:, None], j[None, :], (n < N)[:, None] & inside[None, :]


@triton.jit
def _gate(GATES, STATE, place, mask, ACC: tl.constexpr):
    return _load(GATES, place, mask, ACC) + _load(STATE, place, mask, ACC)


@triton.jit
def _keep(OUT, place, mask, value):
    tl.store(OUT + place, value.to(OUT.dtype.element_ty), mask=mask)


@triton.jit
def _arriving(DOUT, DNEXT, DLAST, place, n, mask, following, ACC: tl.constexpr):
    """The gradient of the new state: from the layer's output, and from the step that follows, which has the first
    `following` rows, or else from the layer's last state. None stands for zeros."""
    dh = tl.zeros(mask.shape, ACC)
    if DOUT is not None:
        dh += _load(DOUT, place, mask, ACC)
    if DNEXT is not None:
        dh += _load(DNEXT, place, mask & (n < following), ACC)
    if DLAST is not None:
        dh += _load(DLAST, place, mask & (n >= following), ACC)
    return dh


# ------------------------------------------------------------------------------------------------------- plain cells


@triton.jit
def _rnn(
    GATES, STATE, OUT, N: tl.int64, H: tl.int64, f: tl.constexpr,
    ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """h = f(gates + state). Grid one program per BM x BC tile. Bytes: read gates and state, write h.

    Source  Elman 1990, "Finding structure in time".
    """
    n, j, mask = _units(N, H, BM, BC)
    _keep(OUT, n * H + j, mask, f(_gate(GATES, STATE, n * H + j, mask, ACC)))


@triton.jit
def _rnn_grad(
    DOUT, DNEXT, DLAST, OUT, DGATES, N: tl.int64, H: tl.int64, following: tl.int64, slope: tl.constexpr,
    ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dgates = dh slope(h). Grid one program per BM x BC tile. Bytes: read dh and h, write dgates."""
    n, j, mask = _units(N, H, BM, BC)
    place = n * H + j
    dh = _arriving(DOUT, DNEXT, DLAST, place, n, mask, following, ACC)
    _keep(DGATES, place, mask, dh * slope(_load(OUT, place, mask, ACC)))


# -------------------------------------------------------------------------------------------------------------- LSTM


@triton.jit
def _lstm(
    GATES, STATE, CELL, NEW_CELL, OUT, N: tl.int64, H: tl.int64,
    ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """c' = sigmoid(f) c + sigmoid(i) tanh(g), h = sigmoid(o) tanh(c'), where i, f, g, o = gates + state.

    Shapes  gates and state [N, 4 H], the others [N, H]. The gates, through their functions, are left in GATES.
    Grid    one program per BM x BC tile of h.
    Bytes   read gates, state and c, write gates, c' and h.
    Source  Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and Cummins 2000.
    """
    n, j, mask = _units(N, H, BM, BC)
    place, first = n * H + j, n * (4 * H) + j
    i = _sigmoid(_gate(GATES, STATE, first, mask, ACC))
    f = _sigmoid(_gate(GATES, STATE, first + H, mask, ACC))
    g = _tanh(_gate(GATES, STATE, first + 2 * H, mask, ACC))
    o = _sigmoid(_gate(GATES, STATE, first + 3 * H, mask, ACC))
    c = f * _load(CELL, place, mask, ACC) + i * g
    _keep(GATES, first, mask, i)
    _keep(GATES, first + H, mask, f)
    _keep(GATES, first + 2 * H, mask, g)
    _keep(GATES, first + 3 * H, mask, o)
    _keep(NEW_CELL, place, mask, c)
    _keep(OUT, place, mask, o * _tanh(c))


@triton.jit
def _lstm_grad(
    DOUT, DNEXT, DLAST, DCELL, GATES, CELL, NEW_CELL, DGATES, N: tl.int64, H: tl.int64, following: tl.int64,
    ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """The gradient of `_lstm` for the sums of the gates; that of c' in DCELL gives way to that of c.

    With t = tanh(c'): dc = dcell + dh o (1 - t^2), di = dc g i (1 - i), df = dc c f (1 - f), dg = dc i (1 - g^2),
    do = dh t o (1 - o), and the gradient of c is dc f.

    Shapes  gates and dgates [N, 4 H], the others [N, H].
    Grid    one program per BM x BC tile of h.
    Bytes   read dh, gates, c and c', write dgates, read and write dcell.
    """
    n, j, mask = _units(N, H, BM, BC)
    place, first = n * H + j, n * (4 * H) + j
    dh = _arriving(DOUT, DNEXT, DLAST, place, n, mask, following, ACC)
    i, f = _load(GATES, first, mask, ACC), _load(GATES, first + H, mask, ACC)
    g, o = _load(GATES, first + 2 * H, mask, ACC), _load(GATES, first + 3 * H, mask, ACC)
    t = _tanh(_load(NEW_CELL, place, mask, ACC))
    dc = _load(DCELL, place, mask, ACC) + dh * o * (1.0 - t * t)
    _keep(DGATES, first, mask, dc * g * i * (1.0 - i))
    _keep(DGATES, first + H, mask, dc * _load(CELL, place, mask, ACC) * f * (1.0 - f))
    _keep(DGATES, first + 2 * H, mask, dc * i * (1.0 - g * g))
    _keep(DGATES, first + 3 * H, mask, dh * t * o * (1.0 - o))
    _keep(DCELL, place, mask, dc * f)


# --------------------------------------------------------------------------------------------------------------- GRU


@triton.jit
def _gru(
    GATES, STATE, PREVIOUS, RECALLED, OUT, N: tl.int64, H: tl.int64,
    ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """h = (1 - z) n + z previous, where r, z = sigmoid(gates + state) and n = tanh(gates + r state).

    Shapes  gates and state [N, 3 H], the others [N, H]. r, z and n are left in GATES, the state's share of n in
            RECALLED.
    Grid    one program per BM x BC tile of h.
    Bytes   read gates, state and previous, write gates, recalled and h.
    Source  Cho et al. 2014, arXiv:1406.1078; the bias of the state's share inside r's product, as in cuDNN.
    """
    n, j, mask = _units(N, H, BM, BC)
    place, first = n * H + j, n * (3 * H) + j
    r = _sigmoid(_gate(GATES, STATE, first, mask, ACC))
    z = _sigmoid(_gate(GATES, STATE, first + H, mask, ACC))
    recalled = _load(STATE, first + 2 * H, mask, ACC)
    new = _tanh(_load(GATES, first + 2 * H, mask, ACC) + r * recalled)
    _keep(GATES, first, mask, r)
    _keep(GATES, first + H, mask, z)
    _keep(GATES, first + 2 * H, mask, new)
    _keep(RECALLED, place, mask, recalled)
    _keep(OUT, place, mask, new + z * (_load(PREVIOUS, place, mask, ACC) - new))


@triton.jit
def _gru_grad(
    DOUT, DNEXT, DLAST, DPAST, GATES, PREVIOUS, RECALLED, DGATES, DSTATE, N: tl.int64, H: tl.int64, following: tl.int64,
    ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """The gradient of `_gru` for the sums of the gates, in the input's share and in the state's.

    dn = dh (1 - z) (1 - n^2), dz = dh (previous - n) z (1 - z), dr = dn recalled r (1 - r); the state's share of n has
    the gradient dn r. What reaches the previous state past the gates, dh z, is kept in DPAST for the first rows of the
    step before; so far it holds that of the step that follows.

    Shapes  gates, dgates and dstate [N, 3 H], the others [N, H].
    Grid    one program per BM x BC tile of h.
    Bytes   read dh, gates, previous and recalled, write dgates and dstate, write dpast and read `following` rows of it.
    """
    n, j, mask = _units(N, H, BM, BC)
    place, first = n * H + j, n * (3 * H) + j
    dh = _arriving(DOUT, DNEXT, DLAST, place, n, mask, following, ACC)
    dh += _load(DPAST, place, mask & (n < following), ACC)
    r, z = _load(GATES, first, mask, ACC), _load(GATES, first + H, mask, ACC)
    new = _load(GATES, first + 2 * H, mask, ACC)
    dn = dh * (1.0 - z) * (1.0 - new * new)
    dz = dh * (_load(PREVIOUS, place, mask, ACC) - new) * z * (1.0 - z)
    dr = dn * _load(RECALLED, place, mask, ACC) * r * (1.0 - r)
    _keep(DGATES, first, mask, dr)
    _keep(DGATES, first + H, mask, dz)
    _keep(DGATES, first + 2 * H, mask, dn)
    _keep(DSTATE, first, mask, dr)
    _keep(DSTATE, first + H, mask, dz)
    _keep(DSTATE, first + 2 * H, mask, dn * r)
    _keep(DPAST, place, mask, dh * z)


# --------------------------------------------------------------------------------------------------------- launchers

FORMULAS = {"tanh": (_tanh, _tanh_slope), "relu": (_relu, _relu_slope)}
"""What a plain cell may apply to its sums, with the derivative there as a function of the result."""


class Incoming(NamedTuple):
    """The gradient of a step's result [N, H] in the parts that `_arriving` sums; None stands for zeros.

    dout       from the layer's output [N, H]
    dnext      from the step that follows, which has the first rows only, or from none
    dlast      from the last states of all sequences; read from the rows on that do not go on
    following  how many rows go on
    """

    dout: Array | None
    dnext: Array | None
    dlast: Array | None
    following: int

    def bytes(self, rows: int) -> int:
        last = self.dlast
        rest = 0 if last is None else (rows - self.following) * last.shape[1] * last.dtype.itemsize
        return footprint(self.dout, self.dnext) + rest


def _start(kernel: Any, out: Array, *args: Any, nbytes: int) -> None:
    """Launch a step's kernel on tiles of out [N, H]."""
    n, h = out.shape
    config = tile("recurrent", BM=n, BC=h)
    acc = TRITON_TYPE[dtypes.accumulator(out.dtype)]
    launch(kernel, cdiv(n, config["BM"]) * cdiv(h, config["BC"]), *args, acc, bytes=nbytes, **config)


def rnn(formula: str, gates: Array, state: Array, out: Array) -> None:
    """out = formula(gates + state), all [N, H]."""
    args = gates, state, out
    _start(_rnn, out, *args, *out.shape, FORMULAS[formula][0], nbytes=footprint(*args))


def rnn_grad(formula: str, incoming: Incoming, out: Array, dgates: Array) -> None:
    """The gradient of `rnn` for the sum of gates and state, written to dgates."""
    *arriving, following = incoming
    nbytes = incoming.bytes(out.shape[0]) + footprint(out, dgates)
    _start(_rnn_grad, out, *arriving, out, dgates, *out.shape, following, FORMULAS[formula][1], nbytes=nbytes)


def lstm(gates: Array, state: Array, cell: Array, new_cell: Array, out: Array) -> None:
    """The step of an LSTM: writes the new cell and the new state, and leaves i, f, g and o in `gates`."""
    args = gates, state, cell, new_cell, out
    _start(_lstm, out, *args, *out.shape, nbytes=footprint(*args, gates))


def lstm_grad(incoming: Incoming, dcell: Array, gates: Array, cell: Array, new_cell: Array, dgates: Array) -> None:
    """The gradient of `lstm`: writes dgates, and for that of the new cell that of the cell."""
    *arriving, following = incoming
    args = dcell, gates, cell, new_cell, dgates
    nbytes = incoming.bytes(cell.shape[0]) + footprint(*args, dcell)
    _start(_lstm_grad, cell, *arriving, *args, *cell.shape, following, nbytes=nbytes)


def gru(gates: Array, state: Array, previous: Array, recalled: Array, out: Array) -> None:
    """The step of a GRU: writes the new state, leaves r, z and n in `gates`, and the state's share of n in recalled."""
    args = gates, state, previous, recalled, out
    _start(_gru, out, *args, *out.shape, nbytes=footprint(*args, gates))


def gru_grad(
    incoming: Incoming, dpast: Array, gates: Array, previous: Array, recalled: Array, dgates: Array, dstate: Array
) -> None:
    """The gradient of `gru`: writes dgates and dstate, and dpast for the step before."""
    *arriving, following = incoming
    args = dpast, gates, previous, recalled, dgates, dstate
    again = following * dpast.shape[1] * dpast.dtype.itemsize
    nbytes = incoming.bytes(previous.shape[0]) + footprint(*args) + again
    _start(_gru_grad, previous, *arriving, *args, *previous.shape, following, nbytes=nbytes)
