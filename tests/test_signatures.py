"""Arguments by torch's names, and by those of numpy that torch takes, and results into `out`: as torch's."""

from __future__ import annotations

import inspect
import types
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import randn


def numbers(t: Any) -> Any:
    return [numbers(v) for v in t] if isinstance(t, tuple | list) else np.asarray(t.tolist(), np.float64)


def sample(m: Any) -> dict[str, Any]:
    x = m.tensor(np.abs(randn(3, 4)).tolist()) + 0.1
    square = x @ x.t() + 3 * m.eye(3)
    index = m.tensor([[0, 1, 2, 0], [2, 1, 0, 0]])
    return {"torch": m, "x": x, "i": index, "s": square, "b": x > 0.5, "rows": m.tensor([2, 0])}


ALONG = [
    "sum",
    "mean",
    "prod",
    "var",
    "std",
    "max",
    "min",
    "amax",
    "amin",
    "argmax",
    "argmin",
    "any",
    "all",
    "nansum",
    "nanmean",
    "median",
    "nanmedian",
    "mode",
    "logsumexp",
    "var_mean",
    "std_mean",
    "aminmax",
]
OVER = [
    "cumsum",
    "cumprod",
    "cummax",
    "cummin",
    "logcumsumexp",
    "softmax",
    "log_softmax",
    "count_nonzero",
    "sort",
    "argsort",
    "unbind",
    "squeeze",
    "unsqueeze",
    "diff",
    "trapezoid",
    "cumulative_trapezoid",
]
CALLS = [
    *(f"torch.{f}(x, axis=1)" for f in ALONG + OVER),
    *(f"torch.{f}(x, dim=0, keepdims=True)" for f in ALONG),
    *(f"x.{f}(axis=0, keepdim=True)" for f in ALONG if f not in ("var_mean", "std_mean")),
    "x.sum(axis=(0, 1), keepdims=True)", "x.var(axis=0, correction=0, keepdims=True)", "torch.kthvalue(x, 2, axis=0)",
    "torch.topk(x, 2, axis=0)", "torch.quantile(x, 0.5, axis=0, keepdims=True)", "torch.nanquantile(x, 0.5, axis=1)",
    "torch.chunk(x, 2, axis=1)", "torch.tensor_split(x, 2, axis=1)", "torch.take_along_dim(x, i, axis=0)",
    "torch.repeat_interleave(x, 2, axis=0)", "torch.linalg.norm(x, axis=0)", "torch.linalg.vecdot(x, x, axis=0)",
    "torch.linalg.vector_norm(x, axis=0, keepdims=True)", "torch.cat([x, x], axis=1)", "torch.stack([x, x], axis=-1)",
    "torch.concat([x, x], axis=1)", "torch.concatenate([x, x], axis=1)", "torch.gather(x, axis=0, index=i)",
    "torch.scatter(x, axis=0, index=i, src=x)", "torch.index_select(x, axis=0, index=rows)", "torch.sum(x=x, axis=0)",
    "torch.narrow(x, axis=1, start=1, length=2)", "torch.select(x, axis=1, index=2)", "torch.mean(a=x)",
    "torch.squeeze(input=x)", "torch.softmax(input=x, dim=1)", "torch.cross(x[:, :3], x[:, :3].t(), axis=1)",
    "torch.split(tensor=x, split_size_or_sections=2, dim=1)", "torch.permute(input=x, dims=(1, 0))",
    "torch.flatten(input=x, start_dim=0)", "torch.tril(input=x, diagonal=1)", "torch.reshape(input=x, shape=(12,))",
    "torch.gather(input=x, dim=0, index=i)", "torch.roll(input=x, shifts=1, dims=1)", "torch.flip(input=x, dims=(0,))",
    "torch.nn.functional.softmax(input=x, dim=0)", "torch.broadcast_to(input=x, size=(2, 3, 4))",
    "torch.masked_select(input=x, mask=b)", "torch.transpose(input=x, dim0=0, dim1=1)",
    "torch.diagonal(input=x, offset=1, dim1=0, dim2=1)", "torch.nn.functional.pad(input=x, pad=(1, 1))",
    "x.clone().cumsum_(axis=0)", "x.clone().unsqueeze_(axis=0)",
    "x.clone().index_add_(axis=0, index=rows, source=x[1:])",
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_names_of_arguments(call: str) -> None:
    for a, b in zip(numbers([eval(call, sample(tg))]), numbers([eval(call, sample(torch))]), strict=True):
        for p, q in zip(a, b, strict=True) if isinstance(a, list) else [(a, b)]:
            np.testing.assert_allclose(p, q, rtol=1e-5)


def test_an_argument_has_one_name_at_a_time() -> None:
    for call in ("torch.sum(x, dim=0, axis=0)", "torch.sum(x, 0, axis=0)", "torch.sum(x, 0, nothing=1)"):
        for m in (tg, torch):
            with pytest.raises(TypeError):
                eval(call, sample(m))


OUT = {  # the call, with how many tensors it gives
    **dict.fromkeys([
        "cat([x, x], 1", "concat([x, x]", "concatenate([x, x]", "stack([x, x]", "hstack([x, x]", "vstack([x, x]",
        "row_stack([x, x]", "dstack([x, x]", "column_stack([x, x]", "diag(x", "gather(x, 0, i", "histc(x, 5",
        "index_add(x, 0, rows, x[:2]", "index_copy(x, 0, rows, x[:2]", "index_select(x, 0, rows", "take(x, i",
        "masked_select(x, b", "nonzero(b", "tril(x", "triu(x, 1", "scatter(x, 0, i, x", "scatter_add(x, 0, i, x",
        "take_along_dim(x, i, 0", "var(x, 0", "std(x, 1", "quantile(x, 0.3", "nanquantile(x, 0.3", "softmax(x, 0",
        "log_softmax(x, 1", "hardshrink(x", "threshold(x, 1, 2", "polygamma(1, x", "isin(i, rows", "matrix_power(s, 2",
        "inverse(s", "linalg.inv(s", "linalg.det(s", "linalg.solve(s, x", "linalg.matrix_rank(x", "linalg.cond(s",
        "linalg.pinv(x", "linalg.svdvals(x", "linalg.cholesky(s", "linalg.eigvalsh(s", "linalg.matrix_power(s, -1",
        "linalg.solve_triangular(s, x, upper=True", "cholesky_inverse(s", "cholesky_solve(x, s", "linalg.vecdot(x, x",
        "diff(x", "where(b, x, i[0]", "kron(x, x", "tensordot(x, x.t(), 1",
    ], 1),
    **dict.fromkeys(["median(x, 0", "nanmedian(x, 0", "mode(x, 0", "aminmax(x", "linalg.slogdet(s"], 2),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("call", OUT)
def test_results_into_tensors_given(call: str) -> None:
    found = []
    for m in (tg, torch):
        names = sample(m)
        plain = eval(f"torch.{call})", names)
        like = [plain] if OUT[call] == 1 else list(plain)
        names["out"] = tuple(m.empty_like(t).t() if t.ndim == 2 else m.empty(0, dtype=t.dtype) for t in like)
        for o, t in zip(names["out"], like, strict=True):
            o.resize_(0 if t.ndim != 2 else tuple(t.shape))
        result = eval(f"torch.{call}, out={'out[0]' if OUT[call] == 1 else 'out'})", names)
        given = [result] if OUT[call] == 1 else list(result)
        assert all(a is b for a, b in zip(given, names["out"], strict=True))
        assert m is torch or type(result) is type(plain)
        found.append(numbers(given))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)


def test_out_of_the_wrong_kind() -> None:
    x = tg.ones(2, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        tg.cat([x, x], out=tg.empty(0))
    with pytest.raises(TypeError, match="must be a tuple of 2 tensors"):
        tg.median(x.detach(), 0, out=tg.empty(0))
    with pytest.raises(RuntimeError, match="can't be cast"):
        tg.cat([x.detach()], out=tg.empty(0, dtype=tg.int64))


# Names that torch's schemas have and its Python functions do not, or that stand for what is not offered here.
NOT_TAKEN = """
_disable_byteorder_record _use_new_zipfile_serialization a args b element i idx indices input2 kwargs l list n
other out out_dtype pickle_load_args pickle_module pickle_protocol reverse scalar scalar1 scalar2 sections
some t tensor tensor_indices_or_sections test_element values x
"""


def test_functions_take_all_of_torchs_names() -> None:
    """The arguments in torch's schemas are known here by the same names."""
    missing = []
    for name, function in vars(tg).items():
        theirs = getattr(torch, name, None)
        if name.startswith("_") or not isinstance(function, types.FunctionType) or theirs is None or name == "normal":
            continue  # one of normal's schemas is that of another function
        packet = getattr(torch.ops.aten, name, None)
        if isinstance(theirs, types.FunctionType):
            wanted = set(inspect.signature(theirs).parameters)
        elif packet is not None:
            schemas = [getattr(packet, o)._schema.arguments for o in packet.overloads()]
            wanted = {
                "input" if a.name == "self" else a.name
                for s in schemas
                if not any("Dimname" in str(a.type) for a in s)
                for a in s
                if not a.is_out
            }
        else:
            continue
        parameters = inspect.signature(function).parameters
        ours = {*parameters, *(["size"] if "named" in parameters else [])}
        missing += [(name, sorted(rest))] if (rest := wanted - ours - set(NOT_TAKEN.split())) else []
    assert not missing


def test_warnings_are_not_given() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tg.zeros(3, out=tg.empty(5))
