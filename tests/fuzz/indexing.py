"""Programs that read and write elements and slices named by indices and masks."""

from __future__ import annotations

import math

from tests.fuzz.elementwise import masked
from tests.fuzz.maker import Line, Maker
from tests.fuzz.program import ALL, FLOATS


def index_of(m: Maker, shape: tuple[int, ...], extent: int, low: int = 0) -> str:
    high = max(extent, 1) + m.rarely(30)
    return m.tensor(shape, values=(low, high), dtype=m.pick("int64", "int64", "int64", "int32"))


def gathered(code: str, source: bool = False, write: bool = False) -> Line:
    """`code` over a tensor, an axis, an index of as many axes, and a source."""

    def line(m: Maker) -> str:
        shape = m.shape()
        dim = m.dim(len(shape))
        axis = dim % len(shape) if shape and dim < len(shape) else 0
        extent = shape[axis] if shape else 1
        where = tuple(m.pick(n, n, max(n - 1, 0)) for n in shape)
        if shape:
            where = (*where[:axis], m.integer(0, 4) if extent else 0, *where[axis + 1 :])
        kind = m.dtype()
        x = m.tensor(shape, dtype=kind, written=write)
        index = index_of(m, where, extent)
        m.options["terms"] = 20
        return code.format(x, dim, index, m.tensor(where, dtype=kind) if source else m.number())

    return line


def by_row(code: str, source: bool = False, distinct: bool = False, write: bool = False) -> Line:
    """`code` over a tensor, an axis, a vector of positions on it, and a source."""

    def line(m: Maker) -> str:
        shape = m.shape()
        dim = m.dim(len(shape))
        axis = dim % len(shape) if shape and dim < len(shape) else 0
        extent = shape[axis] if shape else 1
        count = (m.integer(0, extent) if distinct else m.integer(0, 6)) if extent and shape else min(extent, 1)
        kind = m.dtype()
        x = m.tensor(shape, dtype=kind, written=write)
        if distinct:
            index = f"torch.tensor({list(range(extent))[::-1][:count]}, dtype=torch.int64)"
        else:
            index = m.tensor((count,), values=(0, max(extent, 1)), dtype=m.pick(*["int64"] * 3, "int32"))
        m.options["terms"] = 20
        rows = (*shape[:axis], count, *shape[axis + 1 :]) if shape else ()
        return code.format(x, dim, index, m.tensor(rows, dtype=kind) if source else m.number())

    return line


def key(m: Maker, shape: tuple[int, ...]) -> str:
    """What stands between the brackets: numbers, slices, None, ..., masks, index tensors that broadcast."""
    parts, axis = [], 0
    together = m.shape(0, 2, (2, 1, 3))
    while axis < len(shape) and not m.rarely(5):
        n = shape[axis]
        kind = m.pick("slice", "number", "index", "slice", "mask", "none", "index", "list")
        if kind == "slice":
            parts.append(m.pick(":", "1:", ":-1", "::2", "1:3", "-2:", "3:1", "-3::2"))
        elif kind == "number" and n:
            parts.append(str(m.integer(-n, n - 1 + m.rarely(30))))
        elif kind == "index" and n:
            parts.append(m.tensor(m.fitting(together), values=(-n, n + m.rarely(30)), dtype=m.pick("int64", "int32")))
        elif kind == "mask" and m.rarely(2):
            rank = m.integer(1, min(2, len(shape) - axis))
            parts.append(m.tensor(shape[axis : axis + rank], ("bool",)))
            axis += rank - 1
        elif kind == "list" and n:
            parts.append(str([m.integer(-n, n - 1) for _ in range(m.integer(1, 3))]))
        else:
            parts.append("None")
            axis -= 1
        axis += 1
    if m.rarely(4):
        parts.append("...")
    return ", ".join(parts) or "..."


def indexed(m: Maker) -> str:
    shape = m.shape()
    x = m.tensor(shape)
    m.options["terms"] = 20
    return f"{x}[{key(m, shape)}]"


