"""Loss scaling, so that gradients in float16 neither vanish nor overflow."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from tritongrad.autograd import no_grad
from tritongrad.ops.filled import full, zeros
from tritongrad.ops.joining import stack
from tritongrad.ops.layout import own
from tritongrad.ops.reduce import amax
from tritongrad.optim import Optimizer
from tritongrad.optim.fused import FusedOptimizer
from tritongrad.tensor import Tensor
from tritongrad_kernels import amp as kernel, capture, dtypes, memory

READY, UNSCALED, STEPPED = "ready", "unscaled", "stepped"


class GradScaler:
    """Multiplies the loss by a scale, and frees the gradients of it before the optimizer's step.

    `scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()`. A step whose gradients hold an infinity
    or a NaN is left out, and the scale is multiplied by `backoff_factor`; after `growth_interval` good steps in a row
    it is multiplied by `growth_factor`. With `enabled=False` everything passes through. `device` is accepted for
    torch's sake: the scale lives where the first loss does. Source: Micikevicius et al. 2018.
    """

    def __init__(
        self,
        device: Any = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and not growth_factor > 1.0:
            raise ValueError(f"GradScaler: the growth factor must be > 1.0, got {growth_factor}")
        if enabled and not backoff_factor < 1.0:
            raise ValueError(f"GradScaler: the backoff factor must be < 1.0, got {backoff_factor}")
        self._enabled = enabled
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._scale: Tensor | None = None
        self._growth_tracker: Tensor | None = None
        self._initial = (float(init_scale), 0)
        self._stages: dict[int, str] = {}
        self._found: dict[int, list[Tensor]] = {}

    def scale(self, outputs: Any) -> Any:
        """A tensor, or each in an iterable of them, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale_on(outputs.device).to(outputs.device)
        if isinstance(outputs, Iterable):
            scaled = [self.scale(o) for o in outputs]
            return type(outputs)(scaled) if isinstance(outputs, list | tuple) else scaled
        raise ValueError(f"GradScaler.scale: outputs must be a tensor or an iterable of them, got {type(outputs)}")

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, e.g. to clip them before `step`.

        RuntimeError a second time before `update`, or after `step`; ValueError for gradients in float16, which have no
        room for it.
        """
        if not self._enabled:
            return
        stage = self._stages.get(id(optimizer), READY)
        if stage is UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if stage is STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        self._found[id(optimizer)] = self._unscaled(optimizer, self._made("unscale_")[0])
        self._stages[id(optimizer)] = UNSCALED

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """The optimizer's step, if all its gradients are finite; they are unscaled first where that was not done."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._made("step")
        if self._stages.get(id(optimizer)) is STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if self._stages.get(id(optimizer), READY) is READY:
            self.unscale_(optimizer)
        found = self._found[id(optimizer)]
        if not found:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        self._stages[id(optimizer)] = STEPPED
        if capture.current() is not None:
            return self._step_unless(self._worst(found), optimizer, args, kwargs)
        # In a dry run nothing is known of values: the step is what there is to see.
        with memory.refusing(None):
            overflow = not memory.in_dry_run() and any(f.item() for f in found)
        return None if overflow else optimizer.step(*args, **kwargs)

    @staticmethod
    def _step_unless(found: Tensor, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A step that is captured, and left out by the launch itself where something was found."""
        if not isinstance(optimizer, FusedOptimizer):
            raise capture.Uncapturable(f"GradScaler cannot leave out steps of {type(optimizer).__name__} on the device")
        optimizer.unless = found.array
        try:
            return optimizer.step(*args, **kwargs)
        finally:
            del optimizer.unless  # what its class has is back

    @staticmethod
    def _worst(found: list[Tensor], device: Any = None) -> Tensor:
        """The largest of what was found, on one device."""
        with no_grad():
            return found[0] if len(found) == 1 else amax(stack([f.to(device or found[0].device) for f in found]), 0)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Move the scale after the steps of an iteration, or set it."""
        if not self._enabled:
            return
        scale, tracker = self._made("update")
        found = [f for one in self._found.values() for f in one]
        if new_scale is not None:
            if isinstance(new_scale, Tensor) and (new_scale.numel() != 1 or new_scale.requires_grad):
                raise AssertionError("new_scale should be a float or a 1-element tensor with requires_grad=False.")
            scale.fill_(float(new_scale))
        elif not found:
            raise AssertionError("No inf checks were recorded prior to update.")
        else:
            worst = self._worst(found, scale.device)
            factors = self._growth_factor, self._backoff_factor
            kernel.move(scale.array, tracker.array, worst.array, *factors, self._growth_interval)
            scale.array.memory.version += 1
        self._stages.clear()
        self._found.clear()

    def _unscaled(self, optimizer: Optimizer, scale: Tensor) -> list[Tensor]:
        """Unscale the gradients of an optimizer: for each dtype and device whether one was not finite."""
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if any(g.dtype is dtypes.float16 for g in gradients):
            raise ValueError("Attempting to unscale FP16 gradients.")

        def kind(g: Tensor) -> tuple[str, str]:
            return g.dtype.name, str(g.device)

        found = []
        for _, same in groupby(sorted(gradients, key=kind), kind):
            tensors = list(same)
            on = scale.to(tensors[0].device).array
            found.append(Tensor(kernel.unscale([own(g) for g in tensors], on)))
            for g in tensors:
                g.array.memory.version += 1
        return found

    def _scale_on(self, device: Any) -> Tensor:
        if self._scale is None:
            scale, steps = self._initial
            self._scale = full((1,), scale, dtype=dtypes.float32, device=device)
            self._growth_tracker = zeros(1, dtype=dtypes.int32, device=device) + steps
        return self._scale.reshape(())

    def _made(self, caller: str) -> tuple[Tensor, Tensor]:
        if self._scale is None or self._growth_tracker is None:
            raise AssertionError(f"Attempted {caller} but _scale is None. scale() has to be called first.")
        return self._scale, self._growth_tracker

    # ------------------------------------------------------------------------------------------------------- settings

    def get_scale(self) -> float:
        """The scale as a number; the host waits for it."""
        if not self._enabled:
            return 1.0
        return self._initial[0] if self._scale is None else self._scale.item()

    def get_growth_factor(self) -> float:
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The scale, its factors, and how many good steps there were since it last moved; {} if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._initial[1] if self._growth_tracker is None else self._growth_tracker.item(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave. RuntimeError for that of a disabled scaler."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._initial = float(state_dict["scale"]), int(state_dict["_growth_tracker"])
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._scale = self._growth_tracker = None  # made anew from these, where the next loss is
