"""Programs of operations on elements: of one tensor, of several that broadcast, written in place."""

from __future__ import annotations

from tests.fuzz.maker import Line, Maker
from tests.fuzz.program import ALL, FLOATS


def names(text: str) -> list[str]:
    return text.split()


def unary(code: str) -> Line:
    return lambda m: code.format(m.tensor(m.shape(), values=m.pick("eighths", "eighths", "special")))


def binary(code: str) -> Line:
    """A tensor and another that broadcasts, or a number."""

    def line(m: Maker) -> str:
        shape, values = m.shape(), m.pick("eighths", "eighths", "special")
        return code.format(m.tensor(shape, values=values), m.other(shape, values=values))

    return line


def tensors(count: int, code: str) -> Line:
    """All operands are tensors that broadcast."""

    def line(m: Maker) -> str:
        shape = m.shape()
        return code.format(*(m.tensor(m.fitting(shape) if k else shape) for k in range(count)))

    return line


def alike(count: int, code: str, kinds: tuple[str, ...] = ALL) -> Line:
    """Tensors of one dtype that broadcast."""

    def line(m: Maker) -> str:
        shape, kind = m.shape(), m.dtype(kinds)
        return code.format(*(m.tensor(m.fitting(shape) if k else shape, dtype=kind) for k in range(count)))

    return line


def with_options(line: Line, **options: object) -> Line:
    """The line, in a program with these options."""

    def changed(m: Maker) -> str:
        m.options |= options
        return line(m)

    return changed


def power(line: Line) -> Line:
    """Torch takes logarithms of integers in float32, and its gradient of x to the power False is not that of x to 0."""
    return with_options(lambda m: line(m).replace("False", "0"), coarse=True)


def written(code: str, others: int = 0, numbers: bool = True) -> Line:
    """The first operand is written to."""

    def line(m: Maker) -> str:
        shape = m.shape()
        first = m.tensor(shape, written=True)
        rest = [m.other(shape) if numbers else m.tensor(m.fitting(shape)) for _ in range(others)]
        return code.format(first, *rest)

    return line


def clamp(m: Maker) -> str:
    low, high = (m.pick(None, m.number(), m.number()) for _ in range(2))
    return f"torch.clamp({m.tensor(m.shape(), values=m.pick('eighths', 'special'))}, {low}, {high})"


def prelu(m: Maker) -> str:
    shape, kind = m.shape(1), m.dtype(FLOATS)
    count = shape[1] if len(shape) > 1 and m.rarely(2) else 1
    return f"F.prelu({m.tensor(shape, dtype=kind)}, {m.tensor((count,), dtype=kind)})"


def polygamma(m: Maker) -> str:
    return f"torch.polygamma({m.integer(0, 3)}, {m.tensor(m.shape(), FLOATS)}.abs() + 0.5)"


def where(m: Maker) -> str:
    shape = m.shape()
    condition = m.tensor(m.fitting(shape), ("bool",)) if not m.rarely() else m.tensor(shape)
    return f"torch.where({condition}, {m.other(shape)}, {m.other(shape)})"


def masked(code: str) -> Line:
    """A tensor, a mask that broadcasts with it, and a number."""

    def line(m: Maker) -> str:
        shape = m.shape()
        first = m.tensor(shape, written="_(" in code.removeprefix("torch.masked_"))
        return code.format(first, m.tensor(m.fitting(shape), ("bool",)), m.number())

    return line


UNARY = names("""
    abs absolute ceil deg2rad fix floor frac neg negative positive rad2deg reciprocal round sgn sign square trunc acos
    asin asinh atan atanh cos cosh erf erfc erfinv exp exp2 expm1 lgamma log log10 log1p log2 logit rsqrt sigmoid
    sin sinc sinh sqrt tan tanh isfinite isinf isnan isneginf isposinf isreal logical_not bitwise_not relu selu
    celu clone
""")
ACTIVATIONS = names("""
    elu gelu hardswish hardtanh leaky_relu logsigmoid mish relu6 silu softplus softshrink softsign tanhshrink hardshrink
""")
BINARY = names("""
    add sub mul div floor_divide remainder fmod float_power true_divide copysign xlogy eq ne lt le gt ge bitwise_and
    bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift
""")
BINARY_OF_TENSORS = names("""
    atan2 fmax fmin gcd heaviside hypot lcm logaddexp logaddexp2 logical_and logical_or logical_xor maximum minimum
    isclose allclose equal rsub
""")
OPERATORS = ["+", "-", "*", "/", "//", "%", "&", "|", "^", "==", "<", ">="]

