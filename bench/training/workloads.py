"""What is trained: networks, and the batches and dtypes of each row. Rows are data; `session` runs them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tritongrad_kernels

SIDES = ("ours", "ours compiled", "torch", "torch.compile", "torch.compile, graphs")
"""Eager, under `tg.compile`; torch eager, torch.compile, and torch.compile with mode="reduce-overhead"."""
EAGER = ("ours", "torch")


@dataclass(frozen=True)
class Network:
    """A network and how it is trained.

    source     module written for torch, see `sources`
    build      the model, given the module of the source and its library
    sample     the shape of one item: of an image, or how many words
    classes    labels, or words there are
    unit       what is counted a second; an item of `unit` "tokens" holds as many as it has words
    loss       of (library, model, items, labels)
    """

    source: str
    build: Callable[[Any, Any], Any]
    sample: tuple[int, ...]
    classes: int
    loss: Callable[[Any, Any, Any, Any], Any]
    unit: str = "images"
    optimizer: str = "SGD"
    options: Mapping[str, Any] = field(default_factory=lambda: {"lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4})


@dataclass(frozen=True)
class Workload:
    """One row: a network, its batch, and "float32", or "bfloat16" for mixed precision with float32 parameters."""

    network: str
    batch: int
    dtype: str
    sides: tuple[str, ...] = SIDES

    @property
    def name(self) -> str:
        return f"{self.network} b{self.batch} {self.dtype}"

    @property
    def made(self) -> Network:
        return NETWORKS[self.network]

    @property
    def items(self) -> int:
        """How many of the network's unit a step takes."""
        return self.batch * (self.made.sample[0] if self.made.unit == "tokens" else 1)


def _cross_entropy(lib: Any, model: Any, x: Any, y: Any) -> Any:
    return lib.nn.functional.cross_entropy(model(x), y)


def _smoothed(lib: Any, model: Any, x: Any, y: Any) -> Any:
    return lib.nn.functional.cross_entropy(model(x), y, label_smoothing=0.2)


def _of_words(lib: Any, model: Any, x: Any, y: Any) -> Any:
    return model(x, y)[1]


def _cifar(count: int) -> Callable[[Any, Any], Any]:
    """ResNet-18, if `count` is 2, as it is used on small images: a 3x3 stem that keeps their size, and no pooling."""

    def build(module: Any, lib: Any) -> Any:
        model = module.ResNet(module.BasicBlock, [count] * 4, 10)
        model.conv1, model.maxpool = lib.nn.Conv2d(3, 64, 3, 1, 1, bias=False), lib.nn.Identity()
        return model

    return build


def _resnet(block: str, counts: list[int], classes: int = 1000) -> Callable[[Any, Any], Any]:
    return lambda module, lib: module.ResNet(getattr(module, block), counts, classes)


def _gpt(**config: int) -> Callable[[Any, Any], Any]:
    return lambda module, lib: module.GPT(module.GPTConfig(dropout=0.0, **config))


_RESNET, _NETWORKS = "tests.torch_resnet", "bench.training.networks"
_ADAMW = {"lr": 3e-4, "betas": (0.9, 0.95), "weight_decay": 0.1}
_GPT2 = {"block_size": 1024, "vocab_size": 50304, "n_layer": 12, "n_head": 12, "n_embd": 768}
_SMALL_GPT = {"block_size": 16, "vocab_size": 64, "n_layer": 2, "n_head": 2, "n_embd": 32}

NETWORKS: Mapping[str, Network] = {
    "resnet50": Network(_RESNET, _resnet("Bottleneck", [3, 4, 6, 3]), (3, 224, 224), 1000, _cross_entropy),
    "resnet18": Network(_RESNET, _resnet("BasicBlock", [2, 2, 2, 2]), (3, 224, 224), 1000, _cross_entropy),
    "cifar-resnet18": Network(_RESNET, _cifar(2), (3, 32, 32), 10, _cross_entropy),
    "airbench": Network(
        f"{_NETWORKS}.airbench", lambda m, _: m.AirBench(), (3, 32, 32), 10, _smoothed,
        options={"lr": 0.02, "momentum": 0.85, "nesterov": True, "weight_decay": 1e-4},
    ),
    "mlp": Network(f"{_NETWORKS}.mlp", lambda m, _: m.MLP(3072, 2048, 2048, 2048, 10), (3, 32, 32), 10, _cross_entropy),
    "vit-s": Network(
        f"{_NETWORKS}.vit", lambda m, _: m.ViT(), (3, 224, 224), 1000, _cross_entropy,
        optimizer="AdamW", options=_ADAMW,
    ),
    "gpt2-small": Network(
        "tests.published.gpt", _gpt(**_GPT2), (1024,), 50304, _of_words, "tokens", "AdamW", _ADAMW
    ),
    "tiny-resnet": Network(_RESNET, _cifar(1), (3, 16, 16), 10, _cross_entropy),
    "tiny-airbench": Network(
        f"{_NETWORKS}.airbench", lambda m, _: m.AirBench((8, 16, 16)), (3, 32, 32), 10, _smoothed,
        options={"lr": 0.02, "momentum": 0.85, "nesterov": True, "weight_decay": 1e-4},
    ),
    "tiny-mlp": Network(f"{_NETWORKS}.mlp", lambda m, _: m.MLP(192, 64, 10), (3, 8, 8), 10, _cross_entropy),
    "tiny-vit": Network(
        f"{_NETWORKS}.vit", lambda m, _: m.ViT(16, 8, 32, 2, 2, 10), (3, 16, 16), 10, _cross_entropy,
        optimizer="AdamW", options=_ADAMW,
    ),
    "tiny-gpt": Network("tests.published.gpt", _gpt(**_SMALL_GPT), (16,), 64, _of_words, "tokens", "AdamW", _ADAMW),
}  # fmt: skip

