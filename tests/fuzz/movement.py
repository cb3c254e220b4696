"""Programs of views and of what moves elements: a view is one where torch's is, with the same strides."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.maker import Line, Maker
from tests.fuzz.program import FLOATS


def moved(code: Callable[[Maker, tuple[int, ...]], str], least: int = 0, aliases: bool = True) -> Line:
    """Code over `a`, from its shape; checked to be a view where torch's is."""

    def line(m: Maker) -> str:
        shape = m.shape(least)
        m.tensor(shape)
        m.options |= {"terms": 20, "aliases": aliases}
        return code(m, shape)

    return line


def regrouped(m: Maker, shape: tuple[int, ...]) -> str:
    """Another shape of as many elements: neighbours joined, extents split, ones put in, -1 somewhere."""
    sizes: list[int] = []
    for n in shape:
        if sizes and m.rarely(3):
            sizes[-1] *= n
        elif n == 4 and m.rarely(2):
            sizes += [2, 2]
        else:
            sizes += [1] * m.rarely(4) + [n]
    if sizes and m.rarely(4):
        sizes[m.integer(0, len(sizes) - 1)] = -1
    return ", ".join(map(str, sizes)) or "()"


def viewed(m: Maker) -> str:
    shape = m.shape()
    m.options["aliases"] = True
    return f"{m.tensor(shape, layouts=('plain',))}.view({regrouped(m, shape)})"


def order(m: Maker, rank: int) -> str:
    axes = list(range(rank))
    for k in range(rank - 1):
        j = m.integer(k, rank - 1)
        axes[k], axes[j] = axes[j], axes[k]
    return ", ".join(str(a - rank if m.rarely(3) else a) for a in axes)


def widened(m: Maker, shape: tuple[int, ...]) -> str:
    sizes = [m.pick(-1, n, n) if n != 1 else m.pick(3, -1, 0, 1) for n in shape]
    return ", ".join(map(str, [2] * m.rarely(3) + sizes)) or "2, 3"


def split_sizes(m: Maker, n: int) -> list[int]:
    cut = m.integer(0, n)
    return [cut, n - cut]


def dim_of(m: Maker, shape: tuple[int, ...]) -> tuple[int, int]:
    d = m.dim(len(shape))
    return d, shape[d] if shape and d < len(shape) else 1


def unfolded(m: Maker, shape: tuple[int, ...]) -> str:
    d, n = dim_of(m, shape)
    return f"a.unfold({d}, {m.integer(0, n + m.rarely(20))}, {m.pick(1, 2, 3)})"


def narrowed(m: Maker, shape: tuple[int, ...]) -> str:
    d, n = dim_of(m, shape)
    start = m.integer(-n, n)
    return f"a.narrow({d}, {start}, {m.integer(0, n - (start % n if n and start < n else start) + m.rarely(20))})"


def strided(m: Maker) -> str:
    x, sizes = m.tensor(m.shape(2, extents=(4, 3, 5))), m.shape(1, 3, (2, 1, 3))
    strides = tuple(m.pick(1, 0, 2, 3) for _ in sizes)
    m.options |= {"terms": 20, "aliases": True}
    return f"{x}.as_strided({sizes}, {strides}, {m.pick(0, 1, None)})"


def padded(mode: str) -> Line:
    def line(m: Maker) -> str:
        if mode == "constant":
            shape = m.shape()
            widths = [m.integer(-1, 2) for _ in range(2 * m.integer(0, len(shape)))]
            return f"F.pad({m.tensor(shape)}, {widths}, value={m.number()})"
        axes = m.integer(1, 3)
        shape = m.shape(axes + 1, min(axes + 2, 4), (3, 2, 4, 1))
        m.options["terms"] = 100
        return f"F.pad({m.tensor(shape, FLOATS)}, {[m.integer(0, 2) for _ in range(2 * axes)]}, {mode!r})"

    return line


def joined(code: str, least: int = 0, fixed: bool = False) -> Line:
    """Tensors that differ in one axis at most, in dtype too."""

    def line(m: Maker) -> str:
        shape = m.shape(least)
        dim = m.dim(len(shape)) if not fixed else 0
        names = []
        for _ in range(m.integer(1, 3)):
            here = list(shape)
            if "cat" in code and shape and dim < len(shape) and m.rarely(2):
                here[dim] = m.integer(0, 3)
            names.append(m.tensor(m.shape() if m.rarely(30) else tuple(here), dtype=m.dtype() if m.rarely(2) else None))
        return code.format(", ".join(names), dim)

    return line


def rolled(m: Maker, shape: tuple[int, ...]) -> str:
    if m.rarely(4):
        return f"torch.roll(a, {m.integer(-7, 7)})"
    return f"torch.roll(a, ({m.integer(-7, 7)}, {m.integer(-3, 3)}), ({m.dim(len(shape))}, {m.dim(len(shape))}))"


