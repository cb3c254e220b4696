"""Linear layers with ReLUs between them, on flattened images."""

from itertools import pairwise

from torch import nn


class MLP(nn.Sequential):
    def __init__(self, *widths):
        layers = [nn.Flatten()]
        for inner, outer in pairwise(widths):
            layers += [nn.Linear(inner, outer), nn.ReLU()]
        super().__init__(*layers[:-1])
