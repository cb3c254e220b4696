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


def _published(name: str) -> Callable[[int, int], nn.Module]:
    """One of `models`, with new weights and, in training too, no scores but those of its last layer."""
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": True}

    def build(image: int, classes: int) -> nn.Module:
        side = {"image_size": image} if name.startswith("vit_") else {}
        return models.get_model(name, num_classes=classes, **options, **side)

    return build


_FIRST = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")

NETWORKS: Mapping[str, Callable[[int, int], nn.Module]] = {
    "mlp": mlp,
    **{name: _published(name) for name in (*_FIRST, *models.list_models())},
}
"""Builders by name, taking the side of the images in pixels and the number of classes: `mlp` and all of `models`."""

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
