"""torch.backends.cuda: matrix products and attention on a GPU."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

from tritongrad.backends.fp32 import Precision, get_float32_matmul_precision, require_bool, set_float32_matmul_precision
from tritongrad_kernels import driver


class _Products(Precision):
    """`allow_tf32` is what `set_float32_matmul_precision` chooses: True asks for "high".

    Sums of half precision products are always formed in float32, whatever the other switches allow.
    """

    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True
    allow_fp16_accumulation = False

    @property
    def allow_tf32(self) -> bool:
        return get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        require_bool("set_allow_tf32_cublas", value)
        if value != self.allow_tf32:
            set_float32_matmul_precision("high" if value else "highest")


matmul = _Products("products")


def is_built() -> bool:
    """Whether a GPU is used here."""
    return driver.DEFAULT_DEVICE.type == "cuda"


# -------------------------------------------------------------------------------- attention: one kernel, all switches

_attention = dict.fromkeys(("flash", "mem_efficient", "math", "cudnn"), True)


def flash_sdp_enabled() -> bool:
    return _attention["flash"]


def enable_flash_sdp(enabled: bool) -> None:
    """Remembered; attention is one kernel."""
    _attention["flash"] = enabled


def mem_efficient_sdp_enabled() -> bool:
    return _attention["mem_efficient"]


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Remembered; attention is one kernel."""
    _attention["mem_efficient"] = enabled


def math_sdp_enabled() -> bool:
    return _attention["math"]


def enable_math_sdp(enabled: bool) -> None:
    """Remembered; attention is one kernel."""
    _attention["math"] = enabled


def cudnn_sdp_enabled() -> bool:
    return _attention["cudnn"]


def enable_cudnn_sdp(enabled: bool) -> None:
    """Remembered; attention is one kernel."""
    _attention["cudnn"] = enabled


def is_flash_attention_available() -> bool:
    """Whether attention is computed without forming its matrix of weights: it is."""
    return True


@contextlib.contextmanager
def sdp_kernel(
    enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True, enable_cudnn: bool = True
) -> Iterator[None]:
    """Other switches inside the block. Deprecated in torch."""
    warnings.warn(
        "`torch.backends.cuda.sdp_kernel()` is deprecated; use torch.nn.attention.sdpa_kernel()",
        FutureWarning,
        stacklevel=3,
    )
    before = dict(_attention)
    _attention.update(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)
    try:
        yield
    finally:
        _attention.update(before)


def preferred_linalg_library(backend: str | None = None) -> str:
    """Taken for the sake of scripts: small decompositions are found on the host."""
    return "default"


def preferred_blas_library(backend: str | None = None) -> str:
    """Taken for the sake of scripts: products are our kernels."""
    return "default"
