"""The named tuples that operations with two results give."""

from __future__ import annotations

from typing import Any, NamedTuple


class _Chosen(NamedTuple):
    """Values, and the int64 positions along the axis that they came from."""

    values: Any
    indices: Any


class aminmax(NamedTuple):
    """The smallest and the largest."""

    min: Any
    max: Any


class cummax(_Chosen):
    __slots__ = ()


class cummin(_Chosen):
    __slots__ = ()


class kthvalue(_Chosen):
    __slots__ = ()


class max(_Chosen):
    __slots__ = ()


class median(_Chosen):
    __slots__ = ()


class min(_Chosen):
    __slots__ = ()


class mode(_Chosen):
    __slots__ = ()


class nanmedian(_Chosen):
    __slots__ = ()


class sort(_Chosen):
    __slots__ = ()


class topk(_Chosen):
    __slots__ = ()
