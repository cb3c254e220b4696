"""tritongrad.transforms: on tensors against torch and the standard library, on images against those on tensors."""

from __future__ import annotations

import colorsys
import itertools
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.transforms as T
from tritongrad.transforms import InterpolationMode, functional as F
from tritongrad.utils.data import DataLoader, Dataset
from tritongrad_kernels import launch

Image = pytest.importorskip("PIL.Image")


def picture(height: int = 7, width: int = 11, mode: str = "RGB", seed: int = 0) -> Any:
    """A smooth picture with some noise."""
    y, x = np.mgrid[0:height, 0:width]
    shades = np.stack([10 * x + 5 * y, 200 - 9 * x, 12 * y + 3 * x, 40 * (x > 3) + 90], -1)
    values = shades + np.random.default_rng(seed).integers(0, 20, shades.shape)
    return Image.fromarray(values[:, :, : len(mode)].clip(0, 255).astype(np.uint8).squeeze(), mode=mode)


def numbers(img: Any) -> np.ndarray:
    """The values of an image [C, H, W] or [..., C, H, W], in float64."""
    if isinstance(img, tg.Tensor):
        return np.asarray(img.tolist(), np.float64).reshape(tuple(img.shape))
    values = np.asarray(img, np.float64)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def to_torch(img: tg.Tensor) -> torch.Tensor:
    return torch.tensor(img.numpy())


def same(ours: tg.Tensor, theirs: torch.Tensor, bound: float = 0.0) -> None:
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1] and tuple(ours.shape) == theirs.shape
    np.testing.assert_allclose(numbers(ours), theirs.double().numpy(), rtol=0, atol=bound)


# ---------------------------------------------------------------------------------------------------------- conversion


def test_to_tensor() -> None:
    img = picture()
    with launch.recording() as launches:
        x = F.to_tensor(img)
    assert not launches and x.dtype is tg.float32 and str(x.device) == "cpu"
    same(x, torch.from_numpy(np.asarray(img).transpose(2, 0, 1).copy()).float().div(255))
    assert T.ToTensor()(np.ones((2, 3), np.float64)).dtype is tg.float64
    assert T.ToTensor()(np.ones((2, 3, 0), np.uint8)).shape == (0, 2, 3)
    for mode, dtype in (("L", tg.float32), ("1", tg.float32), ("I", tg.int32), ("F", tg.float32), ("I;16", tg.int16)):
        source = Image.new(mode, (3, 2), 1)
        assert F.to_tensor(source).dtype is dtype and F.to_tensor(source).shape == (1, 2, 3)
        expected = {"L": 1 / 255, "1": 1.0}.get(mode, 1)
        assert F.to_tensor(source)[0, 0, 0].item() == pytest.approx(expected)
    tg.set_default_dtype(tg.float64)
    try:
        assert F.to_tensor(img).dtype is tg.float64
    finally:
        tg.set_default_dtype(tg.float32)
    assert numbers(F.pil_to_tensor(img)).tolist() == numbers(img).tolist() and F.pil_to_tensor(img).dtype is tg.uint8
    assert F.pil_to_tensor(Image.new("1", (2, 1), 1)).tolist() == [[[255, 255]]]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_there_and_back(mode: str) -> None:
    img = picture(mode=mode)
    for x in (F.to_tensor(img), F.pil_to_tensor(img), np.asarray(img)):
        again = F.to_pil_image(x)
        assert again.mode == mode and again.size == img.size and again.tobytes() == img.tobytes()


def test_to_pil_image_of_other_kinds() -> None:
    for dtype, mode in ((np.int16, "I;16"), (np.int32, "I"), (np.float32, "F")):
        made = F.to_pil_image(np.arange(6, dtype=dtype).reshape(2, 3))
        assert made.mode == mode and made.getpixel((2, 1)) == 5
    assert F.to_pil_image(tg.tensor([[0.25]]), mode="F").getpixel((0, 0)) == 0.25
    assert T.ToPILImage("HSV")(np.zeros((1, 1, 3), np.uint8)).mode == "HSV"


DTYPES = [tg.uint8, tg.int16, tg.int32, tg.float32, tg.float64, tg.float16]


def test_convert_image_dtype() -> None:
    """Black and white stay black and white, and equal steps stay equal."""
    for a, b in itertools.product(DTYPES, DTYPES):
        white = {d: tg.iinfo(d).max if not d.is_floating_point else 1.0 for d in (a, b)}
        x = tg.tensor([0, white[a]], dtype=a)
        if a in (tg.float16, tg.float32) and b is tg.int32:
            with pytest.raises(RuntimeError, match=r"cast from float\d\d to int32 cannot be performed safely"):
                F.convert_image_dtype(x, b)
        else:
            y = F.convert_image_dtype(x, b)
            spread = 0.01 * white[b] if not a.is_floating_point and not b.is_floating_point else 0
            assert y.dtype is b and y[0].item() == 0 and abs(y[1].item() - white[b]) <= spread, (a, b)
    levels = F.convert_image_dtype(tg.arange(256, dtype=tg.uint8), tg.float32)
    assert T.ConvertImageDtype(tg.uint8)(levels).tolist() == list(range(256))


def test_normalize() -> None:
    x = F.to_tensor(picture())
    mean, std = [0.4, 0.5, 0.6], (0.2, 0.3, 0.4)
    theirs = to_torch(x).sub(torch.tensor(mean).view(-1, 1, 1)).div(torch.tensor(std).view(-1, 1, 1))
    with launch.recording() as launches:
        same(T.Normalize(mean, std)(x), theirs)
    assert not launches
    same(F.normalize(tg.stack([x, x]), mean, std), torch.stack([theirs, theirs]))
    leaf = x.clone().requires_grad_()
    same(F.normalize(leaf, mean, std).detach(), theirs, 1e-6)
    F.normalize(leaf, mean, std).sum().backward()
    np.testing.assert_allclose(numbers(leaf.grad)[:, 0, 0], 1 / np.array(std), rtol=1e-6)
    assert F.normalize(x, [0.5], [0.5], inplace=True) is x and x.min().item() < 0


