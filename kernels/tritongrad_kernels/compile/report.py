"""What compiling found out: a Report for each Variant, a kernel as specialised by the arguments of its launches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SHARED_LIMIT = {  # bytes one block may have (CUDA C++ Programming Guide, technical specifications; AMD: CDNA 3 ISA)
    "sm_80": 163 << 10,
    "sm_86": 99 << 10,
    "sm_87": 163 << 10,
    "sm_89": 99 << 10,
    "sm_90": 227 << 10,
    "sm_100": 227 << 10,
    "sm_103": 227 << 10,
    "sm_120": 99 << 10,
    "sm_121": 99 << 10,
    "gfx90a": 64 << 10,
    "gfx942": 64 << 10,
    "gfx950": 160 << 10,
}


@dataclass(frozen=True)
class Variant:
    """One kernel that Triton has to compile, and one of the launches that need it.

    signature  what Triton knows of the arguments, in words (see `signature.words`)
    arch       the architecture it was specialised for
    launch     the launch as `wire` encodes it
    preload    what the jit function's `preload` takes to compile the same again, or "" if Triton refused the arguments
    error      why it did, and where
    """

    kernel: str
    signature: str
    arch: str
    launch: Mapping[str, Any] = field(repr=False)
    preload: str = field(repr=False, default="")
    error: tuple[str, str] = ("", "")

    @property
    def name(self) -> str:
        """Kernel and signature: what tells one variant from another within an architecture."""
        return f"{self.kernel}({self.signature})"


@dataclass(frozen=True)
class Report:
    """The figures of one compiled variant, or the reason why it did not compile.

    error      one sentence naming kernel, arguments, architecture and source line; "" if it compiled
    registers  of one thread (VGPRs on AMD), and `stack`, the bytes of memory it spills into or indexes
    shared     bytes of shared memory of a block of `warps` warps
    counts     how often an instruction stands in the machine code: HGMMA, LDG.128, SHFL, ... (see `machine_code`)
    seconds    that this took, and `cached`, whether Triton had the kernel in its cache
    hash       Triton's own key for it
    """

    variant: Variant
    error: str = ""
    registers: int = 0
    stack: int = 0
    shared: int = 0
    warps: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    cached: bool = False
    hash: str = ""

    @property
    def tensor_cores(self) -> int:
        """Matrix instructions, of whichever kind the architecture has."""
        return sum(self.counts.get(name, 0) for name in ("HGMMA", "HMMA", "UTCMMA", "DMMA", "MFMA"))

    def problems(self, shared_limit: int | None = None) -> list[str]:
        """What no kernel may show: an error, registers spilled to memory, more shared memory than the card has.

        `shared_limit` replaces the architecture's own.
        """
        if self.error:
            return [self.error]
        found = []
        spills = sum(self.counts.get(name, 0) for name in ("LDL", "STL", "SCRATCH"))
        if spills or self.stack:
            found.append(f"spills: {self.stack} bytes of stack, {spills} loads and stores of it")
        limit = SHARED_LIMIT.get(self.variant.arch) if shared_limit is None else shared_limit
        if limit is not None and self.shared > limit:
            found.append(f"{self.shared} bytes of shared memory, {limit} is all there is")
        return found
