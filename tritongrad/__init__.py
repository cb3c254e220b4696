"""tritongrad: deep learning with every number computed by a Triton kernel, under torch's API."""

from tritongrad import (
    autograd as autograd,
    cuda as cuda,
    nn as nn,
    ops as ops,  # attaches Tensor's operators and methods
    optim as optim,
    utils as utils,
)
from tritongrad.autograd import (
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    is_grad_enabled as is_grad_enabled,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
from tritongrad.io import load as load, save as save
from tritongrad.ops.creation import (
    arange as arange,
    as_tensor as as_tensor,
    empty_like as empty_like,
    eye as eye,
    from_numpy as from_numpy,
    full as full,
    full_like as full_like,
    linspace as linspace,
    ones as ones,
    ones_like as ones_like,
    tensor as tensor,
    uninitialised as empty,
    zeros as zeros,
    zeros_like as zeros_like,
)
from tritongrad.ops.elementwise import (
    abs as abs,
    add as add,
    allclose as allclose,
    bitwise_and as bitwise_and,
    bitwise_not as bitwise_not,
    bitwise_or as bitwise_or,
    bitwise_xor as bitwise_xor,
    clamp as clamp,
    cos as cos,
    div as div,
    eq as eq,
    equal as equal,
    erf as erf,
    exp as exp,
    floor as floor,
    floor_divide as floor_divide,
    ge as ge,
    gt as gt,
    isclose as isclose,
    isfinite as isfinite,
    isinf as isinf,
    isnan as isnan,
    le as le,
    log as log,
    logical_and as logical_and,
    logical_not as logical_not,
    logical_or as logical_or,
    logical_xor as logical_xor,
    lt as lt,
    masked_fill as masked_fill,
    maximum as maximum,
    minimum as minimum,
    mul as mul,
    ne as ne,
    neg as neg,
    pow as pow,
    relu as relu,
    relu_ as relu_,
    remainder as remainder,
    result_type as result_type,
    rsqrt as rsqrt,
    sigmoid as sigmoid,
    sign as sign,
    sin as sin,
    sqrt as sqrt,
    square as square,
    sub as sub,
    tanh as tanh,
    where as where,
)
from tritongrad.ops.linalg import (
    addmm as addmm,
    bmm as bmm,
    dot as dot,
    matmul as matmul,
    mm as mm,
    mv as mv,
    outer as outer,
)
from tritongrad.ops.movement import (
    broadcast_to as broadcast_to,
    cat as cat,
    chunk as chunk,
    clone as clone,
    flatten as flatten,
    flip as flip,
    narrow as narrow,
    permute as permute,
    reshape as reshape,
    select as select,
    split as split,
    squeeze as squeeze,
    stack as stack,
    t as t,
    transpose as transpose,
    unbind as unbind,
    unsqueeze as unsqueeze,
)
from tritongrad.ops.reduce import (
    all as all,
    amax as amax,
    amin as amin,
    any as any,
    argmax as argmax,
    argmin as argmin,
    max as max,
    mean as mean,
    min as min,
    norm as norm,
    std as std,
    sum as sum,
    var as var,
)
from tritongrad.ops.softmax import log_softmax as log_softmax, softmax as softmax
from tritongrad.plan import Plan as Plan, plan as plan
from tritongrad.random import (
    Generator as Generator,
    bernoulli as bernoulli,
    get_rng_state as get_rng_state,
    initial_seed as initial_seed,
    manual_seed as manual_seed,
    rand as rand,
    rand_like as rand_like,
    randint as randint,
    randn as randn,
    randn_like as randn_like,
    randperm as randperm,
    seed as seed,
    set_rng_state as set_rng_state,
)
from tritongrad.tensor import (
    Size as Size,
    Tensor as Tensor,
    get_default_dtype as get_default_dtype,
    set_default_dtype as set_default_dtype,
)
from tritongrad_kernels.dtypes import (
    bfloat16 as bfloat16,
    bool_ as bool,
    dtype as dtype,
    float16 as float16,
    float32 as float32,
    float64 as float64,
    int8 as int8,
    int16 as int16,
    int32 as int32,
    int64 as int64,
    uint8 as uint8,
)
from tritongrad_kernels.memory import Device as device

float = float32
double = float64
half = float16
long = int64
int = int32
short = int16
channels_last = "channels_last"
contiguous_format = "contiguous_format"

__version__ = "0.1.0"
