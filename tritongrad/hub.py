"""torch.hub, as far as it fetches files: state dicts by URL, into the folder where torch keeps them too."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

from tritongrad import io

_TIMEOUT = 30.0  # seconds without a byte
_STEP = 1 << 20
_chosen: list[str] = []


def get_dir() -> str:
    """Where hub files are kept: what `set_dir` said, else `$TORCH_HOME/hub`, by default `~/.cache/torch/hub`."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or os.path.join(cache, "torch")
    return _chosen[-1] if _chosen else os.path.join(os.path.expanduser(home), "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Keep hub files in another folder from now on."""
    _chosen[:] = [os.path.expanduser(os.fspath(d))]


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> dict[str, Any]:
    """What is in the file behind a URL (http, https, ftp or file), which is fetched unless it is in `model_dir`.

    `model_dir` is `get_dir()/checkpoints` unless given, `file_name` the URL's. With `check_hash`, the name must be like
    "resnet18-f37072fd.pth" with the first digits of the file's sha256; a file that has others is fetched anew, and
    refused with a RuntimeError if it still has. `map_location` is as in `load`; `weights_only` changes nothing, for no
    code is ever run.

    Raises ConnectionError if the file cannot be had, ValueError if it is damaged or holds something else than data.
    """
    folder = Path(model_dir if model_dir is not None else os.path.join(get_dir(), "checkpoints")).expanduser()
    path = folder / (file_name or os.path.basename(unquote(urlsplit(url).path)))
    digits = re.findall(r"-([0-9a-f]+)\.", path.name) if check_hash else []
    if not path.exists() or (digits and not sha256_of(path).startswith(digits[0])):
        folder.mkdir(parents=True, exist_ok=True)
        sys.stdout.write(f'Downloading: "{url}" to {path}\n')
        download_url_to_file(url, str(path), digits[0] if digits else None, progress)
    return io.load(path, map_location)


def download_url_to_file(
    url: str, dst: str | os.PathLike[str], hash_prefix: str | None = None, progress: bool = True
) -> None:
    """Fetch a file, all of it or nothing. RuntimeError if its sha256 does not begin with `hash_prefix`."""
    path = Path(dst).expanduser()
    try:
        io.write_atomically(path, downloaded(url, path, progress, hash_prefix or ""))
    except ValueError as error:
        raise RuntimeError(f'invalid hash value (expected "{hash_prefix}"): {error}') from error


def sha256_of(path: Path) -> str:
    """The digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def downloaded(url: str, path: Path, progress: bool, sha256: str) -> Iterator[bytes]:
    """The bytes behind a URL, meant for `path`. An error raised after the last of them keeps what was written from
    being kept: ValueError if their digest does not begin with `sha256`.

    Raises ConnectionError if they cannot be had. `progress` is shown on a terminal.
    """
    digest, count = hashlib.sha256(), 0
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "tritongrad"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            size = int(response.headers.get("Content-Length") or 0)
            while chunk := response.read(_STEP):
                yield chunk
                digest.update(chunk)
                count += len(chunk)
                if progress and sys.stderr.isatty():
                    share = f"{count / size:4.0%} of {size / 1e6:.1f}" if size else f"{count / 1e6:.1f}"
                    print(f"\r{path.name}: {share} MB", end="", file=sys.stderr, flush=True)
        if size and count < size:
            raise ConnectionError(f"it broke off after {count:,} of {size:,} bytes")
    except (OSError, HTTPException) as error:  # of the network: what the disk raises does not come by here
        if isinstance(error, HTTPError):
            error.close()  # it holds the connection
        found = " (the file there now has another sha256)" if path.exists() else ""
        raise ConnectionError(
            f"{url} could not be fetched ({error}): get it by other means and put it at {path}{found}"
        ) from error
    finally:
        if progress and count and sys.stderr.isatty():
            print(file=sys.stderr)
    if not digest.hexdigest().startswith(sha256):
        raise ValueError(
            f"{url} gave a file whose sha256 begins {digest.hexdigest()[: len(sha256)]} instead of {sha256}: it was "
            f"not kept"
        )
