"""Programs of products, convolution, pooling, normalisation and losses."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.fuzz.maker import Line, Maker
from tests.fuzz.program import ALL, FLOATS, HALVES
from tests.fuzz.reductions import NUMBERS

EXTENTS = (3, 2, 1, 17, 5, 0)


def product(code: str, *letters: str, kinds: Sequence[str] = NUMBERS, extents: Sequence[int] = EXTENTS) -> Line:
    """Tensors of one dtype whose axes are letters; equal letters, equal extents; seldom not."""

    def line(m: Maker) -> str:
        kind = m.dtype(kinds)
        sizes = {c: m.pick(*extents) for c in "".join(letters)}
        m.options["terms"] = math.prod(sizes.values())
        shapes = [tuple(m.pick(2, 3) if m.rarely(60) else sizes[c] for c in axes) for axes in letters]
        return code.format(*(m.tensor(s, dtype=kind) for s in shapes))

    return line


def matmul(m: Maker) -> str:
    """Ranks 1 to 4 on either side, leading axes that broadcast."""
    kind, extents = m.dtype(), (3, 2, 1, 17, 5, 0)
    lead = m.shape(0, 2, (2, 3, 1))
    i, j, k = (m.pick(*extents) for _ in range(3))
    m.options["terms"] = max(i, j, k) * math.prod(lead)
    left = m.pick((j,), (i, j), (*m.fitting(lead), i, j), (*lead, i, j))
    right = m.pick((j,), (j, k), (*m.fitting(lead), j, k), (*lead, j, k))
    if m.rarely(30):
        right = m.shape()
    return f"torch.matmul({m.tensor(left, dtype=kind)}, {m.tensor(right, dtype=kind)})"


EINSUMS = [
    "ij,jk->ik", "ij,jk", "bij,bjk->bik", "ij->ji", "ii->i", "ii", "i,j->ij", "ij,ij->", "bhqd,bhkd->bhqk",
    "ij,ik,il->jkl", "...ij,...jk->...ik", "ij->", "iji->j", "abc,cd->abd", "ijk,k->ij",
]  # fmt: skip


def einsum(m: Maker) -> str:
    equation = m.pick(*EINSUMS)
    terms = equation.split("->")[0].replace("...", m.pick("", "X", "XY")).split(",")
    return product(f"torch.einsum({equation!r}, {', '.join('{}' for _ in terms)})", *terms)(m)


LINEAR: dict[str, Line] = {
    "matmul": matmul,
    "einsum": einsum,
    "mm of two dtypes": lambda m: f"torch.mm({m.tensor((3, 2))}, {m.tensor((2, 4))})",
    "mm": product("torch.mm({}, {})", "ij", "jk"),
    "bmm": product("torch.bmm({}, {})", "bij", "bjk"),
    "mv": product("torch.mv({}, {})", "ij", "j"),
    "dot": product("torch.dot({}, {})", "i", "i"),
    "outer": product("torch.outer({}, {})", "i", "j"),
    "inner": product("torch.inner({}, {})", "aij", "kj"),
    "addmm": product("torch.addmm({}, {}, {}, beta=0.5, alpha=2)", "k", "ij", "jk", kinds=FLOATS),
    "addmv": product("torch.addmv({}, {}, {})", "i", "ij", "j"),
    "baddbmm": product("torch.baddbmm({}, {}, {})", "ik", "bij", "bjk"),
    "addbmm": product("torch.addbmm({}, {}, {})", "ik", "bij", "bjk"),
    "addr": product("torch.addr({}, {}, {})", "ij", "i", "j"),
    "tensordot": product("torch.tensordot({}, {}, dims=([1, 2], [0, 1]))", "aij", "ijb", extents=(3, 2, 4)),
    "kron": product("torch.kron({}.contiguous(), {}.contiguous())", "ij", "kl"),  # torch refuses what it cannot view
    "linear": product("F.linear({}, {}, {})", "abi", "oi", "o", kinds=FLOATS),
    "bilinear": product("F.bilinear({}, {}, {})", "ai", "aj", "oij", kinds=FLOATS, extents=(3, 2, 1, 5)),
    "cross": lambda m: alike_shapes(m, "torch.cross({}, {}, dim=-1)", (*m.shape(0, 2), 3)),
}


def alike_shapes(m: Maker, code: str, shape: tuple[int, ...], kinds: tuple[str, ...] = ALL) -> str:
    kind = m.dtype(kinds)
    return code.format(*(m.tensor(shape, dtype=kind) for _ in range(code.count("{}"))))


def conv2d(m: Maker) -> str:
    kind, groups = m.dtype(FLOATS), m.pick(1, 1, 2, 3)
    c, o = m.integer(1, 3), m.integer(1, 3)
    r, s = m.integer(1, 3), m.integer(1, 3)
    image = (m.pick(2, 1, 3, 0), c * groups, m.integer(3, 8), m.integer(3, 8))
    m.options["terms"] = 200
    x, w = m.tensor(image if not m.rarely() else image[1:], dtype=kind), m.tensor((o * groups, c, r, s), dtype=kind)
    bias = "None" if m.rarely(3) else m.tensor((o * groups,), dtype=kind)
    stride, dilation = m.pick(1, 2, (2, 1), (1, 3)), m.pick(1, 1, 2, (1, 2))
    padding = m.pick(0, 1, (2, 0), (1, 2), "'same'")
    return f"F.conv2d({x}, {w}, {bias}, {stride}, {padding}, {dilation}, {groups})"


def image(m: Maker, values: str = "eighths") -> str:
    shape = (m.pick(2, 1, 0), m.pick(3, 1), m.pick(5, 6, 7, 3), m.pick(4, 5, 8, 2))
    m.options["terms"] = 60
    return m.tensor(shape[1:] if m.rarely() else shape, FLOATS, values)


def pool(code: str, values: str = "eighths") -> Line:
    def line(m: Maker) -> str:
        x = image(m, values)
        window, stride, padding = m.pick(2, 3, (2, 3), 1), m.pick(None, 1, 2, (1, 2)), m.pick(0, 0, 1, (1, 0))
        return code.format(x, window, stride, padding, m.pick(True, False))

    return line


def batch_norm(m: Maker) -> str:
    shape = (m.pick(3, 2, 1), m.pick(3, 1, 5), *m.shape(0, 2, (2, 3, 1)))
    kind, c = m.dtype(FLOATS), shape[1]
    m.options |= {"terms": 100, "gradients": kind not in HALVES}
    x, mean, var, weight, bias = (m.tensor(s, dtype=kind) for s in (shape, *[(c,)] * 4))
    running = f"{mean}.detach().clone(), {var}.detach().abs()"
    return f"F.batch_norm({x}, {running}, {weight}, {bias}, {m.pick(True, False)}, eps=0.1)"


def cross_entropy(m: Maker) -> str:
    classes, rest = m.integer(1, 5), m.shape(0, 2, (2, 3, 1, 0))
    shape = m.pick((classes,), (4, classes), (4, classes, *rest))
    where = (*shape[:1], *shape[2:]) if len(shape) > 1 else ()
    kind = m.dtype(FLOATS)
    m.options["terms"] = math.prod(shape)
    x, reduction = m.tensor(shape, dtype=kind), m.pick("mean", "sum", "none")
    if m.rarely(4):
        return f"F.cross_entropy({x}, {m.tensor(shape, dtype=kind)}, reduction={reduction!r})"
    target = m.tensor(where, values=(0, classes), dtype="int64")
    weight = f", weight={m.tensor((classes,), dtype=kind)}.detach()" if m.rarely(3) else ""
    options = m.pick("", ", label_smoothing=0.25", ", ignore_index=0")
    return f"F.cross_entropy({x}, {target}, reduction={reduction!r}{options}{weight})"


def nll_loss(m: Maker) -> str:
    classes, kind = m.integer(1, 5), m.dtype(FLOATS)
    rest = m.shape(0, 2, (2, 3, 1))
    x, target = m.tensor((4, classes, *rest), dtype=kind), m.tensor((4, *rest), values=(0, classes), dtype="int64")
    m.options["terms"] = 100
    return f"F.nll_loss({x}, {target}, reduction={m.pick('mean', 'sum', 'none')!r})"


NETWORK: dict[str, Line] = {
    "conv2d": conv2d,
    "max_pool2d": pool("F.max_pool2d({}, {}, {}, {}, ceil_mode={})"),
    "max_pool2d dilated": pool("F.max_pool2d({}, {}, {}, {}, 2, {})"),
    "avg_pool2d": pool("F.avg_pool2d({}, {}, {}, {}, {})"),
    "avg_pool2d of what is there": pool("F.avg_pool2d({}, {}, {}, {}, {}, False)"),
    "adaptive_avg_pool2d": lambda m: f"F.adaptive_avg_pool2d({image(m)}, {m.pick(1, 2, (3, 2), (None, 2), 5)})",
    "batch_norm": batch_norm,
    "cross_entropy": cross_entropy,
    "nll_loss": nll_loss,
}
