"""A training run as an object: everything a step changes, so that it can be saved after any step and go on."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tritongrad import nn, random
from tritongrad.amp import GradScaler
from tritongrad.autograd import no_grad
from tritongrad.compilation import compile
from tritongrad.data import DataLoader, Subset
from tritongrad.optim import Optimizer
from tritongrad.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR
from tritongrad.precision import autocast
from tritongrad.tensor import Tensor
from tritongrad.training.config import Config
from tritongrad.training.sources import source
from tritongrad.training.step import NETWORKS, OPTIMIZERS
from tritongrad_kernels import driver, dtypes

HALVES = {"bf16": dtypes.bfloat16, "fp16": dtypes.float16}


@dataclass(frozen=True)
class Step:
    """One step that was taken: its number from 1, the loss before it (on the device), and its learning rate."""

    number: int
    loss: Tensor
    lr: float
    images: int


@dataclass(frozen=True)
class Epoch:
    """An epoch that ended: its number from 1, steps so far, share of test images that are right, seconds it took."""

    number: int
    step: int
    accuracy: float
    best: bool
    seconds: float


class Run:
    """The model, optimizer, schedule, loss scale, data and random numbers of a Config, from its seed on.

    `for event in run.train():` takes one step for each `Step` it gives and tests the model before each `Epoch`.
    After any of them `state_dict` has all that the rest depends on: another Run of the same Config that loads it gives
    bitwise the same parameters, buffers, optimizer state and losses from there on.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        random.manual_seed(config.seed)
        data = source(config.data, config.image, config.augment)
        train, test = _first(data.train, config.limit), _first(data.test, config.limit)
        if len(train) < config.batch_size:
            raise ValueError(f"batch_size {config.batch_size} is more than the {len(train)} training images")
        self.classes = data.classes
        self.device = driver.DEFAULT_DEVICE
        self.loader: DataLoader[Any] = DataLoader(
            train, config.batch_size, shuffle=True, drop_last=True, num_workers=config.workers, pin_memory=True,
            persistent_workers=config.workers > 0,
        )  # fmt: skip
        self.test_loader: DataLoader[Any] = DataLoader(test, 4 * config.batch_size, pin_memory=True)
        self.model = NETWORKS[config.model](data.image, len(data.classes)).to(self.device)
        self.network = compile(self.model) if config.compile else self.model
        self.optimizer = _optimizer(config, self.model)
        self.steps = config.epochs * len(self.loader)
        self.scheduler = _schedule(self.optimizer, self.steps, config.warmup)
        self.scaler = GradScaler(self.device.type, enabled=config.amp == "fp16")
        self.criterion = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
        self.step = 0
        self.accuracies: list[float] = []

    def train(self) -> Iterator[Step | Epoch]:
        """Take the steps that are left."""
        while len(self.accuracies) < self.config.epochs:
            start = time.perf_counter()
            self.model.train()
            for images, labels in self.loader:
                yield self._take(images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True))
            accuracy = self.accuracy()
            best = accuracy > max(self.accuracies, default=-1.0)
            self.accuracies.append(accuracy)
            yield Epoch(len(self.accuracies), self.step, accuracy, best, time.perf_counter() - start)

    def _take(self, images: Tensor, labels: Tensor) -> Step:
        lr = self.scheduler.get_last_lr()[0]
        self.optimizer.zero_grad()
        with self._precision():
            loss = self.criterion(self.network(images), labels)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        self.step += 1
        return Step(self.step, loss.detach(), float(lr), len(images))

    def _precision(self) -> autocast:
        return autocast(
            self.device.type, HALVES.get(self.config.amp, dtypes.bfloat16), enabled=self.config.amp in HALVES
        )

    def accuracy(self) -> float:
        """The share of test images whose largest score is that of their class."""
        self.model.eval()
        with no_grad(), self._precision():
            right = [
                (self.network(images.to(self.device)).argmax(1) == labels.to(self.device)).sum()
                for images, labels in self.test_loader
            ]
        self.model.train()
        return sum(int(r.item()) for r in right) / len(self.test_loader.dataset)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "accuracies": list(self.accuracies),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "loader": self.loader.state_dict(),
            "rng": random.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the run that gave `state` was."""
        for name in ("model", "optimizer", "scheduler", "scaler", "loader"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.accuracies = state["step"], list(state["accuracies"])
        random.set_rng_state(state["rng"])


def _first(data: Any, count: int | None) -> Any:
    return data if count is None else Subset(data, range(min(count, len(data))))


def _optimizer(config: Config, model: nn.Module) -> Optimizer:
    """Weight decay for what multiplies, none for what shifts or scales."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = OPTIMIZERS[config.optimizer]([group for group in groups if group["params"]])
    for group in optimizer.param_groups:
        group["lr"] = config.peak_lr
    return optimizer


def _schedule(optimizer: Optimizer, steps: int, warmup: float) -> LRScheduler:
    rising = min(math.ceil(warmup * steps), max(steps - 1, 0))
    falling = CosineAnnealingLR(optimizer, max(steps - rising, 1))
    if not rising:
        return falling
    return SequentialLR(optimizer, [LinearLR(optimizer, 1 / (rising + 1), 1.0, rising), falling], [rising])
