"""Layers by the names of torch's files: `from tritongrad.nn.modules.batchnorm import _BatchNorm`.

Each is made here from one or more files of `tritongrad.nn`, which hold the classes themselves.
"""

from __future__ import annotations

import sys
from types import ModuleType

from tritongrad.nn import (
    activation,
    adaptive,
    batchnorm,
    container,
    conv,
    conv_transpose,
    dropout,
    embedding,
    flatten,
    fold,
    instancenorm,
    layernorm,
    lazy,
    linear,
    loss,
    module,
    multihead,
    padding,
    pooling,
    rnn,
    shuffling,
    transformer,
    upsampling,
)
from tritongrad.nn.modules import utils as utils

_FILES = {
    "activation": (activation, multihead),
    "adaptive": (adaptive,),
    "batchnorm": (batchnorm, lazy),
    "channelshuffle": (shuffling,),
    "container": (container,),
    "conv": (conv, conv_transpose, lazy),
    "distance": (loss,),
    "dropout": (dropout,),
    "flatten": (flatten,),
    "fold": (fold,),
    "instancenorm": (instancenorm, lazy),
    "lazy": (lazy,),
    "linear": (linear, lazy),
    "loss": (loss,),
    "module": (module,),
    "normalization": (layernorm,),
    "padding": (padding,),
    "pixelshuffle": (shuffling,),
    "pooling": (pooling,),
    "rnn": (rnn,),
    "sparse": (embedding,),
    "transformer": (transformer,),
    "upsampling": (upsampling,),
}

for _name, _sources in _FILES.items():
    _file = ModuleType(f"{__name__}.{_name}", _sources[0].__doc__)
    for _source in _sources:
        for _class, _value in vars(_source).items():
            if isinstance(_value, type) and issubclass(_value, module.Module | lazy.LazyModuleMixin):
                setattr(_file, _class, _value)
                if not _class.startswith("_") and issubclass(_value, module.Module):
                    globals()[_class] = _value
    globals()[_name] = sys.modules[_file.__name__] = _file