# ------------------------------------------------------------------------------------------------------------ geometry


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(4, 5), (14, 11), (7, 3), (1, 1)])
def test_resize_of_a_tensor(mode: str, size: tuple[int, int]) -> None:
    x = F.to_tensor(picture())
    for antialias in (False, True) if mode[0] == "b" else (False,):
        ours = F.resize(x, size, InterpolationMode(mode), antialias=antialias)
        options: Any = {"mode": mode, "antialias": antialias}
        if mode[0] == "b":
            options["align_corners"] = False
        same(ours, torch.nn.functional.interpolate(to_torch(x)[None], size, **options)[0], 2e-6)
    whole = F.resize(F.pil_to_tensor(picture()), size, InterpolationMode(mode))
    assert whole.dtype is tg.uint8


def test_resize_of_bytes_rounds() -> None:
    x = tg.tensor([[[0, 1], [2, 4]]], dtype=tg.uint8)
    assert F.resize(x, [1, 1]).tolist() == [[[2]]]
    sharp = tg.tensor([[[0, 0, 255, 255, 0, 0]]], dtype=tg.uint8)
    wide = F.resize(sharp, [1, 24], InterpolationMode.BICUBIC)
    assert wide.max().item() == 255 and wide.min().item() == 0


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        (14, {}, (14, 22)), ([3], {}, (3, 4)), ((5, 6), {}, (5, 6)), (14, {"max_size": 15}, (9, 15)),
        (7, {}, (7, 11)), (None, {"max_size": 22}, (14, 22)),
    ],
)  # fmt: skip
def test_resize_sizes(size: Any, options: dict[str, Any], expected: tuple[int, int]) -> None:
    for img in (picture(), F.to_tensor(picture())):
        assert F.get_dimensions(T.Resize(size, **options)(img)) == [3, *expected]
    upright = picture(11, 7)
    if isinstance(size, int):
        assert F.get_dimensions(F.resize(upright, size, **options))[1:] == [*reversed(expected)]
    assert F.get_image_size(upright) == [7, 11] and F.get_image_num_channels(upright) == 3


def test_resize_of_an_image_is_pillows() -> None:
    img = picture()
    for mode in InterpolationMode:
        code = getattr(Image.Resampling, mode.value.upper().replace("-EXACT", ""))
        assert F.resize(img, [3, 20], mode).tobytes() == img.resize((20, 3), code).tobytes()
    assert F.resize(img, [3, 20], Image.Resampling.BOX).tobytes() == img.resize((20, 3), Image.Resampling.BOX).tobytes()


# What does the same to an image and to a tensor of it, to the last bit.
ALIKE: dict[str, Callable[[Any], Any]] = {
    "crop": lambda x: F.crop(x, 1, 2, 3, 4),
    "crop beyond": lambda x: F.crop(x, -2, 5, 6, 9),
    "crop outside": lambda x: F.crop(x, 20, -30, 2, 3),
    "center_crop": lambda x: F.center_crop(x, 4),
    "center_crop of too little": lambda x: F.center_crop(x, (10, 12)),
    "center_crop in one direction": lambda x: F.center_crop(x, (8, 4)),
    "hflip": F.hflip,
    "vflip": F.vflip,
    "pad": lambda x: F.pad(x, 2),
    "pad with a number": lambda x: F.pad(x, (1, 2), fill=7),
    "pad with a colour": lambda x: F.pad(x, (1, 2, 3, 0), fill=(1, 2, 3)),
    "pad by less": lambda x: F.pad(x, (-1, 2, 3, -2), fill=9),
    "pad edge": lambda x: F.pad(x, [3], padding_mode="edge"),
    "pad reflect": lambda x: F.pad(x, (1, 2, 3, 4), padding_mode="reflect"),
    "pad symmetric": lambda x: F.pad(x, (1, 2, -3, 4), padding_mode="symmetric"),
    "rotate by 90": lambda x: F.rotate(x, 90, expand=True),
    "rotate by 180": lambda x: F.rotate(x, 180),
    "affine shift": lambda x: F.affine(x, 0, [2, -1], 1.0, 0.0, fill=5),
    "invert": F.invert,
    "posterize": lambda x: F.posterize(x, 3),
    "solarize": lambda x: F.solarize(x, 100),
    "equalize": F.equalize,
    "five_crop": lambda x: F.five_crop(x, (3, 4))[3],
    "ten_crop": lambda x: F.ten_crop(x, 3, vertical_flip=True)[6],
    "gaussian_blur": lambda x: F.gaussian_blur(x, [5, 3], 1.1),
    "brightness of one": lambda x: F.adjust_brightness(x, 1.0),
    "gamma": lambda x: F.adjust_gamma(x, 2.2, 0.9),
}  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_images_and_tensors_alike(name: str) -> None:
    img = picture()
    from_image, from_tensor = ALIKE[name](img), ALIKE[name](F.pil_to_tensor(img))
    assert from_tensor.dtype is tg.uint8
    np.testing.assert_array_equal(numbers(from_tensor), numbers(from_image))


