"""The small network of Keller Jordan's airbench94 (github.com/KellerJordan/cifar10-airbench): CIFAR-10 in seconds.

A fixed 2x2 convolution that whitens patches, then three groups of two convolutions, each with a norm that has no
scale of its own, and GELU. The whitening filters, which airbench computes from the images, are random orthogonal ones.
"""

import torch
from torch import nn


def norm(channels):
    layer = nn.BatchNorm2d(channels, momentum=0.4, eps=1e-12)
    layer.weight.requires_grad = False
    return layer


class Group(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = norm(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.norm2 = norm(outer)
        self.activation = nn.GELU()

    def forward(self, x):
        x = self.activation(self.norm1(self.pool(self.conv1(x))))
        return self.activation(self.norm2(self.conv2(x)))


class AirBench(nn.Module):
    def __init__(self, widths=(64, 256, 256), classes=10):
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2, bias=True)
        nn.init.orthogonal_(self.whiten.weight)
        self.whiten.weight.requires_grad = False
        first, second, third = widths
        self.activation = nn.GELU()
        self.groups = nn.Sequential(Group(24, first), Group(first, second), Group(second, third))
        self.pool = nn.MaxPool2d(3)
        self.head = nn.Linear(third, classes, bias=False)

    def forward(self, x):
        x = self.pool(self.groups(self.activation(self.whiten(x))))
        return self.head(torch.flatten(x, 1)) / 9
