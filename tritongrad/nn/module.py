"""Module: a tree of parameters and buffers with a `forward`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from tritongrad.autograd import no_grad
from tritongrad.nn import hooks, state
from tritongrad.nn.hooks import Hooked
from tritongrad.nn.state import Stateful
from tritongrad.nn.uninitialized import is_lazy
from tritongrad.ops.filled import empty_like, uninitialised
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes


class Parameter(Tensor):
    """A tensor that a module trains. Assigning one to a module's attribute registers it."""

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        super().__init__((uninitialised(0) if data is None else data).array)
        self.requires_grad = requires_grad

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class _BufferKind(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.__dict__.get("_is_buffer", False)


class Buffer(metaclass=_BufferKind):
    """A tensor that becomes a buffer of the module to whose attribute it is assigned; not saved unless `persistent`.

    What is made is an ordinary tensor, with a mark.
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Any:
        made = uninitialised(0) if data is None else data.detach().requires_grad_(data.requires_grad)
        made.__dict__.update(persistent=persistent, _is_buffer=True)
        return made


class Module(Hooked, Stateful):
    """Base class of everything with parameters.

    Subclasses assign Parameters and Modules as attributes in `__init__` (after `super().__init__()`) and define
    `forward`; calling the module runs hooks and `forward`.
    """

    training: bool

    call_super_init = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Arguments are for the next class in line, where `call_super_init` is set."""
        self.__dict__.update(
            _parameters={},
            _buffers={},
            _modules={},
            _non_persistent_buffers_set=set(),
            training=True,
            **{table: OrderedDict() for table in (*hooks.TABLES, *state.TABLES)},
        )
        if self.call_super_init:
            super().__init__(*args, **kwargs)
        elif args or kwargs:
            raise TypeError(f"{type(self).__name__}.__init__() got arguments that nothing takes: {args or kwargs}")

    # --------------------------------------------------------------------------------------------- registration

    def __setattr__(self, name: str, value: Any) -> None:
        tables = self.__dict__
        if "_parameters" not in tables:
            if isinstance(value, Parameter | Module):
                raise AttributeError(f"cannot assign {name} before {type(self).__name__}'s super().__init__() call")
            object.__setattr__(self, name, value)
            return
        if isinstance(value, Parameter):
            self._forget(name, but=self._parameters)
            if isinstance(getattr(type(self), name, None), property):
                raise KeyError(f"attribute {name!r} already exists")
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._forget(name, but=self._modules)
            self._modules[name] = value
        elif isinstance(value, Buffer) and name not in self._parameters:
            self._forget(name, but=self._buffers)
            self.register_buffer(name, value, value.persistent)  # type: ignore[arg-type]
        elif name in self._parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign a {type(value).__name__} as parameter {name!r}: expected Parameter or None"
                )
            self._parameters[name] = None
        elif name in self._buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"cannot assign a {type(value).__name__} as buffer {name!r}: expected Tensor or None")
            self._buffers[name] = value
        elif name in self._modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign a {type(value).__name__} as child module {name!r}: expected Module or None"
                )
            self._modules[name] = None
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            entries = self.__dict__.get(table)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        if not self._forget(name):
            object.__delattr__(self, name)

    def _forget(self, name: str, but: dict | None = None) -> bool:
        """Take a name away wherever it stands; in the table `but` it keeps its place."""
        found = False
        for table in (self._parameters, self._buffers, self._modules, self.__dict__):
            if table is not but and name in table:
                del table[name]
                found = True
        self._non_persistent_buffers_set.discard(name)
        return found

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name; None reserves the name."""
        self._check(name, "parameter", param, Parameter)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is part of the state but not trained; not saved unless `persistent`."""
        self._check(name, "buffer", tensor, Tensor)
        self._buffers[name] = tensor
        if not persistent:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module under a name."""
        self._check(name, "module", module, Module)
        self._modules[name] = module

    register_module = add_module

    def _check(self, name: str, what: str, value: Any, kind: type) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before {type(self).__name__}'s super().__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string, got {type(name).__name__}")
        if "." in name or not name:
            raise KeyError(f"{what} name {name!r} must not be empty or contain a dot")
        if hasattr(self, name) and name not in self._parameters | self._buffers | self._modules:
            raise KeyError(f"attribute {name!r} already exists")
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"cannot register a {type(value).__name__} as {what} {name!r}: expected {kind.__name__}")
        if isinstance(value, Parameter) and value.node is not None:
            raise ValueError(f"cannot register a result of other tensors as parameter {name!r}: it must be a leaf")

    # -------------------------------------------------------------------------------------------------- the tree

    def named_modules(
        self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, with dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        return (m for _, m in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        seen: set[Module] = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        return (m for _, m in self.named_children())

    def _named(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix=prefix) if recurse else [(prefix, self)]:
            for name, value in getattr(module, table).items():
                if value is not None and not (remove_duplicate and id(value) in seen):
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted names; one that appears twice is given once."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with dotted names."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module under a dotted name."""
        module = self
        for name in target.split(".") if target else []:
            if name not in module._modules:
                raise AttributeError(f"{type(module).__name__} has no submodule {name!r} (looking for {target!r})")
            module = module._modules[name]
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module in the place of a dotted name. With `strict` one must be there."""
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if name not in parent._modules and (strict or hasattr(parent, name)):
            raise AttributeError(f"{type(parent).__name__} has no submodule {name!r} (looking for {target!r})")
        parent._modules[name] = module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter under a dotted name."""
        return self._entry("_parameters", "parameter", target)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer under a dotted name."""
        return self._entry("_buffers", "buffer", target)

    def _entry(self, table: str, what: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if name not in getattr(owner, table):
            raise AttributeError(f"{type(owner).__name__} has no {what} {name!r} (looking for {target!r})")
        return getattr(owner, table)[name]

    def apply(self, fn: Callable[[Module], object]) -> Module:
        """Call `fn` on every module, children first."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # ------------------------------------------------------------------------------------------------ modes, moves

    def train(self, mode: bool = True) -> Module:
        """Switch this module and all below it to training (or evaluation) behaviour."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch to evaluation behaviour."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Ask for gradients of all parameters, or no longer."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or zero them."""
        for p in self.parameters():
            if p.grad is not None:
                if set_to_none:
                    p.grad = None
                else:
                    p.grad = p.grad.detach().zero_()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Module:
        """Put fn(tensor) in the place of every parameter, gradient and buffer."""
        with no_grad():
            for module in self.modules() if recurse else (self,):
                for p in module._parameters.values():
                    if p is not None:
                        p.data = fn(p.data)
                        p.grad = None if p.grad is None else fn(p.grad.detach())
                for name, b in module._buffers.items():
                    if is_lazy(b):
                        b.data = fn(b.data)
                    elif b is not None:
                        module._buffers[name] = fn(b)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Module:
        """Move parameters and buffers to a device, or floating ones to a dtype, in place.

        A `memory_format` is that of parameters and buffers of 4 or 5 dimensions.
        """
        kind, form = kwargs.pop("dtype", None), kwargs.pop("memory_format", None)
        for a in args:
            if isinstance(a, dtypes.dtype | type):
                kind = a
            elif isinstance(a, Tensor):
                kind = a.dtype
        kind = dtypes.of(kind, "Module.to")
        if kind is not None and not kind.is_floating_point:
            raise TypeError(f"Module.to: only floating-point dtypes are accepted, got {kind.name}")
        places = [a for a in args if not isinstance(a, dtypes.dtype | type | bool)]

        def convert(t: Tensor) -> Tensor:
            moved = t.to(places[0].device if isinstance(places[0], Tensor) else places[0]) if places else t.to(**kwargs)
            moved = moved.to(memory_format=form) if form is not None and t.ndim in (4, 5) else moved
            return moved.to(kind) if kind is not None and t.is_floating_point() else moved

        return self._apply(convert)

    def float(self) -> Module:
        return self.to(dtypes.float32)

    def double(self) -> Module:
        return self.to(dtypes.float64)

    def half(self) -> Module:
        return self.to(dtypes.float16)

    def bfloat16(self) -> Module:
        return self.to(dtypes.bfloat16)

    def type(self, dst_type: Any) -> Module:
        """Convert all parameters and buffers to a dtype, or to that of a class like FloatTensor."""
        return self._apply(lambda t: t.type(dst_type))

    def to_empty(self, *, device: Any, recurse: bool = True) -> Module:
        """Move parameters and buffers to a device without their values."""
        return self._apply(lambda t: empty_like(t, device=device), recurse)

    def share_memory(self) -> Module:
        raise RuntimeError("share_memory: memory shared between processes is not offered; send the values instead")

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Have calls of this module captured and replayed; `tritongrad.compilation` puts itself in this place."""
        raise RuntimeError("Module.compile: import tritongrad, and not a part of it")

    def cuda(self, device: Any = None) -> Module:
        return self.to("cuda" if device is None else device)

    def cpu(self) -> Module:
        return self.to("cpu")

    # ---------------------------------------------------------------------------------------------------- printing

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What is printed between the parentheses of a module without children."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self._modules.items()]
        extra = self.extra_repr()
        if not lines and "\n" not in extra:
            return f"{self._get_name()}({extra})"
        body = "\n  ".join((extra.split("\n") if extra else []) + lines)
        return f"{self._get_name()}(\n  {body}\n)"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})
