"""What `tritongrad.ops` attaches to Tensor: its operators and the methods that compute.

Only declared here, for readers, editors and type checkers; each is the function of the same name in `ops`, whose
docstring says what it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Method = Callable[..., Any]


class Attached:
    """Declarations that Tensor inherits. A test compares them with what is attached."""

    __slots__ = ()

    T: Any
    mT: Any

    __add__: Method
    __radd__: Method
    __iadd__: Method
    __sub__: Method
    __rsub__: Method
    __isub__: Method
    __mul__: Method
    __rmul__: Method
    __imul__: Method
    __truediv__: Method
    __rtruediv__: Method
    __itruediv__: Method
    __floordiv__: Method
    __rfloordiv__: Method
    __mod__: Method
    __rmod__: Method
    __pow__: Method
    __rpow__: Method
    __matmul__: Method
    __neg__: Method
    __pos__: Method
    __abs__: Method
    __invert__: Method
    __and__: Method
    __or__: Method
    __xor__: Method
    __eq__: Method
    __ne__: Method
    __lt__: Method
    __le__: Method
    __gt__: Method
    __ge__: Method
    __getitem__: Method
    __setitem__: Method

    abs: Method
    add: Method
    add_: Method
    addmm: Method
    all: Method
    allclose: Method
    amax: Method
    amin: Method
    any: Method
    argmax: Method
    argmin: Method
    bernoulli: Method
    bfloat16: Method
    bitwise_and: Method
    bitwise_not: Method
    bitwise_or: Method
    bitwise_xor: Method
    bmm: Method
    bool: Method
    broadcast_to: Method
    byte: Method
    char: Method
    chunk: Method
    clamp: Method
    clamp_: Method
    clone: Method
    contiguous: Method
    copy_: Method
    cos: Method
    cpu: Method
    cuda: Method
    div: Method
    div_: Method
    dot: Method
    double: Method
    eq: Method
    equal: Method
    erf: Method
    exp: Method
    expand: Method
    expand_as: Method
    fill_: Method
    flatten: Method
    flip: Method
    float: Method
    floor: Method
    floor_divide: Method
    ge: Method
    gt: Method
    half: Method
    int: Method
    isclose: Method
    isfinite: Method
    isinf: Method
    isnan: Method
    le: Method
    log: Method
    log_softmax: Method
    logical_and: Method
    logical_not: Method
    logical_or: Method
    logical_xor: Method
    long: Method
    lt: Method
    masked_fill: Method
    matmul: Method
    max: Method
    maximum: Method
    mean: Method
    min: Method
    minimum: Method
    mm: Method
    mul: Method
    mul_: Method
    mv: Method
    narrow: Method
    ne: Method
    neg: Method
    new_ones: Method
    new_zeros: Method
    norm: Method
    normal_: Method
    outer: Method
    permute: Method
    pow: Method
    relu: Method
    relu_: Method
    remainder: Method
    reshape: Method
    rsqrt: Method
    select: Method
    short: Method
    sigmoid: Method
    sign: Method
    sin: Method
    softmax: Method
    split: Method
    sqrt: Method
    square: Method
    squeeze: Method
    std: Method
    sub: Method
    sub_: Method
    sum: Method
    sum_to_size: Method
    t: Method
    tanh: Method
    to: Method
    transpose: Method
    type_as: Method
    unbind: Method
    uniform_: Method
    unsqueeze: Method
    var: Method
    view: Method
    view_as: Method
    zero_: Method
