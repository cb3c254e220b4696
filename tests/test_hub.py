"""Files by URL: over the loopback and from the disk; and where scripts look for them under other names."""

from __future__ import annotations

import hashlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import tritongrad as tg
from tests.test_weights import CONTENT, DIGEST, Server, kept, server  # noqa: F401 (a fixture)
from tritongrad import hub


def url_of(server: Server, name: str) -> str:  # noqa: F811
    return f"http://127.0.0.1:{server.server_port}/{name}"


def test_state_dicts_are_fetched_once(
    server: Server,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = url_of(server, f"net-{DIGEST[:8]}.pth?a=b")
    for _ in range(2):
        state = hub.load_state_dict_from_url(url, map_location="cpu", progress=True, check_hash=True)
        assert list(state) == ["fc.weight", "fc.bias"] and state["fc.weight"].tolist() == [[1.0] * 3] * 2
    assert len(server.requests) == 1 and kept(tmp_path) == [f"torch/hub/checkpoints/net-{DIGEST[:8]}.pth"]
    assert capsys.readouterr().out.count("Downloading") == 1
    (tmp_path / kept(tmp_path)[0]).write_bytes(b"damaged")
    assert len(tg.utils.model_zoo.load_url(url, check_hash=True)) == 2 and len(server.requests) == 2
    hub.load_state_dict_from_url(url_of(server, "x.pth"), str(tmp_path / "mine"), file_name="y.pth")
    assert (tmp_path / "mine" / "y.pth").read_bytes() == CONTENT


def test_a_file_that_is_not_it_is_not_kept(server: Server, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(RuntimeError, match='invalid hash value \\(expected "01234567"\\)'):
        hub.load_state_dict_from_url(url_of(server, "net-01234567.pth"), check_hash=True)
    with pytest.raises(ConnectionError, match="could not be fetched"):
        hub.load_state_dict_from_url(url_of(server, "gone/net.pth"))
    assert kept(tmp_path) == []
    assert len(hub.load_state_dict_from_url(url_of(server, "net-01234567.pth"))) == 2


def test_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pth").write_bytes(CONTENT)
    monkeypatch.setattr(hub, "_chosen", [])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "t"))
    assert hub.get_dir() == str(tmp_path / "t" / "hub")
    hub.set_dir(tmp_path / "other")
    assert hub.get_dir() == str(tmp_path / "other")
    assert len(hub.load_state_dict_from_url((tmp_path / "a.pth").as_uri())) == 2
    assert (tmp_path / "other" / "checkpoints" / "a.pth").exists()
    hub.download_url_to_file((tmp_path / "a.pth").as_uri(), tmp_path / "b", DIGEST, progress=False)
    assert hashlib.sha256((tmp_path / "b").read_bytes()).hexdigest() == DIGEST


def test_data_parallel_is_the_module() -> None:
    net = tg.nn.Linear(3, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tritongrad_kernels.driver.gpu_count", lambda: 1)
        wrapped = tg.nn.DataParallel(net, device_ids=[0])
    assert list(wrapped.state_dict()) == ["module.weight", "module.bias"] and wrapped.module is net
    x = tg.ones(2, 3)
    assert wrapped(input=x).tolist() == net(x).tolist() == tg.nn.parallel.data_parallel(net, x).tolist()
    assert repr(wrapped).splitlines()[1] == "  (module): Linear(in_features=3, out_features=2, bias=True)"
    with pytest.raises(RuntimeError, match="several processes is not offered"):
        tg.nn.parallel.DistributedDataParallel(net)


def test_data_parallel_where_there_are_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as they need not be there."""
    moves: list = []

    class Net(tg.nn.Module):
        def to(self, *args: object, **kwargs: object) -> tg.nn.Module:
            moves.extend(args)
            return self

        def forward(self, x: object, more: object) -> object:
            return x, more

    monkeypatch.setattr("tritongrad_kernels.driver.DEFAULT_DEVICE", tg.device("cuda", 0))
    monkeypatch.setattr("tritongrad_kernels.driver.gpu_count", lambda: 2)
    with pytest.raises(RuntimeError, match="several devices are not supported"):
        tg.nn.DataParallel(Net(), device_ids=[0, 1])
    with pytest.raises(ValueError, match="expected GPUs, got cpu"):
        tg.nn.DataParallel(Net(), device_ids=["cpu"])
    with pytest.warns(UserWarning, match="one of 2 GPUs"):
        tg.nn.DataParallel(Net())
    wrapped = tg.nn.DataParallel(Net(), device_ids=["cuda:1"])
    assert moves == [tg.device("cuda:0"), tg.device("cuda:1")] and wrapped(1, more=[(2,)]) == (1, [(2,)])


def test_tensorboard_is_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "tritongrad.utils.tensorboard"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="needs a package: pip install tensorboardX"):
        __import__(name)
    told: list = []

    class Writer:
        def add_histogram(self, *args: object, **kwargs: object) -> None:
            told.extend([args, kwargs])

    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Writer))
    __import__(name)
    sys.modules[name].SummaryWriter().add_histogram("h", tg.ones(2, requires_grad=True), more=[tg.zeros(1)])
    assert told[0][1].tolist() == [1.0, 1.0] and type(told[1]["more"][0]) is np.ndarray
    monkeypatch.delitem(sys.modules, name)


def test_version() -> None:
    assert tg.version.__version__ == tg.__version__ and tg.version.hip is None
    assert isinstance(tg.version.cuda, str) is tg.cuda.is_available()
