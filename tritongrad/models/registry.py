"""Models and weights by name."""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Iterable
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

from tritongrad import nn
from tritongrad.models.weights import WeightsEnum

_FILES = (
    "alexnet",
    "convnext",
    "densenet",
    "efficientnet",
    "googlenet",
    "inception",
    "mobilenetv2",
    "mobilenetv3",
    "regnet",
    "resnet",
    "shufflenetv2",
    "squeezenet",
    "vgg",
    "vision_transformer",
)
# By import_module, since in the package some are hidden by a function of the same name.
_FAMILIES = [import_module(f"tritongrad.models.{name}") for name in _FILES]
Builder = Callable[..., nn.Module]
BUILDERS: dict[str, Builder] = {
    name: value
    for family in _FAMILIES
    for name, value in vars(family).items()
    if isinstance(value, FunctionType) and value.__module__ == family.__name__ and name[0] != "_"
    if "weights" in inspect.signature(value).parameters
}
_WEIGHTS: dict[str, type[WeightsEnum]] = {
    name.removesuffix("_Weights").lower(): value
    for family in _FAMILIES
    for name, value in vars(family).items()
    if isinstance(value, type) and issubclass(value, WeightsEnum) and value is not WeightsEnum
}


def list_models(
    module: ModuleType | None = None,
    include: Iterable[str] | str | None = None,
    exclude: Iterable[str] | str | None = None,
) -> list[str]:
    """Sorted names of models: those of a module, that fit one of the shell patterns `include`, none of `exclude`."""

    def fits(name: str, patterns: Iterable[str] | str) -> bool:
        return any(fnmatch.fnmatch(name, p) for p in ([patterns] if isinstance(patterns, str) else patterns))

    inside = BUILDERS if module is None else {n for n, f in BUILDERS.items() if vars(module).get(n) is f}
    kept = (name for name in inside if not include or fits(name, include))
    return sorted(name for name in kept if not (exclude and fits(name, exclude)))


def get_model_builder(name: str) -> Builder:
    """The function that builds the model of this name."""
    if name.lower() not in BUILDERS:
        raise ValueError(f"Unknown model {name}")
    return BUILDERS[name.lower()]


def get_model(name: str, **config: Any) -> nn.Module:
    """The model of this name, built with these arguments."""
    return get_model_builder(name)(**config)


def get_model_weights(name: str | Builder) -> type[WeightsEnum]:
    """The published weights of a model, given by its name or by the function that builds it."""
    builder = get_model_builder(name) if isinstance(name, str) else name
    return _WEIGHTS[builder.__name__]


def get_weight(name: str) -> WeightsEnum:
    """The weights of a full name like "ResNet50_Weights.IMAGENET1K_V1"."""
    kind, _, which = name.partition(".")
    for known in _WEIGHTS.values():
        if known.__name__ == kind and which in known.__members__:
            return known[which]
    raise ValueError(f"no weights are called {name!r}: a name like 'ResNet50_Weights.IMAGENET1K_V1' is expected")
