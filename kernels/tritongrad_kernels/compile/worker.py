"""A process that compiles: `python -m tritongrad_kernels.compile.worker`, with TRITONGRAD_COMPILE_FOR set.

It answers requests, a line of JSON each, on its standard output. Workers are processes and not threads because Triton
holds Python's lock for most of a compilation, and separate from the caller because a caller without a GPU has its
kernels interpreted. A process of `multiprocessing` would import the caller's main file again; this one does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import triton
from triton import JITFunction, knobs
from triton.runtime import jit

from tritongrad_kernels import stand_in
from tritongrad_kernels.compile import explain, machine_code, signature, wire

_FIGURES = hashlib.sha256(Path(machine_code.__file__).read_bytes()).hexdigest()[:16]  # of what reads them


def _write_functions_by_name() -> None:
    """Triton 3.6 cannot write down what specialises a kernel that takes a jit function; later ones write its name."""
    original = jit.serialize_specialization_data

    def serialize(name: str, signature: Any, constants: Mapping, *rest: Any) -> str:
        named = {
            key: {"jit_function": f"{value.module}:{value.fn.__qualname__}"}
            if isinstance(value, JITFunction)
            else value
            for key, value in constants.items()
        }
        return original(name, signature, named, *rest)

    jit.serialize_specialization_data = serialize


if triton.__version__.startswith("3.6."):
    _write_functions_by_name()


def specialise(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each launch what Triton makes of it: kernel, signature in words, and what `preload` takes; or an error."""
    return [_specialise(launch) for launch in request["launches"]]


def _specialise(launch: Mapping[str, Any]) -> dict[str, Any]:
    seen: list[Mapping[str, Any]] = []

    def stop(**found: Any) -> bool:
        """Triton calls this when it would compile; True keeps it from doing so."""
        seen.append(found)
        return True

    name = launch["function"].partition(":")[2]
    function = None
    knobs.runtime.jit_cache_hook = stop
    try:
        function, arguments, options = wire.decode(launch)
        function.warmup(*arguments, grid=(1,), **options)
        if not seen:  # compiled in this process before, so that Triton saw no reason to
            function.device_caches.clear()
            function.warmup(*arguments, grid=(1,), **options)
    except Exception as error:
        return {"kernel": name, "error": _error(error, "", function)}
    finally:
        knobs.runtime.jit_cache_hook = None
    data = json.loads(seen[-1]["compile"]["specialization_data"])
    return {"kernel": name, "signature": signature.words(data), "preload": seen[-1]["compile"]["specialization_data"]}


def compile(request: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one launch's kernel, Triton's `hash` of it, how long it took and if it was cached; or an error."""
    begin = time.perf_counter()
    at = _stderr_size()
    function = None
    hits: list[bool] = []
    knobs.compilation.listener = lambda *, cache_hit, **rest: hits.append(cache_hit)
    try:
        function, arguments, options = wire.decode(request["launch"])
        kernel = function.warmup(*arguments, grid=(1,), **options)
        figures = _figures(kernel)
    except Exception as error:
        return {"error": _error(error, _stderr_from(at), function)}
    seconds = round(time.perf_counter() - begin, 3)
    return {**figures, "hash": kernel.hash, "seconds": seconds, "cached": all(hits)}


def _figures(kernel: Any) -> dict[str, Any]:
    """From a file beside Triton's cache, named by Triton's own key: source, options, target and Triton itself."""
    path = Path(knobs.cache.dir) / "tritongrad" / f"{kernel.hash}-{_FIGURES}.json"
    if path.exists():
        return json.loads(path.read_text())
    figures = machine_code.read(kernel)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(figures))
    part.replace(path)
    return figures


def _error(error: Exception, dump: str, function: Any) -> list[str]:
    """Reason and place."""
    if function is None:
        return [str(error), ""]
    return list(explain.explain(error, dump, function))


def _stderr_size() -> int:
    sys.stderr.flush()
    return os.fstat(2).st_size


def _stderr_from(start: int) -> str:
    """What came on standard error since: the caller made it a file, because MLIR prints its reasons there."""
    size = _stderr_size() - start
    return os.pread(2, min(size, 1 << 20), start).decode(errors="replace") if size > 0 else ""


_ANSWERS = {"specialise": specialise, "compile": compile}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Triton prints is no answer
    print(f"triton {triton.__version__}", file=sys.stderr)
    for line in sys.stdin:
        request = json.loads(line)
        stand_in.activate(request["arch"])
        answers.write(json.dumps(_ANSWERS[request["do"]](request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