ELEMENTWISE: dict[str, Line] = {
    **{name: unary(f"torch.{name}({{}})") for name in UNARY},
    **{f"F.{name}": unary(f"F.{name}({{}})") for name in ACTIVATIONS},
    **{name: binary(f"torch.{name}({{}}, {{}})") for name in BINARY},
    **{name: tensors(2, f"torch.{name}({{}}, {{}})") for name in BINARY_OF_TENSORS},
    **{op: binary(f"{{}} {op} {{}}") for op in OPERATORS},
    **{f"reflected {op}": binary(f"{{1}} {op} {{0}}") for op in OPERATORS},
    "pow": power(binary("torch.pow({}, {})")),
    "**": power(binary("{} ** {}")),
    "reflected **": power(binary("{1} ** {0}")),
    "F.hardsigmoid": with_options(unary("F.hardsigmoid({})"), coarse=True),  # torch's sixth is a float32
    "digamma": with_options(unary("torch.digamma({})"), gradients=False),  # torch's is finite at poles
    "polygamma": with_options(polygamma, coarse=True),
    "acosh": with_options(unary("torch.acosh({})"), gradients=False),  # torch's is finite below -1
    "nan_to_num": unary("torch.nan_to_num({}, 0.5, 2, -2)"),
    "signbit": lambda m: f"torch.signbit({m.tensor(m.shape())})",
    "gelu tanh": unary("F.gelu({}, approximate='tanh')"),
    "prelu": prelu,
    "threshold": unary("F.threshold({}, 0.5, -1)"),
    "round decimals": unary("torch.round({}, decimals=1)"),
    "add alpha": lambda m: binary(f"torch.add({{}}, {{}}, alpha={m.number()})")(m),
    "sub alpha": lambda m: binary(f"torch.sub({{}}, {{}}, alpha={m.number()})")(m),
    "div trunc": binary("torch.div({}, {}, rounding_mode='trunc')"),
    "div floor": binary("torch.div({}, {}, rounding_mode='floor')"),
    "addcmul": lambda m: tensors(3, f"torch.addcmul({{}}, {{}}, {{}}, value={m.pick(1, 2, -0.5)})")(m),
    "addcdiv": lambda m: tensors(3, f"torch.addcdiv({{}}, {{}}, {{}}, value={m.pick(1, 2, -0.5)})")(m),
    "lerp": alike(3, "torch.lerp({}, {}, {})"),
    "lerp number": lambda m: alike(2, f"torch.lerp({{}}, {{}}, {m.pick(0.5, 0.25, 2, 1.0)})")(m),
    "clamp": clamp,
    "clamp tensors": tensors(3, "torch.clamp({}, {}, {})"),
    "clamp_min": binary("torch.clamp_min({}, {})"),
    "where": where,
    "masked_fill": masked("torch.masked_fill({}, {}, {})"),
    "mse_loss": alike(2, "F.mse_loss({}, {})", FLOATS),
    "dist": tensors(2, "torch.dist({}, {})"),
    "broadcast_tensors": tensors(2, "torch.broadcast_tensors({}, {})"),
}

WRITTEN_ALONE = names("""
    abs ceil floor frac neg reciprocal round sign square trunc acos asinh atan cos cosh erf exp expm1 log log1p logit
    rsqrt sigmoid sin sqrt tan tanh bitwise_not relu zero
""")
WRITTEN_WITH_ANY = names("""
    add sub mul div floor_divide remainder fmod copysign xlogy eq ne lt ge bitwise_and bitwise_or bitwise_xor clamp_min
""")
WRITTEN_WITH_TENSORS = names("atan2 hypot gcd copy heaviside")

IN_PLACE: dict[str, Line] = {
    **{name: written(f"{{}}.{name}_()") for name in WRITTEN_ALONE},
    **{  # torch's gradient goes through these as if they had not been
        f"logical_{name}": with_options(written(f"{{}}.logical_{name}_({{}})", 1, False), gradients=False)
        for name in ("and", "or", "xor")
    },
    "logical_not": with_options(written("{}.logical_not_()"), gradients=False),
    **{name: written(f"{{}}.{name}_({{}})", 1) for name in WRITTEN_WITH_ANY},
    **{name: written(f"{{}}.{name}_({{}})", 1, False) for name in WRITTEN_WITH_TENSORS},
    "pow": power(written("{}.pow_({})", 1)),
    "**=": power(written("{}.__ipow__({})", 1)),
    "+=": written("{}.__iadd__({})", 1),
    "addcmul": written("{}.addcmul_({}, {}, value=0.5)", 2, False),
    "lerp": written("{}.lerp_({}, 0.5)", 1, False),
    "fill": lambda m: f"{m.tensor(m.shape(), written=True)}.fill_({m.number()})",
    "masked_fill": masked("{}.masked_fill_({}, {})"),
    "twice": written("{0}.mul_({1}).add_({0})", 1),
    "square of itself": written("{0}.mul_({0})"),
}
