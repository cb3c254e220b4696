"""How float32 products are formed, under torch's older and newer names."""

from __future__ import annotations

from tritongrad_kernels import matmul

_OLD = "highest", "high", "medium"
_NEW = {"ieee": "highest", "tf32": "medium"}


def set_float32_matmul_precision(precision: str) -> None:
    """Form float32 products as "highest", IEEE; "high", three tf32 products, nearly as exact; or "medium", tf32.

    The latter two run on the tensor cores of a GPU. RuntimeError for other words.
    """
    if precision not in _OLD:
        raise RuntimeError(f"set_float32_matmul_precision: expected one of {', '.join(_OLD)}, got {precision!r}")
    matmul.precision = precision


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was told."""
    return matmul.precision


def chosen(what: str) -> str:
    """Either "ieee" or "tf32", for "products" or "convolutions"."""
    now = matmul.precision if what == "products" else matmul.convolutions or matmul.precision
    return "ieee" if now == "highest" else "tf32"


def choose(what: str, value: str) -> None:
    """Choose "ieee" or "tf32", or with "none" what goes without saying: IEEE, and for convolutions that of products."""
    if value not in (*_NEW, "none"):
        raise RuntimeError(f"fp32_precision: expected one of ieee, tf32 and none, got {value!r}")
    if what == "convolutions":
        matmul.convolutions = _NEW.get(value)
    elif value != chosen("products"):  # "high" is not lost to a script that restores what it read
        matmul.precision = _NEW.get(value, "highest")


class Precision:
    """The `fp32_precision` of one kind of operation: "ieee", "tf32", or "none" for what goes without saying."""

    def __init__(self, what: str) -> None:
        self.__dict__["_what"] = what

    @property
    def fp32_precision(self) -> str:
        return chosen(self.__dict__["_what"])

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        choose(self.__dict__["_what"], value)

    def __setattr__(self, name: str, value: object) -> None:
        if not hasattr(type(self), name):
            raise AttributeError(f"Unknown attribute {name}")
        object.__setattr__(self, name, value)


def require_bool(name: str, value: object) -> None:
    """RuntimeError unless a switch is set to True or False."""
    if not isinstance(value, bool):
        raise RuntimeError(f"{name} expects a bool, but got {type(value).__name__}")