# What Pillow computes in a slightly different way: off by at most so much, on so many of the pixels.
CLOSE: dict[str, tuple[Callable[[Any], Any], int, float]] = {
    "rotate": (lambda x: F.rotate(x, 33, fill=3), 0, 0.03),
    "rotate about a point": (lambda x: F.rotate(x, -20, center=(2, 3), fill=(1, 2, 3)), 0, 0.03),
    "affine": (lambda x: F.affine(x, 10, (1, 2), 1.2, (5.0, 3.0), center=(4, 5)), 0, 0.03),
    "affine bilinear inside": (
        lambda x: F.crop(F.affine(x, 10, (0, 0), 2.0, 7.0, InterpolationMode.BILINEAR), 3, 3, 14, 24), 2, 0,
    ),
    "perspective": (
        lambda x: F.perspective(x, [[0, 0], [9, 0], [9, 6], [0, 6]], [[1, 1], [8, 0], [9, 5], [1, 6]],
                                InterpolationMode.NEAREST), 0, 0.05,
    ),
    "brightness": (lambda x: F.adjust_brightness(x, 1.7), 1, 0),
    "contrast": (lambda x: F.adjust_contrast(x, 0.4), 1, 0),
    "saturation": (lambda x: F.adjust_saturation(x, 1.6), 2, 0),
    "hue": (lambda x: F.adjust_hue(x, 0.2), 14, 0),  # Pillow keeps the hue in a byte
    "gray": (lambda x: F.rgb_to_grayscale(x, 3), 1, 0),
    "sharpness": (lambda x: F.adjust_sharpness(x, 2.0), 2, 0),
    "autocontrast": (F.autocontrast, 1, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSE)
def test_images_and_tensors_agree(name: str) -> None:
    change, bound, wrong = CLOSE[name]
    img = picture(20, 31)
    a, b = numbers(change(img)), numbers(change(F.pil_to_tensor(img)))
    assert a.shape == b.shape and not np.array_equal(a, numbers(img))
    off = np.abs(a - b) > bound
    assert off.mean() <= wrong, f"{off.mean():.1%} off by up to {np.abs(a - b).max()}"


def sampled_by_torch(x: tg.Tensor, matrix: list[float], mode: str, fill: float, size: tuple[int, int]) -> torch.Tensor:
    """grid_sample with the fill blended in by how much of each place is outside."""
    h, w = x.shape[-2:]
    source = to_torch(x)[None].double()
    y, x_ = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in size], indexing="ij")
    a, b, c, d, e, f = matrix
    grid = torch.stack([(a * x_ + b * y + c) / (w / 2), (d * x_ + e * y + f) / (h / 2)], -1)[None]
    padded = torch.cat([source, torch.ones_like(source[:, :1])], 1)
    found = torch.nn.functional.grid_sample(padded, grid, mode, "zeros", align_corners=False)[0]
    return found[:-1] + (1 - found[-1:]) * fill


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("expand", [False, True])
def test_rotation_of_a_tensor(mode: str, expand: bool) -> None:
    x = F.to_tensor(picture())
    turn = np.radians(-25.0)
    ours = F.rotate(x, 25.0, InterpolationMode(mode), expand, fill=[0.5])
    img = picture().rotate(25.0, expand=expand)
    assert tuple(ours.shape[-2:]) == (img.height, img.width)
    matrix = [np.cos(turn), np.sin(turn), 0.0, -np.sin(turn), np.cos(turn), 0.0]
    want = sampled_by_torch(x, matrix, mode, 0.5, (img.height, img.width))
    np.testing.assert_allclose(numbers(ours), want.numpy(), atol=1e-6)
    batch = F.rotate(tg.stack([x, x]), 25.0, InterpolationMode(mode), expand, fill=0.5)
    assert numbers(batch)[1].tolist() == numbers(ours).tolist()


def test_affine_is_the_product_it_says() -> None:
    """Its forward matrix is T(center) T(translate) R S Y X T(-center)."""

    def shift(x: float, y: float) -> np.ndarray:
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])

    turn, sx, sy, scale = np.radians(20.0), np.radians(10.0), np.radians(-5.0), 1.3
    turned = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    shear_y, shear_x = np.eye(3), np.eye(3)
    shear_y[1, 0], shear_x[0, 1] = -np.tan(sy), -np.tan(sx)
    forward = shift(3, 4) @ shift(2, -1) @ turned @ np.diag([scale, scale, 1]) @ shear_y @ shear_x @ shift(-3, -4)
    ours = T.geometry.inverse_matrix((3, 4), 20.0, (2, -1), scale, (10.0, -5.0))
    np.testing.assert_allclose(np.array(ours).reshape(2, 3), np.linalg.inv(forward)[:2], atol=1e-12)


def test_perspective_moves_the_corners() -> None:
    img = picture(20, 31)
    corners = [[0, 0], [30, 0], [30, 19], [0, 19]]
    for x in (img, F.pil_to_tensor(img)):
        np.testing.assert_allclose(numbers(F.perspective(x, corners, corners)), numbers(img), atol=1)
        small = numbers(F.perspective(x, corners, [[0, 0], [15, 0], [15, 9], [0, 9]], fill=7))
        assert (small[:, 12:, 18:] == 7).all() and abs(small[:, :9, :15] - 7).min() > 0


# -------------------------------------------------------------------------------------------------------------- colour


