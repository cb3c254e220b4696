"""The usual training loop: Dataset, DataLoader, model, loss, optimizer, epochs. One loop, two problems.

Both are real and come with scikit-learn: 178 wines of three growers, to tell apart by their chemistry, and 442 patients
with diabetes, whose course is to be foretold. Without scikit-learn, numbers made by numpy stand in for them.
"""

import argparse
from collections.abc import Callable

import numpy as np

import tritongrad as tg
from tritongrad import nn
from tritongrad.utils.data import DataLoader, TensorDataset


def wine() -> tuple[np.ndarray, np.ndarray]:
    """Features [N, 13] and class numbers [N]."""
    try:
        from sklearn.datasets import load_wine
    except ImportError:
        rng = np.random.default_rng(0)
        classes = rng.integers(3, size=178)
        return rng.normal(size=(3, 13))[classes] + 0.5 * rng.normal(size=(178, 13)), classes
    return load_wine(return_X_y=True)


def diabetes() -> tuple[np.ndarray, np.ndarray]:
    """Features [N, 10] and values [N]."""
    try:
        from sklearn.datasets import load_diabetes
    except ImportError:
        rng = np.random.default_rng(0)
        features = rng.normal(size=(442, 10))
        return features, np.tanh(features[:, 0]) + features[:, 1] * features[:, 2] + 0.5 * rng.normal(size=442)
    return load_diabetes(return_X_y=True)


def standardised(values: np.ndarray) -> tg.Tensor:
    """Mean 0 and standard deviation 1 in every column, as float32."""
    return tg.tensor(((values - values.mean(0)) / values.std(0)).astype(np.float32))


def train(
    model: nn.Module,
    loader: DataLoader,
    criterion: Callable[[tg.Tensor, tg.Tensor], tg.Tensor],
    optimizer: tg.optim.Optimizer,
    epochs: int,
) -> list[float]:
    """The loss of every step."""
    losses = []
    for epoch in range(epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if epoch % max(epochs // 4, 1) == 0 or epoch == epochs - 1:
            print(f"  epoch {epoch + 1:2d}  loss {np.mean(losses[-len(loader) :]):.4f}", flush=True)
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tg.manual_seed(args.seed)

    print("wine: cross-entropy, SGD with momentum")
    features, classes = wine()
    inputs, targets = standardised(features), tg.tensor(classes)
    loader: DataLoader = DataLoader(TensorDataset(inputs, targets), batch_size=32, shuffle=True)
    classifier = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    sgd = tg.optim.SGD(classifier.parameters(), lr=0.05, momentum=0.9)
    train(classifier, loader, nn.CrossEntropyLoss(), sgd, args.epochs)
    with tg.no_grad():
        right = (classifier(inputs).argmax(1) == targets).sum().item()
    print(f"  {right} of {len(targets)} training samples right")

    print("diabetes: mean squared error, Adam")
    features, values = diabetes()
    inputs, targets = standardised(features), standardised(values).reshape(-1, 1)
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=64, shuffle=True)
    regressor = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    adam = tg.optim.Adam(regressor.parameters(), lr=1e-2)
    train(regressor, loader, nn.MSELoss(), adam, args.epochs)
    with tg.no_grad():
        error = nn.functional.mse_loss(regressor(inputs), targets).item()
    print(f"  {1 - error:.0%} of the variance explained on the training samples")


if __name__ == "__main__":
    main()
