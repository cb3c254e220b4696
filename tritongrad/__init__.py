"""tritongrad: deep learning with every number computed by a Triton kernel, under torch's API."""

from tritongrad_kernels.dtypes import bfloat16 as bfloat16
from tritongrad_kernels.dtypes import bool_ as bool
from tritongrad_kernels.dtypes import dtype as dtype
from tritongrad_kernels.dtypes import float16 as float16
from tritongrad_kernels.dtypes import float32 as float32
from tritongrad_kernels.dtypes import float64 as float64
from tritongrad_kernels.dtypes import int8 as int8
from tritongrad_kernels.dtypes import int16 as int16
from tritongrad_kernels.dtypes import int32 as int32
from tritongrad_kernels.dtypes import int64 as int64
from tritongrad_kernels.dtypes import uint8 as uint8
from tritongrad_kernels.memory import Device as device

from tritongrad import ops as ops  # attaches Tensor's operators and methods
from tritongrad.autograd import enable_grad as enable_grad
from tritongrad.autograd import inference_mode as inference_mode
from tritongrad.autograd import is_grad_enabled as is_grad_enabled
from tritongrad.autograd import no_grad as no_grad
from tritongrad.autograd import set_grad_enabled as set_grad_enabled
from tritongrad.tensor import Size as Size
from tritongrad.tensor import Tensor as Tensor
from tritongrad.tensor import get_default_dtype as get_default_dtype
from tritongrad.tensor import set_default_dtype as set_default_dtype
from tritongrad.ops.creation import arange as arange
from tritongrad.ops.creation import as_tensor as as_tensor
from tritongrad.ops.creation import empty_like as empty_like
from tritongrad.ops.creation import eye as eye
from tritongrad.ops.creation import from_numpy as from_numpy
from tritongrad.ops.creation import full as full
from tritongrad.ops.creation import full_like as full_like
from tritongrad.ops.creation import linspace as linspace
from tritongrad.ops.creation import ones as ones
from tritongrad.ops.creation import ones_like as ones_like
from tritongrad.ops.creation import tensor as tensor
from tritongrad.ops.creation import zeros as zeros
from tritongrad.ops.creation import zeros_like as zeros_like
from tritongrad.ops.elementwise import abs as abs
from tritongrad.ops.elementwise import add as add
from tritongrad.ops.elementwise import allclose as allclose
from tritongrad.ops.elementwise import bitwise_and as bitwise_and
from tritongrad.ops.elementwise import bitwise_not as bitwise_not
from tritongrad.ops.elementwise import bitwise_or as bitwise_or
from tritongrad.ops.elementwise import bitwise_xor as bitwise_xor
from tritongrad.ops.elementwise import clamp as clamp
from tritongrad.ops.elementwise import cos as cos
from tritongrad.ops.elementwise import div as div
from tritongrad.ops.elementwise import eq as eq
from tritongrad.ops.elementwise import equal as equal
from tritongrad.ops.elementwise import erf as erf
from tritongrad.ops.elementwise import exp as exp
from tritongrad.ops.elementwise import floor as floor
from tritongrad.ops.elementwise import floor_divide as floor_divide
from tritongrad.ops.elementwise import ge as ge
from tritongrad.ops.elementwise import gt as gt
from tritongrad.ops.elementwise import isclose as isclose
from tritongrad.ops.elementwise import isfinite as isfinite
from tritongrad.ops.elementwise import isinf as isinf
from tritongrad.ops.elementwise import isnan as isnan
from tritongrad.ops.elementwise import le as le
from tritongrad.ops.elementwise import log as log
from tritongrad.ops.elementwise import logical_and as logical_and
from tritongrad.ops.elementwise import logical_not as logical_not
from tritongrad.ops.elementwise import logical_or as logical_or
from tritongrad.ops.elementwise import logical_xor as logical_xor
from tritongrad.ops.elementwise import lt as lt
from tritongrad.ops.elementwise import masked_fill as masked_fill
from tritongrad.ops.elementwise import maximum as maximum
from tritongrad.ops.elementwise import minimum as minimum
from tritongrad.ops.elementwise import mul as mul
from tritongrad.ops.elementwise import ne as ne
from tritongrad.ops.elementwise import neg as neg
from tritongrad.ops.elementwise import pow as pow
from tritongrad.ops.elementwise import relu as relu
from tritongrad.ops.elementwise import relu_ as relu_
from tritongrad.ops.elementwise import remainder as remainder
from tritongrad.ops.elementwise import result_type as result_type
from tritongrad.ops.elementwise import rsqrt as rsqrt
from tritongrad.ops.elementwise import sigmoid as sigmoid
from tritongrad.ops.elementwise import sign as sign
from tritongrad.ops.elementwise import sin as sin
from tritongrad.ops.elementwise import sqrt as sqrt
from tritongrad.ops.elementwise import square as square
from tritongrad.ops.elementwise import sub as sub
from tritongrad.ops.elementwise import tanh as tanh
from tritongrad.ops.elementwise import where as where
from tritongrad.ops.linalg import addmm as addmm
from tritongrad.ops.linalg import bmm as bmm
from tritongrad.ops.linalg import dot as dot
from tritongrad.ops.linalg import matmul as matmul
from tritongrad.ops.linalg import mm as mm
from tritongrad.ops.linalg import mv as mv
from tritongrad.ops.linalg import outer as outer
from tritongrad.ops.movement import broadcast_to as broadcast_to
from tritongrad.ops.movement import cat as cat
from tritongrad.ops.movement import chunk as chunk
from tritongrad.ops.movement import clone as clone
from tritongrad.ops.movement import flatten as flatten
from tritongrad.ops.movement import flip as flip
from tritongrad.ops.movement import narrow as narrow
from tritongrad.ops.movement import permute as permute
from tritongrad.ops.movement import reshape as reshape
from tritongrad.ops.movement import select as select
from tritongrad.ops.movement import split as split
from tritongrad.ops.movement import squeeze as squeeze
from tritongrad.ops.movement import stack as stack
from tritongrad.ops.movement import t as t
from tritongrad.ops.movement import transpose as transpose
from tritongrad.ops.movement import unbind as unbind
from tritongrad.ops.movement import unsqueeze as unsqueeze
from tritongrad.ops.reduce import all as all
from tritongrad.ops.reduce import amax as amax
from tritongrad.ops.reduce import amin as amin
from tritongrad.ops.reduce import any as any
from tritongrad.ops.reduce import argmax as argmax
from tritongrad.ops.reduce import argmin as argmin
from tritongrad.ops.reduce import max as max
from tritongrad.ops.reduce import mean as mean
from tritongrad.ops.reduce import min as min
from tritongrad.ops.reduce import norm as norm
from tritongrad.ops.reduce import std as std
from tritongrad.ops.reduce import sum as sum
from tritongrad.ops.reduce import var as var
from tritongrad.ops.softmax import log_softmax as log_softmax
from tritongrad.ops.softmax import softmax as softmax
from tritongrad.random import Generator as Generator
from tritongrad.random import bernoulli as bernoulli
from tritongrad.random import get_rng_state as get_rng_state
from tritongrad.random import initial_seed as initial_seed
from tritongrad.random import manual_seed as manual_seed
from tritongrad.random import rand as rand
from tritongrad.random import rand_like as rand_like
from tritongrad.random import randint as randint
from tritongrad.random import randn as randn
from tritongrad.random import randn_like as randn_like
from tritongrad.random import randperm as randperm
from tritongrad.random import seed as seed
from tritongrad.random import set_rng_state as set_rng_state
from tritongrad.io import load as load
from tritongrad.io import save as save
from tritongrad.ops.creation import uninitialised as empty
from tritongrad import autograd as autograd
from tritongrad import cuda as cuda
from tritongrad import nn as nn
from tritongrad import optim as optim
from tritongrad import utils as utils

float = float32
double = float64
half = float16
long = int64
int = int32
short = int16
channels_last = "channels_last"
contiguous_format = "contiguous_format"

__version__ = "0.1.0"
