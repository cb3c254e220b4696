"""A module that is captured when it is called."""

from __future__ import annotations

from typing import Any

from tritongrad.compilation.compiled import Compiled
from tritongrad.nn.module import Module


class OptimizedModule(Module):
    """What `compile` gives for a module, which is `_orig_mod`, as torch calls it. Attributes are that module's."""

    def __init__(self, module: Module, settings: dict[str, Any]) -> None:
        super().__init__()
        self._modules["_orig_mod"] = module
        del self.__dict__["training"]
        self.__dict__["_compiled"] = Compiled(module, **settings)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        module = self.__dict__["_modules"]["_orig_mod"]
        return module if name == "_orig_mod" else getattr(module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._modules["_orig_mod"], name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._modules["_orig_mod"], name)

    def __reduce__(self) -> Any:
        return OptimizedModule, (self._modules["_orig_mod"], self._compiled.settings)
