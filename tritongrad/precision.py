"""Mixed precision: which operations run in a half precision, and which in float32, where `autocast` is on.

Operations say it themselves: `@lowered` ones are products, fast on tensor cores and safe in half precision; `@raised`
ones sum many numbers or have a wide range; `@widest` ones need operands of one dtype. The lists are those of torch's
documentation of CUDA ("Automatic Mixed Precision package", op reference), on every device: what runs on a CPU here is
what would run on a GPU.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from tritongrad.autograd import as_is, is_casting, set_casting
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import driver, dtypes, elementwise
from tritongrad_kernels.array import Array

DEVICES = "cuda", "cpu"
HALVES = dtypes.float16, dtypes.bfloat16


class _State(threading.local):
    """This thread's settings."""

    def __init__(self) -> None:
        self.enabled = dict.fromkeys(DEVICES, False)
        self.dtype = {"cuda": dtypes.float16, "cpu": dtypes.bfloat16}
        self.cache = True


_state = _State()
F = TypeVar("F", bound=Callable)


class autocast:
    """Inside, operations on tensors of `device_type` choose their precision: `with autocast("cuda"): loss = ...`.

    `dtype` is float16 on "cuda" and bfloat16 on "cpu" unless given; `enabled=False` makes a region where nothing is
    chosen. A weight is cast once for all its uses between two changes of it, unless `cache_enabled` is False. Gradients
    are computed in the dtypes of the forward pass: `backward` pays no attention to autocast. Also a decorator.
    """

    def __init__(
        self,
        device_type: str,
        dtype: dtypes.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"autocast: expected a device type like 'cuda', got {type(device_type).__name__}")
        if device_type not in DEVICES:
            raise RuntimeError(f"autocast: expected one of {', '.join(DEVICES)}, got {device_type!r}")
        if enabled and device_type == "cuda" and driver.DEFAULT_DEVICE.type != "cuda":
            warnings.warn("autocast: device type 'cuda' is asked for, but there is no GPU; it is off", stacklevel=2)
            enabled = False
        self.device, self.fast_dtype = device_type, dtype or _state.dtype[device_type]
        if enabled and self.fast_dtype not in (*HALVES, dtypes.float32):
            warnings.warn(
                f"autocast: only float16 and bfloat16 are supported, not {self.fast_dtype.name}; it is off",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._cache_enabled = cache_enabled
        self._before: list[Setting] = []

    def __enter__(self) -> autocast:
        self._before.append(setting())
        enabled = {**_state.enabled, self.device: self._enabled}
        kinds = {**_state.dtype, self.device: self.fast_dtype}
        cache = _state.cache if self._cache_enabled is None else self._cache_enabled
        set_setting((enabled, kinds, cache, any(enabled.values())))
        return self

    def __exit__(self, *exc: object) -> None:
        set_setting(self._before.pop())

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return inside


Setting = tuple[dict[str, bool], dict[str, dtypes.dtype], bool, bool]


def setting() -> Setting:
    """All there is to know of autocast in this thread, for `set_setting`."""
    return _state.enabled, _state.dtype, _state.cache, is_casting()


def set_setting(to: Setting) -> None:
    """Put autocast back as it was when `setting()` gave this."""
    _state.enabled, _state.dtype, _state.cache = to[:3]
    set_casting(to[3])


# ------------------------------------------------------------------------------------------------------------ settings


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether operations on tensors of this device choose their precision now."""
    return _state.enabled[_known(device_type)]


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Switch autocast on or off for this thread; `set_autocast_enabled(True)` is about "cuda"."""
    device, on = ("cuda", device_type) if enabled is None else (_known(device_type), enabled)
    _state.enabled = {**_state.enabled, device: bool(on)}
    set_casting(any(_state.enabled.values()))


def get_autocast_dtype(device_type: str) -> dtypes.dtype:
    """The half precision that products on this device are computed in."""
    return _state.dtype[_known(device_type)]


def set_autocast_dtype(device_type: str, dtype: dtypes.dtype) -> None:
    """Choose the half precision for products on this device."""
    _state.dtype = {**_state.dtype, _known(device_type): dtype}


def get_autocast_gpu_dtype() -> dtypes.dtype:
    return _state.dtype["cuda"]


def get_autocast_cpu_dtype() -> dtypes.dtype:
    return _state.dtype["cpu"]


def is_autocast_cpu_enabled() -> bool:
    return _state.enabled["cpu"]


def is_autocast_cache_enabled() -> bool:
    """Whether casts of weights are kept for their next use."""
    return _state.cache


def set_autocast_cache_enabled(enabled: bool) -> None:
    _state.cache = enabled


def clear_autocast_cache() -> None:
    """Nothing to do: a cast is kept with its weight, and made again when the weight has changed."""


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast` knows this device type."""
    return device_type in DEVICES


def _known(device_type: str) -> str:
    if device_type not in DEVICES:
        raise RuntimeError(f"autocast: expected one of {', '.join(DEVICES)}, got {device_type!r}")
    return device_type


# ------------------------------------------------------------------------------------------------------------ policies


def lowered(function: F) -> F:
    """The operation runs in half precision."""
    return _with(function, lambda tensors: _lower)


def raised(function: F) -> F:
    """The operation runs in float32, unless a `dtype` is asked for."""

    def policy(tensors: list[Tensor]) -> Callable[[Tensor], Tensor]:
        return _raise

    return _with(function, policy, unless="dtype")


def widest(function: F) -> F:
    """The operation runs in the widest dtype among its operands."""

    def policy(tensors: list[Tensor]) -> Callable[[Tensor], Tensor]:
        kinds = [t.dtype for t in tensors if _eligible(t)]
        return lambda t: _to(t, functools.reduce(dtypes.promote, kinds)) if _eligible(t) else t

    return _with(function, policy)


def refused(advice: str) -> Callable[[F], F]:
    """The operation is not safe where autocast is on: RuntimeError with this advice."""

    def decorate(function: F) -> F:
        def policy(tensors: list[Tensor]) -> Callable[[Tensor], Tensor]:
            if any(map(_eligible, tensors)):
                raise RuntimeError(f"{function.__name__} is unsafe to autocast: {advice}")
            return lambda t: t

        return _with(function, policy)

    return decorate


def _with(function: F, policy: Callable[[list[Tensor]], Callable[[Tensor], Tensor]], unless: str | None = None) -> F:
    @functools.wraps(function)
    def chosen(*args: Any, **kwargs: Any) -> Any:
        if not is_casting():
            return function(*args, **kwargs)
        if unless is None or kwargs.get(unless) is None:
            cast = policy([t for t in _flat((args, tuple(kwargs.values()))) if isinstance(t, Tensor)])
            args = _each(cast, args)
            kwargs = {k: _each(cast, v) for k, v in kwargs.items()}
        with as_is():
            return function(*args, **kwargs)

    return chosen  # type: ignore[return-value]


def _flat(value: Any) -> list[Any]:
    return [leaf for v in value for leaf in _flat(v)] if isinstance(value, tuple | list) else [value]


def _each(cast: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return cast(value)
    return type(value)([_each(cast, v) for v in value]) if type(value) in (tuple, list) else value


def _eligible(t: Tensor) -> bool:
    kind = t.array.dtype
    return kind.is_floating_point and kind is not dtypes.float64 and _state.enabled[t.device.type]


def _lower(t: Tensor) -> Tensor:
    if not _eligible(t):
        return t
    kind = _state.dtype[t.device.type]
    if _state.cache and t.dtype is dtypes.float32 and t.requires_grad and t.is_leaf:
        return record(working_copy(t, kind), (t, lambda dy: dy))
    return _to(t, kind)


def _raise(t: Tensor) -> Tensor:
    return _to(t, dtypes.float32) if _eligible(t) else t


def _to(t: Tensor, kind: dtypes.dtype) -> Tensor:
    if t.dtype is kind:
        return t
    return record(elementwise.cast(t.array, kind), (t, lambda dy: dy))


# ------------------------------------------------------------------------------------------------------- working copies


def working_copy(weight: Tensor, kind: dtypes.dtype) -> Array:
    """The values of a leaf in another dtype, kept beside it until it changes.

    An optimizer's step that finds one (`current_copy`) writes it along with the weight, so that the next forward pass
    casts nothing.
    """
    found = current_copy(weight)
    if found is None or found.dtype is not kind:
        found = elementwise.cast(weight.array, kind)
        weight.working_copy = found, weight.array, weight.array.memory.version
    return found


def current_copy(weight: Tensor) -> Array | None:
    """The copy kept of a leaf, if it is still one."""
    if weight.working_copy is None:
        return None
    copy, of, version = weight.working_copy
    return copy if of is weight.array and of.memory.version == version else None


def wrote(weight: Tensor, copy: Array) -> None:
    """Note that weight and copy have been written with the same values."""
    copy.memory.version += 1
    weight.working_copy = copy, weight.array, weight.array.memory.version