HALF, FULL = "bfloat16", "float32"
_MOST = SIDES[:4]  # where five models of one size would not fit, or graphs gain nothing

GPU: Sequence[Workload] = (  # of most interest first: a run may be cut off
    Workload("resnet50", 256, HALF),
    Workload("cifar-resnet18", 512, HALF),
    Workload("resnet18", 256, HALF),
    Workload("gpt2-small", 16, HALF),
    Workload("vit-s", 256, HALF),
    Workload("airbench", 1024, HALF),
    Workload("resnet50", 32, HALF),
    Workload("resnet18", 32, HALF),
    Workload("cifar-resnet18", 128, HALF),
    Workload("mlp", 1024, HALF),
    Workload("resnet50", 64, HALF),
    Workload("resnet18", 64, HALF),
    Workload("cifar-resnet18", 1024, HALF),
    Workload("resnet18", 64, FULL),
    Workload("resnet50", 64, FULL, _MOST),
    Workload("cifar-resnet18", 512, FULL),
    Workload("gpt2-small", 8, FULL, _MOST),
    Workload("vit-s", 64, FULL, _MOST),
    Workload("airbench", 1024, FULL),
    Workload("mlp", 1024, FULL),
    Workload("resnet18", 32, FULL),
    Workload("resnet18", 256, FULL, _MOST),
    Workload("resnet50", 32, FULL),
    Workload("resnet50", 256, FULL, EAGER),
    Workload("cifar-resnet18", 128, FULL),
    Workload("cifar-resnet18", 1024, FULL),
)
_HERE = SIDES[:3]  # torch.compile takes minutes to build its C++ on a CPU, and would say nothing

INTERPRETER: Sequence[Workload] = (
    Workload("tiny-resnet", 4, HALF, EAGER),
    Workload("tiny-airbench", 4, HALF, _HERE),
    Workload("tiny-mlp", 8, FULL, _HERE),
    Workload("tiny-vit", 2, HALF, _HERE),
    Workload("tiny-gpt", 2, FULL, _HERE),
)

CURVES_GPU: Sequence[Workload] = (  # of rows, so that their kernels are compiled when their turn comes
    Workload("cifar-resnet18", 512, HALF, EAGER),
    Workload("resnet18", 256, HALF, EAGER),
    Workload("airbench", 1024, HALF, EAGER),
    Workload("gpt2-small", 16, HALF, EAGER),
    Workload("mlp", 1024, FULL, EAGER),
)
CURVES_INTERPRETER: Sequence[Workload] = (
    Workload("tiny-mlp", 8, FULL, EAGER),
    Workload("tiny-gpt", 2, FULL, EAGER),
)


def here() -> Sequence[Workload]:
    """The rows for this machine."""
    return INTERPRETER if tritongrad_kernels.INTERPRETED else GPU


def curves_here() -> Sequence[Workload]:
    return CURVES_INTERPRETER if tritongrad_kernels.INTERPRETED else CURVES_GPU


def select(listed: Sequence[Workload], pattern: str | None, sides: Sequence[str] | None) -> list[Workload]:
    """Rows whose name `pattern` finds, each with those of its sides that are asked for."""
    found = [w for w in listed if pattern is None or re.search(pattern, w.name)]
    if sides is None:
        return found
    unknown = sorted(set(sides) - set(SIDES))
    if unknown:
        raise ValueError(f"there is no side {unknown[0]!r}: they are {', '.join(map(repr, SIDES))}")
    kept = [Workload(w.network, w.batch, w.dtype, tuple(s for s in w.sides if s in sides)) for w in found]
    return [w for w in kept if w.sides]


def by_name(name: str) -> Workload:
    """Any row of any list: what a child process is told."""
    for w in (*GPU, *INTERPRETER, *CURVES_GPU, *CURVES_INTERPRETER):
        if w.name == name:
            return w
    raise ValueError(f"there is no training row {name!r}")
