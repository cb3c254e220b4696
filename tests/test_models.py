"""Published architectures: states under torchvision's names, what they compute, initial values, weights, names.

What is expected was written down from torchvision 0.28: the number of parameters of each model, a digest of the names
and shapes of its state, and results of small models on the weights and images of `model_cases`.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import tritongrad as tg
from tests import torch_resnet
from tests.model_cases import CASES, formula, image
from tritongrad import models, nn
from tritongrad.models import blocks
from tritongrad.models.weights import resolve
from tritongrad_kernels import memory

STATES = {
    "alexnet": (61_100_840, "23c3b8d4a3e8"),
    "convnext_base": (88_591_464, "75f0b5c3e8da"),
    "convnext_large": (197_767_336, "764d70d6d113"),
    "convnext_small": (50_223_688, "5f3bc2c6bb72"),
    "convnext_tiny": (28_589_128, "923f28513924"),
    "densenet121": (7_978_856, "08ed4bd10855"),
    "densenet161": (28_681_000, "bb7d18457b56"),
    "densenet169": (14_149_480, "aea1d65b180f"),
    "densenet201": (20_013_928, "1f2601f1e928"),
    "efficientnet_b0": (5_288_548, "9da4cc5e2bca"),
    "efficientnet_b1": (7_794_184, "d037a7897a24"),
    "efficientnet_b2": (9_109_994, "d6c07a751ed5"),
    "efficientnet_b3": (12_233_232, "b509cc28dcc3"),
    "efficientnet_b4": (19_341_616, "47f2ea1a75c4"),
    "efficientnet_b5": (30_389_784, "37159318b4be"),
    "efficientnet_b6": (43_040_704, "6152c4405b90"),
    "efficientnet_b7": (66_347_960, "0342411b57f8"),
    "efficientnet_v2_l": (118_515_272, "bfff0a313d70"),
    "efficientnet_v2_m": (54_139_356, "959f8f4007ea"),
    "efficientnet_v2_s": (21_458_488, "8691f7dccbb7"),
    "googlenet": (13_004_888, "e4f1217523f8"),
    "inception_v3": (27_161_264, "cabfd2014b4d"),
    "mobilenet_v2": (3_504_872, "a18c560d82f6"),
    "mobilenet_v3_large": (5_483_032, "a56c886e8c43"),
    "mobilenet_v3_small": (2_542_856, "cb48f2feab28"),
    "regnet_x_16gf": (54_278_536, "3d53e73506db"),
    "regnet_x_1_6gf": (9_190_136, "37827c05a18a"),
    "regnet_x_32gf": (107_811_560, "8d9f6e61a8b5"),
    "regnet_x_3_2gf": (15_296_552, "f608587289ad"),
    "regnet_x_400mf": (5_495_976, "94627f7ea87b"),
    "regnet_x_800mf": (7_259_656, "6d7ab9ab0391"),
    "regnet_x_8gf": (39_572_648, "4e05ed9d67a8"),
    "regnet_y_128gf": (644_812_894, "84f0a28ad1af"),
    "regnet_y_16gf": (83_590_140, "9efaa920067c"),
    "regnet_y_1_6gf": (11_202_430, "acba7cc345a4"),
    "regnet_y_32gf": (145_046_770, "1189909addb9"),
    "regnet_y_3_2gf": (19_436_338, "d9ade3e2f0dd"),
    "regnet_y_400mf": (4_344_144, "872a203a03e8"),
    "regnet_y_800mf": (6_432_512, "dd56722b309d"),
    "regnet_y_8gf": (39_381_472, "474b403f2e66"),
    "resnet101": (44_549_160, "593b3bde446e"),
    "resnet152": (60_192_808, "9ce383131255"),
    "resnet18": (11_689_512, "66b04efc1dfd"),
    "resnet34": (21_797_672, "4aa3e2bbbdc5"),
    "resnet50": (25_557_032, "614cd53ddf84"),
    "resnext101_32x8d": (88_791_336, "98e3cd734511"),
    "resnext101_64x4d": (83_455_272, "945d960d03b2"),
    "resnext50_32x4d": (25_028_904, "5157aafec2a2"),
    "shufflenet_v2_x0_5": (1_366_792, "54a515f5b9e5"),
    "shufflenet_v2_x1_0": (2_278_604, "cb82a4e6fc1d"),
    "shufflenet_v2_x1_5": (3_503_624, "231697331a27"),
    "shufflenet_v2_x2_0": (7_393_996, "0c76297abaa1"),
    "squeezenet1_0": (1_248_424, "57fdd044bb81"),
    "squeezenet1_1": (1_235_496, "65606c58925d"),
    "vgg11": (132_863_336, "ddb4b3f56e97"),
    "vgg11_bn": (132_868_840, "dc54d45fed4b"),
    "vgg13": (133_047_848, "08687bab35dc"),
    "vgg13_bn": (133_053_736, "057b00c12439"),
    "vgg16": (138_357_544, "8a41c838cadb"),
    "vgg16_bn": (138_365_992, "ae5d7d87f5e6"),
    "vgg19": (143_667_240, "5319ee52249b"),
    "vgg19_bn": (143_678_248, "555ec1b35ce9"),
    "vit_b_16": (86_567_656, "a83b288843a9"),
    "vit_b_32": (88_224_232, "28203792e1ff"),
    "vit_h_14": (632_045_800, "fc3a869aa8e4"),
    "vit_l_16": (304_326_632, "5dde4f00ff64"),
    "vit_l_32": (306_535_400, "92e810272a88"),
    "wide_resnet101_2": (126_886_696, "2f1e7d726d12"),
    "wide_resnet50_2": (68_883_240, "bf71ae35ce44"),
}  # fmt: skip

RESULTS: dict[str, tuple[list[float], float, list[float]]] = {
    "resnext": (
        [2.86839179, 1.84983651, 1.34265688, 1617.25563], 7346.39197,
        [1.85560095, 1.93400694, 1.01168809, 1448.55655],
    ),
    "vgg": (
        [1.16746356, 1.00122133, 0.872197893, 532.853263], 15640.2541,
        [0.0, 0.0, 0.0616559632, 146.559048],
    ),
    "densenet": (
        [-0.463823434, -0.0387114294, 0.130568238, 2.04860059], 653.717957,
        [0.00140549376, -0.0397167418, 0.117637689, 1.34617987],
    ),
    "squeezenet": (
        [0.0, 0.0, 0.0, 0.192586496], 5.87835433,
        [0.0, 0.0, 0.0, 0.192586496],
    ),
    "mobilenet_v2": (
        [0.55261086, 0.185395273, -0.107597319, 1.98793733], 204.411728,
        [4.7950239, 0.639988198, 0.33737977, 11.3354618],
    ),
    "mobilenet_v3": (
        [-0.198338045, -0.325717905, 0.116629242, 1.15741888], 14.2261536,
        [-0.00245884134, -0.232190398, -0.00973474062, 0.790104891],
    ),
    "shufflenet": (
        [0.502614586, -0.369399, -0.317375017, 6.45807805], 0.448060241,
        [-0.323085094, 0.0103553997, -0.230092714, 2.07683079],
    ),
    "efficientnet": (
        [-0.0501263883, 0.0755383775, -0.183355227, 1.18077047], 91.9416296,
        [0.0628982944, 0.15021758, -0.19866735, 1.33714783],
    ),
    "inception": (
        [1.24076274, 1.52505479, 1.47227279, 3876.48511], 12215.5292,
        [1.4557394, 1.76127771, 1.7045511, 2994.65203],
    ),
    "convnext": (
        [2.12489308, -0.0891448707, 0.807511205, 12.7048339], 2410.6335,
        [2.12489308, -0.0891448707, 0.807511205, 12.7048339],
    ),
    "vit": (
        [0.156284968, -0.118143952, 0.513805059, 3.83943411], 794.167074,
        [0.156284968, -0.118143952, 0.513805059, 3.83943411],
    ),
    "regnet": (
        [0.905573332, 0.112987978, 0.506467912, 4.59784608], 558.626585,
        [-0.0226991613, -0.259249241, -0.124620761, 2.09930234],
    ),
}  # fmt: skip
"""Class scores in training, the sum of all their magnitudes, and that of their square's gradient for the image; then
scores in evaluation, with the running statistics of that training step."""


@pytest.mark.parametrize("name", STATES)
def test_state_of(name: str) -> None:
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with memory.dry_run():  # no values are drawn
        model = models.get_model(name, **options)
    lines = [f"{key} {list(value.shape)}" for key, value in model.state_dict().items()]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
    count = sum(p.numel() for p in model.parameters())
    assert (count, digest) == STATES[name]
    weights = models.get_model_weights(name)
    assert weights is models.get_model_weights(models.get_model_builder(name))
    if name != "googlenet" and "SWAG_E2E" not in weights["DEFAULT"].name:  # those are without heads, for larger images
        assert weights["DEFAULT"].meta["num_params"] == count


def test_every_model_is_listed() -> None:
    assert set(models.list_models()) == set(STATES) and models.list_models() == sorted(STATES)
    assert all(getattr(models, name) is models.get_model_builder(name) for name in STATES)
    assert models.list_models(include=["vgg1?", "alex*"], exclude="*16") == ["alexnet", "vgg11", "vgg13", "vgg19"]
    assert models.list_models(models.densenet) == ["densenet121", "densenet161", "densenet169", "densenet201"]
    assert models.get_weight("ResNet50_Weights.DEFAULT") is models.ResNet50_Weights.IMAGENET1K_V2
    with pytest.raises(ValueError, match="Unknown model resnet19"):
        models.get_model("resnet19")
    with pytest.raises(ValueError, match=r"no weights are called 'ResNet50_Weights\.V3'"):
        models.get_weight("ResNet50_Weights.V3")


@contextmanager
def undrawn() -> Iterator[None]:
    """Inside the block initial values are not drawn: that takes long."""
    with pytest.MonkeyPatch.context() as patch:
        for draw in ("uniform_", "normal_", "trunc_normal_"):
            patch.setattr(nn.init, draw, lambda t, *a, **k: t)
        yield


def test_there_is_one_of_each_under_torchvisions_paths() -> None:
    """Else weights of `torchvision.models.resnet` would be no weights for the builders of `torchvision.models`."""
    vision = {name: importlib.import_module(f"tritongrad.vision.{name}") for name in ("models.resnet", "models", "ops")}
    assert vision["models"] is models and vision["models.resnet"] is models.resnet
    assert importlib.import_module("tritongrad.vision.models.vgg").VGG is models.VGG
    assert vision["ops"].StochasticDepth is blocks.StochasticDepth


def filled(name: str) -> nn.Module:
    with undrawn():
        model = CASES[name](models)
    shapes = [(key, tuple(value.shape)) for key, value in model.state_dict().items()]
    model.load_state_dict({key: tg.tensor(value) for key, value in formula(shapes).items()}, assign=True)
    return model


def summary(scores: tg.Tensor) -> list[float]:
    return [*scores.detach().flatten()[:3].tolist(), scores.detach().abs().sum().item()]


@pytest.mark.parametrize("name", RESULTS)
def test_results_of(name: str) -> None:
    model, x = filled(name), tg.tensor(image(SIZES.get(name, 17)), requires_grad=True)
    trained, slope, evaluated = RESULTS[name]
    scores = model(x)
    assert summary(scores) == pytest.approx(trained, rel=1e-7, abs=1e-9)
    scores.square().sum().backward()
    assert x.grad is not None and x.grad.abs().sum().item() == pytest.approx(slope, rel=1e-7)
    with tg.no_grad():
        assert summary(model.eval()(x)) == pytest.approx(evaluated, rel=1e-7, abs=1e-9)


SIZES = {"vit": 16}
"""Sides of images that are not 17."""


def test_googlenet_gives_three_scores() -> None:
    model, x = filled("googlenet"), tg.tensor(image())
    with tg.no_grad():
        scores = model(x)
        assert type(scores) is models.GoogLeNetOutputs and scores._fields == ("logits", "aux_logits2", "aux_logits1")
        sums = [s.abs().sum().item() for s in scores]
    assert sums == pytest.approx(GOOGLENET, rel=1e-7)


GOOGLENET = [7.82148516, 17.6814431, 6.4862542]
"""Sums of their magnitudes."""


def deviation(t: tg.Tensor) -> float:
    return float(np.asarray(t.tolist()).std())


def test_initial_values() -> None:
    conv = nn.Sequential(nn.Conv2d(32, 128, 3, groups=2, bias=False))
    blocks.initialise(conv, conv=blocks.he)
    assert deviation(conv[0].weight) == pytest.approx(math.sqrt(2 / (9 * 128)), rel=0.05)
    v2 = models.MobileNetV2(300, 0.25, [[1, 16, 1, 1]])
    assert deviation(v2.classifier[1].weight) == pytest.approx(0.01, rel=0.05) and not v2.classifier[1].bias.any()
    b0 = models.EfficientNet([models.efficientnet.MBConvConfig(1, 3, 1, 8, 8, 1)], 0.0, num_classes=400, last_channel=8)
    assert 0.9 / 20 < b0.classifier[1].weight.abs().max().item() < 1 / 20
    assert not b0.features[1][0].block[1].fc1.bias.any()
    dense = models.DenseNet(2, (1,), 8, 2, num_classes=5)
    assert deviation(dense.features.conv0.weight) == pytest.approx(math.sqrt(2 / 147), rel=0.1)
    assert not dense.classifier.bias.any() and dense.classifier.weight.any()


def test_inception_gives_two_scores() -> None:
    with memory.dry_run():
        model, x = models.Inception3(7, init_weights=False), tg.zeros(2, 3, 299, 299)
        scores = model(x)
        assert type(scores) is models.InceptionOutputs and scores.aux_logits is not None
        assert scores.logits.shape == scores.aux_logits.shape == model.eval()(x).shape == (2, 7)
        with pytest.warns(FutureWarning, match="Inception3: weights are drawn from normals cut off at 2"):
            models.inception_v3(num_classes=7)


def test_vision_transformers_take_images_of_one_size() -> None:
    model = filled("vit")
    with pytest.raises(AssertionError, match="Wrong image width! Expected 16 but got 17"):
        model(tg.zeros(1, 3, 16, 17, dtype=tg.float64))
    places = model.state_dict()["encoder.pos_embedding"]
    state = models.vision_transformer.interpolate_embeddings(24, 8, model.state_dict(), reset_heads=True)
    assert state["encoder.pos_embedding"].shape == (1, 10, 12) and not any(k.startswith("heads") for k in state)
    corners = state["encoder.pos_embedding"][0, [0, 1, 3, 7, 9]]
    assert tg.allclose(corners, places[0])
    stem = [models.vision_transformer.ConvStemConfig(4, 3, 2), models.vision_transformer.ConvStemConfig(6, 3, 4)]
    with memory.dry_run():
        model = models.VisionTransformer(16, 8, 1, 2, 12, 20, num_classes=5, conv_stem_configs=stem)
        assert model(tg.zeros(2, 3, 16, 16)).shape == (2, 5)
        with pytest.raises(ValueError, match="'image_size' expected value 384 but got 224"):
            models.vit_b_16(weights="IMAGENET1K_SWAG_E2E_V1", image_size=224)


# --------------------------------------------------------------------------------------------------- parts of models


def test_hooks_hear_what_lies_between() -> None:
    """Batch normalisation and ReLU are one pass, unless somebody asked for what one of them gives."""
    block, x = blocks.Conv2dNormActivation(3, 4), tg.randn(2, 3, 5, 5)
    expected, heard = block(x), []
    handle = block[1].register_forward_hook(lambda module, given, result: heard.append(result.detach().min().item()))
    assert tg.equal(block(x), expected) and heard[0] < 0
    handle.remove()
    block[2].register_forward_pre_hook(lambda module, given: (given[0] + 1,))
    assert not tg.equal(block(x), expected)


def test_other_layers_in_a_block() -> None:
    block, x = models.resnet.BasicBlock(3, 3, norm_layer=nn.Identity), tg.randn(1, 3, 8, 8)
    assert tg.equal(block(x), (block.conv2(block.conv1(x).relu()) + x).relu())
    for kernel, dilation, padding in ((3, 1, 1), (5, 2, 4), ((1, 7), 1, (0, 3)), ((3, 5), (1, 2), (1, 4))):
        part = blocks.Conv2dNormActivation(2, 2, kernel, dilation=dilation, norm_layer=None, activation_layer=None)
        pair = (padding, padding) if isinstance(padding, int) else padding
        assert len(part) == 1 and part[0].padding == pair and part[0].bias is not None
        assert part(tg.randn(1, 2, 9, 9)).shape == (1, 2, 9, 9)
    with pytest.raises(ValueError, match="BasicBlock: groups must be 1 and base_width 64, got 2 and 64"):
        models.resnet.BasicBlock(8, 8, groups=2)
    with pytest.raises(NotImplementedError, match="BasicBlock: dilation must be 1, got 2"):
        models.resnet.BasicBlock(8, 8, dilation=2)


def test_options_of_residual_networks() -> None:
    zeroed: set[int] = set()
    with memory.dry_run(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.init, "zeros_", lambda t: zeroed.add(id(t)))
        net = models.resnet18(zero_init_residual=True)
        weights = {id(block.bn2.weight) for layer in (net.layer1, net.layer4) for block in layer}
        assert weights < zeroed and id(net.layer1[0].bn1.weight) not in zeroed
        wide = models.resnet50(
            replace_stride_with_dilation=[False, True, True], norm_layer=lambda n: nn.BatchNorm2d(n, 0.1)
        )
    windows = [
        (b.conv2.stride[0], b.conv2.dilation[0]) for layer in (wide.layer2, wide.layer3, wide.layer4) for b in layer
    ]
    assert windows == [(2, 1)] + [(1, 1)] * 3 + [(1, 1)] + [(1, 2)] * 5 + [(1, 2)] + [(1, 4)] * 2
    assert wide.layer4[0].bn3.eps == wide.layer3[0].downsample[1].eps == 0.1
    with pytest.raises(ValueError, match="should be None or a 3-element tuple"):
        models.resnet18(replace_stride_with_dilation=[True])


def test_stochastic_depth() -> None:
    x = tg.ones(64, 2, 3, requires_grad=True)
    y = blocks.stochastic_depth(x, 0.25, "row")
    rows = y.detach()[:, 0, 0]
    assert all(v in (0.0, pytest.approx(4 / 3)) for v in rows.tolist()) and 32 < (rows > 0).sum().item() < 64
    assert tg.equal(y.detach(), rows.reshape(64, 1, 1).expand(64, 2, 3))
    y.sum().backward()
    assert x.grad is not None and tg.equal(x.grad, y.detach())
    whole = [blocks.stochastic_depth(x, 0.5, "batch").detach() for _ in range(16)]
    assert {float(t.min().item()) for t in whole} == {float(t.max().item()) for t in whole} == {0.0, 2.0}
    assert not blocks.stochastic_depth(x, 1.0, "row").any() and blocks.stochastic_depth(x, 0.0, "row") is x
    assert blocks.stochastic_depth(x, 0.5, "row", training=False) is x
    assert repr(blocks.StochasticDepth(0.5, "row")) == "StochasticDepth(p=0.5, mode=row)"
    with pytest.raises(ValueError, match="mode has to be either 'batch' or 'row', but got all"):
        blocks.stochastic_depth(x, 0.5, "all")
    with pytest.raises(ValueError, match="drop probability has to be between 0 and 1, but got 2"):
        blocks.stochastic_depth(x, 2, "row")


def test_dense_layers_compute_again_what_was_not_kept() -> None:
    layer, x = models.densenet._DenseLayer(3, 2, 2, 0.0), tg.randn(2, 3, 4, 4, requires_grad=True)
    expected = tg.autograd.grad(layer(x).sum(), x)[0]
    layer.memory_efficient = True
    assert tg.equal(tg.autograd.grad(layer([x]).square().sum(), x)[0], tg.autograd.grad(layer(x).square().sum(), x)[0])
    assert tg.equal(tg.autograd.grad(layer(x).sum(), x)[0], expected)


# ----------------------------------------------------------------------------------------------------------- weights


def test_what_published_weights_ask_for() -> None:
    with pytest.raises(ValueError, match="The parameter 'num_classes' expected value 1000 but got 10 instead"):
        models.resnet18(weights="DEFAULT", num_classes=10)
    with pytest.raises(ValueError, match="The parameter 'groups' expected value 32 but got 2 instead"):
        models.resnext50_32x4d(groups=2)
    with memory.dry_run(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        models.resnet18(pretrained=False)
    assert [str(w.message) for w in caught] == ["the parameter 'pretrained' is deprecated, use weights=None"]
    with pytest.warns(UserWarning, match="use weights=VGG11_Weights.IMAGENET1K_V1"), pytest.raises(ValueError):
        models.vgg11(pretrained=True, num_classes=10)
    weights = models.VGG16_Weights.IMAGENET1K_FEATURES
    assert weights.url.endswith("/vgg16_features-amdegroot-88682ab5.pth") and weights.value.sha256 == "88682ab5"
    assert models.AlexNet_Weights.DEFAULT.meta["_metrics"] == {"ImageNet-1K": {"acc@1": 56.522}}
    assert models.AlexNet_Weights.DEFAULT.meta["min_size"] == (63, 63)


def test_images_are_prepared_as_for_the_published_accuracy() -> None:
    prepare = models.ResNet50_Weights.IMAGENET1K_V2.transforms
    assert prepare is not None and models.EfficientNet_B4_Weights.DEFAULT.transforms is not None
    assert repr(prepare()) == (
        "ImageClassification(\n    crop_size=[224]\n    resize_size=[232]\n    mean=[0.485, 0.456, 0.406]\n"
        "    std=[0.229, 0.224, 0.225]\n    interpolation=InterpolationMode.BILINEAR\n)"
    )
    assert "crop_size=[380]\n    resize_size=[384]" in repr(models.EfficientNet_B4_Weights.DEFAULT.transforms())
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 9)).astype(np.uint8)
    means, deviations = (np.array(v).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = (pixels[:, 2:6, 2:6] / 255 - means) / deviations
    for given in (tg.tensor(pixels), Image.fromarray(pixels.transpose(1, 2, 0))):
        done = prepare(crop_size=4, resize_size=8)(given)
        assert done.dtype is tg.float32 and np.abs(done.numpy() - expected).max() < 1e-5


def test_a_file_of_the_old_names(tmp_path: Path) -> None:
    """Published DenseNets have "norm.1" where the modules are called "norm1"."""
    source = filled("densenet").float()
    old = {
        name.replace("norm1", "norm.1")
        .replace("norm2", "norm.2")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2.")
        if "denselayer" in name
        else name: value
        for name, value in source.state_dict().items()
    }
    tg.save(old, tmp_path / "old.safetensors")
    net = models.densenet._densenet(
        8, (1, 2), 16, models.DenseNet121_Weights, tmp_path / "old.safetensors", False, {"bn_size": 2, "num_classes": 5}
    )
    assert all(tg.equal(value, source.state_dict()[name]) for name, value in net.state_dict().items())


def test_files_written_by_torch_give_torchs_scores(tmp_path: Path) -> None:
    """ResNet-50 from a `.pth` and from a `.safetensors` that torch wrote, named by their paths."""
    torch.manual_seed(0)
    theirs = torch_resnet.ResNet(torch_resnet.Bottleneck, [3, 4, 6, 3])
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    with torch.no_grad():
        theirs(torch.tensor(np.concatenate([x, -x])))  # running statistics of their own
        expected = theirs.eval()(torch.tensor(x)).numpy()
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "net.safetensors")
    with undrawn():
        ours = models.resnet50(weights=tmp_path / "net.pth").eval()
    with tg.no_grad():
        assert np.abs(ours(tg.tensor(x)).numpy() - expected).max() <= 1e-4 * np.abs(expected).max()
    other = resolve(str(tmp_path / "net.safetensors"), models.ResNet50_Weights)
    assert other is not None and set(other) == set(ours.state_dict())
    for name, value in ours.state_dict().items():
        assert np.array_equal(value.numpy(), other[name].numpy()), name


def test_published_inceptions_leave_out_their_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        models.GoogLeNet_Weights: lambda: models.GoogLeNet(init_weights=False),
        models.Inception_V3_Weights: lambda: models.Inception3(init_weights=False),
    }
    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", lambda self, progress: files[type(self)]().state_dict())
    with memory.dry_run():
        net = models.googlenet(weights="DEFAULT")
        assert net.transform_input and not net.aux_logits and net.aux1 is None and net.aux2 is None
        assert sum(p.numel() for p in net.parameters()) == models.GoogLeNet_Weights.DEFAULT.meta["num_params"]
        with pytest.warns(UserWarning, match="the auxiliary heads of GoogLeNet's published weights are not trained"):
            net = models.googlenet(weights="DEFAULT", aux_logits=True, transform_input=False)
        assert not net.transform_input and net.aux1 is not None
        with pytest.warns(UserWarning, match="'pretrained' is deprecated"):
            assert models.inception_v3(pretrained=True, aux_logits=False).AuxLogits is None
        assert models.inception_v3(weights="DEFAULT").AuxLogits is not None
        with pytest.raises(ValueError, match="'init_weights' expected value False but got True"):
            models.inception_v3(weights="DEFAULT", init_weights=True)


def test_a_file_of_a_vision_transformer_of_the_old_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published ones have "mlp.linear_1" and "mlp.linear_2" where the modules are called "mlp.0" and "mlp.3"."""
    with memory.dry_run():
        state = models.vit_b_32().state_dict()
        old = {re.sub(r"mlp\.([03])\.", lambda m: f"mlp.linear_{1 + int(m[1]) // 3}.", k): v for k, v in state.items()}
        assert "encoder.layers.encoder_layer_0.mlp.linear_2.weight" in old
        monkeypatch.setattr(models.WeightsEnum, "get_state_dict", lambda self, progress: old)
        assert list(models.vit_b_32(weights="DEFAULT").state_dict()) == list(state)
