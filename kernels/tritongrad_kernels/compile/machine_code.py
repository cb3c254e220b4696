"""What a compiled kernel is made of, read from its machine code: registers, memory, and how often what is executed.

For NVIDIA through the disassemblers that Triton brings along; for AMD from the assembler text it keeps.
"""

from __future__ import annotations

import collections
import os
import re
import subprocess
import tempfile
from typing import Any

import triton

TOOLS = os.path.join(os.path.dirname(triton.__file__), "backends", "nvidia", "bin")

# Static counts of instructions, by what their name matches. 128 stands for accesses of 16 bytes or more: sm_100 also
# knows some of 32. Register-to-memory spills are LDL and STL.
SASS: dict[str, str] = {
    "HGMMA": r"[HIQ]GMMA",
    "HMMA": r"[HI]MMA",
    "UTCMMA": r"UTC\w*MMA",
    "DMMA": r"DMMA",
    "FFMA": r"FFMA",
    "UTMALDG": r"UTMALDG",
    "UTMASTG": r"UTMASTG",
    "LDGSTS": r"LDGSTS",
    "LDGSTS.128": r"LDGSTS\S*\.128",
    "LDG": r"LDG\b",
    "LDG.128": r"LDG\.\S*(128|256)",
    "STG": r"STG\b",
    "STG.128": r"STG\.\S*(128|256)",
    "LDL": r"LDL\b",
    "STL": r"STL\b",
    "SHFL": r"SHFL",
    "RED": r"RED[G.]|ATOM",
    "BAR": r"BAR\b",
    "total": r"",
}
AMDGCN: dict[str, str] = {
    "MFMA": r"v_mfma",
    "LOAD": r"(global|buffer)_load",
    "LOAD.128": r"(global|buffer)_load_dwordx4",
    "STORE": r"(global|buffer)_store",
    "STORE.128": r"(global|buffer)_store_dwordx4",
    "ATOMIC": r"(global|buffer)_atomic",
    "SCRATCH": r"scratch_",
    "total": r"",
}

_INSTRUCTION = re.compile(r"^\s+(?:/\*[0-9a-f]+\*/)?\s*(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]+)", re.MULTILINE)
_AMD_INSTRUCTION = re.compile(r"^\t([a-z]\w+)", re.MULTILINE)


def read(kernel: Any) -> dict[str, Any]:
    """Figures of a compiled kernel: registers and stack bytes of a thread, shared bytes of a block, warps, counts."""
    on_nvidia = "cubin" in kernel.asm
    registers, stack, counts = _of_cubin(kernel.asm["cubin"]) if on_nvidia else _of_amdgcn(kernel.asm["amdgcn"])
    return {
        "registers": registers,
        "stack": stack,
        "shared": kernel.metadata.shared,
        "warps": kernel.metadata.num_warps,
        "counts": counts,
    }


def _of_cubin(cubin: bytes) -> tuple[int, int, dict[str, int]]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = _tool("cuobjdump", "-res-usage", file.name)
        sass = _tool("nvdisasm", "-c", file.name)
    found = re.search(r"REG:(\d+) STACK:(\d+) .*LOCAL:(\d+)", usage)
    if found is None:
        raise RuntimeError("cuobjdump does not say how many registers the kernel takes")
    return int(found[1]), int(found[2]) + int(found[3]), count(_INSTRUCTION.findall(sass), SASS)


def _of_amdgcn(text: str) -> tuple[int, int, dict[str, int]]:
    def figure(name: str) -> int:
        found = re.search(rf"\.{name}:\s+(\d+)", text)
        return int(found[1]) if found else 0

    counts = count(_AMD_INSTRUCTION.findall(text), AMDGCN)
    return figure("vgpr_count"), figure("private_segment_fixed_size"), counts


def count(instructions: list[str], patterns: dict[str, str]) -> dict[str, int]:
    """How many instructions match each pattern from their start."""
    names = collections.Counter(instructions)
    compiled = {label: re.compile(pattern) for label, pattern in patterns.items()}
    return {label: sum(n for name, n in names.items() if p.match(name)) for label, p in compiled.items()}


def _tool(name: str, *words: str) -> str:
    done = subprocess.run([os.path.join(TOOLS, name), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr.strip()[:200]}")
    return done.stdout