MOVEMENT: dict[str, Line] = {
    "reshape": moved(lambda m, s: f"a.reshape({regrouped(m, s)})"),
    "view": viewed,  # of others too: images are kept channels-last, so view() is as lenient as reshape()
    "permute": moved(lambda m, s: f"a.permute({order(m, len(s)) or '()'})"),
    "transpose": moved(lambda m, s: f"a.transpose({m.dim(len(s))}, {m.dim(len(s))})"),
    "movedim": moved(lambda m, s: f"a.movedim({m.dim(len(s))}, {m.dim(len(s))})"),
    "expand": moved(lambda m, s: f"a.expand({widened(m, s)})"),
    "unfold": moved(unfolded),
    "narrow": moved(narrowed),
    "select": moved(lambda m, s: f"a.select({m.dim(len(s))}, {m.integer(-3, 2)})"),
    "diagonal": moved(lambda m, s: f"a.diagonal({m.integer(-3, 3)}, {m.dim(len(s))}, {m.dim(len(s))})", 2),
    "as_strided": strided,
    "squeeze": moved(lambda m, s: m.pick("a.squeeze()", f"a.squeeze({m.dim(len(s))})")),
    "unsqueeze": moved(lambda m, s: f"a.unsqueeze({m.integer(-len(s) - 1, len(s))})"),
    "flatten": moved(lambda m, s: f"a.flatten({m.dim(len(s))}, {m.dim(len(s))})"),
    "unflatten": moved(lambda m, s: f"a.unflatten({m.dim(len(s))}, {m.pick((-1,), (2, 2), (1, -1), (3, 1))})"),
    "split": moved(lambda m, s: f"a.split({m.integer(0, 3)}, {m.dim(len(s))})"),
    "split sizes": moved(lambda m, s: (lambda d, n: f"a.split({split_sizes(m, n)}, {d})")(*dim_of(m, s))),
    "chunk": moved(lambda m, s: f"a.chunk({m.integer(1, 4)}, {m.dim(len(s))})"),
    "tensor_split": moved(lambda m, s: f"a.tensor_split({m.pick(1, 2, 3, (1, 2), (-1,))}, {m.dim(len(s))})"),
    "unbind": moved(lambda m, s: f"a.unbind({m.dim(len(s))})"),
    "T": moved(lambda m, s: "a.T" if len(s) == 2 else "a.mT"),
    "t": moved(lambda m, s: "a.t()"),
    "ravel": moved(lambda m, s: "a.ravel()"),
    "contiguous": moved(lambda m, s: "a.contiguous()"),
    "clone": moved(lambda m, s: "a.clone()", aliases=False),
    "atleast_3d": moved(lambda m, s: f"torch.atleast_{m.pick(1, 2, 3)}d(a)"),
    "diag_embed": moved(lambda m, s: f"a.diag_embed({m.integer(-2, 2)})", aliases=False),
    "diag": moved(lambda m, s: f"a.diag({m.integer(-2, 2)})", aliases=False),
    "trace": lambda m: f"{m.tensor(m.shape(2, 2))}.trace()",
    "flip": moved(lambda m, s: f"a.flip({m.dim(len(s))})", aliases=False),
    "rot90": moved(lambda m, s: f"a.rot90({m.integer(-3, 5)}, ({m.dim(len(s))}, {m.dim(len(s))}))", aliases=False),
    "roll": moved(rolled, aliases=False),
    "repeat": moved(lambda m, s: f"a.repeat({[m.integer(0, 2) for _ in range(len(s) + m.rarely(3))]})", aliases=False),
    "tile": moved(lambda m, s: f"a.tile({[m.integer(0, 2) for _ in range(m.integer(0, 4))]})", aliases=False),
    "repeat_interleave": moved(lambda m, s: f"a.repeat_interleave({m.integer(0, 3)}, {m.dim(len(s))})", 1, False),
    "to": moved(lambda m, s: f"a.to(torch.{m.dtype()})", aliases=False),
    "sum_to_size": moved(lambda m, s: f"a.sum_to_size({[1 if m.rarely(2) else n for n in s]})", 1, False),
    "cat": joined("torch.cat([{}], {})", 1),
    "concat": joined("torch.cat([{}], {})", 1),
    "stack": joined("torch.stack([{}], {})"),
    "hstack": joined("torch.hstack([{}])", fixed=True),
    "vstack": joined("torch.vstack([{}])", fixed=True),
    "dstack": joined("torch.dstack([{}])", fixed=True),
    "column_stack": joined("torch.column_stack([{}])", fixed=True),
    **{f"pad {mode}": padded(mode) for mode in ("constant", "reflect", "replicate", "circular")},
}
