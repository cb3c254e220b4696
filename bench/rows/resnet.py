"""A training step of ResNet: forward, loss, backward, SGD."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

import tritongrad as tg
from bench.accuracy import LikePeer
from bench.row import Call, Input, Row
from bench.rows.optim import DECAY, LR, MOMENTUM, NETWORKS, parameter_shapes
from tests import torch_resnet
from tritongrad import models

CLASSES = 1000
# Of the gradients: what torch's own rounding does to them, with room for a few ReLUs that fall the other way.
BOUND = {"float32": LikePeer(factor=4.0, floor=1e-3), "bfloat16": LikePeer(factor=2.0, floor=2e-2)}


def _ours(network: str, images: tg.Tensor, labels: tg.Tensor, *parameters: tg.Tensor) -> Call:
    model = getattr(models, network)(weights=None).to(images.dtype)
    for p, values in zip(model.parameters(), parameters, strict=True):
        p.data, p.grad = values, tg.zeros_like(values)
    optim = tg.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    optim.step()  # makes the momentum buffers
    return partial(_step, model, tg.nn.functional.cross_entropy, optim, images, labels)


def _peer(network: str, images: torch.Tensor, labels: torch.Tensor, *parameters: torch.Tensor) -> Call:
    model = torch_resnet.ResNet(*NETWORKS[network]).to(images.device, images.dtype)
    for p, values in zip(model.parameters(), parameters, strict=True):
        p.data, p.grad = values, torch.zeros_like(values)
    optim = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY, fused=True)
    optim.step()
    return partial(_step, model, torch.nn.functional.cross_entropy, optim, images, labels)


def _step(model: Any, cross_entropy: Any, optim: Any, images: Any, labels: Any) -> Sequence:
    optim.zero_grad()
    loss = cross_entropy(model(images), labels)
    loss.backward()
    optim.step()
    return [loss.detach(), *(p.grad for p in model.parameters())]


def _parameter(name: str, shape: tuple[int, ...]) -> Input:
    """As He et al. draw them, but for small random numbers where they have zeros."""
    if len(shape) == 1:
        return Input(shape, mean=float("bn" in name and name.endswith("weight")), std=0.1)
    fan = shape[1] if len(shape) == 2 else math.prod(shape[2:]) * shape[0] / 2
    return Input(shape, std=fan**-0.5)


def flops(network: str, batch: int, size: int) -> int:
    """Multiplications and additions of the step's convolutions and classifier: forward, and once for each gradient."""
    shapes = {name: shape for name, shape in parameter_shapes(network).items() if len(shape) > 1}
    forward = {name: 2 * batch * math.prod(shape) * _pixels(network, name, size) for name, shape in shapes.items()}
    return 3 * sum(forward.values()) - forward["conv1.weight"]  # the images want no gradient


def _pixels(network: str, name: str, size: int) -> int:
    """How many pixels an image of `size`, a multiple of 32, has where this weight's convolution gives its result."""
    if not name.startswith("layer"):
        return 1 if name == "fc.weight" else (size // 2) ** 2
    stage = int(name[len("layer")])
    # Each stage halves the image, a bottleneck only in its second convolution.
    whole = network == "resnet50" and stage > 1 and name[len("layer1") :] == ".0.conv1.weight"
    return (size // 2 ** (stage + 1 - whole)) ** 2


def training_step(network: str, batch: int, size: int, dtype: str) -> Row:
    """One step on random images with `network`'s parameters all in `dtype`."""
    parameters = {name: _parameter(name, shape) for name, shape in parameter_shapes(network).items()}
    images = {"images": Input((batch, 3, size, size)), "labels": Input((batch,), classes=CLASSES)}
    return Row(
        family=network,
        op="step",
        case=f"{size}px b{batch}",
        dtype=dtype,
        inputs=images | parameters,
        flops=flops(network, batch, size),
        bytes=0,
        ours=partial(_ours, network),
        peer=partial(_peer, network),
        bound=BOUND[dtype],
        rank=2,
        compiles=False,
    )


GPU = [
    training_step("resnet18", 256, 224, "bfloat16"),
    training_step("resnet18", 32, 224, "bfloat16"),
    training_step("resnet18", 64, 224, "float32"),
    training_step("resnet50", 256, 224, "bfloat16"),
]
INTERPRETER = [training_step("resnet18", 2, 64, "float32")]