def assigned(m: Maker) -> str:
    """A number, a tensor without axes or one that fits; never by an index tensor, of which the order is torch's."""
    shape, kind = m.shape(), m.dtype()
    x = m.tensor(shape, dtype=kind, written=True)
    keys: list[str] = []
    axis = 0
    while axis < len(shape) and not m.rarely(4):
        n = shape[axis]
        if n and m.rarely(3):
            keys.append(str(m.integer(-n, n - 1)))
        elif m.rarely(4):
            keys.append(m.tensor((n,), ("bool",)))
        elif n and m.rarely(4):
            keys.append(f"torch.tensor({list(range(n))[::-2]})")
        else:
            keys.append(m.pick("slice(None)", "slice(1, None)", "slice(None, None, 2)", "slice(0, -1)", "None"))
            axis -= keys[-1] == "None"
        axis += 1
    value = m.pick(str(m.number()), m.tensor((), m.pick(ALL, (kind,))), m.tensor(m.shape(0, 1, (1,)), (kind,)))
    return f"{x}.__setitem__(({', '.join(keys)}{',' * bool(keys)}), {value})"


def taken(m: Maker) -> str:
    shape = m.shape()
    n = math.prod(shape)
    return f"torch.take({m.tensor(shape)}, {m.tensor(m.shape(0, 2), values=(-n, n) if n else (0, 1), dtype='int64')})"


def embedding(m: Maker) -> str:
    rows = m.integer(1, 5)
    index, weight = index_of(m, m.shape(0, 3), rows), m.tensor((rows, m.integer(1, 4)), FLOATS)
    m.options["terms"] = 30
    return f"F.embedding({index}, {weight}{m.pick('', ', padding_idx=0', ', padding_idx=-1')})"


INDEXING: dict[str, Line] = {
    "gather": gathered("torch.gather({}, {}, {})"),
    "take_along_dim": lambda m: gathered("torch.take_along_dim({0}, {2}, {1})")(m),
    "scatter number": gathered("torch.scatter({}, {}, {}, {})"),
    "scatter_add": gathered("torch.scatter_add({}, {}, {}, {})", source=True),
    "scatter_add_": gathered("{}.scatter_add_({}, {}, {})", source=True, write=True),
    "scatter add": gathered("torch.scatter({}, {}, {}, {}, reduce='add')", source=True),
    "index_select": by_row("torch.index_select({}, {}, {})"),
    "index_add": by_row("torch.index_add({}, {}, {}, {})", source=True),
    "index_add alpha": by_row("torch.index_add({}, {}, {}, {}, alpha=2)", source=True),
    "index_add_": by_row("{}.index_add_({}, {}, {})", source=True, write=True),
    "index_copy": by_row("torch.index_copy({}, {}, {}, {})", source=True, distinct=True),
    "index_copy_": by_row("{}.index_copy_({}, {}, {})", source=True, distinct=True, write=True),
    "index_fill": by_row("torch.index_fill({}, {}, {}, {})"),
    "index_fill_": by_row("{}.index_fill_({}, {}, {})", write=True),
    "getitem": indexed,
    "setitem": assigned,
    "take": taken,
    "embedding": embedding,
    "one_hot": lambda m: f"F.one_hot({m.tensor(m.shape(), values=(0, 4), dtype='int64')}, 4)",
    "masked_select": masked("torch.masked_select({}, {})"),
    "nonzero": lambda m: f"torch.nonzero({m.tensor(m.shape())})",
    "nonzero tuple": lambda m: f"torch.nonzero({m.tensor(m.shape())}, as_tuple=True)",
    "argwhere": lambda m: f"torch.argwhere({m.tensor(m.shape())})",
    "tril": lambda m: f"torch.tril({m.tensor(m.shape(1))}, {m.integer(-3, 3)})",
    "triu": lambda m: f"torch.triu({m.tensor(m.shape(1))}, {m.integer(-3, 3)})",
}  # fmt: skip
