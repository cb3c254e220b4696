"""What a training run is made from: with the same Config two runs have the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from tritongrad.training.sources import parse
from tritongrad.training.step import NETWORKS, OPTIMIZERS

AMP = ("off", "bf16", "fp16")
LEARNING_RATES: Mapping[str, float] = {"sgd": 0.05, "adam": 1e-3, "adamw": 3e-3}
"""At a batch of 64, for networks with normalisation."""


@dataclass(frozen=True)
class Config:
    """A run's settings. ValueError, naming the setting, for one that cannot be.

    model, optimizer   names in NETWORKS and OPTIMIZERS
    data               "digits", or "cifar10:DIR" and the like: see `sources`
    epochs             passes over the training data
    batch_size         images a step; the last, smaller batch of an epoch is left out
    lr                 the highest learning rate (by default LEARNING_RATES): it rises along a line during `warmup` of
                       all steps, then falls to 0 along a cosine
    weight_decay       of weights with two axes or more; biases and normalisations have none
    label_smoothing    share of the label that is spread over all classes
    amp                "off", "bf16" or "fp16": the precision of matrix products and convolutions
    compile            pass the model through `tritongrad.compile`
    image              side of the images in pixels; None leaves them as they are
    augment            train on shifted, cropped or mirrored images, as suits the data
    limit              train and test on the first so many images only
    seed               of initial values, order, augmentation and dropout
    workers            processes that load images; they change no bit
    save_every         steps between checkpoints; 0 saves at the end of every epoch only
    """

    model: str
    data: str
    epochs: int = 10
    batch_size: int = 64
    optimizer: str = "sgd"
    lr: float | None = None
    weight_decay: float = 5e-4
    warmup: float = 0.1
    label_smoothing: float = 0.1
    amp: str = "off"
    compile: bool = False
    image: int | None = None
    augment: bool = True
    limit: int | None = None
    seed: int = 0
    workers: int = 0
    save_every: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("model", self.model, NETWORKS),
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("amp", self.amp, AMP),
        ):
            if value not in known:
                raise ValueError(f"{name} {value!r} is not one of {', '.join(known)}")
        parse(self.data)
        for name, least in (
            ("epochs", 0), ("batch_size", 1), ("lr", 0), ("weight_decay", 0), ("image", 1), ("limit", 1),
            ("workers", 0), ("save_every", 0),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        for name in ("warmup", "label_smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")

    @property
    def peak_lr(self) -> float:
        return LEARNING_RATES[self.optimizer] if self.lr is None else self.lr

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(settings: Mapping[str, Any]) -> Config:
        """ValueError for settings that this version does not have."""
        unknown = set(settings) - {field.name for field in fields(Config)}
        if unknown:
            raise ValueError(f"settings that are not known: {', '.join(sorted(unknown))}")
        return Config(**settings)
