"""Training by name: one step for tools to look at, and whole runs that are stopped and resumed without a trace."""

from tritongrad.training.config import Config as Config
from tritongrad.training.folder import RunFolder as RunFolder
from tritongrad.training.run import Epoch as Epoch, Run as Run, Step as Step
from tritongrad.training.sources import SOURCES as SOURCES, Source as Source, source as source
from tritongrad.training.step import NETWORKS as NETWORKS, OPTIMIZERS as OPTIMIZERS, training_step as training_step
