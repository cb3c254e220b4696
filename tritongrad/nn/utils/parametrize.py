"""Parameters that are functions of others: `module.weight` is computed, whenever it is read, from what is trained.

A module so changed is of a class of its own, Parametrized<its class>, in which the name is a property. What is trained
stands under `module.parametrizations[name]`, a `ParametrizationList`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tritongrad.autograd import no_grad
from tritongrad.nn.container import ModuleDict, ModuleList
from tritongrad.nn.module import Module, Parameter
from tritongrad.tensor import Tensor

# Values by module and name, while some `cached()` block is open.
_cache: dict[tuple[int, str], Tensor] = {}
_open = 0


@contextmanager
def cached() -> Iterator[None]:
    """Inside the block each parametrized tensor is computed once, at its first use, and kept until the block ends."""
    global _open
    _open += 1
    try:
        yield
    finally:
        _open -= 1
        if not _open:
            _cache.clear()


def _require(what: str, value: Any, like: Tensor, shape: bool = True) -> None:
    """ValueError unless the value is a tensor of that dtype, device and, where it matters, shape."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{what} must return a tensor, got {type(value).__name__}")
    for name in ("dtype", "device", "shape") if shape else ("dtype", "device"):
        if getattr(value, name) != getattr(like, name):
            raise ValueError(
                f"{what} may not change the {name} of the tensor, unless `unsafe` flag is enabled: it was "
                f"{getattr(like, name)} and became {getattr(value, name)}"
            )


def _register(module: Module, name: str, value: Tensor) -> None:
    if isinstance(value, Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied in order, and the tensors they start from.

    That is `original`, or, where the first parametrization's `right_inverse` gives several tensors, `original0`,
    `original1`, ... Made by `register_parametrization`. With `unsafe` dtype and shape may change, and nothing is tried.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        start: Any = original
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with suppress(NotImplementedError):
                        start = module.right_inverse(start)
        if not isinstance(start, Tensor | Sequence):
            raise ValueError(
                f"'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(start).__name__}"
            )
        self.is_tensor = isinstance(start, Tensor)
        self.ntensors = 1 if self.is_tensor else len(start)
        before = original.detach()
        if self.is_tensor:
            _require("`right_inverse`", start, original, shape=False)
            original.data = start  # type: ignore[assignment]
            _register(self, "original", original)
        else:
            for i, part in enumerate(start):
                self._register_part(i, part, original)
        if not unsafe:
            _require("a parametrization", self(), before)

    def _register_part(self, i: int, part: Any, original: Tensor) -> None:
        if not isinstance(part, Tensor):
            raise ValueError(
                f"'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got element {i} of the sequence with type {type(part).__name__}."
            )
        if isinstance(original, Parameter):
            part = Parameter(part, original.requires_grad)
        _register(self, f"original{i}", part.requires_grad_(original.requires_grad))

    def _originals(self) -> list[Any]:
        return [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value: Any) -> None:
        """Choose the originals such that the parametrized tensor becomes `value`; what `module.name = value` does."""
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                value = module.right_inverse(value)
        if not self.is_tensor and (not isinstance(value, Sequence) or len(value) != self.ntensors):
            found = f"of length {len(value)}" if isinstance(value, Sequence) else type(value).__name__
            raise ValueError(f"'right_inverse' must return a sequence of {self.ntensors} tensors. Got {found}.")
        for original, part in zip(self._originals(), [value] if self.is_tensor else value, strict=True):
            _require("`right_inverse`", part, original, shape=False)
            original.data = part

    def forward(self) -> Tensor:
        first, *others = self
        x = first(*self._originals())
        for module in others:
            x = module(x)
        return x


def _copied(self: Module, memo: dict[int, Any]) -> Module:
    if id(self) not in memo:
        memo[id(self)] = twin = type(self).__new__(type(self))
        twin.__dict__ = copy.deepcopy(self.__dict__, memo)
    return memo[id(self)]


def _refused(self: Module) -> Any:
    raise RuntimeError("Serialization of parametrized modules is only supported through state_dict().")


def _give_own_class(module: Module) -> None:
    """A class for this module alone, so that it can have properties. It is copied deeply, and never pickled."""
    own: dict[str, Any] = {"__getstate__": _refused}
    if not hasattr(type(module), "__deepcopy__"):
        own["__deepcopy__"] = _copied
    module.__class__ = type(f"Parametrized{type(module).__name__}", (type(module),), own)


def _add_property(kind: type, name: str) -> None:
    def read(self: Any) -> Tensor:
        listed = self.parametrizations[name]
        if not _open:
            return listed()
        key = id(self), name
        if key not in _cache:
            _cache[key] = listed()
        return _cache[key]

    def write(self: Any, value: Any) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(kind, name, property(read, write))


def _try_out(module: Module, name: str, parametrization: Any) -> None:
    """ValueError unless a further parametrization, and its inverse, keep dtype and shape."""
    now = getattr(module, name)
    value = parametrization(now)
    _require("a parametrization", value, now)
    if hasattr(parametrization, "right_inverse"):
        try:
            back = parametrization.right_inverse(value)
        except NotImplementedError:
            return
        _require("parametrization.right_inverse", back, now)


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Make a parameter or buffer the value of parametrization(original); a further one is applied to the value so far.

    Where the parametrization has a method `right_inverse`, the original is right_inverse(tensor), else the tensor, and
    `module.name = value` can be written. Unless `unsafe` it must keep dtype and shape: ValueError.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _try_out(module, tensor_name, parametrization)
        listed = module.parametrizations[tensor_name]
        listed.append(parametrization)
        listed.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        listed = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _give_own_class(module)
            module.parametrizations = ModuleDict()
        _add_property(type(module), tensor_name)
        module.parametrizations[tensor_name] = listed
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'"
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has a parametrization: of this tensor, or of any."""
    listed = getattr(module, "parametrizations", None)
    if not isinstance(listed, ModuleDict):
        return False
    return len(listed) > 0 if tensor_name is None else tensor_name in listed


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """A plain tensor again: with the value it has now, or, without `leave_parametrized`, the one `original` tensor."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    listed = module.parametrizations[tensor_name]
    if not listed.is_tensor and not leave_parametrized:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
    if listed.is_tensor:
        plain = listed.original
        if leave_parametrized:
            with no_grad():
                plain.data = getattr(module, tensor_name)
    else:
        value = getattr(module, tensor_name)
        plain = Parameter(value) if value.requires_grad else value
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, plain)
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class a module had before it was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Give another module the parametrizations, of one tensor or all, and the very tensors they start from."""
    if not is_parametrized(from_module):
        return to_module
    for name in list(from_module.parametrizations) if tensor_name is None else [tensor_name]:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        source = from_module.parametrizations[name]
        for parametrization in source:
            register_parametrization(to_module, name, parametrization)
        target = to_module.parametrizations[name]
        for original in ["original"] if source.is_tensor else [f"original{i}" for i in range(source.ntensors)]:
            setattr(target, original, getattr(source, original))
    return to_module
