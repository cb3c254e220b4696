"""What torch scripts ask of, and tell, the libraries under torch.

There is one here: our kernels. Switches that choose how they compute act; the others are remembered and change nothing.

float32 products are IEEE until a script allows less: `set_float32_matmul_precision`, `cuda.matmul.allow_tf32` and the
`fp32_precision` of this module, `cuda.matmul`, `cudnn`, `cudnn.conv` and `cudnn.rnn` are the same settings by other
names. Convolutions go with matrix products until one of `cudnn`'s is set. Every result is deterministic, whatever the
switches say.
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator

from tritongrad.backends import (
    cpu as cpu,
    cuda as cuda,
    cudnn as cudnn,
    fusion as fusion,
    mha as mha,
    mkl as mkl,
    mkldnn as mkldnn,
    mps as mps,
    nnpack as nnpack,
    openmp as openmp,
    opt_einsum as opt_einsum,
    quantized as quantized,
)
from tritongrad.backends.fp32 import (
    choose,
    chosen,
    get_float32_matmul_precision as get_float32_matmul_precision,
    set_float32_matmul_precision as set_float32_matmul_precision,
)


class _Backends(types.ModuleType):
    @property
    def fp32_precision(self) -> str:
        """How all float32 products are formed: "ieee" or "tf32"."""
        return chosen("products")

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        choose("products", value)
        choose("convolutions", "none")


@contextlib.contextmanager
def flags(fp32_precision: str = "none") -> Iterator[None]:
    """Another `fp32_precision` inside the block."""
    before = chosen("products")
    choose("products", fp32_precision)
    try:
        yield
    finally:
        choose("products", before)


sys.modules[__name__].__class__ = _Backends
