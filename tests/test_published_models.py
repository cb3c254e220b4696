"""Model files as people write them for torch, read once with torch and once with tritongrad under its name.

The sources in `published/` say `import torch` and know nothing of tritongrad. With the same weights, in float64: class
scores, every gradient, buffers, a step of the optimizer, and evaluation are compared.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from bench.training.sources import read, under_torchs_name
from tritongrad import models
from tritongrad_kernels import memory

SOURCES = Path(__file__).parent / "published"


def both(source: str) -> tuple[ModuleType, ModuleType]:
    theirs = read(SOURCES / f"{source}.py")
    with under_torchs_name():
        ours = read(SOURCES / f"{source}.py")
    return ours, theirs


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


def words(*shape: int, below: int = 13) -> np.ndarray:
    return np.random.default_rng(0).integers(1, below, shape)


SENTENCES = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0], [5, 3, 0, 0, 0]])

MODELS: dict[str, tuple[str, Callable[[Any], Any], np.ndarray]] = {
    "vgg": ("vgg", lambda m: m.VGG("tiny"), image(2, 3, 16, 16)),
    "preact_resnet": (
        "preact_resnet", lambda m: m.PreActResNet(m.PreActBlock, [1, 2]), image(2, 3, 16, 16)
    ),
    "densenet": ("densenet", lambda m: m.DenseNet(m.Bottleneck, [2, 2], 4), image(2, 3, 8, 8)),
    "mobilenetv2": ("mobilenetv2", lambda m: m.MobileNetV2(), image(2, 3, 8, 8)),
    "senet": ("senet", lambda m: m.SENet(), image(2, 3, 8, 8)),
    "dpn": (
        "dpn",
        lambda m: m.DPN(
            {"in_planes": (8, 12), "out_planes": (16, 20), "num_blocks": (1, 2), "dense_depth": (4, 4)}
        ),
        image(2, 3, 8, 8),
    ),
    "shufflenetv2": ("shufflenetv2", lambda m: m.ShuffleNetV2(), image(2, 3, 9, 9)),
    "efficientnet": ("efficientnet", lambda m: m.EfficientNet(), image(2, 3, 16, 16)),
    "unet": ("unet", lambda m: m.UNet(3, 2), image(2, 3, 10, 11)),
    "unet with upsampling": ("unet", lambda m: m.UNet(3, 2, bilinear=True), image(1, 3, 10, 9)),
    "dcgan": ("dcgan", lambda m: m.GAN(), image(2, 6, 1, 1)),
    "vit": (
        "vit",
        lambda m: m.ViT(image_size=16, patch_size=8, num_classes=5, dim=12, depth=2, heads=2, mlp_dim=20),
        image(2, 3, 16, 16),
    ),
    "gpt": ("gpt", lambda m: m.GPT(m.GPTConfig()), words(2, 6)),
    "gpt without flash": ("gpt", lambda m: m.GPT(m.GPTConfig(flash=False, bias=False, n_layer=1)), words(2, 6)),
    "lstm": ("char_rnn", lambda m: m.Net("LSTM", 13, 6, 8, 2), words(4, 2)),
    "gru, tied": ("char_rnn", lambda m: m.Net("GRU", 13, 6, 6, 1, tie_weights=True), words(4, 2)),
    "rnn": ("char_rnn", lambda m: m.Net("RNN_RELU", 13, 6, 5, 1), words(4, 2)),
    "tagger": ("tagger", lambda m: m.LSTMTagger(6, 5, 13, 4), SENTENCES),
    "convmixer": ("convmixer", lambda m: m.ConvMixer(12, 2, 5, 4, n_classes=10), image(2, 3, 16, 16)),
    "convnext": ("convnext", lambda m: m.ConvNeXt(), image(2, 3, 16, 16)),
    "transformer": ("transformer", lambda m: m.TransformerModel(13, 12, 2, 16, 2), words(5, 2)),
    "mnist": ("mnist_net", lambda m: m.Net(), image(2, 1, 16, 16)),
}  # fmt: skip
"""Source, model, input; dropout is 0 everywhere, since random numbers differ."""


def close(what: str, ours: tg.Tensor, theirs: torch.Tensor, bound: float = 1e-9) -> None:
    a, b = ours.detach().numpy().astype(np.float64), theirs.detach().numpy().astype(np.float64)
    assert a.shape == b.shape, f"{what}: shape {a.shape}, expected {b.shape}"
    error = np.abs(a - b).max(initial=0.0)
    assert error <= bound * max(1.0, np.abs(b).max(initial=0.0)), f"{what}: off by {error:.1e}"


def scores(model: Any, x: Any) -> Any:
    """Of language models given their targets too, the loss beside the scores."""
    if type(model).__name__ != "GPT":
        return model(x)
    logits, loss = model(x, x)
    return logits + loss


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")  # of the transformer, by both libraries
@pytest.mark.parametrize("name", MODELS)
def test_as_torch(name: str) -> None:
    source, build, values = MODELS[name]
    our_source, their_source = both(source)
    torch.manual_seed(0)
    ours, theirs = build(our_source).double(), build(their_source).double()
    assert repr(ours) == repr(theirs)
    state = theirs.state_dict()
    assert [(k, tuple(v.shape)) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in state.items()
    ]
    ours.load_state_dict({key: tg.tensor(value.numpy()) for key, value in state.items()})
    images = values.dtype.kind == "f"
    x, their_x = tg.tensor(values, requires_grad=images), torch.tensor(values, requires_grad=images)
    options = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2}
    optim, their_optim = tg.optim.SGD(ours.parameters(), **options), torch.optim.SGD(theirs.parameters(), **options)
    y, their_y = scores(ours, x), scores(theirs, their_x)
    close("scores in training", y, their_y)
    dy = np.random.default_rng(1).standard_normal(tuple(their_y.shape))
    y.backward(tg.tensor(dy))
    their_y.backward(torch.tensor(dy))
    if images:
        close("gradient of the input", x.grad, their_x.grad)
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), f"{key} has a gradient here or there only"
        if q.grad is not None:
            close(f"gradient of {key}", p.grad, q.grad)
    optim.step()
    their_optim.step()
    for key, value in theirs.state_dict().items():
        close(f"{key} after a step", ours.state_dict()[key], value)
    with tg.no_grad(), torch.no_grad():
        close("scores in evaluation", scores(ours.eval(), x), scores(theirs.eval(), their_x))


def test_modules_are_where_they_were() -> None:
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torch"}
    with pytest.raises(ZeroDivisionError), under_torchs_name():
        import torch as disguised

        assert disguised is tg
        raise ZeroDivisionError
    after = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torch"}
    assert before == after


def test_gpt_writes() -> None:
    """The parts of a GPT that are no forward: groups of the optimizer, and sampling."""
    ours, _ = both("gpt")
    model = ours.GPT(ours.GPTConfig(n_layer=1))
    optim = model.configure_optimizers(0.1, 1e-3, (0.9, 0.95), "cpu")
    assert [len(group["params"]) for group in optim.param_groups] == [6, 10]
    start = tg.tensor([[1, 2]])
    written = model.generate(start, 8, temperature=0.8, top_k=3)
    assert written.shape == (1, 10) and written.dtype is tg.int64 and written.min().item() >= 0
    assert model.eval().generate(start, 3, top_k=1).tolist() == model.generate(start, 3, top_k=1).tolist()


def test_our_gpt_takes_its_weights() -> None:
    """`models.GPT` is the same network under the same names."""
    source = read(SOURCES / "gpt.py")
    theirs = source.GPT(source.GPTConfig()).double()
    small = {"block_size": 8, "vocab_size": 13, "n_layer": 2, "n_head": 2, "n_embd": 16}
    ours = models.GPT(models.GPTConfig(**small)).double()
    ours.load_state_dict({key: tg.tensor(value.numpy()) for key, value in theirs.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.lm_head.weight is ours.transformer.wte.weight
    x = words(2, 6)
    y = np.where(x % 3 == 0, -1, x)
    (scores, loss), (their_scores, their_loss) = (
        ours(tg.tensor(x), tg.tensor(y)),
        theirs(torch.tensor(x), torch.tensor(y)),
    )
    close("scores", scores, their_scores)
    close("loss", loss, their_loss)
    loss.backward()
    their_loss.backward()
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        close(f"gradient of {key}", p.grad, q.grad)
    optim = ours.configure_optimizers(0.1, 1e-3, (0.9, 0.95), "cpu")
    their_optim = theirs.configure_optimizers(0.1, 1e-3, (0.9, 0.95), "cpu")
    optim.step()
    their_optim.step()
    for key, value in theirs.state_dict().items():
        close(f"{key} after a step", ours.state_dict()[key], value)
    last, nothing = ours.eval()(tg.tensor(x))
    assert nothing is None and last.shape == (2, 1, 13)
    close("scores of the last word", last, theirs.eval()(torch.tensor(x))[0])
    best = ours.generate(tg.tensor(x), 4, top_k=1)
    assert best.tolist() == theirs.generate(torch.tensor(x), 4, top_k=1).tolist()
    ours.crop_block_size(4)
    assert ours(tg.tensor(x[:, :4]))[0].shape == (2, 1, 13) and ours.config.block_size == 4
    with pytest.raises(ValueError, match="GPT: 5 words, but block_size is only 4"):
        ours(tg.tensor(x[:, :5]))
    with pytest.raises(ValueError, match="n_embd 10 must be a multiple of n_head 4"):
        models.GPT(models.GPTConfig(n_embd=10, n_head=4))


def test_our_gpt_begins_as_gpt_2() -> None:
    with memory.dry_run():
        model = models.GPT(models.GPTConfig())
    assert model.get_num_params() == 123_689_472 and model.get_num_params(non_embedding=False) == 124_475_904
    model = models.GPT(models.GPTConfig(block_size=16, vocab_size=40, n_layer=2, n_head=2, n_embd=32))
    spreads = {name: float(np.asarray(p.tolist()).std()) for name, p in model.named_parameters()}
    assert spreads["transformer.wte.weight"] == pytest.approx(0.02, rel=0.1)
    assert spreads["transformer.h.1.mlp.c_proj.weight"] == pytest.approx(0.01, rel=0.1)
    assert all(spread == 0 for name, spread in spreads.items() if name.endswith("bias") or "ln_" in name)
