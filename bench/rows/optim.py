"""Optimizers over all parameters of a network at once: SGD with momentum and weight decay, AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from itertools import islice
from typing import Any

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
OPTIMIZERS: dict[str, dict[str, float]] = {
    "SGD": {"lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY},
    "AdamW": {"lr": 1e-3, "weight_decay": 0.01},
}
# Of a parameter: what an optimizer keeps of it, the passes over memory of its size, and operations an element.
KEPT = {"SGD": ("momentum_buffer",), "AdamW": ("exp_avg", "exp_avg_sq")}
PASSES = {"SGD": 5, "AdamW": 7}
FLOPS = {"SGD": 6, "AdamW": 14}


@cache
def parameter_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's parameters; nothing is allocated."""
    if network == "gpt2":
        return _gpt2()
    with torch.device("meta"):
        model = torch_resnet.ResNet(*NETWORKS[network])
    return {name: tuple(p.shape) for name, p in model.named_parameters()}


def _gpt2(width: int = 768, layers: int = 12, words: int = 50304, length: int = 1024) -> dict[str, tuple[int, ...]]:
    """GPT-2's, of 124 million numbers: the last layer shares the embedding's."""
    block = {"ln_1": 0, "attn.c_attn": 3, "attn.c_proj": 1, "ln_2": 0, "mlp.c_fc": 4, "mlp.c_proj": 4}
    shapes: dict[str, tuple[int, ...]] = {"wte": (words, width), "wpe": (length, width)}
    for k in range(layers):
        for name, factor in block.items():
            outputs = factor * width if name != "mlp.c_proj" else width
            inputs = width if name != "mlp.c_proj" else factor * width
            shapes[f"h.{k}.{name}.weight"] = (outputs, inputs) if factor else (width,)
            shapes[f"h.{k}.{name}.bias"] = (outputs or width,)
    return shapes | {"ln_f.weight": (width,), "ln_f.bias": (width,)}


def _ours(kind: str, *tensors: tg.Tensor) -> Call:
    params = _with_gradients(tensors)
    optim = getattr(tg.optim, kind)(params, **OPTIMIZERS[kind])
    optim.step()  # makes what it keeps
    return partial(_step, kind, optim, params)


def _peer(kind: str, implementation: str, *tensors: torch.Tensor) -> Call:
    params = _with_gradients(tensors)
    optim = getattr(torch.optim, kind)(params, **OPTIMIZERS[kind], **{implementation: True})
    optim.step()
    return partial(_step, kind, optim, params)


def _with_gradients(tensors: Sequence) -> Sequence:
    params, grads = tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]
    for p, g in zip(params, grads, strict=True):
        p.requires_grad, p.grad = True, g
    return params


def _step(kind: str, optim: Any, params: Sequence) -> list:
    optim.step()
    return [*params, *(optim.state[p][name] for p in params for name in KEPT[kind])]


def step(network: str, peer: str, dtype: str, tensors: int | None = None, kind: str = "SGD", rank: int = 1) -> Row:
    """One step over the network's first `tensors` parameters (None: all) beside torch's `peer` implementation."""
    shapes = dict(islice(parameter_shapes(network).items(), tensors))
    params = {name: Input(shape) for name, shape in shapes.items()}
    grads = {f"{name}.grad": Input(shape) for name, shape in shapes.items()}
    elements = sum(torch.Size(shape).numel() for shape in shapes.values())
    return Row(
        family=kind.lower(),
        op=f"vs {peer}",
        case=f"{network} {len(shapes)} tensors",
        dtype=dtype,
        inputs=params | grads,
        flops=FLOPS[kind] * elements,
        # Read parameter, gradient and what is kept of it; write parameter and what is kept.
        bytes=PASSES[kind] * elements * itemsize(dtype),
        ours=partial(_ours, kind),
        peer=partial(_peer, kind, peer),
        bound=Rounding(terms=4),
        rank=rank,
        compiles=peer == "foreach",
    )


GPU = [
    *(step("resnet50", peer, "float32", rank=0) for peer in ("fused", "foreach")),
    step("gpt2", "fused", "float32", kind="AdamW", rank=0),
    *(step("resnet18", peer, "float32") for peer in ("fused", "foreach")),
    step("resnet50", "fused", "float32", kind="AdamW"),
    step("gpt2", "foreach", "float32", kind="AdamW"),
]
INTERPRETER = [
    *(step("resnet18", peer, "float32", tensors=15) for peer in ("fused", "foreach")),
    step("resnet18", "fused", "float32", tensors=6, kind="AdamW"),
]
