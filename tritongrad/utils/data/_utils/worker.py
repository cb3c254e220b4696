"""`torch.utils.data._utils.worker` by its usual name."""

from tritongrad.data import (
    WorkerInfo as WorkerInfo,
    get_worker_info as get_worker_info,
)