def test_hue_against_the_standard_library() -> None:
    x = F.to_tensor(picture())
    for turn in (-0.5, -0.3, 0.0, 0.25):
        expected = np.empty((3, 7, 11))
        for i, j in np.ndindex(7, 11):
            h, s, v = colorsys.rgb_to_hsv(*numbers(x)[:, i, j])
            expected[:, i, j] = colorsys.hsv_to_rgb((h + turn) % 1.0, s, v)
        np.testing.assert_allclose(numbers(F.adjust_hue(x, turn)), expected, atol=1e-5)
    gray = tg.full((3, 2, 2), 0.4)
    np.testing.assert_allclose(numbers(F.adjust_hue(gray, 0.3)), 0.4, atol=1e-6)
    assert F.adjust_hue(F.pil_to_tensor(picture()), 0.0).tolist() == F.pil_to_tensor(picture()).tolist()


def test_colour_of_floats() -> None:
    x = F.to_tensor(picture())
    v = numbers(x)
    luma = (v * np.array([0.2989, 0.587, 0.114])[:, None, None]).sum(0, keepdims=True)
    for ours, expected in (
        (F.adjust_brightness(x, 1.5), v * 1.5),
        (F.adjust_contrast(x, 1.5), v * 1.5 - 0.5 * luma.mean()),
        (F.adjust_saturation(x, 0.5), v * 0.5 + 0.5 * luma),
        (F.rgb_to_grayscale(x), luma),
        (F.adjust_gamma(x, 0.5, 1.2), 1.2 * v**0.5),
        (F.invert(x), 1 - v),
        (F.solarize(x, 0.4), np.where(v >= np.float32(0.4), 1 - v, v)),
    ):
        np.testing.assert_allclose(numbers(ours), expected.clip(0, 1), atol=2e-6)
    stretched = numbers(F.autocontrast(x))
    assert stretched.min((1, 2)).tolist() == [0, 0, 0]
    np.testing.assert_allclose(stretched.max((1, 2)), 1, atol=1e-6)
    flat = tg.full((1, 2, 2), 0.3)
    for change in (F.autocontrast, lambda t: F.adjust_sharpness(t, 3.0), lambda t: F.adjust_saturation(t, 0.0)):
        assert change(flat).tolist() == flat.tolist()  # one channel, two pixels, one shade
    assert F.equalize(tg.full((1, 4, 4), 9, dtype=tg.uint8)).tolist() == [[[9] * 4] * 4]
    gray = picture(mode="L")
    assert F.adjust_hue(gray, 0.1) is gray and F.adjust_contrast(F.to_tensor(gray)[0], 0.0).std().item() < 1e-6


def test_gaussian_blur() -> None:
    x = F.to_tensor(picture())
    rows, columns = (np.exp(-0.5 * (np.arange(-r, r + 1) / s) ** 2) for r, s in ((1, 2.0), (2, 0.8)))
    weight = torch.tensor(np.outer(rows, columns) / np.outer(rows, columns).sum()).float().expand(3, 1, 3, 5)
    padded = torch.nn.functional.pad(to_torch(x)[None], (2, 2, 1, 1), mode="reflect")
    same(F.gaussian_blur(x, (5, 3), (0.8, 2.0)), torch.nn.functional.conv2d(padded, weight, groups=3)[0], 1e-6)
    tg.manual_seed(1)
    assert T.GaussianBlur(3, (0.5, 3.0)).get_params(0.5, 3.0) != T.GaussianBlur(3).get_params(0.5, 3.0)
    assert T.GaussianBlur(3, 0.7)(x).tolist() == F.gaussian_blur(x, 3, 0.7).tolist()
    assert F.gaussian_blur(x, 3).tolist() == F.gaussian_blur(x, 3, 0.8).tolist()


def test_erase() -> None:
    x = F.to_tensor(picture())
    y = F.erase(x, 1, 2, 3, 4, tg.tensor(0.5))
    assert (numbers(y) == 0.5).sum() == 36 and (numbers(x) == 0.5).sum() == 0
    assert F.erase(x, 0, 0, 1, 1, tg.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1), inplace=True) is x
    assert x[:, 0, 0].tolist() == [1, 2, 3]
    leaf = F.to_tensor(picture()).requires_grad_()
    F.erase(leaf, 0, 0, 7, 5, tg.tensor(0.0)).sum().backward()
    assert leaf.grad.sum().item() == 3 * 7 * 6


# ------------------------------------------------------------------------------------------------------ random choices


def drawn(transform: Any, img: Any, times: int = 40) -> list[Any]:
    tg.manual_seed(11)
    return [numbers(transform(img)).tolist() for _ in range(times)]


