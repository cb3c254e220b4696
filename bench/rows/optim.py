"""SGD with momentum and weight decay over all parameters of a network at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from itertools import islice

import torch

import tritongrad as tg
from bench.accuracy import Rounding
from bench.row import Call, Input, Row, itemsize
from tests import torch_resnet

LR, MOMENTUM, DECAY = 0.01, 0.9, 1e-4
NETWORKS: dict[str, tuple[type[torch_resnet.BasicBlock] | type[torch_resnet.Bottleneck], list[int]]] = {
    "resnet18": (torch_resnet.BasicBlock, [2, 2, 2, 2]),
    "resnet50": (torch_resnet.Bottleneck, [3, 4, 6, 3]),
}


@cache
def parameter_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's parameters; nothing is allocated."""
    with torch.device("meta"):
        model = torch_resnet.ResNet(*NETWORKS[network])
    return {name: tuple(p.shape) for name, p in model.named_parameters()}


def _ours(*tensors: tg.Tensor) -> Call:
    params, grads = _halves(tensors)
    for p, g in zip(params, grads, strict=True):
        p.requires_grad, p.grad = True, g
    optim = tg.optim.SGD(params, lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    optim.step()  # makes the momentum buffers
    return partial(_step, optim, params)


def _peer(kind: str, *tensors: torch.Tensor) -> Call:
    params, grads = _halves(tensors)
    for p, g in zip(params, grads, strict=True):
        p.requires_grad, p.grad = True, g
    optim = torch.optim.SGD(params, lr=LR, momentum=MOMENTUM, weight_decay=DECAY, **{kind: True})
    optim.step()
    return partial(_step, optim, params)


def _halves(tensors: Sequence) -> tuple[Sequence, Sequence]:
    return tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]


def _step(optim: tg.optim.SGD | torch.optim.SGD, params: Sequence) -> list:
    optim.step()
    return [*params, *(optim.state[p]["momentum_buffer"] for p in params)]


def step(network: str, peer: str, dtype: str, tensors: int | None = None) -> Row:
    """One step over the network's first `tensors` parameters (None: all) beside torch's `peer` implementation."""
    shapes = dict(islice(parameter_shapes(network).items(), tensors))
    params = {name: Input(shape) for name, shape in shapes.items()}
    grads = {f"{name}.grad": Input(shape) for name, shape in shapes.items()}
    elements = sum(torch.Size(shape).numel() for shape in shapes.values())
    return Row(
        family="sgd",
        op=f"vs {peer}",
        case=f"{network} {len(shapes)} tensors",
        dtype=dtype,
        inputs=params | grads,
        flops=6 * elements,
        bytes=5 * elements * itemsize(dtype),  # read parameter, gradient and momentum, write parameter and momentum
        ours=_ours,
        peer=partial(_peer, peer),
        bound=Rounding(terms=4),
    )


GPU = [step(network, peer, "float32") for network in NETWORKS for peer in ("fused", "foreach")]
INTERPRETER = [step("resnet18", peer, "float32", tensors=15) for peer in ("fused", "foreach")]
