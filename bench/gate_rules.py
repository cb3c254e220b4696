"""What compiled kernels must show, as data: see `gate`.

A kernel that moves data reads and writes each of its main arrays 16 bytes at a time; one that multiplies matrices of
bfloat16 does it on the tensor cores, and has both operands copied to shared memory 16 bytes at a time: by TMA if they
come as descriptors, into HGMMA on sm_90. Where that cannot be, an exception names the arguments and the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")

# (network, batch, side of the images or number of words, dtypes, optimizers)
STEPS = (
    ("resnet18", 256, 224, ("float32", "bfloat16"), ("sgd",)),
    ("resnet50", 256, 224, ("float32", "bfloat16"), ("sgd",)),
    ("mlp", 256, 32, ("float32", "bfloat16"), ("sgd", "adam", "adamw")),
    ("gpt", 8, 1024, ("bfloat16",), ("sgd",)),
)

# Products of a transformer: rows, inner extent, columns, dtype and what is fused. Both gradients are taken as well.
TRANSFORMER = (
    (8192, 1024, 4096, "bfloat16", ("bias", "activation")),
    (8192, 4096, 1024, "bfloat16", ("bias", "residual")),
    (1024, 1024, 3072, "bfloat16", ("bias",)),
    (64, 8192, 1000, "bfloat16", ("bias", "activation", "residual")),
    (2048, 1024, 1024, "float32", ("bias", "residual")),
)

PRODUCTS = (
    "_matmul", "_matmul_tma", "_conv2d", "_conv2d_tma", "_conv2d_input_grad", "_conv2d_input_grad_tma",
    "_conv2d_weight_grad", "_conv2d_weight_grad_tma", "_conv2d_grads_tma",
    "_attention", "_attention_query_grad", "_attention_key_grad",
)  # fmt: skip


@dataclass(frozen=True)
class Moves:
    """The main arrays a kernel reads and writes, by parameter; or how many, where their addresses are in a table."""

    reads: tuple[str, ...] | int = ()
    writes: tuple[str, ...] | int = ()


BANDWIDTH = {
    "_map1": Moves(("X",), ("OUT",)),
    "_map2": Moves(("X", "Y"), ("OUT",)),
    "_map3": Moves(("X", "Y", "Z"), ("OUT",)),
    "_iota": Moves((), ("OUT",)),
    "_uniform": Moves((), ("OUT",)),
    "_normal": Moves((), ("OUT",)),
    "_count_outside": Moves(("INDEX",), ()),
    "_sum": Moves(("X",), ()),
    "_fold_slabs": Moves(("SLABS", "RESIDUAL"), ("OUT",)),
    "_sum_slabs": Moves(2, 1),  # wide tiles and deep ones; those have too few columns to write 16 bytes a thread
    "_moments": Moves(("X",), ()),
    "_settle": Moves(("MOMENTS",), ()),
    "_count": Moves(),
    "_normalize": Moves(("X", "X2", "RESIDUAL"), ("Y",)),  # BITS have a byte for 16 of Y
    "_grad_sums": Moves(("DY", "X", "X2"), ()),  # PASSED has a byte for 16 of X, or is an output
    "_input_grad": Moves(("DY", "X", "X2"), ("DX", "DX2")),
    "_haloed": Moves(("X",), ("OUT",)),
    "_max_pool2d": Moves(("X",), ("Y",)),  # INDEX has a byte an element: 8 or 16 bytes with each access of Y
    "_max_pool2d_input_grad": Moves(("DY",), ("DX",)),
    "_pooled_grad_sums": Moves(("DY", "X"), ()),
    "_pooled_input_grad": Moves(("DY", "X"), ("DX",)),
    "_mean_windows": Moves(("X",), ("Y",)),
    "_mean_windows_input_grad": Moves(("DY",), ("DX",)),
    "_layer_norm": Moves(("X",), ("Y",)),
    "_row_grad": Moves(("DY", "X"), ("DX",)),
    "_column_sums": Moves(("DY", "X"), ()),
    "_attention": Moves(("Q", "K", "V"), ("OUT",)),
    "_attention_query_grad": Moves(("Q", "K", "V", "OUT", "DY"), ("DQ",)),
    "_attention_key_grad": Moves(("Q", "K", "V", "DY"), ("DK", "DV")),
    "_cross_entropy": Moves(("X",), ()),
    "_softmax": Moves(("X",), ("Y",)),
    "_log_softmax": Moves(("X",), ("Y",)),
    "_softmax_grad": Moves(("DY", "Y"), ("DX",)),
    "_log_softmax_grad": Moves(("DY", "Y"), ("DX",)),
    "_positions": Moves(("INDEX",), ("OUT",)),
    "_take": Moves(("X",), ("OUT",)),
    "_fold_blocks": Moves(("V",), ()),
    "_fold_rows": Moves(("V",), ("X",)),
    "_take_along": Moves(("INDEX",), ("OUT",)),
    "_put_along": Moves(("X", "INDEX"), ()),
    "_count_digits": Moves(("KEYS",), ()),
    "_move_by_digit": Moves(("KEYS",), ()),  # what is written goes where its digit says
    "_scan": Moves(("X",), ("OUT",)),
    "_block_totals": Moves(("X",), ()),
    "_resample": Moves(("X",), ("Y",)),
    "_resample_input_grad": Moves(("DY",), ("DX",)),
    "_unfold": Moves((), ("OUT",)),  # X at every stride
    "_fold": Moves((), ("OUT",)),
    "_depthwise": Moves(("X",), ("Y",)),
    "_depthwise_input_grad": Moves(("DY",), ("DX",)),
    "_depthwise_weight_grad": Moves(("DY", "X"), ()),
    "_extreme": Moves(),  # of the few that programs leave
    "_norms": Moves(1, 0),
    "_scale": Moves(1, 1),
    "_clamp": Moves(1, 1),
    "_unscale": Moves(1, 1),
    "_update": Moves(2, 1),  # parameter, gradient, and states of some
    "_mean_of_rows": Moves(),  # a program, and one number of each row
    "_cross_entropy_grad": Moves(("X",), ("DX",)),
    "_sgd": Moves(3, 2),  # parameter, gradient, momentum
    "_adam": Moves(4, 3),  # parameter, gradient, both moments
}


# How many blocks of a kernel a multiprocessor of sm_90 is to hold, by kernel and part of the signature.
BLOCKS = (
    ("_matmul_tma", "BM=128, BN=256", 1),
    ("_matmul_tma", "BM=128, BN=128, BK=64", 2),
    ("_matmul_tma", "BM=64, BN=64", 3),
    ("_conv2d_tma", "8 warps, 3 stages", 1),
    ("_conv2d_tma", "8 warps, 2 stages", 2),
    ("_conv2d_tma", "4 warps, 3 stages", 2),
)


@dataclass(frozen=True)
class Exemption:
    """Variants whose kernel and signature match these patterns are let off "reads", "writes" or "stack"."""

    kernel: str
    signature: str
    what: str
    reason: str


_TINY = "a tensor of so few elements that no thread has 16 bytes of it"
_ELEMENTS = "single elements that lie anywhere, or the few counts and ends of a sort"
_ODD = "8 does not divide the size, and nothing less is known to the compiler: 1000 classes of float64, batches of 1"
_STRIDED = "short rows that are read across, which caches make good; or one number for a row, or one row for all"
_NARROW_ROWS = "rows of 3 channels or of 7 x 7 taps: no 16 bytes of them are aligned"
_HALOED = "neighbouring lanes take neighbouring pixels: 4 bytes of a plane of the image, 4 channels of the result"

EXEMPTIONS = (
    Exemption("_map.|_uniform|_normal|_iota", r"BLOCK=(\d\d?|128|256|512);", "reads", _TINY),
    Exemption("_map.|_uniform|_normal|_iota", r"BLOCK=(\d\d?|128|256|512);", "writes", _TINY),
    Exemption("_map.", r"\bn(=1| i32),.*BY=[124],", "reads", _ODD),
    Exemption("_map.", r"\bn(=1| i32),.*BY=[124],", "writes", _ODD),
    Exemption("_uniform|_normal|_iota", r"\bn(=1| i32),", "writes", _ODD),
    Exemption("_map.", r"\b[xyz]s \([^)]*i\d\d(:16)?\).*ROWS=0", "reads", _STRIDED),
    Exemption("_map.", r"\b[xyz]s \([^)]*(None|None, 1|i\d\d)\).*ROWS=[1-9]", "reads", _STRIDED),
    Exemption("_sum", r"KEEP=1, FOLD=(\d\d?|128|256);", "reads", _TINY),
    Exemption("_sum", r"keep_strides \(1\).*n_keep i32,", "reads", _ODD),
    Exemption("_take|_fold_rows|_fold_blocks", r"REST=1;", "reads", _ELEMENTS),
    Exemption("_take|_fold_rows|_fold_blocks", r"REST=1;", "writes", _ELEMENTS),
    Exemption("_positions", r"indices \([^)]*i\d\d", "reads", _STRIDED),
    Exemption("_scan|_block_totals", r"rows=1,", "reads", _ELEMENTS),
    Exemption("_scan|_block_totals", r"rows=1,", "writes", _ELEMENTS),
    Exemption("_scan", r"x_step i32", "reads", "a scan from the end reads backwards"),
    Exemption("_conv2d(_weight_grad)?", r"\bC i32,", "reads", _NARROW_ROWS),
    Exemption("_haloed", "", "reads", _HALOED),
    Exemption("_haloed", "", "writes", _HALOED),
    Exemption(
        "_normal", "", "stack",
        "the cosine keeps the digits of 2/pi in local memory for angles beyond 10^5; ours stay below 2 pi",
    ),
)  # fmt: skip
