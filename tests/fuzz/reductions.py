"""Programs of reductions, scans and sorting: along axes, over several, over all."""

from __future__ import annotations

import math

from tests.fuzz.elementwise import names
from tests.fuzz.maker import Line, Maker
from tests.fuzz.program import ALL, FLOATS, INTEGERS

NUMBERS = (*FLOATS, *INTEGERS)
WIDE = ("float64", "float32", "int64", "int32")  # wide enough for the elements to be distinct


def reduced(code: str, kinds: tuple[str, ...] = ALL, values: str = "", several: bool = True, least: int = 0) -> Line:
    """`code` over a tensor and its options."""

    def line(m: Maker) -> str:
        shape = m.shape()
        m.options["terms"] = math.prod(shape)
        x = m.tensor(shape, kinds, values or m.pick("eighths", "eighths", "special"))
        dim = m.dims(len(shape), least) if several else m.pick(None, m.dim(len(shape)), m.dim(len(shape)))
        named = [] if dim is None else [f", dim={dim}"] + [", keepdim=True"] * m.rarely(2)
        return code.format(x, "".join(named))

    return line


def along(code: str, kinds: tuple[str, ...] = ALL, values: str = "eighths", least: int = 0) -> Line:
    """`code` over a tensor, one axis, and a small number up to its length."""

    def line(m: Maker) -> str:
        shape = m.shape(least)
        m.options["terms"] = max(shape, default=1)
        dim = m.dim(len(shape))
        extent = shape[dim] if shape and dim < len(shape) else 1
        return code.format(m.tensor(shape, kinds, values), dim, m.integer(0 if m.rarely() else 1, max(extent, 1)))

    return line


def searched(m: Maker) -> str:
    lead, kind = m.shape(0, 2, (2, 3, 1)), m.dtype(("float32", "float64", "int64", "int32"))
    edges = m.tensor((*lead, m.integer(0, 6)), dtype=kind)
    values = m.tensor((*lead, m.integer(0, 5)), dtype=kind)
    return f"torch.searchsorted({edges}.detach().sort(-1)[0], {values}.detach(), right={m.pick(True, False)})"


def unique(m: Maker) -> str:
    shape = m.shape(1, extents=(2, 3, 1, 4))
    dim = m.pick("", f", dim={m.dim(len(shape))}")
    return f"torch.unique({m.tensor(shape)}.detach(), return_inverse=True, return_counts=True{dim})"


ORDERS = ["2", "1", "0", "3", "0.5", "float('inf')", "-float('inf')", "'fro'"]
QUANTILES = "torch.quantile({{}}, {}{{}})"
MIXED = ("eighths", "special")

REDUCTIONS: dict[str, Line] = {
    **{name: reduced(f"torch.{name}({{}}{{}})") for name in names("sum mean nansum nanmean amax amin any all")},
    **{
        name: reduced(f"torch.{name}({{}}{{}})", least=1) for name in ("var", "std")
    },  # torch's gradient for () is wrong
    **{name: reduced(f"torch.{name}({{}}{{}})", several=False) for name in names("prod max min argmax argmin aminmax")},
    **{  # torch's mean of infinities is not one here
        name: reduced(f"torch.{name}({{}}{{}})", values="eighths", several=False) for name in ("var_mean", "std_mean")
    },
    "sum dtype": lambda m: reduced(f"torch.sum({{}}{{}}, dtype=torch.{m.dtype(FLOATS)})", values="eighths")(m),
    "prod dtype": lambda m: reduced(f"torch.prod({{}}{{}}, dtype=torch.{m.dtype(FLOATS)})", ALL, "eighths", False)(m),
    "sum into others": lambda m: reduced(f"torch.sum({{}}.detach(){{}}, dtype=torch.{m.dtype()})", values="eighths")(m),
    "mean dtype": lambda m: reduced(f"torch.mean({{}}{{}}, dtype=torch.{m.dtype()})", values="eighths")(m),
    "var correction": lambda m: reduced(f"torch.var({{}}{{}}, correction={m.pick(0, 1, 0.5)})", least=1)(m),
    "count_nonzero": lambda m: f"torch.count_nonzero({m.tensor(m.shape(3, 3))}, {m.pick(None, 0, -1, (0, 2))})",
    "logsumexp": lambda m: along("torch.logsumexp({}, {})", values=m.pick(*MIXED))(m),
    "norm": lambda m: reduced(f"torch.norm({{}}, {m.pick(*ORDERS)}{{}})")(m),
    "median": reduced("torch.median({}{})", WIDE, "distinct", several=False),
    "nanmedian": reduced("torch.nanmedian({}{})", WIDE, "distinct", several=False),
    "mode": along("torch.mode({}, {})[0]", ("int64",)),
    "quantile": lambda m: reduced(QUANTILES.format(m.pick(0.5, 0.25, 1.0, 0.0)), FLOATS, "eighths", False)(m),
    **{
        name: (lambda m, name=name: along(f"torch.{name}({{}}, {{}})", values=m.pick(*MIXED))(m))
        for name in names("cumsum cumprod cummax cummin")
    },
    "logcumsumexp": lambda m: along("torch.logcumsumexp({}, {})", FLOATS, m.pick(*MIXED))(m),
    "cumsum dtype": lambda m: along(f"torch.cumsum({{}}.detach(), {{}}, dtype=torch.{m.dtype(NUMBERS)})")(m),
    "diff": along("torch.diff({0}, dim={1}, n={2})"),
    "trapezoid": along("torch.trapezoid({}, dim={})", NUMBERS, least=1),
    "histc": lambda m: f"torch.histc({m.tensor(m.shape(), ('float32', 'float64'))}, {m.integer(1, 5)}, -1, 1)",
    "bincount": lambda m: f"torch.bincount({m.tensor(m.shape(1, 1), INTEGERS, (0, 5))})",
    "cov": lambda m: f"torch.cov({m.tensor(m.shape(0, 2, (2, 3, 4, 1)))})",
    "softmax": lambda m: along("torch.softmax({}, {})", FLOATS, m.pick(*MIXED))(m),
    "log_softmax": lambda m: along("torch.log_softmax({}, {})", FLOATS, m.pick(*MIXED))(m),
    "softmax dtype": lambda m: along(f"torch.softmax({{}}, {{}}, dtype=torch.{m.dtype(FLOATS)})")(m),
    "glu": along("F.glu({}, {})", FLOATS),
    "sort": lambda m: along(
        f"torch.sort({{}}, dim={{}}, descending={m.pick(True, False)}, stable=True)", ALL, m.pick(*MIXED)
    )(m),
    "argsort": lambda m: along("torch.argsort({}, dim={}, stable=True)", values=m.pick(*MIXED))(m),
    "msort": lambda m: f"torch.msort({m.tensor(m.shape(1))})",
    "topk": lambda m: along(f"torch.topk({{0}}, {{2}}, {{1}}, largest={m.pick(True, False)})", WIDE, "distinct")(m),
    "kthvalue": along("torch.kthvalue({0}, {2}, {1})", WIDE, "distinct"),
    "searchsorted": searched,
    "bucketize": lambda m: (
        f"torch.bucketize({m.tensor(m.shape())}.detach(), {m.tensor(m.shape(1, 1))}.detach().sort()[0])"
    ),
    "unique": unique,
    "unique_consecutive": lambda m: f"torch.unique_consecutive({m.tensor(m.shape())}.detach(), return_counts=True)",
    "isin": lambda m: f"torch.isin({m.tensor(m.shape(), NUMBERS)}, {m.tensor(m.shape(), NUMBERS)}.contiguous())",
}
