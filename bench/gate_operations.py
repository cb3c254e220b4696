"""Operations that the training steps of the gate do not contain, at sizes of transformers and convolutional networks.

Each is run forward and backward in a dry run; what it launches is compiled and held against the rules as theirs is.
"""

from __future__ import annotations

from collections.abc import Callable

import tritongrad as tg
from tritongrad import amp, nn, optim
from tritongrad.nn import functional as F
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes

OPERATIONS: tuple[Callable[[Tensor, Tensor, Tensor], Tensor], ...] = (
    # of rows [8192, 768], images [64, 64, 56, 56] and indices [8192]
    lambda rows, images, at: F.layer_norm(rows, [768]),
    lambda rows, images, at: F.softmax(rows, 1),
    lambda rows, images, at: F.log_softmax(rows, 1),
    lambda rows, images, at: F.embedding(at, rows),
    lambda rows, images, at: tg.gather(rows, 0, at.reshape(-1, 1).expand(-1, 768)),
    lambda rows, images, at: rows.index_select(0, at),
    lambda rows, images, at: tg.cumsum(rows, 1),
    lambda rows, images, at: tg.sort(rows, 1).values,
    lambda rows, images, at: F.interpolate(images, scale_factor=2, mode="bilinear"),
    lambda rows, images, at: F.avg_pool2d(images, 3, 2, 1),
    lambda rows, images, at: F.unfold(images, 3, padding=1),
    lambda rows, images, at: F.conv2d(images, tg.ones(64, 1, 3, 3, dtype=images.dtype, requires_grad=True), groups=64),
)


def run(kind: dtypes.dtype) -> None:
    """All of them with operands of this dtype, and what is done to gradients."""
    rows = tg.zeros(8192, 768, dtype=kind, requires_grad=True)
    images = tg.zeros(64, 64, 56, 56, dtype=kind).contiguous(memory_format=tg.channels_last).requires_grad_()
    at = tg.zeros(8192, dtype=tg.int64)
    for operation in OPERATIONS:
        y = operation(rows, images, at)
        y.backward(tg.empty_like(y))
    nn.utils.clip_grad_norm_([rows, images], 1.0)
    nn.utils.clip_grad_value_([rows, images], 1.0)
    scaler = amp.GradScaler()
    scaler.scale(tg.zeros(1))
    scaler.unscale_(stepper := optim.RMSprop([rows, images]))
    stepper.step()