RANDOM: dict[str, Any] = {
    "RandomCrop": T.RandomCrop(3), "RandomCrop padded": T.RandomCrop((7, 11), padding=2, padding_mode="reflect"),
    "RandomResizedCrop": T.RandomResizedCrop(4), "RandomRotation": T.RandomRotation(30),
    "RandomAffine": T.RandomAffine((-10, 20), (0.2, 0.1), (0.8, 1.2), (-5, 5, -3, 3), fill=3),
    "RandomPerspective": T.RandomPerspective(0.6, 1.0), "ColorJitter": T.ColorJitter(0.4, 0.3, 0.2, 0.1),
    "GaussianBlur": T.GaussianBlur(3), "AutoAugment": T.AutoAugment(T.AutoAugmentPolicy.CIFAR10),
    "RandAugment": T.RandAugment(), "TrivialAugmentWide": T.TrivialAugmentWide(fill=[1.0, 2.0, 3.0]),
    "SVHN": T.AutoAugment(T.AutoAugmentPolicy.SVHN), "ImageNet": T.AutoAugment(fill=(1, 2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", RANDOM)
def test_seeds_decide(name: str) -> None:
    """The same seeds, the same results; an image and a tensor are treated alike."""
    img = picture()
    for x in (img, F.pil_to_tensor(img)):
        first = drawn(RANDOM[name], x, 12)
        assert drawn(RANDOM[name], x, 12) == first
        assert len({str(r) for r in first}) > 5
    if name.startswith("RandomCrop"):
        assert drawn(RANDOM[name], img) == drawn(RANDOM[name], F.pil_to_tensor(img))


@pytest.mark.parametrize(
    "make",
    [
        T.RandomHorizontalFlip, T.RandomVerticalFlip, T.RandomGrayscale, T.RandomInvert, T.RandomEqualize,
        T.RandomAutocontrast, lambda p: T.RandomPosterize(2, p), lambda p: T.RandomSolarize(90, p),
        lambda p: T.RandomAdjustSharpness(2, p), lambda p: T.RandomApply([T.Grayscale(3)], p),
        lambda p: T.RandomPerspective(p=p),
    ],
)  # fmt: skip
def test_probabilities(make: Callable[[float], Any]) -> None:
    img = picture(20, 31)
    kept = drawn(make(0.25), img, 200).count(numbers(img).tolist())
    assert 125 < kept < 175
    assert set(map(str, drawn(make(0.0), img, 20))) == {str(numbers(img).tolist())}
    assert drawn(make(1.0), img, 20).count(numbers(img).tolist()) == 0


def test_random_crops_are_uniform() -> None:
    places = {T.RandomCrop.get_params(picture(), (6, 9)) for _ in range(60)}
    assert places == {(i, j, 6, 9) for i in range(2) for j in range(3)}
    assert F.get_dimensions(T.RandomCrop(20, pad_if_needed=True)(picture())) == [3, 20, 20]
    assert T.RandomCrop.get_params(picture(), (7, 11)) == (0, 0, 7, 11)
    for _ in range(50):
        _, _, h, w = T.RandomResizedCrop.get_params(picture(40, 50), (0.3, 0.5), (0.5, 2.0))
        assert 0.28 < h * w / 2000 < 0.53 and 0.45 < w / h < 2.2
    assert T.RandomResizedCrop.get_params(picture(4, 40), (1.0, 1.0), (0.5, 2.0)) == (0, 16, 4, 8)
    assert T.RandomResizedCrop.get_params(picture(40, 4), (1.0, 1.0), (0.5, 2.0)) == (16, 0, 8, 4)


def test_random_erasing() -> None:
    x = tg.ones(3, 20, 20)
    for value, seen in ((0, {0.0, 1.0}), ((2, 3, 4), {1.0, 2.0, 3.0, 4.0}), (0.5, {0.5, 1.0})):
        for _ in range(10):
            y = numbers(T.RandomErasing(1.0, value=value)(x))
            assert set(y.flatten()) == seen and 0.01 < (y != 1).mean() < 0.4
    noise = numbers(T.RandomErasing(1.0, value="random")(x))
    assert len(set(noise[noise != 1])) > 20
    assert T.RandomErasing(0.0)(x) is x
    assert T.RandomErasing.get_params(tg.ones(1, 1, 1), (0.5, 0.5), (1, 1), [0])[:4] == (0, 0, 1, 1)
    assert T.RandomErasing(1.0, inplace=True)(x) is x


def test_choice_and_order() -> None:
    add, double = T.Lambda(lambda v: v + 1), T.Lambda(lambda v: v * 2)
    tg.manual_seed(3)
    assert {T.RandomOrder([add, double])(3) for _ in range(30)} == {7, 8}
    chosen = [T.RandomChoice([add, double], p=[1, 3])(3) for _ in range(200)]
    assert 30 < chosen.count(4) < 70 and set(chosen) == {4, 6}
    assert {T.RandomChoice([add, double])(3) for _ in range(30)} == {4, 6}
    assert T.Compose([add, double, T.RandomApply([add, add], 1.0)])(3) == 10


def test_jitter_stays_within_its_ranges() -> None:
    tg.manual_seed(0)
    jitter = T.ColorJitter((0.5, 0.6), 0.2, 0, (-0.1, 0.2))
    for _ in range(20):
        order, b, c, s, h = jitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
        assert sorted(order.tolist()) == [0, 1, 2, 3]
        assert 0.5 <= b <= 0.6 and 0.8 <= c <= 1.2 and s is None and -0.1 <= h <= 0.2
    angle, moved, scale, shear = T.RandomAffine.get_params([3, 4], (0.5, 0.1), (2.0, 3.0), (1.0, 1.5), (10, 20))
    assert 3 <= angle <= 4 and abs(moved[0]) <= 5 and abs(moved[1]) <= 2 and 2 <= scale <= 3 and 1 <= shear[0] <= 1.5
    assert T.RandomAffine(0)(picture()).tobytes() == picture().tobytes()


class Pictures(Dataset[Any]):
    def __init__(self) -> None:
        self.transform = T.Compose([
            T.RandomCrop(6, padding=1), T.RandomHorizontalFlip(), T.ColorJitter(0.3), T.ToTensor(),
            T.Normalize((0.5,), (0.5,)), T.RandomErasing(),
        ])  # fmt: skip

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> Any:
        return self.transform(picture(seed=i)), i


def test_augmented_batches_repeat() -> None:
    pytest.importorskip("tritongrad.data.pool", exc_type=ImportError)
    with launch.recording() as launches:
        tg.manual_seed(5)
        first = [numbers(x).tolist() for x, _ in DataLoader(Pictures(), 2, shuffle=True)]
        tg.manual_seed(5)
        again = DataLoader(Pictures(), 2, shuffle=True, num_workers=2, worker_type="thread")
        assert [numbers(x).tolist() for x, _ in again] == first
    assert not launches


def test_linear_transformation() -> None:
    matrix, mean, x = (np.random.default_rng(k).standard_normal(n) for k, n in enumerate([(6, 6), 6, (2, 1, 2, 3)]))
    whiten = T.LinearTransformation(tg.tensor(matrix), tg.tensor(mean))
    np.testing.assert_allclose(
        numbers(whiten(tg.tensor(x))), ((x.reshape(2, 6) - mean) @ matrix).reshape(x.shape), rtol=1e-12
    )
    assert repr(whiten).startswith("LinearTransformation(transformation_matrix=[[") and ", mean_vector=[" in repr(
        whiten
    )


# -------------------------------------------------------------------------------------------------- words and refusals

REPR = {
    "Compose(\n    ToTensor()\n    PILToTensor()\n)": lambda: T.Compose([T.ToTensor(), T.PILToTensor()]),
    "ToPILImage()": T.ToPILImage,
    "ToPILImage(mode=RGB)": lambda: T.ToPILImage("RGB"),
    "ConvertImageDtype()": lambda: T.ConvertImageDtype(tg.uint8),
    "Normalize(mean=(0.5,), std=[0.25])": lambda: T.Normalize((0.5,), [0.25]),
    "Resize(size=32, interpolation=bilinear, max_size=None, antialias=True)": lambda: T.Resize(32),
    "CenterCrop(size=(8, 8))": lambda: T.CenterCrop(8),
    "Pad(padding=2, fill=0, padding_mode=constant)": lambda: T.Pad(2),
    "Lambda()": lambda: T.Lambda(len),
    "RandomApply(\n    p=0.3\n    Grayscale(num_output_channels=1)\n)": lambda: T.RandomApply([T.Grayscale()], 0.3),
    "RandomChoice(\n    ToTensor()\n)(p=None)": lambda: T.RandomChoice([T.ToTensor()]),
    "RandomOrder(\n    ToTensor()\n)": lambda: T.RandomOrder([T.ToTensor()]),
    "RandomCrop(size=(32, 32), padding=4)": lambda: T.RandomCrop(32, padding=4),
    "RandomHorizontalFlip(p=0.5)": T.RandomHorizontalFlip,
    "RandomVerticalFlip(p=0.5)": T.RandomVerticalFlip,
    "RandomPerspective(p=0.5)": T.RandomPerspective,
    "RandomResizedCrop(size=(8, 8), scale=(0.08, 1.0), ratio=(0.75, 1.3333), interpolation=bilinear, antialias=True)": (
        lambda: T.RandomResizedCrop(8)
    ),
    "FiveCrop(size=(8, 8))": lambda: T.FiveCrop(8),
    "TenCrop(size=(8, 9), vertical_flip=False)": lambda: T.TenCrop((8, 9)),
    "ColorJitter(brightness=(0.6, 1.4), contrast=None, saturation=(0.0, 3.0), hue=(-0.1, 0.1))": (
        lambda: T.ColorJitter(0.4, 0, 2, 0.1)
    ),
    "RandomRotation(degrees=[-10.0, 10.0], interpolation=nearest, expand=False, fill=0)": lambda: T.RandomRotation(10),
    "RandomAffine(degrees=[-5.0, 5.0], scale=(1, 2), interpolation=bilinear, fill=3)": (
        lambda: T.RandomAffine(5, scale=(1, 2), interpolation=InterpolationMode.BILINEAR, fill=3)
    ),
    "Grayscale(num_output_channels=3)": lambda: T.Grayscale(3),
    "RandomGrayscale(p=0.1)": T.RandomGrayscale,
    "RandomErasing(p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0, inplace=False)": T.RandomErasing,
    "GaussianBlur(kernel_size=(3, 3), sigma=(0.1, 2.0))": lambda: T.GaussianBlur(3),
    "RandomInvert(p=0.5)": T.RandomInvert,
    "RandomPosterize(bits=2,p=0.5)": lambda: T.RandomPosterize(2),
    "RandomSolarize(threshold=3,p=0.1)": lambda: T.RandomSolarize(3, 0.1),
    "RandomAdjustSharpness(sharpness_factor=2,p=0.5)": lambda: T.RandomAdjustSharpness(2),
    "AutoAugment(policy=AutoAugmentPolicy.IMAGENET, fill=None)": T.AutoAugment,
    "RandAugment(num_ops=2, magnitude=9, num_magnitude_bins=31, interpolation=InterpolationMode.NEAREST, fill=None)": (
        T.RandAugment
    ),
    "TrivialAugmentWide(num_magnitude_bins=31, interpolation=InterpolationMode.NEAREST, fill=None)": (
        T.TrivialAugmentWide
    ),
}


@pytest.mark.parametrize("text", REPR)
def test_repr(text: str) -> None:
    assert repr(REPR[text]()) == text


X = tg.zeros(3, 4, 5)
BYTES = tg.zeros(3, 4, 5, dtype=tg.uint8)
REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: F.to_tensor([1]), TypeError, "pic should be PIL Image or ndarray. Got <class 'list'>"),
    (lambda: F.to_tensor(np.zeros(3)), ValueError, "pic should be 2/3 dimensional. Got 1 dimensions."),
    (lambda: F.pil_to_tensor(X), TypeError, "pic should be PIL Image. Got"),
    (lambda: F.to_pil_image("x"), TypeError, "pic should be Tensor or ndarray. Got <class 'str'>."),
    (lambda: F.to_pil_image(tg.zeros(1, 2, 3, 4)), ValueError, "pic should be 2/3 dimensional. Got 4 dimensions."),
    (lambda: F.to_pil_image(tg.zeros(5, 2, 3)), ValueError, "pic should not have > 4 channels. Got 5 channels."),
    (lambda: F.to_pil_image(X, "L"), ValueError, "Only modes ['RGB', 'YCbCr', 'HSV'] are supported for 3D inputs"),
    (lambda: F.to_pil_image(tg.zeros(1, 2, 3), "I"), ValueError, "Incorrect mode (I) supplied for input type uint8"),
    (lambda: F.to_pil_image(np.zeros((2, 3), np.int64)), TypeError, "Input type int64 is not supported"),
    (lambda: F.to_pil_image(np.zeros((2, 3, 3))), TypeError, "Input type float64 is not supported"),
    (lambda: F.normalize(np.zeros(3), [0], [1]), TypeError, "img should be Tensor Image. Got"),  # type: ignore
    (lambda: F.normalize(BYTES, [0], [1]), TypeError, "Input tensor should be a float tensor. Got"),
    (lambda: F.normalize(tg.zeros(2, 2), [0], [1]), ValueError, "Expected tensor to be a tensor image of size"),
    (lambda: F.normalize(X, [0], [0]), ValueError, "std evaluated to zero after conversion to"),
    (lambda: T.ConvertImageDtype("uint8"), TypeError, "Input dtype should be of type torch.dtype"),  # type: ignore
    (lambda: T.Resize(2.5), TypeError, "Size should be int or sequence. Got <class 'float'>"),  # type: ignore
    (lambda: T.Resize([1, 2, 3]), ValueError, "If size is a sequence, it should have 1 or 2 values"),
    (lambda: F.resize(X, [1, 2, 3]), ValueError, "Size must be an int or a 1 or 2 element tuple/list"),
    (lambda: F.resize(X, [1, 2], max_size=3), ValueError, "max_size should only be passed if size specifies the"),
    (lambda: F.resize(X, 3, max_size=3), ValueError, "max_size = 3 must be strictly greater than the requested size"),
    (lambda: F.resize(X, None), ValueError, "max_size must be an integer when size is None"),
    (lambda: F.resize(X, 2, "nearest"), TypeError, "Argument interpolation should be a InterpolationMode"),
    (lambda: F.resize(X, 2, InterpolationMode.LANCZOS), ValueError, "'lanczos' is unsupported with tensor input"),
    (lambda: F.rotate(X, 2, InterpolationMode.BICUBIC), ValueError, "'bicubic' is unsupported with tensor input"),
    (lambda: F.hflip([1]), TypeError, "Unexpected type <class 'list'>"),
    (lambda: F.hflip(tg.zeros(3)), TypeError, "Tensor is not a torch image"),
    (lambda: F.pad(X, "1"), TypeError, "Got inappropriate padding arg"),
    (lambda: F.pad(X, (1, 2, 3)), ValueError, "Padding must be an int or a 1, 2, or 4 element tuple, not a 3 element"),
    (lambda: F.pad(X, 1, padding_mode=3), TypeError, "Got inappropriate padding_mode arg"),  # type: ignore
    (lambda: F.pad(X, 1, padding_mode="wrap"), ValueError, "Padding mode should be either constant, edge, reflect"),
    (lambda: T.Pad("1"), TypeError, "Got inappropriate padding arg"),
    (lambda: T.Pad(1, fill=None), TypeError, "Got inappropriate fill arg"),
    (lambda: T.Pad(1, padding_mode="wrap"), ValueError, "Padding mode should be either constant, edge, reflect"),
    (lambda: T.Pad((1, 2, 3)), ValueError, "Padding must be an int or a 1, 2, or 4 element tuple, not a 3 element"),
    (
        lambda: F.pad(picture(), 1, fill=(1, 2)),
        ValueError,
        "The number of elements in 'fill' does not match the",
    ),
    (lambda: F.rotate(X, 3, fill=[1, 2]), ValueError, "The number of elements in 'fill' cannot broadcast to match"),
    (lambda: F.five_crop(X, 9), ValueError, "Requested crop size 9 is bigger than input size (4, 5)"),
    (lambda: T.CenterCrop((1, 2, 3)), ValueError, "Please provide only two dimensions (h, w) for size."),
    (lambda: T.RandomCrop(9)(X), ValueError, "Required crop size (9, 9) is larger than input image size (4, 5)"),
    (lambda: T.RandomResizedCrop(2, scale=1), TypeError, "Scale should be a sequence"),  # type: ignore
    (lambda: F.rotate(X, "3"), TypeError, "Argument angle should be int or float"),  # type: ignore
    (lambda: F.rotate(X, 3, center=3), TypeError, "Argument center should be a sequence"),  # type: ignore
    (lambda: F.affine(X, 3, 3, 1.0, 0.0), TypeError, "Argument translate should be a sequence"),  # type: ignore
    (lambda: F.affine(X, 3, [3], 1.0, 0.0), ValueError, "Argument translate should be a sequence of length 2"),
    (lambda: F.affine(X, 3, [3, 3], 0.0, 0.0), ValueError, "Argument scale should be positive"),
    (lambda: F.affine(X, 3, [3, 3], 1.0, [1, 2, 3]), ValueError, "Shear should be a sequence containing two values"),
    (lambda: T.RandomRotation(-3), ValueError, "If degrees is a single number, it must be positive."),
    (lambda: T.RandomRotation((1, 2, 3)), ValueError, "degrees should be a sequence of length 2."),
    (lambda: T.RandomRotation(None), TypeError, "degrees should be a sequence of length 2."),
    (lambda: T.RandomRotation(3, fill=object()), TypeError, "Fill should be either a sequence or a number."),
    (lambda: T.RandomRotation(3, center=3), TypeError, "center should be a sequence of length 2."),  # type: ignore
    (lambda: T.RandomAffine(3, (1, 2)), ValueError, "translation values should be between 0 and 1"),
    (lambda: T.RandomAffine(3, (1,)), ValueError, "translate should be a sequence of length 2."),
    (lambda: T.RandomAffine(3, scale=(0, 1)), ValueError, "scale values should be positive"),
    (lambda: T.RandomAffine(3, shear=(1, 2, 3)), ValueError, "shear should be a sequence of length 2 or 4."),
    (lambda: T.ColorJitter(-1), ValueError, "If brightness is a single number, it must be non negative."),
    (lambda: T.ColorJitter("1"), TypeError, "brightness should be a single number or a list/tuple with length 2."),
    (lambda: T.ColorJitter(hue=0.6), ValueError, "hue values should be between (-0.5, 0.5), but got [-0.6, 0.6]."),
    (lambda: F.adjust_brightness(X, -1), ValueError, "brightness_factor (-1) is not non-negative."),
    (lambda: F.adjust_hue(X, 0.6), ValueError, "hue_factor (0.6) is not in [-0.5, 0.5]."),
    (lambda: F.adjust_gamma(X, -1), ValueError, "Gamma should be a non-negative real number"),
    (lambda: F.adjust_contrast(tg.zeros(2, 3, 3), 1), TypeError, "Input image tensor permitted channel values are"),
    (lambda: F.to_grayscale(X), TypeError, "Input should be PIL Image"),
    (lambda: F.rgb_to_grayscale(X, 2), ValueError, "num_output_channels should be either 1 or 3"),
    (lambda: F.rgb_to_grayscale(picture(), 2), ValueError, "num_output_channels should be either 1 or 3"),
    (lambda: F.rgb_to_grayscale(X[0]), TypeError, "Input image tensor should have at least 3 dimensions"),
    (lambda: F.posterize(X, 2), TypeError, "only uint8 image tensors are supported, but found float32"),
    (lambda: F.solarize(X, 2), TypeError, "Threshold should be less than bound of img."),
    (lambda: F.gaussian_blur(X, 2), ValueError, "kernel_size should have odd and positive integers. Got [2, 2]"),
    (lambda: F.gaussian_blur(X, [1]), ValueError, "If kernel_size is a sequence its length should be 2. Got 1"),
    (lambda: F.gaussian_blur(X, 3, 0), ValueError, "sigma should have positive values. Got"),
    (lambda: F.gaussian_blur(X, 3, [1, 2, 3]), ValueError, "If sigma is a sequence, its length should be 2. Got 3"),
    (lambda: T.GaussianBlur(2), ValueError, "Kernel size value should be an odd and positive number."),
    (lambda: T.GaussianBlur(3, -1), ValueError, "If sigma is a single number, it must be positive."),
    (lambda: T.GaussianBlur(3, (2, 1)), ValueError, "sigma values should be positive and of the form (min, max)."),
    (lambda: T.GaussianBlur(3, "1"), TypeError, "sigma should be a single number or a list/tuple with length 2."),  # type: ignore
    (lambda: F.erase(picture(), 0, 0, 1, 1, 0), TypeError, "img should be Tensor Image. Got"),
    (lambda: T.RandomErasing(value=None), TypeError, "Argument value should be either a number or str or a sequence"),
    (lambda: T.RandomErasing(value="x"), ValueError, "If value is str, it should be 'random'"),
    (lambda: T.RandomErasing(scale=1), TypeError, "Argument scale should be a sequence"),  # type: ignore
    (lambda: T.RandomErasing(scale=(0, 2)), ValueError, "Scale should be between 0 and 1"),
    (lambda: T.RandomErasing(p=2), ValueError, "Random erasing probability should be between 0 and 1"),
    (lambda: T.RandomErasing(1.0, value=(1, 2))(X), ValueError, "it should have either a single value or 3 (number of"),
    (lambda: T.Lambda(3), TypeError, "Argument lambd should be callable, got 'int'"),  # type: ignore
    (lambda: T.RandomOrder(3), TypeError, "Argument transforms should be a sequence"),  # type: ignore
    (lambda: T.RandomChoice([len], p=3), TypeError, "Argument p should be a sequence"),  # type: ignore
    (lambda: T.AutoAugment("imagenet"), ValueError, "The provided policy imagenet is not recognized."),  # type: ignore
    (
        lambda: T.LinearTransformation(tg.zeros(2, 3), tg.zeros(2)),
        ValueError,
        "transformation_matrix should be",
    ),
    (lambda: T.LinearTransformation(tg.eye(2), tg.zeros(3)), ValueError, "mean_vector should have the same length"),
    (lambda: T.LinearTransformation(tg.eye(2), tg.zeros(2))(X), ValueError, "Input tensor and transformation matrix"),
    (lambda: F.resize(X.clone().requires_grad_(), 2), RuntimeError, "detach"),
]


@pytest.mark.parametrize(("use", "error", "message"), REFUSED, ids=[m[:40] for _, _, m in REFUSED])
def test_refusals(use: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        use()


def test_suspicious_ranges() -> None:
    for make in (lambda: T.RandomResizedCrop(2, (1.0, 0.5)), lambda: T.RandomErasing(ratio=(2, 1))):
        with pytest.warns(UserWarning, match=r"Scale and ratio should be of kind \(min, max\)"):
            make()


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    x = T.ToTensor()(np.zeros((4, 4, 3), np.uint8))
    assert T.Compose([T.RandomCrop(2), T.RandomHorizontalFlip(), T.Resize(3)])(x).shape == (3, 3, 3)
    with pytest.raises(ImportError, match=re.escape("needs Pillow, which cannot be imported: pip install")):
        T.ToPILImage()(x)
