"""Recurrent layers, in stacks and both directions, and their cells."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Sequence
from typing import Any

from tritongrad.autograd import is_casting
from tritongrad.nn import functional as F, init
from tritongrad.nn.module import Module, Parameter
from tritongrad.nn.utils.rnn import PackedSequence, steps_of
from tritongrad.ops.filled import uninitialised, zeros
from tritongrad.ops.gather import index_select
from tritongrad.ops.joining import cat, stack
from tritongrad.ops.packing import Steps
from tritongrad.ops.recurrent import (
    along,
    gru_cell,
    gru_layer,
    lstm_cell,
    lstm_layer,
    rnn_layer,
    rnn_relu_cell,
    rnn_tanh_cell,
)
from tritongrad.ops.slicing import select
from tritongrad.ops.views import reshape, squeeze, transpose, unsqueeze
from tritongrad.tensor import Tensor

_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}
_LAYERS: dict[str, Any] = {"RNN_TANH": rnn_layer, "RNN_RELU": rnn_layer, "LSTM": lstm_layer, "GRU": gru_layer}
_CELLS = {"tanh": rnn_tanh_cell, "relu": rnn_relu_cell}


class RNNBase(Module):
    """What RNN, LSTM and GRU have in common.

    Weights of layer k, all uniform on +-1/sqrt(hidden_size): weight_ih_l{k} [gates hidden, input], weight_hh_l{k}
    [gates hidden, hidden], with `bias` bias_ih_l{k} and bias_hh_l{k} [gates hidden], with a projection weight_hr_l{k}
    [proj, hidden]; those of the backward direction have the suffix _reverse.

    Called with an input [time, batch, features] ([batch, time, features] if `batch_first`, [time, features] for one
    sequence, or a PackedSequence) and states [layers directions, batch, size], zeros if left out; gives the last
    layer's states after each step, both directions beside each other, as the input came, and the last states of all
    layers. `dropout` acts between layers, in training.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_sizes(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        if mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + mode)
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        gates, out = _GATES[mode] * hidden_size, proj_size or hidden_size
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            features = input_size if layer == 0 else out * self._directions
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, features), "weight_hh": (gates, out)}
            shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)} if bias else {}
            shapes |= {"weight_hr": (proj_size, hidden_size)} if proj_size else {}
            for suffix in ("", "_reverse")[: self._directions]:
                self._all_weights.append([f"{name}_l{layer}{suffix}" for name in shapes])
                for name, shape in shapes.items():
                    weight = Parameter(uninitialised(*shape, device=device, dtype=dtype))
                    setattr(self, f"{name}_l{layer}{suffix}", weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The weights of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Parameter]:
        return [weight for weights in self.all_weights for weight in weights]

    def flatten_parameters(self) -> None:
        """Nothing to do: weights are read where they lie."""

    # ------------------------------------------------------------------------------------------------------- checks

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """ValueError or RuntimeError unless a batched or packed input fits the weights."""
        kind, expected = self._flat_weights[0].dtype, 3 if batch_sizes is None else 2
        if input.dtype is not kind and not is_casting():
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({kind}). Convert input: "
                f"input.to({kind}), or convert model: model.to({input.dtype})"
            )
        if input.ndim != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.ndim}")
        if self.input_size != input.size(-1):
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.size(-1)}"
            )

    def _expected(self, input: Tensor, batch_sizes: Tensor | None, size: int) -> tuple[int, int, int]:
        axis = 0 if self.batch_first else 1
        batch = input.size(axis) if batch_sizes is None else int(batch_sizes[0])
        return self.num_layers * self._directions, batch, size

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape of the states h that go with an input."""
        return self._expected(input, batch_sizes, self.proj_size or self.hidden_size)

    def check_hidden_size(
        self, hx: Tensor, expected_hidden_size: tuple[int, int, int], msg: str = "Expected hidden size {}, got {}"
    ) -> None:
        """RuntimeError unless a state has this shape."""
        if tuple(hx.shape) != tuple(expected_hidden_size):
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.shape)))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Errors unless input and states fit."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """States of the sequences in another order; as they are for None."""
        return hx if permutation is None else _each(hx, lambda h: index_select(h, 1, permutation))

    def _check_dimensions(self, hx: Any, ndim: int) -> None:
        if hx.ndim != ndim:
            raise RuntimeError(f"{_SHAPES[ndim]}, hx should also be {ndim}-D but got {hx.ndim}-D tensor")

    # ------------------------------------------------------------------------------------------------------ forward

    def _zeros(self, input: Tensor, batch_sizes: Tensor | None) -> Any:
        return zeros(*self.get_expected_hidden_size(input, batch_sizes), dtype=input.dtype, device=input.device)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        if isinstance(input, PackedSequence):
            data, batch_sizes, order, back = input
            hx = self._zeros(data, batch_sizes) if hx is None else self.permute_hidden(hx, order)
            self.check_forward_args(data, hx, batch_sizes)
            out, last = self._stacked(data, hx, steps_of(batch_sizes).sizes)
            return PackedSequence(out, batch_sizes, order, back), self.permute_hidden(last, back)
        if input.ndim not in (2, 3):
            raise ValueError(f"{self.mode[:4].rstrip('_')}: Expected input to be 2D or 3D, got {input.ndim}D instead")
        if hx is not None:
            self._check_dimensions(hx, input.ndim)
        single, batch_axis = input.ndim == 2, 0 if self.batch_first else 1
        if single:
            input = unsqueeze(input, batch_axis)
            hx = None if hx is None else _each(hx, lambda h: unsqueeze(h, 1))
        hx = self._zeros(input, None) if hx is None else hx
        self.check_forward_args(input, hx, None)
        out, last = self._padded(input, hx)
        return (squeeze(out, batch_axis), _each(last, lambda h: squeeze(h, 1))) if single else (out, last)

    def _padded(self, input: Tensor, hx: Any) -> tuple[Tensor, Any]:
        """The layers on sequences of one length."""
        x = transpose(input, 0, 1) if self.batch_first else input
        time, batch = x.shape[:2]
        if time == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        out, last = self._stacked(reshape(x, (time * batch, x.shape[2])), hx, (batch,) * time)
        out = reshape(out, (time, batch, out.shape[1]))
        return transpose(out, 0, 1) if self.batch_first else out, last

    def _stacked(self, rows: Tensor, hx: Any, sizes: tuple[int, ...]) -> tuple[Tensor, Any]:
        """All layers over packed rows: their states, and the last states as `hx` has them."""
        places = iter(range(self.num_layers * self._directions))
        ends = []
        for layer in range(self.num_layers):
            outs = []
            for reverse in (False, True)[: self._directions]:
                k = next(places)
                state = _each(hx, lambda h: select(h, 0, k))  # noqa: B023
                weights = [getattr(self, name, None) for name in _names(layer, reverse)]
                more = () if self.mode in ("LSTM", "GRU") else (self.mode[4:].lower(),)
                given = tuple(weights if self.mode == "LSTM" else weights[:4])
                out, *last = along(_LAYERS[self.mode], rows, state, given, Steps(sizes, reverse), *more)
                outs.append(out)
                ends.append(last)
            rows = outs[0] if len(outs) == 1 else cat(outs, 1)
            if layer < self.num_layers - 1:
                rows = F.dropout(rows, self.dropout, self.training)
        last = [stack(states) for states in zip(*ends, strict=True)]
        return rows, tuple(last) if self.mode == "LSTM" else last[0]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, usual in _USUAL.items():
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return text


_USUAL = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0, "bidirectional": False}
_SHAPES = {2: "For unbatched 2-D input", 3: "For batched 3-D input"}


def _names(layer: int, reverse: bool) -> list[str]:
    suffix = f"_l{layer}{'_reverse' if reverse else ''}"
    return [f"{name}{suffix}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")]


def _each(state: Any, function: Any) -> Any:
    """Of h, or of h and c."""
    return function(state) if isinstance(state, Tensor) else tuple(function(s) for s in state)


def _check_sizes(
    input_size: Any, hidden_size: Any, num_layers: Any, bias: Any, batch_first: Any, dropout: Any, proj_size: Any
) -> None:
    if not isinstance(dropout, numbers.Number) or isinstance(dropout, bool) or not 0 <= dropout <= 1:  # type: ignore[operator]
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
        )
    if dropout > 0 and num_layers == 1:  # type: ignore[operator]
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
            f"greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=4,
        )
    for name, value in (("bias", bias), ("batch_first", batch_first)):
        if not isinstance(value, bool):
            raise TypeError(f"{name} should be of type bool, got: {type(value).__name__}")
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(value, int):
            raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


def _refuse_projection(options: dict[str, Any]) -> None:
    if "proj_size" in options:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


class RNN(RNNBase):
    """h' = f(W_ih x + b_ih + W_hh h + b_hh), f being tanh or relu (Elman 1990).

    RNN(input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True, batch_first=False, dropout=0.0,
    bidirectional=False, device=None, dtype=None); the rest as in RNNBase.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        nonlinearity = args[3] if len(args) > 3 else kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in _CELLS:
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{nonlinearity.upper()}", *args[:3], *args[4:], **kwargs)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber 1997): states are pairs (h, c).

    i, f, g, o = W_ih x + b_ih + W_hh h + b_hh, c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c'). With
    `proj_size`, h' = W_hr (sigmoid(o) tanh(c')) has that size (Sak, Senior and Beaufays 2014).

    LSTM(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False,
    proj_size=0, device=None, dtype=None); the rest as in RNNBase.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape of the states c that go with an input."""
        return self._expected(input, batch_sizes, self.hidden_size)

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Errors unless input and states fit."""
        self.check_input(input, batch_sizes)
        sizes = self.get_expected_hidden_size, self.get_expected_cell_size
        for k, size in enumerate(sizes):
            self.check_hidden_size(hidden[k], size(input, batch_sizes), f"Expected hidden[{k}] size {{}}, got {{}}")

    def _check_dimensions(self, hx: Any, ndim: int) -> None:
        h, c = hx
        if h.ndim != ndim or c.ndim != ndim:
            raise RuntimeError(
                f"{_SHAPES[ndim]}, hx and cx should also be {ndim}-D but got ({h.ndim}-D, {c.ndim}-D) tensors"
            )

    def _zeros(self, input: Tensor, batch_sizes: Tensor | None) -> Any:
        cells = self.get_expected_cell_size(input, batch_sizes)
        return super()._zeros(input, batch_sizes), zeros(*cells, dtype=input.dtype, device=input.device)


