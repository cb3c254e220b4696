"""Ceilings of GPUs: how fast each can compute and move bytes, for floors of launches that have not run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tritongrad_kernels import dtypes
from tritongrad_kernels.dtypes import dtype


@dataclass(frozen=True)
class GPU:
    """One GPU's ceilings.

    arch       the architecture kernels are compiled for
    bandwidth  bytes per second, reads and writes together
    tensor     dense FLOP/s of products in 16-bit floats; a product in tf32 runs at half of it
    single     FLOP/s in float32 outside tensor cores: IEEE products, and all arithmetic that is no product
    double     FLOP/s in float64, with tensor cores where there are any for it
    source     where the figures come from
    """

    name: str
    arch: str
    bandwidth: float
    tensor: float
    single: float
    double: float
    source: str

    def flops_per_second(self, kind: dtype, precision: str = "ieee") -> float:
        """The rate of products of matrices in dtype `kind`.

        `precision` says how float32 operands are multiplied: "ieee", "tf32", or "tf32x3", which is three tf32 products.
        """
        if kind is dtypes.float64:
            return self.double
        if kind is dtypes.float32:
            return {"tf32": self.tensor / 2, "tf32x3": self.tensor / 6}.get(precision, self.single)
        return self.tensor

    def seconds(self, flops: int, nbytes: int, kind: dtype | None = None, precision: str = "ieee") -> float:
        """The least time for one launch: that of its arithmetic or of its bytes, whichever is longer.

        `kind` is the dtype of a product's operands, None for arithmetic outside products.
        """
        return max(flops / self.flops_per_second(kind or dtypes.float32, precision), nbytes / self.bandwidth)


_SHEET = "NVIDIA's data sheet, dense rates, not measured"

GPUS: Mapping[str, GPU] = {
    gpu.name: gpu
    for gpu in (
        GPU(
            "H200", "sm_90", bandwidth=4.3e12, tensor=790e12, single=67e12, double=67e12,
            source="bf16 products and copy bandwidth measured on one H200 (data sheet: 989 TFLOP/s and 4.8 TB/s); "
            "tf32 taken as half of bf16; float32 and float64 from NVIDIA's data sheet",
        ),
        GPU("H100", "sm_90", bandwidth=3.35e12, tensor=989e12, single=67e12, double=67e12, source=f"{_SHEET} (SXM)"),
        GPU(
            "A100", "sm_80", bandwidth=2.039e12, tensor=312e12, single=19.5e12, double=19.5e12,
            source=f"{_SHEET} (SXM, 80 GB)",
        ),
        GPU(
            "B200", "sm_100", bandwidth=8.0e12, tensor=2250e12, single=80e12, double=40e12,
            source="NVIDIA's Blackwell architecture brief (HGX B200 at 1000 W), dense rates, not measured",
        ),
    )
}  # fmt: skip
"""By name. The first of an architecture stands for it."""


def named(name: str) -> GPU:
    """The GPU of that name, in any case; ValueError for one that is not known."""
    for known, gpu in GPUS.items():
        if known.lower() == name.lower():
            return gpu
    raise ValueError(f"GPU {name!r} is not one of {', '.join(GPUS)}")


def of_arch(arch: str) -> GPU:
    """The GPU that stands for an architecture; ValueError for one that is not known."""
    for gpu in GPUS.values():
        if gpu.arch == arch:
            return gpu
    raise ValueError(f"architecture {arch!r} is not one of {', '.join(sorted({gpu.arch for gpu in GPUS.values()}))}")
