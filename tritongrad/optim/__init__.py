"""Optimisers and learning rate schedules."""

from tritongrad.optim import lr_scheduler as lr_scheduler, swa_utils as swa_utils
from tritongrad.optim.adadelta import Adadelta as Adadelta
from tritongrad.optim.adafactor import Adafactor as Adafactor
from tritongrad.optim.adagrad import Adagrad as Adagrad
from tritongrad.optim.adam import Adam as Adam, AdamW as AdamW
from tritongrad.optim.adamax import Adamax as Adamax
from tritongrad.optim.asgd import ASGD as ASGD
from tritongrad.optim.lbfgs import LBFGS as LBFGS
from tritongrad.optim.muon import Muon as Muon
from tritongrad.optim.nadam import NAdam as NAdam
from tritongrad.optim.optimizer import Optimizer as Optimizer
from tritongrad.optim.radam import RAdam as RAdam
from tritongrad.optim.rmsprop import RMSprop as RMSprop
from tritongrad.optim.rprop import Rprop as Rprop
from tritongrad.optim.sgd import SGD as SGD
from tritongrad.optim.sparse_adam import SparseAdam as SparseAdam
from tritongrad.optim.stateless import (
    swap_in_optimizer_params_and_state as swap_in_optimizer_params_and_state,
)
