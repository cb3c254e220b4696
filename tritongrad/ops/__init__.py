"""Differentiable operations, and Tensor's operators and methods, which are the same functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tritongrad.ops import (
    activation,
    arithmetic,
    assignment,
    comparison,
    filled,
    gather,
    indexing,
    inplace,
    inplace_linalg,
    inplace_transcendental,
    inplace_views,
    joining,
    layout,
    linalg,
    masking,
    norms,
    old_linalg,
    reduce,
    scan,
    scatter_reduce,
    scattered_views,
    slicing,
    softmax as softmax_ops,
    sort,
    special,
    statistics,
    transcendental,
    typed,
    views,
)
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes

_OPERANDS = (Tensor, bool, int, float, np.generic)


def _operator(function: Any) -> Any:
    """Python's operators on a tensor and what is neither tensor nor number are the other's to answer."""

    def operator(self: Tensor, other: Any) -> Any:
        return function(self, other) if isinstance(other, _OPERANDS) else NotImplemented

    return operator


def _reflected(function: Any) -> Any:
    return _operator(lambda self, other: function(other, self))


def _conversion(kind: dtypes.dtype) -> Any:
    return lambda self: layout.cast(self, kind)


_OPERATORS: dict[str, Any] = {
    "__add__": _operator(arithmetic.add),
    "__radd__": _reflected(arithmetic.add),
    "__iadd__": _operator(inplace.add_),
    "__sub__": _operator(arithmetic.sub),
    "__rsub__": _reflected(arithmetic.sub),
    "__isub__": _operator(inplace.sub_),
    "__mul__": _operator(arithmetic.mul),
    "__rmul__": _reflected(arithmetic.mul),
    "__imul__": _operator(inplace.mul_),
    "__truediv__": _operator(arithmetic.div),
    "__rtruediv__": _reflected(arithmetic.div),
    "__itruediv__": _operator(inplace.div_),
    "__floordiv__": _operator(arithmetic.floor_divide),
    "__rfloordiv__": _reflected(arithmetic.floor_divide),
    "__ifloordiv__": _operator(inplace.floor_divide_),
    "__mod__": _operator(arithmetic.remainder),
    "__rmod__": _reflected(arithmetic.remainder),
    "__imod__": _operator(inplace.remainder_),
    "__pow__": _operator(transcendental.pow),
    "__rpow__": _reflected(transcendental.pow),
    "__ipow__": _operator(inplace_transcendental.pow_),
    "__and__": _operator(comparison.bitwise_and),
    "__rand__": _reflected(comparison.bitwise_and),
    "__iand__": _operator(inplace.bitwise_and_),
    "__or__": _operator(comparison.bitwise_or),
    "__ror__": _reflected(comparison.bitwise_or),
    "__ior__": _operator(inplace.bitwise_or_),
    "__xor__": _operator(comparison.bitwise_xor),
    "__rxor__": _reflected(comparison.bitwise_xor),
    "__ixor__": _operator(inplace.bitwise_xor_),
    "__lshift__": _operator(comparison.bitwise_left_shift),
    "__rlshift__": _reflected(comparison.bitwise_left_shift),
    "__ilshift__": _operator(inplace.bitwise_left_shift_),
    "__rshift__": _operator(comparison.bitwise_right_shift),
    "__rrshift__": _reflected(comparison.bitwise_right_shift),
    "__irshift__": _operator(inplace.bitwise_right_shift_),
    "__matmul__": linalg.matmul,
    "__neg__": arithmetic.neg,
    "__pos__": arithmetic.positive,
    "__abs__": arithmetic.abs,
    "__invert__": comparison.bitwise_not,
    "__eq__": _operator(comparison.eq),
    "__ne__": _operator(comparison.ne),
    "__lt__": _operator(comparison.lt),
    "__le__": _operator(comparison.le),
    "__gt__": _operator(comparison.gt),
    "__ge__": _operator(comparison.ge),
    "__getitem__": indexing.getitem,
    "__setitem__": indexing.setitem,
}

_ELEMENTWISE = {
    arithmetic: """
        abs absolute add addcdiv addcmul ceil copysign deg2rad div divide fix floor floor_divide fmod frac gcd
        hypot lcm lerp mul multiply nan_to_num neg negative positive rad2deg reciprocal remainder round sgn sign
        square sub subtract true_divide trunc
    """,
    comparison: """
        allclose bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor clamp
        clamp_max clamp_min clip eq equal fmax fmin ge greater greater_equal gt heaviside isclose isfinite isinf
        isnan isneginf isposinf isreal le less less_equal logical_and logical_not logical_or logical_xor lt
        maximum minimum ne not_equal signbit
    """,
    transcendental: """
        acos acosh arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan atan2 atanh cos cosh
        digamma erf erfc erfinv exp exp2 expm1 float_power lgamma log log10 log1p log2 logaddexp logaddexp2
        logit pow rsqrt sigmoid sin sinc sinh sqrt tan tanh xlogy
    """,
    activation: """
        prelu relu relu_ hardshrink
    """,
    assignment: """
        copy_ fill_ zero_
    """,
    inplace: """
        abs_ absolute_ add_ addcdiv_ addcmul_ bitwise_and_ bitwise_left_shift_ bitwise_not_ bitwise_or_
        bitwise_right_shift_ bitwise_xor_ ceil_ clamp_ clamp_max_ clamp_min_ clip_ copysign_ deg2rad_ div_
        divide_ eq_ fix_ floor_ floor_divide_ fmod_ frac_ gcd_ ge_ greater_ greater_equal_ gt_ heaviside_ hypot_
        lcm_ le_ lerp_ less_ less_equal_ logical_and_ logical_not_ logical_or_ logical_xor_ lt_ mul_ multiply_
        nan_to_num_ ne_ neg_ negative_ not_equal_ rad2deg_ reciprocal_ remainder_ round_ sgn_ sign_ square_ sub_
        subtract_ true_divide_ trunc_
    """,
    inplace_transcendental: """
        acos_ acosh_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctan2_ arctanh_ asin_ asinh_ atan_ atan2_
        atanh_ cos_ cosh_ digamma_ erf_ erfc_ erfinv_ exp_ exp2_ expm1_ float_power_ lgamma_ log_ log10_ log1p_
        log2_ logit_ polygamma_ pow_ rsqrt_ sigmoid_ sin_ sinc_ sinh_ sqrt_ tan_ tanh_ xlogy_
    """,
}

_METHODS = [
    *(getattr(views, name) for name in (
        "adjoint", "broadcast_to", "expand", "expand_as", "flatten", "moveaxis", "movedim", "permute", "ravel",
        "reshape", "reshape_as", "squeeze", "sum_to_size", "swapaxes", "swapdims", "t", "transpose", "unflatten",
        "unsqueeze", "view", "view_as",
    )),
    *(getattr(inplace_linalg, name) for name in ("addbmm_", "addmm_", "addmv_", "addr_", "baddbmm_")),
    *(getattr(inplace_views, name) for name in (
        "as_strided_", "resize_", "resize_as_", "set_", "squeeze_", "swapaxes_", "swapdims_", "t_", "transpose_",
        "unsqueeze_",
    )),
    *(getattr(scattered_views, name) for name in (
        "diagonal_scatter", "fill_diagonal_", "select_scatter", "slice_scatter",
    )),
    *(getattr(scatter_reduce, name) for name in (
        "index_reduce", "index_reduce_", "scatter_reduce", "scatter_reduce_",
    )),
    *(getattr(slicing, name) for name in (
        "as_strided", "chunk", "diag", "diag_embed", "diagflat", "diagonal", "dsplit", "hsplit", "narrow", "select",
        "split", "split_with_sizes", "tensor_split", "trace", "unbind", "unfold", "vsplit",
    )),
    *(getattr(joining, name) for name in (
        "flip", "fliplr", "flipud", "repeat", "repeat_interleave", "roll", "rot90", "tile",
    )),
    *(getattr(layout, name) for name in ("clone", "contiguous", "cpu", "cuda", "to", "type_as")),
    *(getattr(indexing, name) for name in ("index_put", "index_put_")),
    *(getattr(gather, name) for name in (
        "gather", "index_add", "index_add_", "index_copy", "index_copy_", "index_fill", "index_fill_", "index_select",
        "put", "put_", "scatter", "scatter_", "scatter_add", "scatter_add_", "take", "take_along_dim",
    )),
    *(getattr(masking, name) for name in (
        "argwhere", "masked_fill", "masked_fill_", "masked_scatter", "masked_scatter_", "masked_select", "nonzero",
        "tril", "tril_", "triu", "triu_",
    )),
    *(getattr(norms, name) for name in (
        "dist", "norm", "renorm", "renorm_",
    )),
    *(getattr(reduce, name) for name in (
        "all", "amax", "amin", "aminmax", "any", "argmax", "argmin", "count_nonzero", "logsumexp", "max", "mean",
        "min", "nanmean", "nansum", "prod", "sum",
    )),
    *(getattr(scan, name) for name in (
        "cummax", "cummin", "cumprod", "cumprod_", "cumsum", "cumsum_", "diff", "logcumsumexp",
    )),
    *(getattr(sort, name) for name in (
        "argsort", "kthvalue", "msort", "sort", "topk", "unique", "unique_consecutive",
    )),
    *(getattr(special, name) for name in (
        "ldexp", "ldexp_", "mvlgamma_", "nextafter", "nextafter_",
    )),
    *(getattr(statistics, name) for name in (
        "bincount", "corrcoef", "cov", "histc", "median", "mode", "nanmedian", "nanquantile", "quantile", "std",
        "var",
    )),
    *(getattr(linalg, name) for name in (
        "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm",
        "cross", "dot", "ger", "inner", "kron", "matmul", "mm", "mv", "outer", "vdot",
    )),
    *(getattr(filled, name) for name in (
        "new", "new_empty", "new_empty_strided", "new_full", "new_ones", "new_tensor", "new_zeros",
    )),
    *(getattr(old_linalg, name) for name in (
        "cholesky", "cholesky_inverse", "cholesky_solve", "det", "inverse", "logdet", "matrix_exp", "matrix_power",
        "pinverse", "qr", "slogdet", "svd",
    )),
    typed.type,
    softmax_ops.softmax,
    softmax_ops.log_softmax,
]  # fmt: skip

for _name, _function in _OPERATORS.items():
    setattr(Tensor, _name, _function)
for _module, _names in _ELEMENTWISE.items():
    for _name in _names.split():
        setattr(Tensor, _name, getattr(_module, _name))
for _function in _METHODS:
    setattr(Tensor, _function.__name__, _function)
_SHORTHANDS = {
    "mvlgamma": special.mvlgamma,
    **{
        name: _conversion(kind)
        for name, kind in {
            "double": dtypes.float64,
            "float": dtypes.float32,
            "half": dtypes.float16,
            "bfloat16": dtypes.bfloat16,
            "long": dtypes.int64,
            "int": dtypes.int32,
            "short": dtypes.int16,
            "char": dtypes.int8,
            "byte": dtypes.uint8,
            "bool": dtypes.bool_,
        }.items()
    },
    "polygamma": lambda self, n: transcendental.polygamma(n, self),
    "T": property(lambda self: views.permute(self, tuple(reversed(range(self.ndim))))),
    "H": property(views.t),
    "mT": property(views.adjoint),
    "mH": property(views.adjoint),
    "where": lambda self, condition, other: masking.where(condition, self, other),
}

for _name, _value in _SHORTHANDS.items():
    setattr(Tensor, _name, _value)
