"""`torch.utils.data.distributed` by its usual name."""

from tritongrad.data import (
    DistributedSampler as DistributedSampler,
)
