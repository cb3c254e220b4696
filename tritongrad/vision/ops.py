"""Parts of models by the names of `torchvision.ops`."""

from tritongrad.models.blocks import (
    Conv2dNormActivation as Conv2dNormActivation,
    Permute as Permute,
    SqueezeExcitation as SqueezeExcitation,
    StochasticDepth as StochasticDepth,
    stochastic_depth as stochastic_depth,
)
