"""The operations under the names torch.nn.functional gives them."""

from tritongrad.ops.activation import (
    celu as celu,
    celu_ as celu_,
    elu as elu,
    elu_ as elu_,
    gelu as gelu,
    glu as glu,
    hardshrink as hardshrink,
    hardsigmoid as hardsigmoid,
    hardswish as hardswish,
    hardtanh as hardtanh,
    hardtanh_ as hardtanh_,
    leaky_relu as leaky_relu,
    leaky_relu_ as leaky_relu_,
    logsigmoid as logsigmoid,
    mish as mish,
    prelu as prelu,
    relu as _relu,
    relu6 as relu6,
    relu_ as relu_,
    selu as selu,
    selu_ as selu_,
    silu as silu,
    softplus as softplus,
    softshrink as softshrink,
    softsign as softsign,
    tanhshrink as tanhshrink,
    threshold as threshold,
    threshold_ as threshold_,
)
from tritongrad.ops.conv import conv2d as conv2d
from tritongrad.ops.embedding import embedding as embedding, one_hot as one_hot
from tritongrad.ops.linalg import bilinear as bilinear, linear as linear
from tritongrad.ops.loss import cross_entropy as cross_entropy, mse_loss as mse_loss, nll_loss as nll_loss
from tritongrad.ops.norm import batch_norm as batch_norm
from tritongrad.ops.padding import pad as pad
from tritongrad.ops.pool import (
    adaptive_avg_pool2d as adaptive_avg_pool2d,
    avg_pool2d as avg_pool2d,
    max_pool2d as max_pool2d,
)
from tritongrad.ops.softmax import log_softmax as log_softmax, softmax as softmax
from tritongrad.ops.transcendental import sigmoid as sigmoid, tanh as tanh
from tritongrad.random import dropout as dropout, rrelu as rrelu, rrelu_ as rrelu_
from tritongrad.tensor import Tensor


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0), written over it if `inplace`."""
    return relu_(input) if inplace else _relu(input)
