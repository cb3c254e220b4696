"""Reverse-mode differentiation over a graph of nodes. Knows no op and no kernel.

Everything here works on anything that has a Tensor's attributes; `tensor.py` builds on it, not the other way round.
"""

from tritongrad.autograd import functional as functional
from tritongrad.autograd.anomaly import (
    detect_anomaly as detect_anomaly,
    is_anomaly_enabled as is_anomaly_enabled,
    set_detect_anomaly as set_detect_anomaly,
)
from tritongrad.autograd.backward import backward as backward, grad as grad
from tritongrad.autograd.function import Function as Function, once_differentiable as once_differentiable
from tritongrad.autograd.gradcheck import gradcheck as gradcheck, gradgradcheck as gradgradcheck
from tritongrad.autograd.graph import (
    Edge as Edge,
    Gradients as Gradients,
    Node as Node,
    bind as bind,
    joint_node as joint_node,
    name_of as name_of,
    node_of as node_of,
    takes_result as takes_result,
)
from tritongrad.autograd.mode import (
    as_is as as_is,
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    is_casting as is_casting,
    is_grad_enabled as is_grad_enabled,
    is_inference_mode_enabled as is_inference_mode_enabled,
    no_grad as no_grad,
    set_casting as set_casting,
    set_grad_enabled as set_grad_enabled,
)
from tritongrad.autograd.variable import Variable as Variable
