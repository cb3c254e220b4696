"""Recurrent layers beside cuDNN's: LSTM and GRU over a sequence, forward and with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.accuracy import LikePeer
from bench.row import LIBRARIES, Call, Input, Row, itemsize

GATES = {"LSTM": 4, "GRU": 3}
FLOOR = {"bfloat16": 1e-2, "float32": 1e-5}


@dataclass(frozen=True)
class Layer:
    """A side of a row: the layer over x, or the gradients of x and all weights for the gradient of its result."""

    library: str
    kind: str
    trained: bool

    def __call__(self, *tensors: Any) -> Call:
        nn = LIBRARIES[self.library].nn
        dy, x, *weights = tensors
        layer = getattr(nn, self.kind)(x.shape[2], dy.shape[2]).to(device=x.device, dtype=x.dtype)
        for p, values in zip(layer.parameters(), weights, strict=True):
            p.data.copy_(values)  # cuDNN wants them where they are, in one piece
        if not self.trained:
            for p in layer.parameters():
                p.requires_grad_(False)
            return lambda: [layer(x)[0]]
        leaves = [x.requires_grad_(), *layer.parameters()]
        return lambda: self._gradients(layer, leaves, dy)

    def _gradients(self, layer: Any, leaves: Sequence[Any], dy: Any) -> Sequence[Any]:
        return LIBRARIES[self.library].autograd.grad(layer(leaves[0])[0], leaves, dy)


def passes(kind: str, length: int, batch: int, size: int, hidden: int, dtype: str, rank: int = 1) -> list[Row]:
    """Of x [length, batch, size]; the row with gradients runs forward and backward."""
    gates, scale = GATES[kind] * hidden, hidden**-0.5
    weights = {
        "weight_ih": Input((gates, size), std=scale),
        "weight_hh": Input((gates, hidden), std=scale),
        "bias_ih": Input((gates,), std=scale),
        "bias_hh": Input((gates,), std=scale),
    }
    flops = 2 * length * batch * gates * (size + hidden)
    passed = (length * batch * (size + hidden) + gates * (size + hidden + 2)) * itemsize(dtype)
    return [
        Row(
            family="rnn",
            op=f"{kind} {'step' if trained else 'forward'}",
            case=f"{length}x{batch} {size}->{hidden}",
            dtype=dtype,
            inputs={"dy": Input((length, batch, hidden)), "x": Input((length, batch, size)), **weights},
            flops=flops * (3 if trained else 1),
            bytes=passed * (3 if trained else 1),
            ours=Layer("tritongrad", kind, trained),
            peer=Layer("torch", kind, trained),
            bound=LikePeer(factor=4.0, floor=FLOOR[dtype]),
            rank=rank,
            compiles=False,  # torch.compile leaves cuDNN's layers as they are
        )
        for trained in (False, True)
    ]


GPU = [
    *passes("LSTM", 128, 64, 512, 512, "bfloat16"),
    *passes("GRU", 128, 64, 512, 512, "bfloat16"),
    *passes("LSTM", 35, 20, 650, 650, "float32", rank=2),  # Zaremba's of medium size
]
INTERPRETER = [row for kind in GATES for row in passes(kind, 5, 3, 8, 12, "float32")]
