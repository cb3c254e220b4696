"""Triton's own launcher in front of a CUDA driver that does nothing, to time what a launch costs where there is no GPU.

Works in a process that compiles (`TRITONGRAD_COMPILE_FOR`, see `stand_in`), where kernels are those of a GPU. Triton's
code in C runs as it does there up to its calls of libcuda, whose place a library of empty functions takes: the driver's
own microseconds are missing from the times.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path
from typing import Any

from triton.backends.nvidia import driver as nvidia

from tritongrad_kernels import stand_in

_LIBCUDA = r"""
/* Every call succeeds; none does anything. */
typedef int R; typedef unsigned long long u64;
R cuGetErrorString(int e, const char **s) { *s = "stub"; return 0; }
R cuCtxGetCurrent(void **p) { *p = (void *)1; return 0; }
R cuCtxSetCurrent(void *p) { return 0; }
R cuDeviceGet(int *d, int i) { *d = 0; return 0; }
R cuDevicePrimaryCtxRetain(void **p, int d) { *p = (void *)1; return 0; }
R cuPointerGetAttribute(void *d, int a, u64 p) { *(u64 *)d = p; return 0; }
R cuDriverGetVersion(int *v) { *v = 13000; return 0; }
R cuLaunchKernelEx(const void *c, void *f, void **p, void **e) { return 0; }
R cuTensorMapEncodeTiled(void *m, int t, unsigned r, void *a, const u64 *n, const u64 *s, const unsigned *b,
                         const unsigned *e, int i, int w, int l, int o) { return 0; }
"""
_NEVER_CALLED = (
    *("cuCtxGetDevice", "cuCtxGetLimit", "cuCtxSetLimit", "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2", "cuInit"),
    *("cuDeviceGetAttribute", "cuFuncGetAttribute", "cuFuncSetAttribute", "cuFuncSetCacheConfig", "cuModuleUnload"),
    *("cuModuleGetFunction", "cuModuleLoadData", "cuOccupancyMaxActiveClusters", "cuTensorMapEncodeIm2col"),
    "cuStreamIsCapturing",
)


class Utils(stand_in._Utils):
    """The stand-in's loading, Triton's launching."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def install(folder: Path, compiler: str = "cc") -> None:
    """Launches of this process go through Triton's launcher into nothing. Leaves its libraries in `folder`."""
    source, library = folder / "cuda.c", folder / "libcuda.so.1"
    empty = "".join(f"R {name}() {{ return 0; }}\n" for name in _NEVER_CALLED)
    source.write_text(_LIBCUDA + empty)
    subprocess.run([compiler, "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", source, "-o", library], check=True)
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)  # whoever asks for libcuda.so.1 gets this one
    os.environ["TRITON_LIBCUDA_PATH"] = str(folder)
    stand_in._driver.utils = Utils(nvidia.CudaUtils())
    stand_in._driver.launcher_cls = nvidia.CudaLauncher
