"""The suites of the benchmark: their rows are right where they can run, and fit together where they cannot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from bench import harness, launches, rows
from bench.accuracy import Drawn, Rounding, WrongResult
from bench.row import Row
from bench.rows import conv, convolutions, matmul, norms, optim, pool
from tests import torch_resnet
from tests.bench_runs import quick_harness

NEW = [
    "attention", "layer_norm", "rms_norm", "group_norm", "softmax", "cross_entropy", "pool", "depthwise", "conv1d",
    "conv_transpose", "embedding", "gather", "reduce", "scan", "sort", "random", "rnn", "adamw",
]  # fmt: skip


@pytest.fixture(scope="module")
def bench() -> Iterator[harness.Harness]:
    with quick_harness() as found:
        found.clock.patience = 0.0
        yield found


def few() -> list[Row]:
    """A row of each family, with a gradient where it has one, and some that differ from the others of theirs."""
    chosen = {row.family: row for row in rows.select(rows.INTERPRETER, quick=True, families=NEW)}
    others = "elementwise (silu b|add a row)|copy (trans|channels|to f)|matmul .* (tn|8 x)|reduce sum 0|scatter|dropout"
    return list({**chosen, **{row.name: row for row in rows.select(rows.INTERPRETER, others)}}.values())


@pytest.mark.parametrize("row", few(), ids=lambda row: row.name)
def test_rows_are_right(bench: harness.Harness, row: Row) -> None:
    result = bench.run(row)
    assert (result.status, result.reason, result.trouble) == ("ok", None, {})
    assert result.launches and result.ours is not None and result.peers.keys() == {"eager"}
    assert result.declared_bytes is not None and row.bytes <= 1.1 * result.declared_bytes


def test_rows_for_a_gpu_fit_together() -> None:
    """In a dry run, with the kernels that a GPU would have. None needs more than its launches move."""
    every = [row for k, row in enumerate(rows.GPU) if row.rank < 3 or k % 50 == 0]
    for row in every:
        found = launches.of(row, "sm_90")
        assert found and row.bytes <= 1.1 * sum(n.bytes for n in found), row.name
        assert launches.tile_of(found)


def test_the_layers_of_resnet() -> None:
    """Every convolution that torch's model has is there, with its sizes, and no other."""
    assert _layers("resnet50") == set(conv.RESNET50)
    assert _layers("resnet18") - set(conv.RESNET50) == set(conv.RESNET18_ONLY)
    assert set(conv.FEW) <= set(conv.RESNET50)


def _layers(network: str) -> set[conv.Layer]:
    found = set()
    with torch.device("meta"):
        model = torch_resnet.ResNet(*optim.NETWORKS[network])
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(lambda m, given, _: found.add(_layer(m, given[0])))
        model(torch.empty(1, 3, 224, 224))
    return found


def _layer(module: torch.nn.Conv2d, x: torch.Tensor) -> conv.Layer:
    return conv.Layer(module.in_channels, module.out_channels, x.shape[2], module.kernel_size[0], module.stride[0])


def test_convolutions_of_many_networks() -> None:
    shapes = list(convolutions.zoo())
    others = [row.ours.function for row in convolutions.GPU if row.rank < 3 and row.op == "forward"]
    assert len(shapes) == len(set(shapes)) == 1187 and {s.transposed for s in shapes} == {False, True}
    for one in [*shapes, *others]:
        x, w = one.x, one.weight
        y = one(torch, torch.empty(x, device="meta"), torch.empty(w, device="meta"))
        assert list(y.shape[2:]) == one.out_sizes, one
    assert convolutions.DEPTHWISE[1].case == "3x3/2 p1 g144 144->144 56x56 b256"
    assert convolutions.THREE[2].case == "3x7x7/1x2x2 p1x3x3 3->64 16x112x112 b4"


def test_the_parameters_of_gpt2() -> None:
    shapes = optim.parameter_shapes("gpt2")
    assert len(shapes) == 148
    assert sum(torch.Size(s).numel() for s in shapes.values()) == 124_439_808 + (50304 - 50257) * 768


def test_what_rows_say_they_need() -> None:
    (product,) = [r for r in rows.GPU if r.name == "matmul forward 96 x 1024x64x1024 nt bfloat16"]
    assert product.shapes == {"a": [96, 1024, 64], "b": [96, 1024, 64]} and product.flops == 2 * 96 * 1024 * 64 * 1024
    forward, backward = pool.passes("max 3x3/2", (2, 4, 8, 8), "bfloat16")
    assert (forward.bytes, backward.bytes) == (2 * (512 + 128), 2 * (512 + 128) + 128)
    assert backward.shapes == {"dy": [2, 4, 4, 4], "x": [2, 4, 8, 8]}
    assert norms.passes("rms_norm", (4, 8), "float32")[1].shapes == {"dy": [4, 8], "x": [4, 8], "weight": [8]}
    assert [r.op for r in matmul.layer(4, 8, 2, "float32", "fc")] == [
        "linear", "linear input grad", "linear weight grad",
    ]  # fmt: skip


def test_numbers_drawn_are_judged_by_their_distribution() -> None:
    ones = [torch.ones(10_000)]
    bound = Drawn(mean=1.0, std=(0.1 / 0.9) ** 0.5, values=(0.0, 1 / 0.9))
    dropped = torch.nn.functional.dropout(ones[0], 0.1)
    assert bound.check([dropped], ones, []).of_bound < 1
    for wrong, why in ((ones[0], "not what was to be"), (dropped.where(dropped > 0, 1e-3), "values other than")):
        with pytest.raises(WrongResult, match=why):
            bound.check([wrong], ones, [])


def test_whole_numbers_must_be_equal() -> None:
    want = [torch.arange(5)]
    assert Rounding().check([torch.arange(5)], want, []).norm == 0
    with pytest.raises(WrongResult, match="1 of 5 numbers"):
        Rounding().check([torch.tensor([0, 1, 2, 3, 5])], want, [])
