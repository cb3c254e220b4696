"""The operations under the names torch.nn.functional gives them."""

import warnings
from typing import Any

from tritongrad import random
from tritongrad.dropout import (
    alpha_dropout as alpha_dropout,
    dropout as dropout,
    dropout1d as dropout1d,
    dropout2d as dropout2d,
    dropout3d as dropout3d,
    feature_alpha_dropout as feature_alpha_dropout,
)
from tritongrad.native import conv_tbc as conv_tbc
from tritongrad.nn.attention import (
    multi_head_attention_forward as multi_head_attention_forward,
    scaled_dot_product_attention as scaled_dot_product_attention,
)
from tritongrad.nn.fractional import (
    fractional_max_pool2d as fractional_max_pool2d,
    fractional_max_pool2d_with_indices as fractional_max_pool2d_with_indices,
    fractional_max_pool3d as fractional_max_pool3d,
    fractional_max_pool3d_with_indices as fractional_max_pool3d_with_indices,
)
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
from tritongrad.ops.binary import (
    binary_cross_entropy as binary_cross_entropy,
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
    hinge_embedding_loss as hinge_embedding_loss,
    kl_div as kl_div,
    multi_margin_loss as multi_margin_loss,
    multilabel_margin_loss as multilabel_margin_loss,
    multilabel_soft_margin_loss as multilabel_soft_margin_loss,
    soft_margin_loss as soft_margin_loss,
)
from tritongrad.ops.conv import conv1d as conv1d, conv2d as conv2d, conv3d as conv3d
from tritongrad.ops.conv_transpose import (
    conv_transpose1d as conv_transpose1d,
    conv_transpose2d as conv_transpose2d,
    conv_transpose3d as conv_transpose3d,
)
from tritongrad.ops.distance import pdist as pdist
from tritongrad.ops.embedding import embedding as embedding, one_hot as one_hot
from tritongrad.ops.embedding_bag import embedding_bag as embedding_bag
from tritongrad.ops.filled import empty_like
from tritongrad.ops.fold import fold as fold, unfold as unfold
from tritongrad.ops.grid import affine_grid as affine_grid, grid_sample as grid_sample
from tritongrad.ops.layernorm import (
    group_norm as group_norm,
    instance_norm as instance_norm,
    layer_norm as layer_norm,
    local_response_norm as local_response_norm,
    rms_norm as rms_norm,
)
from tritongrad.ops.linalg import bilinear as bilinear, linear as linear
from tritongrad.ops.loss import cross_entropy as cross_entropy, nll_loss as nll_loss
from tritongrad.ops.norm import batch_norm as batch_norm
from tritongrad.ops.padding import pad as pad
from tritongrad.ops.pool import (
    adaptive_avg_pool1d as adaptive_avg_pool1d,
    adaptive_avg_pool2d as adaptive_avg_pool2d,
    adaptive_avg_pool3d as adaptive_avg_pool3d,
    adaptive_max_pool1d as adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices as adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d as adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices as adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d as adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices as adaptive_max_pool3d_with_indices,
    avg_pool1d as avg_pool1d,
    avg_pool2d as avg_pool2d,
    avg_pool3d as avg_pool3d,
    lp_pool1d as lp_pool1d,
    lp_pool2d as lp_pool2d,
    lp_pool3d as lp_pool3d,
    max_pool1d as max_pool1d,
    max_pool1d_with_indices as max_pool1d_with_indices,
    max_pool2d as max_pool2d,
    max_pool2d_with_indices as max_pool2d_with_indices,
    max_pool3d as max_pool3d,
    max_pool3d_with_indices as max_pool3d_with_indices,
)
from tritongrad.ops.regression import (
    gaussian_nll_loss as gaussian_nll_loss,
    huber_loss as huber_loss,
    l1_loss as l1_loss,
    mse_loss as mse_loss,
    poisson_nll_loss as poisson_nll_loss,
    smooth_l1_loss as smooth_l1_loss,
)
from tritongrad.ops.resample import (
    interpolate as interpolate,
    upsample as upsample,
    upsample_bilinear as upsample_bilinear,
    upsample_nearest as upsample_nearest,
)
from tritongrad.ops.shuffling import (
    channel_shuffle as channel_shuffle,
    pixel_shuffle as pixel_shuffle,
    pixel_unshuffle as pixel_unshuffle,
)
from tritongrad.ops.similarity import (
    cosine_embedding_loss as cosine_embedding_loss,
    cosine_similarity as cosine_similarity,
    margin_ranking_loss as margin_ranking_loss,
    normalize as normalize,
    pairwise_distance as pairwise_distance,
    triplet_margin_loss as triplet_margin_loss,
    triplet_margin_with_distance_loss as triplet_margin_with_distance_loss,
)
from tritongrad.ops.softmax import log_softmax as _log_softmax, softmax as _softmax
from tritongrad.ops.transcendental import sigmoid as sigmoid, tanh as tanh
from tritongrad.ops.unpool import (
    max_unpool1d as max_unpool1d,
    max_unpool2d as max_unpool2d,
    max_unpool3d as max_unpool3d,
)
from tritongrad.random import rrelu as rrelu, rrelu_ as rrelu_
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes

native_channel_shuffle = channel_shuffle


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0), written over it if `inplace`."""
    return relu_(input) if inplace else _relu(input)


def _axis(name: str, dim: int | None, x: Tensor, stacklevel: int) -> int:
    if dim is not None:
        return dim
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if x.ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtypes.dtype | None = None) -> Tensor:
    """exp(input) over its sum along `dim`.

    Without a `dim`, axis 0 of tensors of 0, 1 or 3 dimensions and axis 1 of others, with a warning, as in torch.
    """
    return _softmax(input, _axis("softmax", dim, input, _stacklevel), dtype=dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtypes.dtype | None = None
) -> Tensor:
    """The logarithm of `softmax`, accurate where that underflows."""
    return _log_softmax(input, _axis("log_softmax", dim, input, _stacklevel), dtype=dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtypes.dtype | None = None) -> Tensor:
    """softmax(-input)."""
    return _softmax(-input, _axis("softmin", dim, input, _stacklevel), dtype=dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample of the categorical distribution with these logits that has a gradient; one-hot if `hard`.

    `eps` has no effect, as in torch. Source: Jang et al. 2017, Maddison et al. 2017.
    """
    noise = -random.exponential_(empty_like(logits.detach())).log()
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    picked = soft.argmax(dim, keepdim=True)
    return (soft.detach() * 0).scatter(dim, picked, 1.0) - soft.detach() + soft


def ctc_loss(*args: Any, **kwargs: Any) -> Tensor:
    """Not offered yet."""
    raise NotImplementedError("ctc_loss: connectionist temporal classification is not offered yet")
