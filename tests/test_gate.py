"""The compile gate's judgement, on reports made by hand: compiling itself is in test_compile."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from bench import gate, gate_operations, gate_rules
from tritongrad_kernels import activations, dtypes, launch, memory
from tritongrad_kernels.compile import Report, Variant

COUNTS = dict.fromkeys(gate.COUNTED, 0) | {"LDL": 0, "STL": 0}


def report(kernel: str, signature: str, registers: int = 32, stack: int = 0, error: str = "", **counts: int) -> Report:
    dotted = {name.replace("_", "."): n for name, n in counts.items()}
    variant = Variant(kernel, signature, "sm_90", {})
    return Report(variant, error, registers, stack, shared=0, warps=4, counts=COUNTS | dotted)


MAP = (
    "X *fp32:16, OUT *fp32:16, shape (i32:16), xs (1), outs (1), n i32:16, BY=1, ROWS=0, BLOCK=1024; 4 warps, 3 stages"
)
PRODUCT = "X *bf16:16, W *bf16:16, C i32:16, BO=64; 4 warps, 3 stages"


def test_a_bandwidth_kernel_moves_each_array_16_bytes_at_a_time() -> None:
    assert gate.broken_rules(report("_map1", MAP, LDG_128=1, STG_128=1)) == []
    assert gate.broken_rules(report("_map1", MAP, STG_128=1)) == ["reads: 0 accesses of 16 bytes for 1 arrays"]
    assert gate.broken_rules(report("_map1", MAP, LDGSTS_128=1)) == ["writes: 0 accesses of 16 bytes for 1 arrays"]
    two = report("_normalize", "X *bf16:16, X2=None, RESIDUAL *bf16:16, Y *bf16:16", LDG_128=1, STG_128=1)
    assert gate.broken_rules(two) == ["reads: 1 accesses of 16 bytes for 2 arrays"]
    assert gate.broken_rules(report("_normalize", "X *bf16:16, X2=None, RESIDUAL=None", LDG_128=1, STG_128=1)) == []
    assert gate.broken_rules(report("_sgd", "TABLE *i64:16", LDG_128=3, STG_128=1)) == [
        "writes: 1 accesses of 16 bytes for 2 arrays"
    ]


def test_a_product_of_bfloat16_is_on_the_tensor_cores() -> None:
    assert gate.broken_rules(report("_conv2d", PRODUCT, HGMMA=4, LDGSTS_128=24)) == []
    assert gate.broken_rules(report("_conv2d", PRODUCT, LDGSTS_128=24)) == ["no tensor core instruction"]
    assert gate.broken_rules(report("_conv2d", PRODUCT.replace("bf16", "fp32"), LDGSTS_128=24)) == []
    assert gate.broken_rules(report("_conv2d", PRODUCT, HGMMA=4)) == [
        "reads: 0 asynchronous copies of 16 bytes for 2 operands"
    ]
    assert gate.broken_rules(report("_conv2d", PRODUCT.replace("C i32:16", "C i32"), HGMMA=4)) == []


def test_descriptors_feed_the_tensor_cores_and_leave_room_for_other_blocks() -> None:
    signature = "A tensordesc<bf16[1, 64, 64]>, B tensordesc<bf16[1, 64, 64]>, BM=64, BN=64, BK=64; 4 warps, 4 stages"
    assert gate.broken_rules(report("_matmul_tma", signature, 58, HGMMA=4, UTMALDG=8)) == []
    for counts in ({"HMMA": 16, "UTMALDG": 8}, {"HGMMA": 4, "LDGSTS_128": 8}):
        assert gate.broken_rules(report("_matmul_tma", signature, **counts)) == ["descriptors, but no HGMMA fed by TMA"]
    crowded = report("_matmul_tma", signature, 176, HGMMA=4, UTMALDG=8)
    assert gate.broken_rules(crowded) == ["2 blocks a multiprocessor, not 3"]


def test_attention_is_a_product_that_also_writes_16_bytes_at_a_time() -> None:
    described = "tensordesc<bf16[1, 1, 128, 64]>"
    signature = f"Q {described}, K {described}, V {described}, MASK=None, OUT *bf16:16, LSE *fp32:16"
    assert gate.broken_rules(report("_attention", signature, HGMMA=8, UTMALDG=5, STG_128=4)) == []
    assert gate.broken_rules(report("_attention", signature, HGMMA=8, UTMALDG=5)) == [
        "writes: 0 accesses of 16 bytes for 1 arrays"
    ]
    assert "no tensor core instruction" in gate.broken_rules(report("_attention", signature, UTMALDG=5, STG_128=4))


def test_errors_spills_and_kernels_without_a_rule() -> None:
    assert gate.broken_rules(report("_map1", MAP, error="it does not compile")) == ["it does not compile"]
    spills = gate.broken_rules(report("_map1", MAP, stack=8, STL=1, LDG_128=1, STG_128=1))
    assert spills == ["spills: 8 bytes of stack, 1 loads and stores of it"]
    assert "no rule" in gate.broken_rules(report("_new", ""))[0]
    assert gate.broken_rules(report("_normal", "n i32:16, BLOCK=1024;", stack=32, LDL=8, STG_128=1)) == []


@pytest.mark.parametrize(
    "kernel, signature, what",
    [
        ("_map1", MAP.replace("1024", "64"), "reads"),
        ("_map2", MAP.replace("n i32:16, BY=1", "n i32, BY=4"), "writes"),
        ("_map1", MAP.replace("xs (1)", "xs (i32, 1, i32)"), "reads"),
        ("_map1", MAP.replace("xs (1)", "xs (1, None)").replace("ROWS=0", "ROWS=64"), "reads"),
    ],
)
def test_exemptions_are_narrow(kernel: str, signature: str, what: str) -> None:
    variant = Variant(kernel, signature, "sm_90", {})
    assert gate.exempt(variant, what)
    assert not gate.exempt(Variant(kernel, MAP, "sm_90", {}), what)
    assert not gate.exempt(Variant("_relu", signature, "sm_90", {}), what)


def test_every_exemption_lets_off_something_that_is_asked() -> None:
    for e in gate_rules.EXEMPTIONS:
        assert e.what in ("reads", "writes", "stack") and e.reason


def test_differences_name_what_got_worse() -> None:
    old = gate.table([report("_map1", MAP, 32, LDG_128=2), report("_gone", "n i32"), report("_map2", MAP, 20)])
    new = gate.table([report("_map1", MAP, 40, LDG_128=1), report("_new", "n i32"), report("_map2", MAP, 16, HMMA=1)])
    assert gate.differences(old, old) == []
    assert gate.differences(old, new) == [
        f"worse   _map1({MAP})\n          registers 32 -> 40, LDG.128 2 -> 1",
        "gone    _gone(n i32)",
        "new     _new(n i32)\n          registers 32, shared 0, warps 4",
    ]
    assert gate.differences(old | {"triton": "1.0"}, new) == []


def test_a_run_fails_until_its_figures_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [report("_map1", MAP, 32, LDG_128=2, STG_128=2)]
    monkeypatch.setattr(gate, "TABLES", tmp_path)
    monkeypatch.setattr(gate, "_compiled", lambda arch, jobs: found)
    assert gate.run(["sm_90"], accept=True) == 0
    kept = json.loads((tmp_path / "sm_90.json").read_text())
    assert kept == {"triton": version("triton"), "kernels": {f"_map1({MAP})": gate.figures(found[0])}}
    found[0] = report("_map1", MAP, 33, LDG_128=2)
    assert gate.run(["sm_90"]) == 1
    printed = capsys.readouterr().out
    assert "registers 32 -> 33, STG.128 2 -> 0" in printed and "writes: 0 accesses" in printed
    assert "python -m bench compile --accept" in printed
    assert gate.run(["sm_80"], accept=True) == 1 and not (tmp_path / "sm_80.json").exists()


def test_every_step_of_the_gate_is_recorded_with_the_tiles_of_the_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "STEPS", [("mlp", 256, 32, ("bfloat16",), ("sgd",))])
    monkeypatch.setattr(gate, "TRANSFORMER", gate_rules.TRANSFORMER[:1])
    for arch, kernel, blocks in (("sm_80", "_matmul", {32}), ("sm_90", "_matmul_tma", {64})):
        products = [x for x in gate.recorded(arch) if "matmul" in x.kernel]
        assert {x.kernel for x in products} == {kernel} and {x.options["BK"] for x in products} == blocks
        assert any(activations._gelu in x.arguments for x in products)


def test_a_step_of_gpt_attends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "STEPS", [("gpt", 1, 128, ("bfloat16",), ("sgd",))])
    monkeypatch.setattr(gate, "TRANSFORMER", ())
    kernels = {one.kernel for one in gate.recorded("sm_90")}
    assert {"_layer_norm", "_attention", "_attention_query_grad", "_attention_key_grad"} <= kernels


def test_operations_outside_of_training_steps_have_rules() -> None:
    with memory.dry_run(), launch.column("sm_90"), launch.recording() as log:
        gate_operations.run(dtypes.bfloat16)
    assert len(log) > 100 and {entry.kernel for entry in log} <= {*gate_rules.BANDWIDTH, *gate_rules.PRODUCTS}
