"""Training rows and loss curves for people: tables, and how far two curves lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.tables import Table, duration
from bench.training.result import Curve, Trained

MEANING = {
    False: (
        "Whole steps: forward, loss, backward, optimizer, on random data that stays on the GPU; medians of samples "
        "that the sides took in turns. bfloat16 is mixed precision with float32 parameters. x torch: against eager "
        "torch, channels-last, above 1 where that is slower. The losses of the first steps are torch's, or a row fails."
    ),
    True: (
        "Whole steps of tiny networks: ours in Triton's CPU interpreter, torch's on the same CPU. They show that every "
        "side trains and loses alike. Their times say nothing about a GPU, and no rate is made of them."
    ),
}


def table(found: Sequence[Trained], interpreted: bool) -> Table:
    """A line for each side of each row."""
    if interpreted:
        columns = ["training", "side", "a step", "launches", "first losses"]
        return Table(columns, [[r.name, _place(r.side), *_plain(r)] for r in found])
    columns = ["training", "side", "a second", "x torch", "a step", "host", "peak", "reserved", "launches"]
    columns += ["first step", "cold", "warm"]
    return Table(columns, [[r.name, r.side, *_on_gpu(r, found)] for r in found])


def _place(side: str) -> str:
    return f"{side}, {'interpreter' if side.startswith('ours') else 'CPU'}"


def _plain(r: Trained) -> list[str]:
    if r.step is None:
        return ["FAILED", "", ""]
    return [duration(r.step.median_s), _count(r.launches), ", ".join(f"{loss:.4g}" for loss in r.losses)]


def _on_gpu(r: Trained, found: Sequence[Trained]) -> list[str]:
    if r.step is None:
        return ["FAILED" if r.status != "ok" else "", *[""] * 6, *_firsts(r)]
    off = max(r.step.p90_s - r.step.median_s, r.step.median_s - r.step.p10_s) / r.step.median_s
    return [
        f"{r.per_second:.0f} {r.unit} ±{off:.0%}",
        _against_torch(r, found),
        duration(r.step.median_s),
        "" if r.step.host_s is None else duration(r.step.host_s),
        _gigabytes(r.peak_bytes),
        _gigabytes(r.reserved_bytes),
        _count(r.launches),
        *_firsts(r),
    ]


def _firsts(r: Trained) -> list[str]:
    return ["" if s is None else f"{s:.1f} s" for s in (r.first_step_s, r.cold_step_s, r.warm_step_s)]


def _against_torch(r: Trained, found: Sequence[Trained]) -> str:
    eager = next((o.step for o in found if o.name == r.name and o.side == "torch"), None)
    return f"{eager.median_s / r.step.median_s:.2f}" if eager and r.step else ""


def _gigabytes(nbytes: int | None) -> str:
    return "" if nbytes is None else f"{nbytes / 1e9:.2f} GB"


def _count(n: int | None) -> str:
    return "" if n is None else str(n)


def line(r: Trained) -> str:
    """One side of a row, in a sentence."""
    head = f"{r.name}, {r.side}: "
    if r.status != "ok":
        return f"{head}FAILED: {r.reason}"
    if r.cold_trouble:
        return f"{head}first step FAILED: {r.cold_trouble}"
    if r.step is None:
        return f"{head}first step {r.cold_step_s or 0.0:.1f} s with cold caches, {r.warm_step_s or 0.0:.1f} s with warm"
    if r.per_second is None:
        return f"{head}{duration(r.step.median_s)} a step on this CPU, which says nothing about a GPU"
    return (
        f"{head}{r.per_second:.0f} {r.unit}/s, {duration(r.step.median_s)} a step, {_gigabytes(r.peak_bytes)} at most"
    )


def sentence(found: Sequence[Trained]) -> str:
    """The rows in their order, each with the faster of our sides and what that is to torch's."""
    said = []
    for name in dict.fromkeys(r.name for r in found):
        sides = {r.side: r.per_second for r in found if r.name == name and r.per_second}
        ours = {side: rate for side, rate in sides.items() if side.startswith("ours")}
        if ours:
            best = max(ours, key=lambda side: ours[side])
            ratios = ", ".join(f"{ours[best] / rate:.2f} x {s}" for s, rate in sides.items() if s not in ours)
            said.append(f"{name}: {best} {ours[best]:.0f} a second" + f" ({ratios})" * bool(ratios))
    failed = sum(r.status != "ok" for r in found)
    return "; ".join([f"{len(found) - failed} sides of training rows ran, {failed} failed", *said])


def merged(old: Trained, new: Trained) -> Trained:
    """`new` with what only `old` knows: steps and first steps are timed apart."""
    known = new if new.cold_step_s or new.cold_trouble else old
    firsts = {k: getattr(known, k) for k in ("cold_step_s", "warm_step_s", "cold_trouble")}
    return replace(old if known is new else new, **firsts)


def notes(found: Sequence[Trained], interpreted: bool) -> list[str]:
    """What a reader must know beside the table."""
    failed = [r for r in found if r.status != "ok"]
    return [
        MEANING[interpreted],
        *(f"FAILED {r.name}, {r.side}: {r.reason}" for r in failed),
        *(f"FAILED first step of {r.name}, {r.side}: {r.cold_trouble}" for r in found if r.cold_trouble),
    ]


def apart(ours: Curve, theirs: Curve) -> float:
    """The mean distance of two curves, relative to the mean of `theirs`."""
    pairs = list(zip(ours.losses, theirs.losses, strict=False))
    return sum(abs(a - b) for a, b in pairs) / max(sum(abs(b) for _, b in pairs), 1e-30)


def pairs(curves: Sequence[Curve]) -> list[tuple[Curve, Curve]]:
    """Each curve of ours with torch's of the same row."""
    theirs = {c.name: c for c in curves if c.side == "torch"}
    return [(c, theirs[c.name]) for c in curves if c.side.startswith("ours") and c.name in theirs]


def sentences(curves: Sequence[Curve]) -> list[str]:
    """How each of our curves went beside torch's."""
    return [
        f"{a.name}, {a.side}: {len(a.losses)} steps from a loss of {a.losses[0]:.4g} to {a.losses[-1]:.4g}; torch's "
        f"ends at {b.losses[-1]:.4g}; they lie {apart(a, b):.2%} apart on average"
        for a, b in pairs(curves)
    ]
