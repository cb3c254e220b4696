"""tritongrad.vision: datasets read from files in the published formats, which a server here on loopback gives out."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import os
import pickle
import re
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import tritongrad as tg
from tritongrad.utils.data import DataLoader
from tritongrad.vision import datasets, models, transforms, utils
from tritongrad.vision.datasets import cifar, download, folder, mnist

Image = pytest.importorskip("PIL.Image")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Gives files, from the byte that is asked for; those in `cut` end after ten bytes, once."""

    requests: ClassVar[list[tuple[str, str | None]]] = []
    cut: ClassVar[set[str]] = set()
    partial = True

    def do_GET(self) -> None:
        wanted = self.headers["Range"] if self.partial else None
        self.requests.append((self.path, self.headers["Range"]))
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        start = int(wanted.split("=")[1][:-1]) if wanted else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = start + 10 if path.name in self.cut else None
        self.cut.discard(path.name)
        self.wfile.write(content[start:stop])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server, and the folder it gives out."""
    where = tmp_path / "served"
    where.mkdir()
    Handler.requests, Handler.cut, Handler.partial = [], set(), True
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(where)))
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}/", where
    running.shutdown()
    thread.join()
    running.server_close()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def idx(values: np.ndarray) -> bytes:
    """As Yann LeCun's page describes the format."""
    kinds = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    header = bytes([0, 0, kinds[values.dtype.name], values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


# ------------------------------------------------------------------------------------------------------------ download


def test_download_goes_on_where_it_stopped(server: tuple[str, Path], tmp_path: Path) -> None:
    url, where = server
    content = bytes(range(256)) * 40
    (where / "file").write_bytes(content)
    Handler.cut = {"file"}
    with pytest.raises(RuntimeError, match=r"could not download file: http.*: it ended after 10 of 10240 bytes"):
        download.download_url(url + "file", tmp_path / "to", md5=md5(content))
    assert os.listdir(tmp_path / "to") == ["file.part"]
    download.download_url(url + "file", tmp_path / "to", md5=md5(content))
    assert Handler.requests == [("/file", None), ("/file", "bytes=10-")]
    assert (tmp_path / "to" / "file").read_bytes() == content and os.listdir(tmp_path / "to") == ["file"]
    download.download_url(url + "file", tmp_path / "to", md5=md5(content))
    assert len(Handler.requests) == 2  # it was there


@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize("left", [b"xx", b"0123456789", b"something longer"])
def test_download_over_what_is_left(server: tuple[str, Path], tmp_path: Path, left: bytes, partial: bool) -> None:
    """Whether the server gives parts or not, and even if what is there is of another file or of all of this one."""
    url, where = server
    (where / "file").write_bytes(b"0123456789")
    (tmp_path / "file.part").write_bytes(left)
    Handler.partial = partial
    download.download_url(url + "file", tmp_path, md5=md5(b"0123456789"))
    assert (tmp_path / "file").read_bytes() == b"0123456789" and not (tmp_path / "file.part").exists()


def test_mirrors(server: tuple[str, Path], tmp_path: Path) -> None:
    url, where = server
    for name, content in (("a", b"wrong"), ("b", b"right")):
        (where / name).mkdir()
        (where / name / "file").write_bytes(content)
    mirrors = ["http://127.0.0.1:9/file", url + "nowhere/file", url + "a/file", url + "b/file"]
    download.download_url(mirrors, tmp_path, "mine", md5(b"right"))
    assert (tmp_path / "mine").read_bytes() == b"right"
    with pytest.raises(RuntimeError) as caught:
        download.download_url(mirrors[:3], tmp_path, "other", md5(b"right"))
    for reason in (
        "could not download other: ",
        "Connection refused",
        "404",
        f"a/file: its MD5 sum is not {md5(b'right')}",
    ):
        assert reason in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["mine", "served"]


def test_archives(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for name in ("in/side", "../outside"):
            member = tarfile.TarInfo(name)
            member.size = 2
            archive.addfile(member, io.BytesIO(b"ab"))
    with pytest.raises(tarfile.TarError):
        download.extract_archive(tmp_path / "a.tar.gz", tmp_path / "to")
    assert (tmp_path / "to" / "in" / "side").read_bytes() == b"ab" and not (tmp_path / "outside").exists()
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"text"))
    download.extract_archive(tmp_path / "b.txt.gz")
    assert (tmp_path / "b.txt").read_bytes() == b"text"
    with pytest.raises(RuntimeError, match="unknown kind of archive"):
        download.extract_archive(tmp_path / "c.rar")


# --------------------------------------------------------------------------------------------------------------- MNIST


def digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(256, size=(count, 28, 28), dtype=np.uint8), random.integers(10, size=count, dtype=np.uint8)


@pytest.fixture
def tiny(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """MNIST with five images and three, on the server; gives the five."""
    url, where = server
    sums = []
    for head, (images, labels) in (("train", digits(5, 0)), ("t10k", digits(3, 1))):
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            packed = gzip.compress(idx(values))
            (where / f"{head}-{name}-ubyte.gz").write_bytes(packed)
            sums.append((f"{head}-{name}-ubyte.gz", md5(packed)))
    monkeypatch.setattr(datasets.MNIST, "mirrors", [url + "gone/", url])
    monkeypatch.setattr(datasets.MNIST, "resources", sums)
    return digits(5, 0)


def test_mnist(tiny: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    images, labels = tiny
    with pytest.raises(RuntimeError, match="Dataset not found"):
        datasets.MNIST(tmp_path)
    data = datasets.MNIST(str(tmp_path), download=True)
    assert data.data.dtype is tg.uint8 and data.data.tolist() == images.tolist()
    assert data.targets.dtype is tg.int64 and data.targets.tolist() == labels.tolist() and len(data) == 5
    image, target = data[3]
    assert image.mode == "L" and np.asarray(image).tolist() == images[3].tolist() and target == labels[3]
    assert sorted(os.listdir(data.raw_folder))[0] == "t10k-images-idx3-ubyte" and len(os.listdir(data.raw_folder)) == 8
    before = len(Handler.requests)
    test = datasets.MNIST(tmp_path, train=False, download=True, target_transform=lambda t: -t)
    assert len(Handler.requests) == before and len(test) == 3 and test[0][1] == -int(digits(3, 1)[1][0])
    for name in os.listdir(data.raw_folder):  # the packed files are enough
        if not name.endswith(".gz"):
            os.unlink(os.path.join(data.raw_folder, name))
    assert datasets.MNIST(tmp_path).data.tolist() == images.tolist()
    assert data.classes[3] == "3 - three" and data.class_to_idx["9 - nine"] == 9
    with pytest.warns(UserWarning, match="train_labels has been renamed targets"):
        assert data.train_labels is data.targets


def test_mnist_in_a_loader(tiny: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    steps = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    data = datasets.MNIST(tmp_path, download=True, transform=transforms.Compose(steps))
    batches = list(DataLoader(data, 3, pin_memory=True))
    assert [tuple(x.shape) for x, _ in batches] == [(3, 1, 28, 28), (2, 1, 28, 28)]
    expected = (tiny[0][:3] / 255 - 0.1307) / 0.3081
    np.testing.assert_allclose(np.array(batches[0][0].tolist())[:, 0], expected, atol=1e-5)
    lines = repr(data).splitlines()
    assert lines[:5] == [
        "Dataset MNIST", "    Number of datapoints: 5", f"    Root location: {tmp_path}", "    Split: Train",
        "    StandardTransform",
    ]  # fmt: skip
    assert lines[5:7] == ["Transform: Compose(", "               ToTensor()"]


def test_idx_of_every_kind(tmp_path: Path) -> None:
    for dtype in ("uint8", "int8", "int16", "int32", "float32", "float64"):
        values = np.array([[1, -2, 3], [4, 5, 100]]).astype(dtype)
        (tmp_path / "file").write_bytes(idx(values))
        read = mnist.read_idx(str(tmp_path / "file"))
        assert read.dtype == values.dtype and read.tolist() == values.tolist()
    whole = idx(np.zeros((2, 3), np.uint8))
    for content, message in (
        (b"", "not an IDX file"), (b"\x89PNG....", "not an IDX file"), (whole[:-1], "17 bytes are not an array"),
        (whole + b"\0", "not an array"), (whole[:7], "not an array"),
    ):  # fmt: skip
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            mnist.read_idx(str(tmp_path / "file"))


def test_images_and_labels_that_differ(tiny: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    raw = Path(datasets.MNIST(tmp_path, download=True).raw_folder)
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(4, np.uint8)))
    with pytest.raises(ValueError, match=r"images of uint8\[5, 28, 28\] and labels of uint8\[4\] do not belong"):
        datasets.MNIST(tmp_path)


def test_emnist(server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, where = server
    images, labels = digits(4, 2)
    with zipfile.ZipFile(where / "gzip.zip", "w") as archive:
        for part in ("train", "test"):
            for name, values in (("images-idx3", images), ("labels-idx1", labels)):
                archive.writestr(f"gzip/emnist-letters-{part}-{name}-ubyte.gz", gzip.compress(idx(values)))
    monkeypatch.setattr(datasets.EMNIST, "url", url + "gzip.zip")
    monkeypatch.setattr(datasets.EMNIST, "md5", None)
    data = datasets.EMNIST(tmp_path, "letters", download=True)
    assert data.data.tolist() == images.tolist() and len(data.classes) == 27 and data.class_to_idx["b"] == 2
    assert [len(c) for c in data.classes_split_dict.values()] == [62, 47, 47, 27, 10, 10]
    with pytest.raises(ValueError, match="Unknown value 'words' for argument split"):
        datasets.EMNIST(tmp_path, "words")
    assert len(datasets.FashionMNIST.classes) == len(datasets.KMNIST.classes) == 10


# --------------------------------------------------------------------------------------------------------------- CIFAR


class Python2(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes as Python 2 did, whose text was bytes."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_text(self, text: Any) -> None:
        content = text if isinstance(text, bytes) else text.encode("latin1")
        self.write(b"T" + len(content).to_bytes(4, "little") + content)
        self.memoize(text)

    dispatch[bytes] = dispatch[str] = save_text


def test_cifar(server: tuple[str, Path], tmp_path: Path) -> None:
    """An archive as published, of pickles of Python 2, but of six images."""
    url, where = server
    random = np.random.default_rng(0)
    values, labels = random.integers(256, size=(6, 3072), dtype=np.uint8), random.integers(10, size=6).tolist()
    files: dict[str, Any] = {
        f"data_batch_{k}": {"batch_label": "x", "labels": labels[k : k + 1], "data": values[k : k + 1]}
        for k in range(5)
    }
    files["test_batch"] = {"labels": labels[5:], "data": values[5:], "filenames": ["a.png"]}
    files["batches.meta"] = {"label_names": ["cat", "dog"]}
    with tarfile.open(where / "cifar.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            Python2(stream := io.BytesIO(), protocol=2).dump(content)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = stream.tell()
            archive.addfile(member, io.BytesIO(stream.getvalue()))
            files[name] = md5(stream.getvalue())

    class Tiny(datasets.CIFAR10):
        filename = "cifar.tar.gz"

    Tiny.url, Tiny.tgz_md5 = url + "cifar.tar.gz", md5((where / "cifar.tar.gz").read_bytes())
    Tiny.train_list = [[f"data_batch_{k}", files[f"data_batch_{k}"]] for k in range(5)]
    Tiny.test_list = [["test_batch", files["test_batch"]]]
    Tiny.meta = {**datasets.CIFAR10.meta, "md5": files["batches.meta"]}
    with pytest.raises(RuntimeError, match="Dataset not found or corrupted"):
        Tiny(tmp_path)
    data = Tiny(tmp_path, download=True)
    assert data.data.shape == (5, 32, 32, 3) and data.targets == labels[:5] and data.classes == ["cat", "dog"]
    image, target = data[2]
    assert image.mode == "RGB" and target == labels[2] and data.class_to_idx == {"cat": 0, "dog": 1}
    assert np.asarray(image).transpose(2, 0, 1).reshape(-1).tolist() == values[2].tolist()
    assert len(Tiny(tmp_path, train=False, download=True)) == 1 and len(Handler.requests) == 1
    assert "    Split: Test" in repr(Tiny(tmp_path, train=False))
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"changed")
    with pytest.raises(RuntimeError, match="corrupted"):
        Tiny(tmp_path)


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("echo gotcha > /tmp/gotcha",)


def test_pickles_that_run_code_are_refused(tmp_path: Path) -> None:
    for content, message in (
        (pickle.dumps({"data": Evil()}), "it asks for posix.system, and only numpy arrays are read"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "it asks for builtins.eval"),
        (pickle.dumps([1]), "it holds a list"),
        (b"\x80\x05nonsense", "cannot be read as a batch of images"),
    ):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(message)):
            cifar.read_batch(str(tmp_path / "file"))
    (tmp_path / "file").write_bytes(pickle.dumps({"data": np.arange(3), "labels": [1, 2]}))
    assert cifar.read_batch(str(tmp_path / "file"))["data"].tolist() == [0, 1, 2]
    with pytest.raises(FileNotFoundError):
        cifar.read_batch(str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"CIFAR10: expected images as uint8\[N, 3072\]"):
        datasets.CIFAR10._images(datasets.CIFAR10.__new__(datasets.CIFAR10), {"data": np.zeros((2, 5))})
    assert datasets.CIFAR100.meta["key"] == "fine_label_names"


# ------------------------------------------------------------------------------------------------------ folders, noise


def test_image_folder(tmp_path: Path) -> None:
    for name, colour in (("b/x.png", 1), ("a/z.PNG", 2), ("a/deep/y.jpeg", 3), ("a/notes.txt", 4)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 2), colour).save(tmp_path / name, format="PNG")
    data = datasets.ImageFolder(str(tmp_path), transform=transforms.PILToTensor(), target_transform=str)
    assert data.classes == ["a", "b"] and data.class_to_idx == {"a": 0, "b": 1} and data.targets == [0, 0, 1]
    assert [os.path.relpath(p, tmp_path) for p, _ in data.imgs] == ["a/z.PNG", "a/deep/y.jpeg", "b/x.png"]
    x, target = data[1]
    assert x.shape == (3, 2, 3) and x[0, 0, 0].item() == 3 and target == "0" and len(data) == 3
    texts = datasets.DatasetFolder(tmp_path, lambda path: os.path.basename(path), is_valid_file=lambda p: "o" in p[-9:],
                                   allow_empty=True)  # fmt: skip
    assert texts[0] == ("notes.txt", 0)
    (tmp_path / "c").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no valid file for the classes c\. Supported extensions are: \.jpg"):
        datasets.ImageFolder(tmp_path)
    assert len(datasets.ImageFolder(tmp_path, allow_empty=True).classes) == 3
    with pytest.raises(FileNotFoundError, match="Couldn't find any class folder in"):
        datasets.ImageFolder(tmp_path / "c")
    with pytest.raises(ValueError, match="Both extensions and is_valid_file cannot be None or not None"):
        datasets.DatasetFolder(tmp_path, len)
    with pytest.raises(ValueError, match="must have at least one entry"):
        folder.make_dataset(tmp_path, {}, ".png")
    assert folder.is_image_file("a.TIFF") and not folder.is_image_file("tiff")


def test_fake_data() -> None:
    data = datasets.FakeData(4, (3, 6, 5), 7, transform=transforms.ToTensor())
    (x, target), again = data[2], data[2]
    assert x.shape == (3, 6, 5) and 0 <= target < 7 and again[0].tolist() == x.tolist() and again[1] == target
    assert data[1][0].tolist() != x.tolist()
    assert datasets.FakeData(4, (3, 6, 5), 7, transforms.ToTensor(), random_offset=1)[1][0].tolist() == x.tolist()
    with pytest.raises(IndexError, match="FakeData index out of range"):
        data[4]
    assert repr(data).startswith(
        "Dataset FakeData\n    Number of datapoints: 4\n    StandardTransform\nTransform: ToTensor"
    )
    with pytest.raises(ValueError, match="Only transforms or transform/target_transform can be passed as argument"):
        datasets.VisionDataset(None, len, len)
    with pytest.raises(NotImplementedError, match="VisionDataset: a dataset of images defines __len__"):
        len(datasets.VisionDataset("~/x"))
    assert datasets.VisionDataset("~/x").root == os.path.expanduser("~/x")


def test_make_grid() -> None:
    x = np.random.default_rng(0).uniform(-1, 3, (5, 3, 4, 6)).astype(np.float32)
    grid = np.array(utils.make_grid(tg.tensor(x), nrow=3, padding=1, pad_value=9.0).tolist())
    assert grid.shape == (3, 11, 22)
    for k in range(5):
        i, j = k // 3 * 5 + 1, k % 3 * 7 + 1
        assert grid[:, i : i + 4, j : j + 6].tolist() == x[k].tolist()
    assert (grid[:, 5] == 9).all() and (grid[:, 6:, 15:] == 9).all()
    for options, expected in (
        ({}, (x - x.min()) / (x.max() - x.min())),
        ({"value_range": (0, 2)}, x.clip(0, 2) / 2),
        ({"scale_each": True}, np.stack([(v - v.min()) / (v.max() - v.min()) for v in x])),
    ):
        ours = utils.make_grid([tg.tensor(v) for v in x], padding=0, nrow=5, normalize=True, **options)
        np.testing.assert_allclose(ours.tolist(), np.concatenate(expected, -1), atol=1e-6)
    assert utils.make_grid(tg.ones(2, 3)).shape == utils.make_grid(tg.ones(1, 2, 3)).shape == (3, 2, 3)
    with pytest.raises(TypeError, match="tensor or list of tensors expected, got <class 'list'>"):
        utils.make_grid([1])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="value_range has to be a tuple"):
        utils.make_grid(tg.ones(2, 3), value_range=[0, 1])  # type: ignore[arg-type]


def test_save_image(tmp_path: Path) -> None:
    x = tg.tensor([[[0.0, 0.5], [1.0, 2.0]]] * 3)
    utils.save_image([x, x], tmp_path / "grid.png", padding=0)
    assert np.asarray(Image.open(tmp_path / "grid.png"))[:, :, 1].tolist() == [[0, 128, 0, 128], [255] * 4]
    stream = io.BytesIO()
    utils.save_image(x, stream, format="PPM")
    assert stream.getvalue().startswith(b"P6")


def test_scripts_of_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a script finds behind `torchvision` where that name stands for ours."""
    for name in [n for n in sys.modules if n.startswith("tritongrad.vision")]:
        monkeypatch.setitem(sys.modules, name.replace("tritongrad.vision", "torchvision"), sys.modules[name])
    space: dict[str, Any] = {}
    exec(
        "import torchvision, torchvision.transforms as T, torchvision.transforms.functional as TF\n"
        "from torchvision import datasets, models, transforms, utils\n"
        "from torchvision.datasets import CIFAR10\n"
        "from torchvision.transforms import Compose\n"
        "from torchvision.utils import make_grid\n"
        "from torchvision.models import resnet18\n",
        space,
    )
    assert space["T"] is transforms is tg.transforms and space["TF"] is transforms.functional
    assert space["CIFAR10"] is datasets.CIFAR10 and space["models"] is models
