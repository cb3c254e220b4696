"""An MLP, a CNN or a ViT learns scikit-learn's handwritten digits, on a CPU in under a minute.

python examples/small_networks.py mlp
python examples/small_networks.py cnn
python examples/small_networks.py vit

The networks and the loop are what one writes for torch; only the import is another.
"""

from __future__ import annotations

import argparse
import sys
import time

import tritongrad as torch
from tritongrad import nn
from tritongrad.utils.data import DataLoader, TensorDataset


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class CNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(32 * 4 * 4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


class ViT(nn.Module):
    """Four patches of 4 x 4 pixels and a class token through a Transformer (Dosovitskiy et al. 2021)."""

    def __init__(self, width: int = 64, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, kernel_size=4, stride=4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 5, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], dim=1)
        return self.head(self.encoder(tokens + self.positions)[:, 0])


NETWORKS = {"mlp": (MLP, 12, 1e-2), "cnn": (CNN, 5, 1e-2), "vit": (ViT, 3, 8e-3)}  # with epochs and learning rate


def load(quick: bool) -> tuple[TensorDataset, TensorDataset]:
    """1,797 images [1, 8, 8] and their digits, a fifth of them for testing; or 128 of them for both."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        sys.exit("small_networks.py needs the images that scikit-learn brings: pip install scikit-learn")
    pixels, digits = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    labels = torch.tensor(digits, dtype=torch.long)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    test, train = (order[:128], order[:128]) if quick else (order[:359], order[359:])
    return TensorDataset(images[train], labels[train]), TensorDataset(images[test], labels[test])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--quick", action="store_true", help="on 128 images only")
    args = parser.parse_args()
    network, epochs, lr = NETWORKS[args.network]
    epochs = epochs if args.epochs is None else args.epochs

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_set, test_set = load(args.quick)
    train_loader: DataLoader[list[torch.Tensor]] = DataLoader(train_set, batch_size=128, shuffle=True)
    test_loader: DataLoader[list[torch.Tensor]] = DataLoader(test_set, batch_size=256)
    model = network().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=lr, total_steps=max(1, epochs * len(train_loader))
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)

    start = time.perf_counter()
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for images, labels in train_loader:
            loss = criterion(model(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            right = sum((model(x.to(device)).argmax(1) == y.to(device)).sum().item() for x, y in test_loader)
        print(
            f"epoch {epoch + 1:2d}/{epochs}  loss {total / len(train_loader):.3f}  "
            f"test accuracy {right / len(test_set):6.2%}  {time.perf_counter() - start:5.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
