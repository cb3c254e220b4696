"""Learning rate schedules: made over an optimizer, and stepped after it."""

from tritongrad.optim.lr_scheduler.base import LRScheduler as LRScheduler, _LRScheduler as _LRScheduler
from tritongrad.optim.lr_scheduler.combined import ChainedScheduler as ChainedScheduler, SequentialLR as SequentialLR
from tritongrad.optim.lr_scheduler.cycles import (
    CosineAnnealingLR as CosineAnnealingLR,
    CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts,
    CyclicLR as CyclicLR,
    OneCycleLR as OneCycleLR,
)
from tritongrad.optim.lr_scheduler.factors import (
    ConstantLR as ConstantLR,
    ExponentialLR as ExponentialLR,
    LambdaLR as LambdaLR,
    LinearLR as LinearLR,
    MultiplicativeLR as MultiplicativeLR,
    MultiStepLR as MultiStepLR,
    PolynomialLR as PolynomialLR,
    StepLR as StepLR,
)
from tritongrad.optim.lr_scheduler.plateau import ReduceLROnPlateau as ReduceLROnPlateau
