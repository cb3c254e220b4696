"""Products through TMA descriptors: every storage order, batches, split inner extents, and what goes by pointers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn
from tests.conftest import TINY
from tritongrad_kernels import activations, dtypes, interpret, launch, matmul as kernel, memory
from tritongrad_kernels.array import Array, empty, from_host

pytestmark = pytest.mark.skipif(launch.arch() not in ("interpret", "sm_90"), reason="this GPU's tiles are others")


@pytest.fixture(params=["tiles", "tiny"])
def hopper(request: pytest.FixtureRequest) -> Iterator[str]:
    """Tiles of sm_90, and tiny ones."""
    with launch.column("sm_90"), launch.tiles(**TINY) if request.param == "tiny" else contextlib.nullcontext():
        yield request.param


CASES = [
    pytest.param((17, 40), (40, 24), id="ragged rows and inner extent"),
    pytest.param((152, 16), (16, 40), id="more than a group of 8 row tiles"),
    pytest.param((8, 104), (104, 16), id="split inner extent"),
    pytest.param((3, 24, 40), (3, 40, 24), id="batches"),
    pytest.param((24, 40), (3, 40, 24), id="matrix, batch"),
    pytest.param((2, 8, 104), (2, 104, 8), id="split batches"),
    pytest.param((1, 24), (24, 40), id="a row"),
]


@pytest.mark.parametrize(("a", "b"), CASES)
def test_products_and_gradients(a: tuple[int, ...], b: tuple[int, ...], hopper: str) -> None:
    with launch.recording() as log:
        check(tg.matmul, torch.matmul, randn(*a, seed=1), randn(*b, seed=2), dtype="bfloat16", terms=2 * max(*a, *b))
    launched = [r.kernel for r in log if "matmul" in r.kernel]
    assert len(launched) == 3 and launched[0] == "_matmul_tma"  # gradients of 17 rows have no lines of 16 bytes
    assert set(launched) == {"_matmul_tma"} or a[-2] % 8


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_storage_order(dtype: str, hopper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "precision", "high")
    a, b = randn(24, 40, seed=1), randn(40, 16, seed=2)
    for left in (False, True):
        for right in (False, True):

            def product(x, y, left=left, right=right):
                return (x.t().contiguous().t() if left else x) @ (y.t().contiguous().t() if right else y)

            with launch.recording() as log:
                check(product, product, a, b, dtype=dtype, terms=40)
            flags = [r.arguments[11:13] for r in log if r.kernel == "_matmul_tma"]
            assert len(flags) == 3 and flags[0] == (left, right)


ODD = [
    pytest.param((8, 20), (20, 16), id="a line of 40 bytes"),
    pytest.param((8, 16), (16, 9), id="a result with lines of 18 bytes"),
    pytest.param((2, 3, 8, 24), (3, 24, 8), id="a batch of two steps"),
    pytest.param((8, 0), (0, 8), id="nothing"),
]


@pytest.mark.parametrize(("a", "b"), ODD)
def test_other_products_go_by_pointers(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with launch.column("sm_90"), launch.tiles(**TINY), launch.recording() as log:
        check(tg.matmul, torch.matmul, randn(*a), randn(*b, seed=1), dtype="bfloat16", terms=20, grads=False)
    assert [r.kernel for r in log] == ["_matmul"]


def test_exact_float32_and_float64_go_by_pointers() -> None:
    with launch.column("sm_90"), launch.recording() as log:
        for dtype in (tg.float32, tg.float64):
            assert (tg.ones(8, 16, dtype=dtype) @ tg.ones(16, 8, dtype=dtype)).tolist() == [[16] * 8] * 8
    assert {r.kernel for r in log if "matmul" in r.kernel} == {"_matmul"}


def test_larger_tiles_where_there_are_enough() -> None:
    with launch.column("sm_90"):
        blocks = [kernel.matmul_tma.blocks(n, n, 512, 1, 2) for n in (64, 1024, 2048, 4096)]
    assert [(c["BM"], c["BN"]) for c in blocks] == [(64, 64), (64, 64), (128, 128), (128, 256)]


def test_as_many_programs_as_run_at_once_share_the_tiles() -> None:
    with memory.dry_run(), launch.recording() as log:
        a, b = empty((4096, 64), dtypes.bfloat16), empty((64, 4096), dtypes.bfloat16)
        for column in ("sm_90", "sm_100"):
            with launch.column(column):
                kernel.matmul(a, b)
                kernel.matmul(a.slice(0, 0, 2048), b.slice(1, 0, 2048))
    assert [r.grid for r in log] == [(132,), (256,), (148,), (256,)]


def test_the_same_bits_whatever_the_storage_and_the_order(hopper: str) -> None:
    a, b = (tg.tensor(randn(*s)).bfloat16() for s in ((24, 72), (72, 16)))
    expected = (a @ b).float().numpy().tobytes()
    assert (a.t().contiguous().t() @ b.t().contiguous().t()).float().numpy().tobytes() == expected
    with interpret.order("reverse"):
        assert (a @ b).float().numpy().tobytes() == expected


def test_nan_and_infinity_stay_in_their_rows_and_columns(hopper: str) -> None:
    a, b = randn(20, 8), randn(8, 24, seed=1)
    a[0, 0], b[0, 3] = np.nan, np.inf
    check(tg.matmul, torch.matmul, a, b, dtype="bfloat16", terms=5, grads=False)


# ------------------------------------------------------------------------------------------------------------- fused


def numbers(*shape: int, seed: int) -> Array:
    return from_host(randn(*shape, seed=seed).astype(np.float32))


@pytest.mark.parametrize("column", ["interpret", "sm_90"])
@pytest.mark.parametrize("k", [24, 40], ids=["whole", "split"])
@pytest.mark.parametrize("parts", ["bias", "bias activation residual"])
def test_what_is_done_before_the_product_is_stored(
    column: str, k: int, parts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiny tiles have 128 columns here, which are finished half by half."""
    monkeypatch.setattr(kernel, "precision", "high")
    a, b, bias, residual = (numbers(*s, seed=i) for i, s in enumerate([(2, 24, k), (k, 72), (72,), (2, 24, 72)]))
    given = {
        "bias": bias if "bias" in parts else None,
        "activation": activations._gelu if "activation" in parts else None,
        "residual": residual if "residual" in parts else None,
    }
    tiny = TINY | {"matmul_tma_wide": TINY["matmul_tma_wide"] | {"BN": 128, "TILES": 1, "RESIDENT": 3}}
    with launch.column(column), launch.tiles(**tiny), launch.recording() as log:
        got = kernel.matmul(a, b, dtype=dtypes.float64, **given)
    first = "_matmul_tma" if column == "sm_90" else "_matmul"
    assert [r.kernel for r in log] == ([first] if k == 24 else [first, "_fold_slabs"])
    want = torch.tensor(a.numpy()).double() @ torch.tensor(b.numpy()).double()
    want = want + torch.tensor(bias.numpy()) if "bias" in parts else want
    want = torch.nn.functional.gelu(want) if "activation" in parts else want
    want = want + torch.tensor(residual.numpy()) if "residual" in parts else want
    assert np.abs(got.numpy() - want.numpy()).max() < 40 * 2.0**-24 * np.sqrt(k)


@pytest.mark.parametrize("which", ["bias", "residual"])
def test_what_does_not_lie_on_16_bytes_is_fused_by_pointers(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "precision", "high")
    a, b = numbers(8, 16, seed=1), numbers(16, 8, seed=2)
    shifted = numbers(65, seed=3).slice(0, 1, 9 if which == "bias" else 65)
    shifted = shifted if which == "bias" else shifted.reshaped((8, 8))
    with launch.column("sm_90"), launch.recording() as log:
        got = kernel.matmul(a, b, **{which: shifted})
    assert [r.kernel for r in log] == ["_matmul"]
    assert np.abs(got.numpy() - (a.numpy() @ b.numpy() + shifted.numpy())).max() < 1e-5
