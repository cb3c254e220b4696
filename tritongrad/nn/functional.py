"""The operations under the names torch.nn.functional gives them."""

from tritongrad.ops.conv import conv2d as conv2d
from tritongrad.ops.elementwise import (
    gelu as gelu,
    leaky_relu as leaky_relu,
    relu as _relu,
    relu_ as relu_,
    sigmoid as sigmoid,
    silu as silu,
    tanh as tanh,
)
from tritongrad.ops.linalg import linear as linear
from tritongrad.ops.loss import cross_entropy as cross_entropy, mse_loss as mse_loss, nll_loss as nll_loss
from tritongrad.ops.norm import batch_norm as batch_norm
from tritongrad.ops.pool import (
    adaptive_avg_pool2d as adaptive_avg_pool2d,
    avg_pool2d as avg_pool2d,
    max_pool2d as max_pool2d,
)
from tritongrad.ops.softmax import log_softmax as log_softmax, softmax as softmax
from tritongrad.random import dropout as dropout
from tritongrad.tensor import Tensor


def relu(x: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), written over x if `inplace`."""
    return relu_(x) if inplace else _relu(x)
