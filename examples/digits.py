"""Train a small ResNet on scikit-learn's handwritten digits: 1,797 real images of 8 x 8 pixels.

python examples/digits.py             # about three minutes on a CPU
python examples/digits.py --resume    # after Ctrl-C or a crash: goes on from the last whole epoch, to the same bits

Writes digits.png, with the loss and the test accuracy, and checkpoint.safetensors into build/digits (see --out).
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tritongrad as tg  # before numpy, whose threads it then can hold back: they would only get in each other's way

# isort: split
import numpy as np

from tritongrad import nn
from tritongrad.models.resnet import BasicBlock, conv1x1, conv3x3
from tritongrad.utils.data import DataLoader, Dataset

Batches = DataLoader[list[tg.Tensor]]  # of images [N, 1, 8, 8] and digits [N]

WARM_UP = 0.05  # of all steps; then the learning rate falls along a line to 0


def residual(inputs: int, outputs: int, stride: int = 1) -> BasicBlock:
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))
    return BasicBlock(inputs, outputs, stride, shortcut)


def small_resnet() -> nn.Module:
    """Images [N, 1, 8, 8] to class scores [N, 10]."""
    return nn.Sequential(
        conv3x3(1, 32),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        residual(32, 64, stride=2),
        residual(64, 64, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


class Digits(Dataset[tuple[np.ndarray, int]]):
    """Images [1, 8, 8] in 0 .. 1 with their digits; if `shifted`, moved by up to one pixel up or down and sideways."""

    def __init__(self, images: np.ndarray, digits: np.ndarray, shifted: bool = False) -> None:
        self.images = np.pad(images.astype(np.float32) / 16, ((0, 0), (1, 1), (1, 1)))[:, None]
        self.digits, self.shifted = digits, shifted

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        # The loader seeds numpy for every batch: the same shifts from any number of workers, and after a resumption.
        down, right = np.random.randint(3, size=2) if self.shifted else (1, 1)
        return self.images[index, :, down : down + 8, right : right + 8], int(self.digits[index])


def load(count: int | None) -> tuple[Digits, Digits]:
    """Training and test data (or `count` images of each). The test data are always the same fifth of every class."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        sys.exit("digits.py needs the images that scikit-learn brings: pip install scikit-learn")
    images, digits = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    order = np.random.default_rng(0).permutation(len(digits))
    classes = [order[digits[order] == d] for d in range(10)]
    test = np.sort(np.concatenate([c[: len(c) // 5] for c in classes]))
    train, test = np.setdiff1d(order, test)[:count], test[:count]
    return Digits(images[train], digits[train], shifted=True), Digits(images[test], digits[test])


def accuracy(model: nn.Module, loader: Batches) -> float:
    model.eval()
    with tg.no_grad():
        right = sum((model(images).argmax(1) == digits).sum().item() for images, digits in loader)
    model.train()
    return right / len(loader.dataset)  # type: ignore[arg-type]


def learning_rate(peak: float, step: int, steps: int) -> float:
    return peak * min((step + 1) / (WARM_UP * steps), 1 - step / steps)


@contextmanager
def live(total: int, done: int) -> Iterator[tuple[Callable[[float, float], None], Callable[[str], None]]]:
    """Two functions: one that shows a further step's loss and images/s, one that prints a line."""
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        print("(rich is not installed: no progress bar)")
        yield lambda loss, speed: None, lambda line: print(line, flush=True)
        return
    figures = TextColumn("loss {task.fields[loss]:.3f}  {task.fields[speed]:.0f} images/s")
    with Progress(BarColumn(), MofNCompleteColumn(), figures, TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=total, completed=done, loss=math.nan, speed=math.nan)
        yield (
            lambda loss, speed: progress.update(task, advance=1, loss=loss, speed=speed),
            lambda line: progress.console.print(line, soft_wrap=True),
        )


def plot(path: Path, losses: list[float], accuracies: list[float]) -> None:
    """Training loss per step beside test accuracy per epoch."""
    try:
        import matplotlib
    except ImportError:
        print("(matplotlib is not installed: no plot)")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    figure.suptitle("A small ResNet learns handwritten digits")
    steps, epoch = np.arange(1, len(losses) + 1), len(losses) // len(accuracies)
    means = np.convolve(losses, np.ones(epoch) / epoch, "valid")
    left.plot(steps, losses, color="tab:blue", alpha=0.3, linewidth=1, label="each step")
    left.plot(steps[: len(means)] + (epoch - 1) / 2, means, color="tab:blue", label="running mean")
    left.set(title="Training loss", xlabel="step", ylabel="cross-entropy, labels smoothed by 0.1")
    left.legend(frameon=False)
    percent = [100 * a for a in accuracies]
    right.plot(range(1, len(percent) + 1), percent, "o-", color="tab:green")
    last = (len(percent), percent[-1])
    right.annotate(f"{percent[-1]:.1f} %", last, (0, -18), textcoords="offset points", ha="center", color="tab:green")
    right.set(
        title="Test accuracy", xlabel="epoch", ylabel="% of images", ylim=(None, 101), xlim=(0.5, len(percent) + 0.5)
    )
    right.xaxis.get_major_locator().set_params(integer=True)
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    print(path)


def train(args: argparse.Namespace, saved: dict | None) -> None:
    """Train, leaving a checkpoint after every epoch and the plot at the end; `saved` is a checkpoint to go on from."""
    tg.manual_seed(args.seed)
    train_set, test_set = load(64 if args.quick else None)
    loader: Batches = DataLoader(
        train_set, args.batch_size, shuffle=True, num_workers=args.workers, persistent_workers=args.workers > 0
    )
    test_loader: Batches = DataLoader(test_set, batch_size=512)
    model = small_resnet()
    optimizer = tg.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    losses: list[float] = []
    accuracies: list[float] = []
    if saved:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        loader.load_state_dict(saved["loader"])
        losses, accuracies = saved["losses"], saved["accuracies"]
        tg.set_rng_state(saved["rng"])
        print(f"going on after epoch {len(accuracies)}")

    steps = args.epochs * len(loader)
    with live(steps, len(losses)) as (show, say):
        for epoch in range(len(accuracies), args.epochs):
            start, seen = time.perf_counter(), 0
            for images, digits in loader:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(args.lr, len(losses), steps)
                loss = criterion(model(images), digits)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                seen += len(images)
                show(losses[-1], seen / (time.perf_counter() - start))
            speed = seen / (time.perf_counter() - start)
            accuracies.append(accuracy(model, test_loader))
            checkpoint = {
                "options": {name: getattr(args, name) for name in ("epochs", "batch_size", "lr", "seed", "quick")},
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "loader": loader.state_dict(),
                "rng": tg.get_rng_state(),
                "losses": losses,
                "accuracies": accuracies,
            }
            tg.save(checkpoint, args.out / "checkpoint.safetensors")
            figures = f"loss {np.mean(losses[-len(loader) :]):.3f}  test accuracy {accuracies[-1]:6.2%}"
            say(f"epoch {epoch + 1:2d}/{args.epochs}  {figures}  {speed:.0f} images/s")
    if accuracies:
        plot(args.out / "digits.png", losses, accuracies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=0, help="of the weights, the order and the shifts")
    parser.add_argument("--workers", type=int, default=0, help="processes that load data; they change no bit")
    parser.add_argument("--out", type=Path, default=Path("build/digits"), metavar="DIR")
    parser.add_argument("--resume", action="store_true", help="go on from DIR's checkpoint; options default to its own")
    parser.add_argument("--quick", action="store_true", help="on 64 images only")
    args = parser.parse_args()
    saved = None
    if args.resume:
        try:
            saved = tg.load(args.out / "checkpoint.safetensors")
        except FileNotFoundError:
            sys.exit(f"there is no checkpoint in {args.out} to resume from")
        parser.set_defaults(**saved["options"])
        args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        train(args, saved)
    except KeyboardInterrupt:
        sys.exit("stopped; --resume goes on from the last epoch that was completed")


if __name__ == "__main__":
    main()
