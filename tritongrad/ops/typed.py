"""The names tensors had before dtypes: `FloatTensor` and its kin, and `Tensor.type`."""

from __future__ import annotations

from typing import Any

from tritongrad.ops.layout import to
from tritongrad.tensor import DEFAULT_DEVICE, Tensor, constructed, set_default_dtype
from tritongrad_kernels import dtypes

_WORDS = {
    "Float": dtypes.float32,
    "Double": dtypes.float64,
    "Half": dtypes.float16,
    "BFloat16": dtypes.bfloat16,
    "Long": dtypes.int64,
    "Int": dtypes.int32,
    "Short": dtypes.int16,
    "Char": dtypes.int8,
    "Byte": dtypes.uint8,
    "Bool": dtypes.bool_,
}


class Typed(type):
    """A name for the tensors of one dtype in one place: calling it makes one, isinstance asks for them.

    `FloatTensor(2, 3)` is uninitialised memory, `FloatTensor([1, 2])` the values of a sequence; `place` is "cpu",
    "cuda", or None for where tensors are made by default.
    """

    kind: dtypes.dtype
    place: str | None

    def __call__(cls, *data: Any, device: Any = None) -> Tensor:
        where = device if device is not None else cls.place
        if len(data) == 1 and isinstance(data[0], Tensor) and data[0].dtype is not cls.kind:
            raise TypeError(f"{cls.__name__}: expected a tensor of {cls.kind.name}, got {data[0].dtype.name}")
        return to(Tensor(constructed(data, cls.kind, where)), where)

    def __instancecheck__(cls, thing: Any) -> bool:
        place = cls.place or DEFAULT_DEVICE.type
        return isinstance(thing, Tensor) and thing.dtype is cls.kind and thing.device.type == place

    def __repr__(cls) -> str:
        return f"<class 'torch.{'cuda.' if cls.place == 'cuda' else ''}{cls.__name__}'>"


def named(word: str, place: str | None = None) -> Any:
    """The type of tensors that torch calls `word`Tensor."""
    return Typed(f"{word}Tensor", (), {"kind": _WORDS[word], "place": place})


FloatTensor, DoubleTensor, HalfTensor, BFloat16Tensor = map(named, ("Float", "Double", "Half", "BFloat16"))
LongTensor, IntTensor, ShortTensor, CharTensor = map(named, ("Long", "Int", "Short", "Char"))
ByteTensor, BoolTensor = map(named, ("Byte", "Bool"))


def set_default_tensor_type(t: Any) -> None:
    """Make the dtype of a type of tensors, or of one's name like "torch.DoubleTensor", the default.

    The place stays what it is: a GPU where there is one. TypeError for types that are not floating point, and for those
    of a GPU where there is none; ValueError for unknown names.
    """
    if isinstance(t, str):
        names = {
            f"torch.{place}{word}Tensor": (kind, place) for word, kind in _WORDS.items() for place in ("", "cuda.")
        }
        if t not in names:
            raise ValueError(f"set_default_tensor_type: invalid type: {t!r}")
        kind, place = names[t]
    elif isinstance(t, Typed):
        kind, place = t.kind, t.place or ""
    else:
        raise TypeError(f"set_default_tensor_type: invalid type object, {t!r}")
    if place.startswith("cuda") and DEFAULT_DEVICE.type != "cuda":
        raise TypeError(f"set_default_tensor_type: type {t} not available: there is no GPU")
    set_default_dtype(kind)


def typename(obj: Any) -> str:
    """Of a tensor torch's name for such, like "torch.FloatTensor"; else that of the type, with its module."""
    if isinstance(obj, Tensor):
        return str(type(obj))
    named = obj if hasattr(obj, "__qualname__") else obj.__class__
    module = getattr(named, "__module__", None)
    return named.__qualname__ if module in (None, "builtins") else f"{module}.{named.__qualname__}"


def type(x: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """Without `dtype` torch's name for such tensors, like "torch.FloatTensor"; else x converted to it.

    `dtype` is a dtype, one of the types above, or its name; "torch.cuda.FloatTensor" names a device as well.
    """
    if dtype is None:
        word = next(w for w, kind in _WORDS.items() if kind is x.dtype)
        return f"torch.{'cuda.' if x.is_cuda else ''}{word}Tensor"
    if isinstance(dtype, dtypes.dtype):
        return to(x, dtype)
    if isinstance(dtype, Typed):
        return to(x, dtype.place, dtype.kind)
    path = str(dtype).split(".")
    word = path[-1].removesuffix("Tensor")
    if word not in _WORDS or path[-1] == word:
        raise ValueError(f"type: unknown type {dtype!r}; expected a dtype or a name like 'torch.FloatTensor'")
    return to(x, "cuda" if path[-2:-1] == ["cuda"] else "cpu", _WORDS[word])