class GRU(RNNBase):
    """Gated recurrent units (Cho et al. 2014): with r, z, n from W_ih x + b_ih and r', z', n' from W_hh h + b_hh,
    h' = (1 - z) n + z h, where z = sigmoid(z + z') and n = tanh(n + sigmoid(r + r') n').

    GRU(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False,
    device=None, dtype=None); the rest as in RNNBase.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        super().__init__("GRU", *args, **kwargs)


# -------------------------------------------------------------------------------------------------------------- cells


class RNNCellBase(Module):
    """What the cells have in common: weight_ih [chunks hidden, input], weight_hh [chunks hidden, hidden], and with
    `bias` bias_ih and bias_hh [chunks hidden], all uniform on +-1/sqrt(hidden_size)."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = num_chunks * hidden_size
        for name, shape in (("weight_ih", (rows, input_size)), ("weight_hh", (rows, hidden_size))):
            setattr(self, name, Parameter(uninitialised(*shape, device=device, dtype=dtype)))
        for name in ("bias_ih", "bias_hh"):
            values = Parameter(uninitialised(rows, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, values)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, cell: Any, input: Tensor, states: Sequence[Tensor]) -> Any:
        """A cell on an input [features] or [batch, features], and states alike."""
        state = tuple(states) if cell is lstm_cell else states[0]
        single = input.ndim == 1
        if single:
            input, state = unsqueeze(input, 0), _each(state, lambda s: unsqueeze(s, 0))
        new = cell(input, state, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return _each(new, lambda s: squeeze(s, 0)) if single else new

    def _states(self, input: Tensor, hx: Any) -> list[Tensor]:
        """The states given, or zeros, after a look at their dimensions."""
        kind = self._kind
        if input.ndim not in (1, 2):
            raise ValueError(f"{kind}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        if hx is None:
            shape = (*input.shape[:-1], self.hidden_size)
            return [zeros(*shape, dtype=input.dtype, device=input.device)] * 2
        pair = not isinstance(hx, Tensor)
        for k, h in enumerate(hx if pair else [hx]):
            if h.ndim not in (1, 2):
                name = f"hx[{k}]" if pair else "hidden"
                raise ValueError(f"{kind}: Expected {name} to be 1D or 2D, got {h.ndim}D instead")
        return list(hx) if pair else [hx]

    _kind = "RNNCell"

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        text += f", bias={self.bias}" if self.bias is not True else ""
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text + (f", nonlinearity={nonlinearity}" if nonlinearity != "tanh" else "")


class RNNCell(RNNCellBase):
    """One step of an RNN: input [batch, features] or [features], state [batch, hidden] or [hidden] (zeros if None)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        states = self._states(input, hx)
        if self.nonlinearity not in _CELLS:
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(_CELLS[self.nonlinearity], input, states)


class LSTMCell(RNNCellBase):
    """One step of an LSTM: input [batch, features] or [features], states (h, c) alike (zeros if None)."""

    _kind = "LSTMCell"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        return self._step(lstm_cell, input, self._states(input, hx))


class GRUCell(RNNCellBase):
    """One step of a GRU: input [batch, features] or [features], state [batch, hidden] or [hidden] (zeros if None)."""

    _kind = "GRUCell"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(gru_cell, input, self._states(input, hx))
