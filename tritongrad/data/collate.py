"""Making a batch out of items, in two halves.

The first half, `collate_arrays`, makes numpy arrays on the host and may run in a worker. The second, `to_tensors`, runs
in the process that uses the batch. Together they are `default_collate`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from functools import reduce
from typing import Any

import numpy as np

from tritongrad.tensor import Tensor, get_default_dtype
from tritongrad_kernels import dtypes
from tritongrad_kernels.array import from_host
from tritongrad_kernels.driver import Device

FunctionMap = dict[Any, Callable[..., Any]]


def default_collate(batch: Sequence[Any]) -> Any:
    """A list of items as one batch: numbers, numpy arrays and tensors stacked along a new first axis into tensors.

    Python floats become float64, ints int64, bools bool; arrays and tensors keep their dtype (of several, the one torch
    promotes them to). Strings and bytes stay a list. Mappings, sequences and namedtuples are batched element by element
    and keep their type, except that a tuple becomes a list, as in torch. Tensors are made on the default device.

    Items of other types are batched by the functions of `default_collate_fn_map`, which may be changed (workers get it
    as it is when their loader is made). Raises TypeError for any other item, RuntimeError for shapes or lengths that
    differ.
    """
    return collate(batch, collate_fn_map=default_collate_fn_map) if customised() else _plain(batch)


def collate(batch: Sequence[Any], *, collate_fn_map: FunctionMap | None = None) -> Any:
    """A list of items as one batch, made by the functions of a map, in containers as `default_collate` makes them.

    `collate_fn_map[kind]` is called as `f(items, collate_fn_map=...)` for items of exactly that type; where there is
    none for it, the first is that whose type (or tuple of types) the items are instances of.
    """
    first, functions = batch[0], collate_fn_map or {}
    function = functions.get(type(first)) or next((functions[k] for k in functions if isinstance(first, k)), None)
    if function is not None:
        return function(batch, collate_fn_map=collate_fn_map)
    return _in_containers(batch, lambda items: collate(items, collate_fn_map=collate_fn_map))


def default_convert(data: Any) -> Any:
    """One item with its numpy arrays and scalars as tensors, other leaves as they are; tuples become lists."""
    return to_tensors(convert_arrays(data))


def collate_arrays(batch: Sequence[Any]) -> Any:
    """`default_collate` with numpy arrays where that gives tensors."""
    first = batch[0]
    if isinstance(first, Tensor):
        return _stack([host(item) for item in batch])
    if isinstance(first, np.ndarray):
        if first.dtype.kind not in "SaUO":
            return _stack(batch)
    elif isinstance(first, np.bool_ | np.number):
        return _stack([np.asarray(item) for item in batch])
    elif isinstance(first, float):
        return np.array(batch, np.float64)
    elif isinstance(first, int):
        numbers = np.array(batch)
        return numbers.astype(get_default_dtype().numpy) if numbers.dtype.kind == "f" else numbers
    elif isinstance(first, str | bytes):
        return batch
    return _in_containers(batch, collate_arrays)


def _in_containers(batch: Sequence[Any], collate_items: Callable[[Sequence[Any]], Any]) -> Any:
    first = batch[0]
    if isinstance(first, Mapping):
        return _like_mapping(first, {key: collate_items([item[key] for item in batch]) for key in first})
    if isinstance(first, Sequence):
        if any(len(item) != len(first) for item in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [collate_items(column) for column in zip(*batch, strict=True)]
        return columns if type(first) is tuple else _like_sequence(first, columns)
    kind = f"array of {first.dtype}" if isinstance(first, np.ndarray) else str(type(first))
    raise TypeError(f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {kind}")


def _plain(batch: Sequence[Any], *, collate_fn_map: FunctionMap | None = None) -> Any:
    return to_tensors(collate_arrays(batch))


default_collate_fn_map: FunctionMap = {
    Tensor: _plain,
    np.ndarray: _plain,
    (np.bool_, np.number): _plain,
    float: _plain,
    int: _plain,
    str: _plain,
    bytes: _plain,
}
"""How `default_collate` batches items that are no containers: a function for each type, or tuple of types."""

_as_made = dict(default_collate_fn_map)


def customised() -> bool:
    """Whether a user has changed `default_collate_fn_map`."""
    return default_collate_fn_map != _as_made


def convert_arrays(data: Any) -> Any:
    """`default_convert` with numpy arrays where that makes tensors."""

    def leaf(value: Any) -> Any:
        return np.asarray(value) if isinstance(value, np.bool_ | np.number) else value

    return walk(data, leaf, lambda values: values)


def to_tensors(batch: Any, device: Device | None = None) -> Any:
    """`batch` with its numeric numpy arrays copied into tensors, on the default device unless another is given."""

    def leaf(value: Any) -> Any:
        numeric = isinstance(value, np.ndarray) and value.dtype.kind not in "SaUO"
        return Tensor(from_host(value, device)) if numeric else value

    return walk(batch, leaf, tuple)


def host(tensor: Tensor) -> np.ndarray:
    """The elements of a tensor on the host; RuntimeError if it wants a gradient, which could not flow back here."""
    if tensor.requires_grad:
        raise RuntimeError("a tensor that requires grad cannot be batched by the loader: detach() it in the dataset")
    return tensor._host()


def walk(value: Any, leaf: Callable[[Any], Any], from_tuple: Callable[[list[Any]], Any]) -> Any:
    """`value` with `leaf` applied to all that is neither a container nor text; containers keep their type, except that
    plain tuples are made by `from_tuple`."""
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, Mapping):
        return _like_mapping(value, {key: walk(v, leaf, from_tuple) for key, v in value.items()})
    if isinstance(value, Sequence):
        values = [walk(v, leaf, from_tuple) for v in value]
        return from_tuple(values) if type(value) is tuple else _like_sequence(value, values)
    return leaf(value)


def _like_mapping(original: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    if type(original) is dict:
        return values
    try:
        if isinstance(original, MutableMapping):  # a copy keeps what else the type carries, such as a default factory
            clone = copy.copy(original)
            clone.update(values)
            return clone
        return type(original)(values)  # type: ignore[call-arg]
    except TypeError:
        return values


def _like_sequence(original: Sequence[Any], values: list[Any]) -> Any:
    if type(original) is list:
        return values
    if hasattr(original, "_fields"):  # a namedtuple takes its elements one by one
        return type(original)(*values)
    try:
        if isinstance(original, MutableSequence):
            clone = copy.copy(original)
            for i, value in enumerate(values):
                clone[i] = value
            return clone
        return type(original)(values)  # type: ignore[call-arg]
    except TypeError:  # a range, say, cannot be made of its elements
        return values


def _stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    shape = arrays[0].shape
    for i, array in enumerate(arrays):
        if array.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                f"{list(array.shape)} at entry {i}"
            )
    if any(array.dtype != arrays[0].dtype for array in arrays):
        common = reduce(dtypes.promote, [dtypes.from_numpy(array.dtype) for array in arrays])
        arrays = [array.astype(common.numpy) for array in arrays]
    return np.stack(arrays)
