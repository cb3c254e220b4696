"""What all builders of models share: published weights, and a model with them in it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from tritongrad import nn
from tritongrad.models.preprocessing import ImageClassification
from tritongrad.models.weights import Weights, WeightsEnum, member, resolve
from tritongrad.transforms import InterpolationMode

M = TypeVar("M", bound=nn.Module)

CLASSES = 1000
"""Of ImageNet-1K, which all published weights tell apart."""


def published(
    file: str,
    num_params: int,
    accuracy: float,
    min_size: int = 1,
    crop: int = 224,
    resize: int = 256,
    bicubic: bool = False,
    **statistics: Any,
) -> Weights:
    """One of torchvision's published files, whose name ends in the first digits of its sha256.

    accuracy    the share of ImageNet's validation images whose class it names first, in percent, as published.
    min_size    the side of the smallest image that the model takes.
    crop        the side of the images it was measured with, cut out of ones whose shorter side was `resize`.
    statistics  `mean` and `std` by which they were normalised, where not those of ImageNet.
    """
    mode = InterpolationMode.BICUBIC if bicubic else InterpolationMode.BILINEAR
    return Weights(
        f"https://download.pytorch.org/models/{file}",
        transforms=partial(ImageClassification, crop_size=crop, resize_size=resize, interpolation=mode, **statistics),
        meta={
            "num_params": num_params,
            "min_size": (min_size, min_size),
            "_metrics": {"ImageNet-1K": {"acc@1": accuracy}},
        },
    )


def insist(options: dict[str, Any], **values: Any) -> None:
    """Put these values into the options; ValueError where another one stands there."""
    for name, value in values.items():
        if options.setdefault(name, value) != value:
            raise ValueError(f"The parameter {name!r} expected value {value} but got {options[name]} instead.")


def build(
    make: Callable[..., M],
    known: type[WeightsEnum],
    weights: Any,
    progress: bool,
    options: dict[str, Any],
    fixed: dict[str, Any] | None = None,
    rename: Callable[[str], str] = str,
) -> M:
    """make(**options), with the values that `weights` stands for; see `weights.resolve`.

    fixed   what published weights ask of the model beside 1000 classes; another value in `options` is a ValueError.
    rename  turns names in the file into those of the model.

    The `pretrained` of older programs is taken from the options with a warning, as torchvision does: True is the first
    of the published weights.
    """
    if "pretrained" in options:
        weights = next(iter(known)) if options.pop("pretrained") else None
        warnings.warn(f"the parameter 'pretrained' is deprecated, use weights={weights}", stacklevel=3)
    if member(weights, known) is not None:
        insist(options, num_classes=CLASSES, **(fixed or {}))
    state = resolve(weights, known, progress)  # before the model is built: a wrong path fails at once
    model = make(**options)
    if state is not None:
        model.load_state_dict({rename(name): value for name, value in state.items()})
    return model
