"""The elementwise operations that others are made of, under one name."""

from tritongrad.ops.activation import (
    gelu as gelu,
    leaky_relu as leaky_relu,
    relu as relu,
    relu_ as relu_,
    silu as silu,
    where_positive as where_positive,
)
from tritongrad.ops.arithmetic import (
    abs as abs,
    add as add,
    div as div,
    floor as floor,
    floor_divide as floor_divide,
    mul as mul,
    neg as neg,
    remainder as remainder,
    sign as sign,
    square as square,
    sub as sub,
)
from tritongrad.ops.assignment import (
    copy_ as copy_,
    fill_ as fill_,
    zero_ as zero_,
)
from tritongrad.ops.comparison import (
    allclose as allclose,
    bitwise_and as bitwise_and,
    bitwise_not as bitwise_not,
    bitwise_or as bitwise_or,
    bitwise_xor as bitwise_xor,
    clamp as clamp,
    eq as eq,
    equal as equal,
    ge as ge,
    gt as gt,
    isclose as isclose,
    isfinite as isfinite,
    isinf as isinf,
    isnan as isnan,
    le as le,
    logical_and as logical_and,
    logical_not as logical_not,
    logical_or as logical_or,
    logical_xor as logical_xor,
    lt as lt,
    maximum as maximum,
    minimum as minimum,
    ne as ne,
    where as where,
)
from tritongrad.ops.inplace import (
    add_ as add_,
    clamp_ as clamp_,
    div_ as div_,
    mul_ as mul_,
    sub_ as sub_,
)
from tritongrad.ops.operands import (
    result_type as result_type,
)
from tritongrad.ops.transcendental import (
    cos as cos,
    erf as erf,
    exp as exp,
    log as log,
    pow as pow,
    rsqrt as rsqrt,
    sigmoid as sigmoid,
    sin as sin,
    sqrt as sqrt,
    tanh as tanh,
)
