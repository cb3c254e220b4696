"""The compile gate: what a training step launches, compiled for every architecture and held against rules and a table.

    python -m bench compile             compile, check, and compare with bench/results/compile/
    python -m bench compile --accept    make this run's figures the table

No kernel may spill or ask for more shared memory than there is; what else each must show is in `gate_rules`. The table
of an architecture holds every kernel's figures, made with one version of Triton: under another they are not compared.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from bench import gate_operations
from bench.gate_rules import ARCHITECTURES, BANDWIDTH, BLOCKS, EXEMPTIONS, PRODUCTS, STEPS, TRANSFORMER
from bench.results import FOLDER
from tritongrad import nn
from tritongrad.models.gpt import Block, GPTConfig
from tritongrad.ops.filled import zeros
from tritongrad.tensor import Tensor
from tritongrad.training import OPTIMIZERS, training_step
from tritongrad_kernels import activations, compile, dtypes, launch, matmul, memory
from tritongrad_kernels.array import empty
from tritongrad_kernels.compile import Report, Variant

TABLES = FOLDER / "compile"
COUNTED = ("HGMMA", "HMMA", "UTCMMA", "UTMALDG", "LDG.128", "LDGSTS.128", "STG.128", "SHFL", "RED")
FEWER_IS_WORSE = ("HGMMA", "HMMA", "UTCMMA", "UTMALDG", "LDG.128", "LDGSTS.128", "STG.128")
MORE_IS_WORSE = ("registers", "shared")


def recorded(arch: str) -> list[launch.Launch]:
    """Everything two training steps of each network launch, its initialisation included, with the tiles of `arch`.

    Two, because an optimizer's first step may differ from its second.
    """
    with memory.dry_run(), launch.column(launch.column_for(arch)), launch.recording() as log:
        for m, k, n, kind, fused in TRANSFORMER:
            _products(m, k, n, dtypes.by_name(kind), fused)
        gate_operations.run(dtypes.bfloat16)
    for network, batch, side, kinds, optimizers in STEPS:
        for kind in kinds:
            for optimizer in optimizers:
                with memory.dry_run(), launch.column(launch.column_for(arch)), launch.recording() as found:
                    step = _step(network, batch, side, dtypes.by_name(kind), optimizer)
                    step()
                    step()
                log += found
    return log


def _products(m: int, k: int, n: int, kind: dtypes.dtype, fused: Sequence[str]) -> None:
    """x W^T, finished, and both gradients; float32 with as many bits as the tensor cores give."""
    x, weight, dy = (empty(shape, kind) for shape in ((m, k), (n, k), (m, n)))
    before, matmul.precision = matmul.precision, "high"
    try:
        matmul.matmul(
            x,
            weight.T,
            empty((n,), kind) if "bias" in fused else None,
            activation=activations._gelu if "activation" in fused else None,
            residual=dy if "residual" in fused else None,
        )
        matmul.matmul(dy, weight)
        matmul.matmul(dy.T, x)
    finally:
        matmul.precision = before


def _step(network: str, batch: int, side: int, kind: dtypes.dtype, optimizer: str) -> Callable[[], Tensor]:
    """A training step; of "gpt", of two blocks of GPT-2 that are given `batch` times `side` words as vectors."""
    if network != "gpt":
        return training_step(network, batch, side, kind, optimizer=optimizer)
    config = GPTConfig(block_size=side)
    blocks = nn.Sequential(Block(config), Block(config)).to(kind)
    update = OPTIMIZERS[optimizer](blocks.parameters())
    words = zeros(batch, side, config.n_embd, dtype=kind)

    def step() -> Tensor:
        update.zero_grad()
        scores = blocks(words)
        scores.backward(words)
        update.step()
        return scores

    return step


def broken_rules(report: Report) -> list[str]:
    """What a report shows that it may not, in words."""
    variant = report.variant
    problems = [p for p in report.problems() if not (p.startswith("spills") and exempt(variant, "stack"))]
    if report.error:
        return problems
    if variant.kernel in PRODUCTS:
        problems += _product(report)
        if variant.kernel not in BANDWIDTH:
            return problems
    if variant.kernel not in BANDWIDTH:
        return [*problems, "no rule: say in bench/gate_rules.py what this kernel moves"]
    moves = BANDWIDTH[variant.kernel]
    for what, arrays, found in (
        ("reads", moves.reads, sum(report.counts.get(name, 0) for name in ("LDG.128", "LDGSTS.128", "UTMALDG"))),
        ("writes", moves.writes, report.counts.get("STG.128", 0)),
    ):
        wanted = arrays if isinstance(arrays, int) else sum(f"{name}=None" not in variant.signature for name in arrays)
        if found < wanted and not exempt(variant, what):
            problems.append(f"{what}: {found} accesses of 16 bytes for {wanted} arrays")
    return problems


def _product(report: Report) -> list[str]:
    problems = []
    signature, arch = report.variant.signature, report.variant.arch
    if ("*bf16" in signature or "<bf16" in signature) and not report.tensor_cores:
        problems.append("no tensor core instruction")
    if "tensordesc" in signature:
        fed = report.counts["UTMALDG"] >= 2 and (report.counts["HGMMA"] or arch != "sm_90")
        problems += [] if fed else ["descriptors, but no HGMMA fed by TMA"]
        problems += _crowding(report) if arch == "sm_90" else []
    copies = report.counts["LDGSTS.128"] + report.counts["UTMALDG"]
    if copies < 2 and not exempt(report.variant, "reads"):
        problems.append(f"reads: {copies} asynchronous copies of 16 bytes for 2 operands")
    return problems


def _crowding(report: Report) -> list[str]:
    """What keeps fewer blocks on a multiprocessor than there should be: 64K registers, 228 KB, each takes 1 KB more."""
    wanted = [n for kernel, part, n in BLOCKS if kernel == report.variant.kernel and part in report.variant.signature]
    threads = 32 * report.warps
    held = min((64 << 10) // (threads * -(-report.registers // 8) * 8), (228 << 10) // (report.shared + 1024))
    return [f"{held} blocks a multiprocessor, not {n}" for n in wanted if held < n]


def exempt(variant: Variant, what: str) -> str:
    """The reason why a variant is let off, or ""."""
    for e in EXEMPTIONS:
        if e.what == what and re.fullmatch(e.kernel, variant.kernel) and re.search(e.signature, variant.signature):
            return e.reason
    return ""


def figures(report: Report) -> dict[str, int]:
    """What the table keeps of a report; counts of 0 are left out."""
    counts = {name: report.counts[name] for name in COUNTED if report.counts.get(name)}
    return {"registers": report.registers, "shared": report.shared, "warps": report.warps, **counts}


def table(reports: Iterable[Report]) -> dict[str, Any]:
    return {"triton": version("triton"), "kernels": {r.variant.name: figures(r) for r in reports}}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What is worse than in the table, and kernels that came or went; nothing if another Triton made the table."""
    if before["triton"] != after["triton"]:
        return []
    old, new = before["kernels"], after["kernels"]
    lines = [line for name in old if name in new for line in _worse(name, old[name], new[name])]
    lines += [f"gone    {name}" for name in old if name not in new]
    return lines + [f"new     {name}\n          {_in_words(new[name])}" for name in new if name not in old]


