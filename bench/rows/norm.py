"""Batch normalisation in training: alone, with a ReLU, and with a residual and a ReLU."""

from __future__ import annotations

from functools import partial

import torch
from torch.nn import functional as F

import tritongrad as tg
from bench.accuracy import Rounding
from bench.row import Call, Input, Row, itemsize

# What follows the normalisation in the same pass.
FOLDED = ("", "+relu", "+add+relu")
# An activation of ResNet holds a value within rounding of zero for about one element in a million.
KINKS = 4e-6


def _norm(folded: str, *tensors: tg.Tensor) -> tg.Tensor:
    x, mean, var, weight, bias, *residual = tensors
    y = tg.nn.functional.batch_norm(x, mean, var, weight, bias, training=True)
    y = y + residual[0] if residual else y
    return tg.relu(y) if folded.endswith("relu") else y


def _our_forward(
    folded: str, x: tg.Tensor, mean: tg.Tensor, var: tg.Tensor, weight: tg.Tensor, bias: tg.Tensor, *residual: tg.Tensor
) -> Call:
    return lambda: [_norm(folded, x, mean, var, weight, bias, *residual), mean, var]


def _peer_forward(
    folded: str, x: torch.Tensor, mean: torch.Tensor, var: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor,
    *residual: torch.Tensor,
) -> Call:  # fmt: skip
    return lambda: [_torch_norm(folded, x, mean, var, weight, bias, *residual), mean, var]


def _torch_norm(folded: str, *tensors: torch.Tensor) -> torch.Tensor:
    x, mean, var, weight, bias, *residual = tensors
    y = F.batch_norm(x, mean, var, weight, bias, training=True)
    y = y + residual[0] if residual else y
    return torch.relu(y) if folded.endswith("relu") else y


def _our_backward(folded: str, dy: tg.Tensor, *tensors: tg.Tensor) -> Call:
    x, _, _, weight, bias, *residual = tensors
    leaves = [t.requires_grad_() for t in (x, weight, bias, *residual)]
    (y, *_) = _our_forward(folded, *tensors)()
    return lambda: tg.autograd.grad(y, leaves, dy, retain_graph=True)


def _peer_backward(folded: str, dy: torch.Tensor, *tensors: torch.Tensor) -> Call:
    x, _, _, weight, bias, *residual = tensors
    leaves = [t.requires_grad_() for t in (x, weight, bias, *residual)]
    y = _torch_norm(folded, *tensors)
    return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)


def passes(shape: tuple[int, ...], folded: str, dtype: str) -> list[Row]:
    """Forward and backward over x `shape`; parameters and statistics are float32, as mixed precision keeps them."""
    batch, channels, size, _ = shape
    image = Input(shape)
    parameters = {
        "running_mean": Input((channels,), dtype="float32"),
        "running_var": Input((channels,), mean=1.0, std=0.1, dtype="float32"),
        "weight": Input((channels,), mean=1.0, std=0.1, dtype="float32"),
        "bias": Input((channels,), dtype="float32"),
    }
    residual = {"residual": image} if "add" in folded else {}
    elements = batch * channels * size * size
    row = partial(
        Row,
        family="batch_norm",
        case=f"{channels}x{size}x{size} b{batch}",
        dtype=dtype,
        bound=Rounding(terms=elements // channels, kinks=KINKS if folded else 0.0, stored="add" in folded),
    )
    # Traversals of the image. Forward: for statistics, then x and y. Backward: dy and x for sums, then dy, x and dx.
    # A residual is read, and its gradient written, once; the ReLU's mask follows from x unless a residual went in.
    forward, backward = (4, 8) if residual else (3, 5)
    traversal = elements * itemsize(dtype)
    return [
        row(
            op=f"forward{folded}",
            inputs={"x": image, **parameters, **residual},
            flops=8 * elements,
            bytes=forward * traversal,
            ours=partial(_our_forward, folded),
            peer=partial(_peer_forward, folded),
        ),
        row(
            op=f"backward{folded}",
            inputs={"dy": image, "x": image, **parameters, **residual},
            flops=12 * elements,
            bytes=backward * traversal,
            ours=partial(_our_backward, folded),
            peer=partial(_peer_backward, folded),
        ),
    ]


GPU = [
    *(row for folded in FOLDED for row in passes((256, 256, 56, 56), folded, "bfloat16")),
    *(row for folded in FOLDED[:2] for row in passes((256, 64, 112, 112), folded, "bfloat16")),
    *(row for folded in FOLDED for row in passes((256, 512, 7, 7), folded, "bfloat16")),
    *(row for folded in FOLDED[:2] for row in passes((32, 64, 56, 56), folded, "bfloat16")),
    *(row for folded in FOLDED[:2] for row in passes((64, 256, 56, 56), folded, "float32")),
]
INTERPRETER = [
    *(row for folded in FOLDED for row in passes((4, 64, 28, 28), folded, "bfloat16")),
    *(row for folded in FOLDED[:2] for row in passes((4, 64, 28, 28), folded, "float32")),
]
