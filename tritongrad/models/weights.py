"""Published weights: where a file is, how to know it, and fetching it once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tritongrad import io
from tritongrad.hub import downloaded, sha256_of
from tritongrad.tensor import Tensor


@dataclass(frozen=True, eq=False)
class Weights:
    """One published file of weights.

    `sha256` is the file's digest, or its first digits (at least 8), which may also stand in the file's name as in
    "resnet18-f37072fd.pth". Eight digits find out accidents, not malice; but a file cannot run code in any case.
    `transforms` makes the preprocessing the weights were trained with; `meta` is whatever is known about them.
    """

    url: str
    sha256: str = ""
    transforms: Callable[..., Any] | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        digits = self.sha256.lower() or "".join(re.findall(r"-([0-9a-f]{8,64})\.\w+$", self.file_name))
        if not re.fullmatch("[0-9a-f]{8,64}", digits):
            raise ValueError(f"Weights: {self.url} needs 8 to 64 hexadecimal digits of its sha256, got {self.sha256!r}")
        object.__setattr__(self, "sha256", digits)

    @property
    def file_name(self) -> str:
        return os.path.basename(unquote(urlsplit(self.url).path))


class WeightsEnum(Enum):
    """Base class of the weights of one architecture: members are `Weights`, and DEFAULT names the best of them."""

    @property
    def url(self) -> str:
        return self.value.url

    @property
    def transforms(self) -> Callable[..., Any] | None:
        return self.value.transforms

    @property
    def meta(self) -> dict[str, Any]:
        return self.value.meta

    def get_state_dict(self, progress: bool = True, check_hash: bool = True) -> dict[str, Tensor]:
        """Parameters and buffers by name, from the cache or, the first time, from the network.

        Raises ConnectionError if the file cannot be had, ValueError if it is not what it should be.
        """
        return _state_dict(fetch(self.value, progress, check_hash))

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


def member(weights: Any, known: type[WeightsEnum]) -> WeightsEnum | None:
    """The member of `known` that is given, or named as "IMAGENET1K_V1" or "ResNet18_Weights.IMAGENET1K_V1"."""
    if isinstance(weights, known):
        return weights
    name = weights.removeprefix(f"{known.__name__}.") if isinstance(weights, str) else ""
    return known[name] if name in known.__members__ else None


def resolve(weights: Any, known: type[WeightsEnum], progress: bool = True) -> dict[str, Tensor] | None:
    """Parameters and buffers by name for what a user may pass as `weights`; None for None.

    That is a member of `known` or its name, see `member`; or the path of a safetensors or torch file. Raises TypeError
    or ValueError listing the names in `known`, FileNotFoundError for a path that is not there, ValueError for a file
    without a state_dict.
    """
    if weights is None:
        return None
    found = member(weights, known)
    if found is not None:
        return found.get_state_dict(progress=progress)
    expected = (
        f"expected None, the path of a file, or one of {', '.join(f'{known.__name__}.{n}' for n in known.__members__)}"
    )
    if not isinstance(weights, str | os.PathLike):
        raise TypeError(f"weights: {expected}; got {weights!r}")
    text = os.fspath(weights)
    if isinstance(weights, os.PathLike) or os.path.exists(text) or Path(text).suffix in (".safetensors", ".pth", ".pt"):
        return _state_dict(Path(text))
    raise ValueError(f"weights: {expected}; got {text!r}")


def _state_dict(path: Path) -> dict[str, Tensor]:
    state = io.load(path)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        inside = f"a dict of {', '.join(map(str, state))}" if isinstance(state, dict) else f"a {type(state).__name__}"
        raise ValueError(f"{path}: a state_dict, tensors by name, is expected, but it holds {inside[:200]}")
    return state


def cache_folder() -> Path:
    """Where fetched files are kept: `$TRITONGRAD_HOME/checkpoints`, by default `~/.cache/tritongrad/checkpoints`."""
    return _home("TRITONGRAD_HOME", "tritongrad") / "checkpoints"


def _home(variable: str, name: str) -> Path:
    default = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", name)
    return Path(os.environ.get(variable) or default).expanduser()


def fetch(weights: Weights, progress: bool = True, check_hash: bool = True) -> Path:
    """The path of the file, fetched if neither our cache nor torch's has it; its digest is checked each time.

    A file in the cache with another digest is fetched anew and replaced. Processes may fetch the same file at once:
    each writes its own copy, and a whole one takes the name. `progress` is shown on a terminal.

    Raises ConnectionError if the file cannot be had, ValueError if it has another digest; nothing is kept then.
    """
    path = cache_folder() / weights.file_name
    for candidate in (path, _home("TORCH_HOME", "torch") / "hub" / "checkpoints" / weights.file_name):
        if candidate.is_file() and (not check_hash or sha256_of(candidate).startswith(weights.sha256)):
            return candidate
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write_atomically(path, downloaded(weights.url, path, progress, weights.sha256 if check_hash else ""))
    return path
