"""Programs that once failed."""

from __future__ import annotations

from tests.fuzz.program import Operand as O, Program

A = O((2, 3), "float32")
WRITTEN = O((2, 3), "float64", written=True)
GAPS = O((5,), "float32", "base[1::2]")
NUMBER = O((), "float64")
BOOLS = O((2, 3), "bool")
BYTES = O((2, 3), "uint8")


def program(code: str, *operands: O, **options: bool) -> Program:
    return Program(code, dict(zip("abc", operands, strict=False)), **options)


FOUND = [
    # What wants a gradient may become a tensor of integers, and be written into one.
    program("a.to(torch.int8)", A),
    program("a.long()", A),
    program("a.copy_(b)", O((2, 3), "int32", written=True), A),
    program("a.__setitem__(0, b[1])", O((2, 3), "int32", written=True), A),
    # What is written over has no gradient, whatever is written.
    program("a.eq_(b)", WRITTEN, A),
    program("a.lt_(0.5)", O((4, 3), "float64", "base[1::2]", written=True)),
    program("a.ge_(2)", O((2, 3), "float64", "base.permute(1, 0)", written=True)),
    # A quotient rounded down wants a gradient that it does not have; a remainder has a second one.
    program("a // 2", A),
    program("torch.heaviside(a, b)", A, A),
    program("a % b", A, O((2, 3), "float32", seed=5)),
    # Gradients outside of the domain, and of nothing.
    program("torch.xlogy(a, -2) + torch.xlogy(b, a - 8)", O((40,), "float64"), O((40,), "float64", seed=1)),
    program("torch.acosh(a - 4)", A),
    # Dtypes.
    program("F.tanhshrink(a)", BYTES),
    program("F.tanhshrink(a)", BOOLS),
    program("F.softsign(a)", BOOLS),
    program("F.hardtanh(a)", BYTES),
    program("a.sum_to_size(1, 3)", BYTES),
    program("torch.cov(a)", BYTES),
    program("torch.cov(a)", BOOLS),
    program("torch.nanmedian(a[:0])", BYTES),
    program("torch.argmin(a[:0])", BOOLS),
    program("torch.trapezoid(a)", BOOLS),
    program("torch.cross(a, a)", BOOLS),
    program("torch.isin(a, b)", A, BOOLS),
    program("a.trace()", BOOLS),
    program("torch.index_fill(a, 0, b, 1)", A, O((2,), "int32", values=(0, 2))),
    program("torch.take_along_dim(a, b, 0)", A, O((2, 3), "int32", values=(0, 2))),
    # Numbers that a dtype cannot hold, and those that a bool is True for.
    *(program(f"a.fill_({n})", O((2, 3), "uint8", written=True)) for n in (-1, -1.5, 255.9, 256, -256)),
    *(
        program(f"a.fill_({n})", O((2, 3), "float16", written=True))
        for n in (7e4, -1e9, "float('inf')", "float('nan')")
    ),
    *(program(f"a.fill_({n})", O((2, 3), "bool", written=True)) for n in (0.5, 300, -0.0)),
    program("a.masked_fill(b, -1e9)", O((2, 3), "float16"), BOOLS),
    program("a.masked_fill(b, 0.5)", BOOLS, BOOLS),
    program("a.scatter(0, b, 300)", BYTES, O((2, 3), "int64", values=(0, 2))),
    program("a.__setitem__(0, 300)", O((2, 3), "uint8", written=True)),
    program("a.__setitem__(b, 300)", O((2, 3), "uint8", written=True), O((2,), "int64", values=(0, 2))),
    program("F.pad(a, (1, 1), value=300)", BYTES),
    # Numbers have one axis, or none.
    program("torch.log_softmax(a, 1)", NUMBER),
    program("torch.roll(a, 1, 0)", NUMBER),
    program("torch.take_along_dim(a, b, 0)", NUMBER, O((), "int64", values=(0, 1))),
    # Strides, those of axes of extent 1 too; ravel() copies where memory is not in order.
    program("a.reshape(1, 1, 5, 1)", O((11,), "float32", "base[1::2]"), aliases=True),
    program("a.reshape(1, 3, 1, 3)", O((1, 3, 1), "float32", "base.expand(3, 3, 1)"), aliases=True),
    program("a.unflatten(1, (1, -1))", O((7, 5, 9), "float32", "base[1::2, 1::2, 1::2]"), aliases=True),
    program("a.flatten(1)", O((5, 3, 3), "float32", "base[1::2, 1::2, 1::2]"), aliases=True),
    program("a.flatten(0, 0)", O((3, 3), "float32", "base[1::2, 1::2]"), aliases=True),
    program("a.ravel()", GAPS, aliases=True),
    # Losses of images.
    program("F.nll_loss(a, b)", O((4, 5, 2), "float32"), O((4, 2), "int64", values=(0, 5))),
    program("F.nll_loss(a, b, reduction='none')", O((5,), "float32"), O((), "int64", values=(0, 5))),
]
