"""Modules on several devices: one device does the work here."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from tritongrad.nn.module import Module
from tritongrad.tensor import Tensor
from tritongrad_kernels import driver
from tritongrad_kernels.driver import Device


def _index(device: Any) -> int:
    named = Device(device)
    if named.type != "cuda":
        raise ValueError(f"DataParallel: expected GPUs, got {named}")
    return named.index or 0


class DataParallel(Module):
    """Calls `module`, on the GPU if there is one; `state_dict` has its names with "module." before them.

    Inputs are moved to the GPU, and the module with the first call of `DataParallel`. More than one of `device_ids` is
    refused with a RuntimeError; where there are several GPUs and none is named, the first is used, with a warning.
    """

    def __init__(
        self, module: Module, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        self.module, self.dim = module, dim
        self.device_ids: list[int] = []
        if driver.DEFAULT_DEVICE.type != "cuda":
            return
        if device_ids is None and driver.gpu_count() > 1:
            warnings.warn(
                f"DataParallel: one of {driver.gpu_count()} GPUs does the work; several are not supported", stacklevel=2
            )
        self.device_ids = [driver.DEFAULT_DEVICE.index or 0] if device_ids is None else [_index(d) for d in device_ids]
        if len(self.device_ids) > 1:
            raise RuntimeError(
                f"DataParallel: several devices are not supported, got device_ids {self.device_ids}; name one of them"
            )
        self.output_device = self.device_ids[0] if output_device is None else _index(output_device)
        module.to(Device("cuda", self.device_ids[0]))

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        if self.device_ids:
            there = Device("cuda", self.device_ids[0])
            inputs, kwargs = _moved(inputs, there), _moved(kwargs, there)
        return self.module(*inputs, **kwargs)


def _moved(value: Any, device: Device) -> Any:
    """The tensors of a nest of tuples, lists and dicts on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(v, device) for v in value))
    if isinstance(value, tuple | list):
        return type(value)(_moved(v, device) for v in value)
    return {k: _moved(v, device) for k, v in value.items()} if isinstance(value, dict) else value


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence[Any] | None = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """What `DataParallel(module)` gives for `inputs`, a tensor or a tuple of arguments."""
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    return DataParallel(module, device_ids, output_device, dim)(*given, **(module_kwargs or {}))


class DistributedDataParallel(Module):
    """Refused: training in several processes is not offered."""

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            "DistributedDataParallel: training in several processes is not offered; use the module in one"
        )
