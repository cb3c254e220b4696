"""Which GPUs there are, and which one is in use."""

from __future__ import annotations

from typing import Any

from tritongrad.tensor import Tensor
from tritongrad_kernels import driver, dtypes, memory
from tritongrad_kernels.driver import Device

DTYPES = (
    dtypes.bool_, dtypes.uint8, dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64, dtypes.float16, dtypes.bfloat16,
    dtypes.float32, dtypes.float64,
)  # fmt: skip


def is_available() -> bool:
    """Whether kernels run on a GPU here."""
    return driver.DEFAULT_DEVICE.type == "cuda"


def is_initialized() -> bool:
    """Whether the GPU is ready: where there is one, from the start."""
    return is_available()


def init() -> None:
    """Nothing to do: the GPU is ready from the start. RuntimeError where there is none."""
    number(None)


def device_count() -> int:
    """How many GPUs there are."""
    return driver.gpu_count() if is_available() else 0


def number(device: Any) -> int:
    """The index of a GPU named as torch does: None for the one in use, an index, "cuda:1", a device.

    RuntimeError where there is no GPU; ValueError for a device of another kind.
    """
    if not is_available():
        raise RuntimeError("cuda: there is no GPU here; ask torch.cuda.is_available() first")
    if device is None:
        return driver.DEFAULT_DEVICE.index or 0
    named = Device(device)
    if named.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {named}")
    return named.index or 0


def current_device() -> int:
    """The index of the GPU in use."""
    return number(None)


def set_device(device: Any) -> None:
    """Use another GPU: tensors are made there unless a device is named. A negative index changes nothing."""
    if not (isinstance(device, int) and device < 0):
        memory.use_gpu(number(device))


class device:
    """A GPU in use inside a block: `with torch.cuda.device(1): ...`. A negative index or None changes nothing."""

    def __init__(self, device: Any) -> None:
        self.idx = -1 if device is None or (isinstance(device, int) and device < 0) else number(device)
        self.prev_idx = -1

    def __enter__(self) -> None:
        if self.idx >= 0:
            self.prev_idx = current_device()
            set_device(self.idx)

    def __exit__(self, *exc: object) -> None:
        if self.idx >= 0:
            set_device(self.prev_idx)


class device_of(device):
    """The GPU of a tensor in use inside a block; for a tensor on the host nothing changes."""

    def __init__(self, obj: Tensor) -> None:
        super().__init__(obj.get_device() if obj.is_cuda else -1)


def get_device_name(device: Any = None) -> str:
    return driver.gpu_name(number(device))


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """(major, minor) of the architecture."""
    return driver.gpu_capability(number(device))


def get_device_properties(device: Any = None) -> Any:
    """name, major, minor, total_memory, multi_processor_count and what else the driver says."""
    return driver.gpu_properties(number(device))


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether one GPU reads another's memory: copies between them go through the host."""
    return False


def get_arch_list() -> list[str]:
    """The architectures there is code for: kernels are compiled for the GPU that is there."""
    return [f"sm_{major}{minor}" for major, minor in map(driver.gpu_capability, range(device_count()))]


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether bfloat16 can be computed with on the GPU."""
    return is_available() and (including_emulation or get_device_capability() >= (8, 0))


def is_tf32_supported() -> bool:
    """Whether the GPU's tensor cores take float32 with 10-bit mantissas."""
    return is_available() and get_device_capability() >= (8, 0)


def synchronize(device: Any = None) -> None:
    """Wait for everything launched so far."""
    driver.synchronize()


def ipc_collect() -> None:
    """Nothing to do: GPU memory is not shared between processes."""
