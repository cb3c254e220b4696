"""Published weights, fetched from a server on this machine; nothing here reaches further."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import tritongrad as tg
from tritongrad.models import weights as module
from tritongrad.models.weights import Weights, WeightsEnum, fetch, resolve


def as_file(state: dict[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


CONTENT = as_file({"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)})
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under every name; `/short/` breaks off, `/slow/` stops answering, `/gone/` is not there."""

    requests: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.send_response(404 if "/gone/" in self.path else 200)
        if "/unknown/" not in self.path:
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if "/short/" in self.path or "/slow/" in self.path else CONTENT)
        if "/slow/" in self.path:
            self.wfile.flush()
            self.server.release.wait(5)  # type: ignore[attr-defined]

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("TRITONGRAD_HOME", str(tmp_path / "ours"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as server:
        server.requests, server.release = [], threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.release.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def at(server: Server, name: str = f"net-{DIGEST[:8]}.pth", **options: Any) -> Weights:
    return Weights(f"http://127.0.0.1:{server.server_port}/{name}", **options)


def kept(tmp_path: Path) -> list[str]:
    return sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())


# ----------------------------------------------------------------------------------------------------- descriptions


def test_what_is_known_of_weights() -> None:
    class Net_Weights(WeightsEnum):
        V1 = Weights("http://x/net-0123abcd.pth", meta={"acc@1": 1.0})
        V2 = Weights("http://x/net.pth?a=b", "A" * 64, transforms=dict)
        DEFAULT = V2

    assert Net_Weights.V1.value.sha256 == "0123abcd" and Net_Weights.V2.value.sha256 == "a" * 64
    assert (Net_Weights.V1.url, Net_Weights.V1.meta) == ("http://x/net-0123abcd.pth", {"acc@1": 1.0})
    assert (
        Net_Weights.V1.transforms is None
        and Net_Weights.V2.transforms is not None
        and Net_Weights.V2.transforms() == {}
    )
    assert Net_Weights.DEFAULT is Net_Weights.V2 and str(Net_Weights.DEFAULT) == "Net_Weights.V2"
    assert Net_Weights.V2.value.file_name == "net.pth"
    for url, digest in (("http://x/net.pth", ""), ("http://x/net-0123abc.pth", ""), ("http://x/net.pth", "not hex!")):
        with pytest.raises(ValueError, match="needs 8 to 64 hexadecimal digits of its sha256"):
            Weights(url, digest)


def test_where_files_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRITONGRAD_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert module.cache_folder() == Path("/home/me/.cache/tritongrad/checkpoints")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert module.cache_folder() == Path("/c/tritongrad/checkpoints")
    monkeypatch.setenv("TRITONGRAD_HOME", "~/here")
    assert module.cache_folder() == Path("/home/me/here/checkpoints")


# ---------------------------------------------------------------------------------------------------------- fetching


def test_fetched_once(server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        assert fetch(at(server)).read_bytes() == CONTENT
    assert len(server.requests) == 1 and kept(tmp_path) == [f"ours/checkpoints/net-{DIGEST[:8]}.pth"]
    assert fetch(at(server, "other.pth", sha256=DIGEST)).read_bytes() == CONTENT
    assert fetch(at(server, "unknown/length.pth", sha256=DIGEST)).read_bytes() == CONTENT


def test_what_torch_has_fetched_is_used_if_it_is_right(server: Server, tmp_path: Path) -> None:
    theirs = tmp_path / "torch/hub/checkpoints" / at(server).file_name
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(CONTENT)
    assert fetch(at(server)) == theirs and not server.requests
    theirs.write_bytes(CONTENT[:-1])
    ours = fetch(at(server))
    assert ours.read_bytes() == CONTENT and theirs.read_bytes() == CONTENT[:-1] and len(server.requests) == 1
    ours.write_bytes(b"damaged")
    assert fetch(at(server), check_hash=False).read_bytes() == b"damaged"
    assert fetch(at(server)).read_bytes() == CONTENT and len(server.requests) == 2


def test_a_wrong_file_is_not_kept(server: Server, tmp_path: Path) -> None:
    wrong = at(server, "net-00000000.pth")
    with pytest.raises(
        ValueError, match=f"net-00000000.pth gave a file whose sha256 begins {DIGEST[:8]} instead of 00000000"
    ):
        fetch(wrong)
    assert kept(tmp_path) == []
    assert fetch(wrong, check_hash=False).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("gone", "HTTP Error 404"),
        ("short", f"it broke off after 1,000 of {len(CONTENT):,} bytes"),
        ("slow", "timed out"),
    ],
)
def test_what_cannot_be_fetched(
    folder: str, reason: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tritongrad.hub._TIMEOUT", 0.2)
    wanted = at(server, f"{folder}/net-{DIGEST[:8]}.pth")
    place = tmp_path / "ours/checkpoints" / wanted.file_name
    with pytest.raises(ConnectionError) as caught:
        fetch(wanted)
    assert str(caught.value).startswith(f"{wanted.url} could not be fetched ({reason}")
    assert str(caught.value).endswith(f"get it by other means and put it at {place}") and "\n" not in str(caught.value)
    assert kept(tmp_path) == []


def test_no_network(server: Server, tmp_path: Path) -> None:
    path = fetch(at(server))
    path.write_bytes(b"damaged")
    closed = Weights(f"http://127.0.0.1:1/net-{DIGEST[:8]}.pth")
    with pytest.raises(ConnectionError, match=f"put it at {path} \\(the file there now has another sha256\\)"):
        fetch(closed)
    assert path.read_bytes() == b"damaged"
    path.write_bytes(CONTENT)
    assert fetch(closed) == path


def test_a_disk_that_fails_is_no_network_that_fails(server: Server, tmp_path: Path) -> None:
    (tmp_path / "ours").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        fetch(at(server))
    assert not server.requests


def test_many_fetch_at_once(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(fetch, [at(server)] * 16))
    assert {p.read_bytes() for p in paths} == {CONTENT} and len(kept(tmp_path)) == 1


def test_progress_is_for_terminals(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(at(server))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    fetch(at(server, "unknown/a.pth", sha256=DIGEST))
    fetch(at(server, "b.pth", sha256=DIGEST))
    fetch(at(server, "c.pth", sha256=DIGEST), progress=False)
    assert capsys.readouterr().err == "\ra.pth: 0.0 MB\n\rb.pth: 100% of 0.0 MB\n"


# --------------------------------------------------------------------------------------------------------- resolving


def test_resolve(server: Server, tmp_path: Path) -> None:
    class Net_Weights(WeightsEnum):
        V1 = at(server)
        DEFAULT = V1

    class Other_Weights(WeightsEnum):
        V1 = at(server)

    tg.save({"fc.weight": tg.ones(2, 3), "fc.bias": tg.zeros(2)}, tmp_path / "own.safetensors")
    (tmp_path / "torch.pth").write_bytes(CONTENT)
    (tmp_path / "no_suffix").write_bytes(CONTENT)
    assert resolve(None, Net_Weights) is None
    names = ["V1", "DEFAULT", "Net_Weights.V1", "Net_Weights.DEFAULT", Net_Weights.V1, Net_Weights.DEFAULT]
    files = ["own.safetensors", "torch.pth", "no_suffix"]
    for given in [*names, *(tmp_path / f for f in files), *(str(tmp_path / f) for f in files)]:
        state = resolve(given, Net_Weights, progress=False)
        assert state is not None and list(state) == ["fc.weight", "fc.bias"]
        assert all(isinstance(v, tg.Tensor) for v in state.values()) and state["fc.weight"].sum().item() == 6.0
    for wrong, error in (
        (True, TypeError),
        (Other_Weights.V1, TypeError),
        ("V2", ValueError),
        ("Other_Weights.V1", ValueError),
    ):
        with pytest.raises(
            error, match=r"expected None, the path of a file, or one of Net_Weights\.V1, Net_Weights\.DEFAULT; got"
        ):
            resolve(wrong, Net_Weights)
    for missing in ("a.pth", "b.safetensors", Path("V1")):
        with pytest.raises(FileNotFoundError, match=str(missing)):
            resolve(missing, Net_Weights)


def test_a_checkpoint_is_no_state_dict(tmp_path: Path) -> None:
    for obj, found in (({"epoch": 1, "state_dict": {}}, "a dict of epoch, state_dict"), ([tg.ones(1)], "a list")):
        tg.save(obj, tmp_path / "c.pt")
        with pytest.raises(
            ValueError, match=f"{tmp_path}/c.pt: a state_dict, tensors by name, is expected, but it holds {found}"
        ):
            resolve(tmp_path / "c.pt", WeightsEnum)
