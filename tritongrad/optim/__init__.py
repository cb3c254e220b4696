"""Optimisers."""

from tritongrad.optim.adam import Adam as Adam
from tritongrad.optim.adam import AdamW as AdamW
from tritongrad.optim.optimizer import Optimizer as Optimizer
from tritongrad.optim.sgd import SGD as SGD
