"""Mixed precision: `autocast` chooses dtypes, `GradScaler` keeps float16 gradients in range."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tritongrad.amp.grad_scaler import GradScaler as GradScaler
from tritongrad.precision import (
    autocast as autocast,
    is_autocast_available as is_autocast_available,
    is_autocast_enabled,
    set_setting,
    setting,
)
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes


def custom_fwd(fwd: Callable | None = None, *, device_type: str, cast_inputs: dtypes.dtype | None = None) -> Callable:
    """For the `forward` of an autograd.Function: run it under the autocast of its caller, and remember that.

    With `cast_inputs`, where autocast is on floating-point arguments are cast to that dtype and autocast is off inside.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._autocast = setting()
        if cast_inputs is None or not is_autocast_enabled(device_type):
            return fwd(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            ctx._autocast = setting()
            cast = [_cast(a, device_type, cast_inputs) for a in args]
            return fwd(ctx, *cast, **{k: _cast(v, device_type, cast_inputs) for k, v in kwargs.items()})

    return forward


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Callable:
    """For the `backward` of an autograd.Function: run it under the autocast its forward ran under."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        now = setting()
        set_setting(ctx._autocast)
        try:
            return bwd(ctx, *args, **kwargs)
        finally:
            set_setting(now)

    return backward


def _cast(value: Any, device_type: str, dtype: dtypes.dtype) -> Any:
    if isinstance(value, Tensor):
        eligible = value.is_floating_point() and value.device.type == device_type
        return value.to(dtype) if eligible and value.dtype is not dtypes.float64 else value
    if type(value) in (list, tuple):
        return type(value)([_cast(v, device_type, dtype) for v in value])
    return {k: _cast(v, device_type, dtype) for k, v in value.items()} if isinstance(value, dict) else value
