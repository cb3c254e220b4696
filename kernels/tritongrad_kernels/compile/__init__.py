"""Compile recorded launches for any GPU, without one, and report what became of them.

    with memory.dry_run(), launch.column("sm_90"), launch.recording() as log:
        step()
    for report in compile_all(specialise(log, "sm_90")):
        print(report.variant.name, report.registers, report.counts["LDG.128"], report.problems())

Launches are compiled in worker processes by Triton itself, for `arch` "sm_80" to "sm_121" or "gfx942". What it
compiles lands in Triton's cache (TRITON_CACHE_DIR) under the very keys that a GPU's first launch looks up: the
arguments pass Triton's own binder, with the options `launch` gives, and a key is made of nothing but Triton's files,
the kernel's source, its specialisation, the parsed options and the architecture. So both machines need the same
Triton wheel, and the launches must be recorded with the tiles of that architecture (`launch.column`).

`with kept():` lets several calls have the same workers, which take seconds to start.

A kernel must be importable by name, and is imported in the workers: one of a program's main file cannot be compiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tritongrad_kernels import stand_in
from tritongrad_kernels.compile import wire, workers
from tritongrad_kernels.compile.report import SHARED_LIMIT as SHARED_LIMIT, Report as Report, Variant as Variant
from tritongrad_kernels.compile.wire import CompileError as CompileError
from tritongrad_kernels.compile.workers import kept as kept
from tritongrad_kernels.launch import Launch


def specialise(launches: Iterable[Launch], arch: str) -> list[Variant]:
    """The kernels Triton has to compile for `launches` on `arch`: each once, in the order of their first launch.

    ValueError for an unknown architecture, CompileError if a kernel cannot be sent to another process. Arguments that
    Triton itself refuses make a variant with an `error`.
    """
    stand_in.target(arch)
    encoded = [wire.encode(launch) for launch in launches]
    distinct = list({repr(message): message for message in encoded}.values())
    variants: dict[tuple[str, str], Variant] = {}
    request = {"do": "specialise", "arch": arch, "launches": distinct}
    for answer in workers.answers([request] if distinct else []):
        if isinstance(answer, dict):
            raise CompileError(answer["error"][0])
        for message, found in zip(distinct, answer, strict=True):
            variant = _variant(arch, message, found)
            variants.setdefault((message["function"], variant.preload or variant.signature), variant)
    return list(variants.values())


def _variant(arch: str, message: dict, found: dict) -> Variant:
    if "error" in found:
        arguments = ", ".join(map(str, message["arguments"]))
        return Variant(found["kernel"], arguments, arch, message, error=tuple(found["error"]))
    return Variant(found["kernel"], found["signature"], arch, message, found["preload"])


def compile_all(variants: Sequence[Variant], jobs: int | None = None) -> Iterator[Report]:
    """A report for each variant, in order and as they come. `jobs` processes compile, by default one a processor.

    What Triton's cache already holds takes milliseconds. A variant that does not compile has its `error` set.
    """
    found = workers.answers([_request(v) for v in variants if not v.error[0]], jobs)
    for variant in variants:
        yield _report(variant, {"error": variant.error} if variant.error[0] else next(found))


def _request(variant: Variant) -> dict:
    return {"do": "compile", "arch": variant.arch, "launch": variant.launch}


def compile_launch(launch: Launch, arch: str) -> Report:
    """Compile one launch. CompileError, in one sentence, if it does not compile."""
    with workers.kept():
        report = next(compile_all(specialise([launch], arch), jobs=1))
    if report.error:
        raise CompileError(report.error)
    return report


def _report(variant: Variant, answer: dict) -> Report:
    if "error" not in answer:
        return Report(variant, **answer)
    reason, place = answer["error"]
    where = f", at {place}" if place else ""
    return Report(variant, error=f"{variant.name} does not compile for {variant.arch}: {reason}{where}")
