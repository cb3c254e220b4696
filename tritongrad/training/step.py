"""Networks and optimizers by name, and a training step of them for tools that look at its launches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tritongrad import models, nn, optim
from tritongrad.nn.functional import cross_entropy
from tritongrad.ops.filled import zeros
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes
from tritongrad_kernels.dtypes import dtype

CHANNELS = 3


def mlp(image: int, classes: int) -> nn.Module:
    """Three linear layers with 1024 hidden units each, on flattened images."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(CHANNELS * image * image, 1024),
        nn.ReLU(),
        nn.Linear(1024, 1024),
        nn.ReLU(),
        nn.Linear(1024, classes),
    )


def _resnet(name: str) -> Callable[[int, int], nn.Module]:
    return lambda image, classes: getattr(models, name)(num_classes=classes)


NETWORKS: Mapping[str, Callable[[int, int], nn.Module]] = {
    "mlp": mlp,
    **{f"resnet{n}": _resnet(f"resnet{n}") for n in (18, 34, 50, 101, 152)},
}
"""Builders by name, taking the side of the images in pixels and the number of classes."""

OPTIMIZERS: Mapping[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-4),
    "adam": lambda parameters: optim.Adam(parameters, lr=1e-3),
    "adamw": lambda parameters: optim.AdamW(parameters, lr=1e-3),
}


def training_step(
    network: str, batch: int, image: int = 224, dtype: dtype = dtypes.float32, classes: int = 1000,
    optimizer: str = "sgd",
) -> Callable[[], Tensor]:  # fmt: skip
    """A function that runs one step (forward, cross-entropy, backward, update) and returns the loss.

    The model, its optimizer and one batch of zeros [batch, 3, image, image] are made here, once: inside a dry run they
    take no memory. Parameters and images are of `dtype`. ValueError for a name that is not known.
    """
    for name, known in ((network, NETWORKS), (optimizer, OPTIMIZERS)):
        if name not in known:
            raise ValueError(f"training_step: {name!r} is not one of {', '.join(known)}")
    model = NETWORKS[network](image, classes).to(dtype)
    update = OPTIMIZERS[optimizer](model.parameters())
    images = zeros(batch, CHANNELS, image, image, dtype=dtype)
    labels = zeros(batch, dtype=dtypes.int64)

    def step() -> Tensor:
        update.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        update.step()
        return loss

    return step
