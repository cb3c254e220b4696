"""Files from the network: from several mirrors, checked, and going on where an interrupted download stopped."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

SECONDS = 30  # without a byte, until a mirror is given up


def calculate_md5(fpath: str | os.PathLike[str], chunk_size: int = 1 << 20) -> str:
    """The MD5 sum of a file, which is what the files of these datasets are published with."""
    total = hashlib.md5(usedforsecurity=False)
    with open(fpath, "rb") as file:
        while chunk := file.read(chunk_size):
            total.update(chunk)
    return total.hexdigest()


def check_integrity(fpath: str | os.PathLike[str], md5: str | None = None) -> bool:
    """Whether there is such a file, of that MD5 sum if one is given."""
    return os.path.isfile(fpath) and (md5 is None or calculate_md5(fpath) == md5)


def download_url(
    url: str | Sequence[str], root: str | os.PathLike[str], filename: str | None = None, md5: str | None = None
) -> None:
    """Have the file at `url`, or at the first of several that gives it, in the folder `root`.

    Nothing is loaded if it is there with the right sum. It appears under its name once it is whole and its sum is
    right; what an interruption left, in a file ending in .part, is used next time. RuntimeError if no mirror gives it.
    """
    mirrors = [url] if isinstance(url, str) else list(url)
    path = Path(root).expanduser() / (filename or os.path.basename(mirrors[0]))
    if check_integrity(path, md5):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    reasons = []
    for mirror in mirrors:
        try:
            again = part.exists()
            _fetch(mirror, part)
            if again and not check_integrity(part, md5):  # perhaps what was there before is to blame
                part.unlink()
                _fetch(mirror, part)
            if check_integrity(part, md5):
                part.replace(path)
                return
            part.unlink()
            reasons.append(f"{mirror}: its MD5 sum is not {md5}")
        except (OSError, HTTPException, ValueError) as error:  # an URLError is an OSError
            reasons.append(f"{mirror}: {error}")
    raise RuntimeError(f"could not download {path.name}: {'; '.join(reasons)}")


def _fetch(url: str, part: Path) -> None:
    """Load the rest of `part` from `url`, or all of it if the server does not give parts."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "tritongrad", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=SECONDS) as answer:
            expected = answer.headers.get("Content-Length")
            with open(part, "ab" if answer.status == 206 else "wb") as file:
                start = file.tell()
                shutil.copyfileobj(answer, file, 1 << 20)
                if expected is not None and file.tell() - start != int(expected):
                    raise OSError(f"it ended after {file.tell() - start} of {expected} bytes")
    except urllib.error.HTTPError as error:
        if error.code != 416:  # there is nothing after what we have
            raise


def extract_archive(from_path: str | os.PathLike[str], to_path: str | os.PathLike[str] | None = None) -> None:
    """Unpack a tar (of any compression) or zip archive into a folder, or a .gz file into one without that ending.

    Members that would lie elsewhere are refused, as are unknown endings (RuntimeError).
    """
    source, name = Path(from_path), str(from_path)
    target = source.parent if to_path is None else Path(to_path)
    if ".tar" in source.suffixes or source.suffix in (".tgz", ".tbz", ".txz"):
        with tarfile.open(source) as archive:
            archive.extractall(target, filter="data")
    elif source.suffix == ".zip":
        with zipfile.ZipFile(source) as zipped:
            zipped.extractall(target)  # which drops what leads outside
    elif source.suffix == ".gz":
        whole = target / source.stem if target.is_dir() else target
        part = whole.with_name(whole.name + ".part")
        with gzip.open(source) as packed, open(part, "wb") as file:
            shutil.copyfileobj(packed, file)
        part.replace(whole)
    else:
        raise RuntimeError(f"unknown kind of archive: {name}")


def download_and_extract_archive(
    url: str | Sequence[str],
    download_root: str | os.PathLike[str],
    extract_root: str | os.PathLike[str] | None = None,
    filename: str | None = None,
    md5: str | None = None,
    remove_finished: bool = False,
) -> None:
    """`download_url`, then `extract_archive`."""
    name = filename or os.path.basename(url if isinstance(url, str) else url[0])
    root: Any = os.path.expanduser(download_root)
    download_url(url, root, name, md5)
    extract_archive(os.path.join(root, name), root if extract_root is None else extract_root)
    if remove_finished:
        os.remove(os.path.join(root, name))
