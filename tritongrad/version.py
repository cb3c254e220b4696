"""Versions, under torch's names."""

from __future__ import annotations

from tritongrad_kernels import driver

__version__ = "0.1.0"

debug = False
cuda: str | None = driver.cuda_version()
hip: str | None = None
xpu: str | None = None
