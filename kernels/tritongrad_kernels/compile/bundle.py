"""Compiled kernels in a file: a zip of Triton's cache entries and of what `preload` takes to have them back.

Triton's cache cannot be copied as it is, because it notes absolute paths: they are written anew where a bundle is
loaded. The key of an entry is a hash of its source, options and Triton itself, so that it is right or not found.
"""

from __future__ import annotations

import base64
import importlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import triton
from triton import knobs

import tritongrad_kernels
from tritongrad_kernels.compile.report import Report

_INDEX = "kernels.json"


def write(path: Path, reports: Sequence[Report]) -> None:
    """Write a bundle of the compiled kernels among `reports`."""
    compiled = [r for r in reports if not r.error]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        entries = [{"function": r.variant.launch["function"], "preload": r.variant.preload} for r in compiled]
        archive.writestr(_INDEX, json.dumps(entries))
        for folder in dict.fromkeys(_folder(r.hash) for r in compiled):
            for file in sorted((Path(knobs.cache.dir) / folder).iterdir()):
                if file.is_file():
                    archive.write(file, f"{folder}/{file.name}")


def load(path: Path) -> int:
    """Unpack a bundle into Triton's cache and preload its kernels; how many there are."""
    if tritongrad_kernels.INTERPRETED:
        raise RuntimeError(f"{path} holds kernels for a GPU, and here kernels run in the CPU interpreter")
    with zipfile.ZipFile(path) as archive:
        entries = json.loads(archive.read(_INDEX))
        for name in archive.namelist():
            if name != _INDEX:
                _unpack(archive, name)
    for entry in entries:
        if triton.__version__.startswith("3.6.") and "jit_function" in entry["preload"]:
            continue  # 3.6 cannot preload a kernel that takes a function: its first launch finds it in the cache
        module, _, name = entry["function"].partition(":")
        getattr(importlib.import_module(module), name).preload(entry["preload"])
    return len(entries)


def _unpack(archive: zipfile.ZipFile, name: str) -> None:
    folder, _, file = name.partition("/")
    if not folder.isalnum() or "/" in file or file in ("", ".", ".."):
        raise ValueError(f"{archive.filename} is no bundle of kernels: it holds a file {name!r}")
    place = Path(knobs.cache.dir) / folder
    place.mkdir(parents=True, exist_ok=True)
    content = archive.read(name)
    if file.startswith("__grp__"):
        children = json.loads(content)["child_paths"]
        content = json.dumps({"child_paths": {child: str(place / child) for child in children}}).encode()
    (place / file).write_bytes(content)


def _folder(key: str) -> str:
    """Where Triton's cache keeps the entry with this hash."""
    return base64.b32encode(bytes.fromhex(key)).decode().rstrip("=")
