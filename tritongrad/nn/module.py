"""Module: a tree of parameters and buffers with a `forward`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from tritongrad.autograd import no_grad
from tritongrad.tensor import Hook, Tensor
from tritongrad_kernels import dtypes


class Parameter(Tensor):
    """A tensor that a module trains. Assigning one to a module's attribute registers it."""

    def __init__(self, data: Tensor, requires_grad: bool = True) -> None:
        super().__init__(data.array)
        self.requires_grad = requires_grad

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class _IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` could not place."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not any(self):
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Module:
    """Base class of everything with parameters.

    Subclasses assign Parameters and Modules as attributes in `__init__` (after `super().__init__()`) and define
    `forward`; calling the module runs hooks and `forward`.
    """

    training: bool

    def __init__(self) -> None:
        self.__dict__.update(
            _parameters={},
            _buffers={},
            _modules={},
            _transient=set(),  # names of buffers left out of state_dict
            _forward_hooks=[],
            _forward_pre_hooks=[],
            training=True,
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for hook in list(self._forward_pre_hooks):
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        result = self.forward(*args, **kwargs)
        for hook in list(self._forward_hooks):
            changed = hook(self, args, result)
            result = result if changed is None else changed
        return result

    # --------------------------------------------------------------------------------------------- registration

    def __setattr__(self, name: str, value: Any) -> None:
        tables = self.__dict__
        if "_parameters" not in tables:
            if isinstance(value, Parameter | Module):
                raise AttributeError(f"cannot assign {name} before {type(self).__name__}'s super().__init__() call")
            object.__setattr__(self, name, value)
            return
        if isinstance(value, Parameter):
            self._forget(name)
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._forget(name)
            self._modules[name] = value
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

    def _forget(self, name: str) -> bool:
        found = False
        for table in (self._parameters, self._buffers, self._modules, self.__dict__):
            if name in table:
                del table[name]
                found = True
        self._transient.discard(name)
        return found

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name; None reserves the name."""
        self._check_name(name, "parameter")
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is part of the state but not trained; not saved unless `persistent`."""
        self._check_name(name, "buffer")
        self._buffers[name] = tensor
        if not persistent:
            self._transient.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module under a name."""
        self._check_name(name, "module")
        self._modules[name] = module

    register_module = add_module

    def _check_name(self, name: str, what: str) -> None:
        if "." in name or not name:
            raise KeyError(f"{what} name {name!r} must not be empty or contain a dot")
        if hasattr(self, name) and name not in self._parameters | self._buffers | self._modules:
            raise KeyError(f"attribute {name!r} already exists")

    def register_forward_hook(self, hook: Callable) -> Hook:
        """Call hook(module, args, result) after every forward; what it returns, if anything, replaces the result."""
        self._forward_hooks.append(hook)
        return Hook(self._forward_hooks, hook)

    def register_forward_pre_hook(self, hook: Callable) -> Hook:
        """Call hook(module, args) before every forward; what it returns, if anything, replaces the arguments."""
        self._forward_pre_hooks.append(hook)
        return Hook(self._forward_pre_hooks, hook)

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

    def _convert(self, convert: Callable[[Tensor], Tensor]) -> Module:
        with no_grad():
            for module in self.modules():
                for p in module._parameters.values():
                    if p is not None:
                        p.array = convert(p.detach()).array
                        p.grad = None if p.grad is None else convert(p.grad.detach())
                for name, b in module._buffers.items():
                    if b is not None:
                        module._buffers[name] = convert(b)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Module:
        """Move parameters and buffers to a device, or floating ones to a dtype, in place.

        A `memory_format` is that of parameters and buffers of 4 or 5 dimensions.
        """
        kind, form = kwargs.pop("dtype", None), kwargs.pop("memory_format", None)
        for a in args:
            if isinstance(a, dtypes.dtype):
                kind = a
            elif isinstance(a, Tensor):
                kind = a.dtype
        if kind is not None and not kind.is_floating_point:
            raise TypeError(f"Module.to: only floating-point dtypes are accepted, got {kind.name}")
        places = [a for a in args if not isinstance(a, dtypes.dtype | bool)]

        def convert(t: Tensor) -> Tensor:
            moved = t.to(places[0].device if isinstance(places[0], Tensor) else places[0]) if places else t.to(**kwargs)
            moved = moved.to(memory_format=form) if form is not None and t.ndim in (4, 5) else moved
            return moved.to(kind) if kind is not None and t.is_floating_point() else moved

        return self._convert(convert)

    def float(self) -> Module:
        return self.to(dtypes.float32)

    def double(self) -> Module:
        return self.to(dtypes.float64)

    def half(self) -> Module:
        return self.to(dtypes.float16)

    def bfloat16(self) -> Module:
        return self.to(dtypes.bfloat16)

    def cuda(self, device: Any = None) -> Module:
        return self.to("cuda" if device is None else device)

    def cpu(self) -> Module:
        return self.to("cpu")

    # ------------------------------------------------------------------------------------------------------- state

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """All parameters and persistent buffers by dotted name; they share memory with the module."""
        state: dict[str, Tensor] = OrderedDict()
        for name, value in self._entries():
            state[prefix + name] = value if keep_vars else value.detach()
        return state

    def _entries(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Parameters and persistent buffers in the order torch lists them, shared ones under every name."""
        for name, p in self._parameters.items():
            if p is not None:
                yield prefix + name, p
        for name, b in self._buffers.items():
            if b is not None and name not in self._transient:
                yield prefix + name, b
        for name, child in self._modules.items():
            if child is not None:
                yield from child._entries(f"{prefix}{name}.")

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copy values into parameters and buffers by name. Either all of them are copied or, on an error, none.

        With `strict` missing and unexpected names are an error; they are returned otherwise. Wrong shapes always are.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: expected a dict, got {type(state_dict).__name__}")
        own = dict(self._entries())
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        problems = []
        if strict and unexpected:
            problems.append("Unexpected key(s) in state_dict: " + ", ".join(f'"{k}"' for k in unexpected) + ".")
        if strict and missing:
            problems.append("Missing key(s) in state_dict: " + ", ".join(f'"{k}"' for k in missing) + ".")
        for name, target in own.items():
            value = state_dict.get(name)
            if value is not None and not isinstance(value, Tensor):
                problems.append(f'expected a tensor for "{name}", got {type(value).__name__}.')
            elif value is not None and value.shape != target.shape:
                problems.append(
                    f"size mismatch for {name}: copying a param with shape {list(value.shape)} from checkpoint, "
                    f"the shape in current model is {list(target.shape)}."
                )
        if problems:
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(problems))
        with no_grad():
            for name, target in own.items():
                if name in state_dict:
                    if assign:
                        target.array = state_dict[name].array
                    else:
                        target.copy_(state_dict[name])
        return _IncompatibleKeys(missing, unexpected)

    # ---------------------------------------------------------------------------------------------------- printing

    def extra_repr(self) -> str:
        """What is printed between the parentheses of a module without children."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self._modules.items()]
        extra = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({extra})"
        body = "\n  ".join(([extra] if extra else []) + lines)
        return f"{type(self).__name__}(\n  {body}\n)"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})
