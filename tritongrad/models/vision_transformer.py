"""Vision transformers (Dosovitskiy et al. 2020): patches of an image as words."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from functools import partial
from typing import Any, NamedTuple

from tritongrad import nn
from tritongrad.models.blocks import Conv2dNormActivation, Layer
from tritongrad.models.pretrained import build, published
from tritongrad.models.weights import WeightsEnum, member
from tritongrad.nn import functional as F
from tritongrad.ops.describe import _assert
from tritongrad.ops.filled import uninitialised, zeros
from tritongrad.ops.joining import cat
from tritongrad.tensor import Tensor

_layer_norm = partial(nn.LayerNorm, eps=1e-6)


class ConvStemConfig(NamedTuple):
    """One convolution before the patches (Xiao et al. 2021)."""

    out_channels: int
    kernel_size: int
    stride: int
    norm_layer: Layer = nn.BatchNorm2d
    activation_layer: Layer = nn.ReLU


class MLPBlock(nn.Sequential):
    """Two linear layers with GELU in between."""

    _version = 2

    def __init__(self, in_dim: int, mlp_dim: int, dropout: float) -> None:
        wide, narrow = nn.Linear(in_dim, mlp_dim), nn.Linear(mlp_dim, in_dim)
        super().__init__(wide, nn.GELU(), nn.Dropout(dropout), narrow, nn.Dropout(dropout))
        for linear in (wide, narrow):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.normal_(linear.bias, std=1e-6)


class EncoderBlock(nn.Module):
    """Attention and an `MLPBlock`, each after a normalisation and beside a shortcut."""

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float,
        attention_dropout: float,
        norm_layer: Layer = _layer_norm,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.ln_1 = norm_layer(hidden_dim)
        self.self_attention = nn.MultiheadAttention(hidden_dim, num_heads, attention_dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = norm_layer(hidden_dim)
        self.mlp = MLPBlock(hidden_dim, mlp_dim, dropout)

    def forward(self, input: Tensor) -> Tensor:
        _assert(input.ndim == 3, f"Expected (batch_size, seq_length, hidden_dim) got {input.shape}")
        x = self.ln_1(input)
        x = self.dropout(self.self_attention(x, x, x, need_weights=False)[0]) + input
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    """Blocks [N, seq_length, hidden_dim] to the same, after places are added."""

    def __init__(
        self,
        seq_length: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float,
        attention_dropout: float,
        norm_layer: Layer = _layer_norm,
    ) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(nn.init.normal_(uninitialised(1, seq_length, hidden_dim), std=0.02))
        self.dropout = nn.Dropout(dropout)
        sizes = (num_heads, hidden_dim, mlp_dim, dropout, attention_dropout, norm_layer)
        blocks = OrderedDict((f"encoder_layer_{i}", EncoderBlock(*sizes)) for i in range(num_layers))
        self.layers = nn.Sequential(blocks)
        self.ln = norm_layer(hidden_dim)

    def forward(self, input: Tensor) -> Tensor:
        _assert(input.ndim == 3, f"Expected (batch_size, seq_length, hidden_dim) got {input.shape}")
        return self.ln(self.layers(self.dropout(input + self.pos_embedding)))


class VisionTransformer(nn.Module):
    """Images [N, 3, image_size, image_size] to class scores [N, num_classes].

    representation_size  the width of a linear layer with tanh before the scores; None for no such layer.
    conv_stem_configs    convolutions that make the patches, in place of one of patch_size at stride patch_size.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_classes: int = 1000,
        representation_size: int | None = None,
        norm_layer: Layer = _layer_norm,
        conv_stem_configs: list[ConvStemConfig] | None = None,
    ) -> None:
        super().__init__()
        _assert(image_size % patch_size == 0, "Input shape indivisible by patch size!")
        self.image_size, self.patch_size, self.hidden_dim, self.mlp_dim = image_size, patch_size, hidden_dim, mlp_dim
        self.attention_dropout, self.dropout, self.num_classes = attention_dropout, dropout, num_classes
        self.representation_size, self.norm_layer = representation_size, norm_layer
        self.conv_proj = self._patches(conv_stem_configs)
        self.class_token = nn.Parameter(zeros(1, 1, hidden_dim))
        self.seq_length = (image_size // patch_size) ** 2 + 1
        self.encoder = Encoder(
            self.seq_length, num_layers, num_heads, hidden_dim, mlp_dim, dropout, attention_dropout, norm_layer
        )
        heads: OrderedDict[str, nn.Module] = OrderedDict()
        if representation_size is not None:
            first = nn.Linear(hidden_dim, representation_size)
            nn.init.trunc_normal_(first.weight, std=math.sqrt(1 / hidden_dim))
            nn.init.zeros_(first.bias)
            heads["pre_logits"], heads["act"] = first, nn.Tanh()
        heads["head"] = head = nn.Linear(representation_size or hidden_dim, num_classes)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        self.heads = nn.Sequential(heads)

    def _patches(self, stem: list[ConvStemConfig] | None) -> nn.Module:
        if stem is None:
            conv = nn.Conv2d(3, self.hidden_dim, kernel_size=self.patch_size, stride=self.patch_size)
            nn.init.trunc_normal_(conv.weight, std=math.sqrt(1 / (3 * self.patch_size**2)))
            nn.init.zeros_(conv.bias)
            return conv
        layers, channels = nn.Sequential(), 3
        for i, (width, kernel, stride, norm, act) in enumerate(stem):
            part = Conv2dNormActivation(channels, width, kernel, stride, norm_layer=norm, activation_layer=act)
            layers.add_module(f"conv_bn_relu_{i}", part)
            channels = width
        last = nn.Conv2d(channels, self.hidden_dim, kernel_size=1)
        nn.init.normal_(last.weight, std=math.sqrt(2 / self.hidden_dim))
        nn.init.zeros_(last.bias)
        layers.add_module("conv_last", last)
        return layers

    def forward(self, x: Tensor) -> Tensor:
        for side, size in (("height", x.shape[2]), ("width", x.shape[3])):
            _assert(size == self.image_size, f"Wrong image {side}! Expected {self.image_size} but got {size}!")
        words = self.conv_proj(x).flatten(2).permute(0, 2, 1)
        token = self.class_token.expand(x.shape[0], -1, -1)
        return self.heads(self.encoder(cat([token, words], 1))[:, 0])


class ViT_B_16_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("vit_b_16-c867db91.pth", 86_567_656, 81.072, min_size=224)
    IMAGENET1K_SWAG_E2E_V1 = published(
        "vit_b_16_swag-9ac1b537.pth", 86_859_496, 85.304, min_size=384, crop=384, resize=384, bicubic=True
    )
    IMAGENET1K_SWAG_LINEAR_V1 = published(
        "vit_b_16_lc_swag-4e70ced5.pth", 86_567_656, 81.886, min_size=224, resize=224, bicubic=True
    )
    DEFAULT = IMAGENET1K_V1


class ViT_B_32_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("vit_b_32-d86f8d99.pth", 88_224_232, 75.912, min_size=224)
    DEFAULT = IMAGENET1K_V1


class ViT_L_16_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("vit_l_16-852ce7e3.pth", 304_326_632, 79.662, min_size=224, resize=242)
    IMAGENET1K_SWAG_E2E_V1 = published(
        "vit_l_16_swag-4f3808c9.pth", 305_174_504, 88.064, min_size=512, crop=512, resize=512, bicubic=True
    )
    IMAGENET1K_SWAG_LINEAR_V1 = published(
        "vit_l_16_lc_swag-4d563306.pth", 304_326_632, 85.146, min_size=224, resize=224, bicubic=True
    )
    DEFAULT = IMAGENET1K_V1


class ViT_L_32_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("vit_l_32-c7638314.pth", 306_535_400, 76.972, min_size=224)
    DEFAULT = IMAGENET1K_V1


class ViT_H_14_Weights(WeightsEnum):
    IMAGENET1K_SWAG_E2E_V1 = published(
        "vit_h_14_swag-80465313.pth", 633_470_440, 88.552, min_size=518, crop=518, resize=518, bicubic=True
    )
    IMAGENET1K_SWAG_LINEAR_V1 = published(
        "vit_h_14_lc_swag-c1eb923e.pth", 632_045_800, 85.708, min_size=224, resize=224, bicubic=True
    )
    DEFAULT = IMAGENET1K_SWAG_E2E_V1


def _vit(
    sizes: tuple[int, int, int, int, int],
    known: type[WeightsEnum],
    weights: Any,
    progress: bool,
    options: dict[str, Any],
) -> VisionTransformer:
    def make(image_size: int = 224, **given: Any) -> VisionTransformer:
        return VisionTransformer(image_size, *sizes, **given)

    def rename(name: str) -> str:  # older files have "mlp.linear_1" and "mlp.linear_2"
        return re.sub(r"\.mlp\.linear_([12])\.", lambda found: f".mlp.{3 * int(found[1]) - 3}.", name)

    given = member(next(iter(known)) if options.get("pretrained") else weights, known)
    fixed = {} if given is None else {"image_size": given.meta["min_size"][0]}
    return build(make, known, weights, progress, options, fixed, rename)


def vit_b_16(*, weights: Any = None, progress: bool = True, **options: Any) -> VisionTransformer:
    """ViT-B/16; `weights` as for `resnet18`."""
    return _vit((16, 12, 12, 768, 3072), ViT_B_16_Weights, weights, progress, options)


def vit_b_32(*, weights: Any = None, progress: bool = True, **options: Any) -> VisionTransformer:
    """ViT-B/32; `weights` as for `resnet18`."""
    return _vit((32, 12, 12, 768, 3072), ViT_B_32_Weights, weights, progress, options)


def vit_l_16(*, weights: Any = None, progress: bool = True, **options: Any) -> VisionTransformer:
    """ViT-L/16; `weights` as for `resnet18`."""
    return _vit((16, 24, 16, 1024, 4096), ViT_L_16_Weights, weights, progress, options)


def vit_l_32(*, weights: Any = None, progress: bool = True, **options: Any) -> VisionTransformer:
    """ViT-L/32; `weights` as for `resnet18`."""
    return _vit((32, 24, 16, 1024, 4096), ViT_L_32_Weights, weights, progress, options)


def vit_h_14(*, weights: Any = None, progress: bool = True, **options: Any) -> VisionTransformer:
    """ViT-H/14; `weights` as for `resnet18`."""
    return _vit((14, 32, 16, 1280, 5120), ViT_H_14_Weights, weights, progress, options)


def interpolate_embeddings(
    image_size: int,
    patch_size: int,
    model_state: dict[str, Tensor],
    interpolation_mode: str = "bicubic",
    reset_heads: bool = False,
) -> dict[str, Tensor]:
    """A state whose places are stretched for images of another size; without the last layers if `reset_heads`."""
    places = model_state["encoder.pos_embedding"]
    n, length, width = places.shape
    if n != 1:
        raise ValueError(f"Unexpected position embedding shape: {places.shape}")
    old, new = math.isqrt(length - 1), image_size // patch_size
    if new * new + 1 == length:
        return model_state
    if old * old != length - 1:
        raise ValueError(f"interpolate_embeddings: {length - 1} places are no square")
    grid = places[:, 1:].permute(0, 2, 1).reshape(1, width, old, old)
    grid = F.interpolate(grid, size=new, mode=interpolation_mode, align_corners=True)
    model_state["encoder.pos_embedding"] = cat([places[:, :1], grid.flatten(2).permute(0, 2, 1)], 1)
    return {k: v for k, v in model_state.items() if not (reset_heads and k.startswith("heads"))}
