"""Optimisers and learning rate schedules."""

from tritongrad.optim import lr_scheduler as lr_scheduler
from tritongrad.optim.adam import Adam as Adam, AdamW as AdamW
from tritongrad.optim.optimizer import Optimizer as Optimizer
from tritongrad.optim.sgd import SGD as SGD
