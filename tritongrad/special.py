"""Special functions under torch.special's names."""

from tritongrad.ops.arithmetic import round as round
from tritongrad.ops.reduce import logsumexp as logsumexp
from tritongrad.ops.softmax import log_softmax as log_softmax, softmax as softmax
from tritongrad.ops.special import (
    entr as entr,
    multigammaln as multigammaln,
    ndtr as ndtr,
    xlog1py as xlog1py,
)
from tritongrad.ops.transcendental import (
    digamma as digamma,
    erf as erf,
    erfc as erfc,
    erfinv as erfinv,
    exp2 as exp2,
    expm1 as expm1,
    lgamma,
    log1p as log1p,
    logit as logit,
    polygamma as polygamma,
    sigmoid,
    sinc as sinc,
    xlogy as xlogy,
)

psi, gammaln, expit = digamma, lgamma, sigmoid