def _worse(name: str, old: Mapping[str, int], new: Mapping[str, int]) -> list[str]:
    bad = [k for k in MORE_IS_WORSE if new[k] > old[k]]
    bad += [k for k in FEWER_IS_WORSE if new.get(k, 0) < old.get(k, 0)]
    changed = ", ".join(f"{k} {old.get(k, 0)} -> {new.get(k, 0)}" for k in bad)
    return [f"worse   {name}\n          {changed}"] if bad else []


def _in_words(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in found.items())


def run(architectures: Sequence[str] = ARCHITECTURES, accept: bool = False, jobs: int | None = None) -> int:
    """The exit code: 0 if every rule is kept and nothing is worse than in the tables."""
    with compile.kept():
        passed = [_passes(arch, accept, jobs) for arch in architectures]
    if not all(passed):
        print("Once a difference is meant to be: python -m bench compile --accept")
    return int(not all(passed))


def _passes(arch: str, accept: bool, jobs: int | None) -> bool:
    begin = time.perf_counter()
    reports = _compiled(arch, jobs)
    broken = [f"{r.variant.name}\n          {'; '.join(found)}" for r in reports if (found := broken_rules(r))]
    changed = _compare(arch, reports, accept)
    print(f"{arch}: {len(reports)} kernels in {time.perf_counter() - begin:.0f} s, {_summary(reports)}", flush=True)
    for title, lines in (("breaks a rule", broken), ("differs from the table", changed)):
        if lines:
            print(f"  {title}:\n" + "\n".join(f"    {line}" for line in lines))
    return not (broken or changed)


def _compiled(arch: str, jobs: int | None) -> list[Report]:
    variants = compile.specialise(recorded(arch), arch)
    reports = []
    for report in compile.compile_all(variants, jobs):
        reports.append(report)
        if sys.stderr.isatty():
            print(f"\r{arch}: {len(reports)}/{len(variants)}", end="\r", file=sys.stderr, flush=True)
    return reports


def _compare(arch: str, reports: Sequence[Report], accept: bool) -> list[str]:
    path = TABLES / f"{arch}.json"
    found = table(reports)
    if accept and arch in ("sm_90", *(p.stem for p in TABLES.glob("*.json"))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    return differences(json.loads(path.read_text()), found) if path.exists() else []


def _summary(reports: Sequence[Report]) -> str:
    most = max(reports, key=lambda r: r.registers)
    compiled = sum(not r.cached for r in reports)
    registers = f"at most {most.registers} registers ({most.variant.kernel})"
    return f"{compiled} of them new; {registers}, {max(r.shared for r in reports)} bytes of shared memory"
