"""GPT-2 (Radford et al. 2019) under nanoGPT's names, so that its checkpoints load.

`transformer.wte` (words), `transformer.wpe` (places), `transformer.h.N` with `ln_1`, `attn.c_attn`, `attn.c_proj`,
`ln_2`, `mlp.c_fc` and `mlp.c_proj`, `transformer.ln_f`, and `lm_head`, whose weight is that of `transformer.wte`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tritongrad import nn, optim
from tritongrad.autograd import no_grad
from tritongrad.nn import functional as F
from tritongrad.ops.joining import cat
from tritongrad.ops.ranges import arange
from tritongrad.ops.sort import topk
from tritongrad.random import multinomial
from tritongrad.tensor import Tensor


@dataclass
class GPTConfig:
    """The size of a `GPT`; by default that of GPT-2 with 124 million parameters.

    vocab_size  50257 words, padded to a multiple of 64.
    bias        whether linear layers and normalisations have biases.
    """

    block_size: int = 1024
    vocab_size: int = 50304
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.0
    bias: bool = True


class CausalSelfAttention(nn.Module):
    """Each word looks at itself and those before it, with n_head pairs of eyes."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        if config.n_embd % config.n_head:
            raise ValueError(f"GPT: n_embd {config.n_embd} must be a multiple of n_head {config.n_head}")
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.resid_dropout = nn.Dropout(config.dropout)
        self.n_head, self.dropout = config.n_head, config.dropout

    def forward(self, x: Tensor) -> Tensor:
        n, words, width = x.shape
        q, k, v = (
            part.reshape(n, words, self.n_head, width // self.n_head).transpose(1, 2)
            for part in self.c_attn(x).split(width, 2)
        )
        p = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return self.resid_dropout(self.c_proj(y.transpose(1, 2).reshape(n, words, width)))


class MLP(nn.Module):
    """Two linear layers with GELU in between."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.gelu = nn.GELU()
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(self.gelu(self.c_fc(x))))


class Block(nn.Module):
    """Attention and an `MLP`, each after a normalisation and beside a shortcut."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Words [N, T], integers below vocab_size with T <= block_size, to scores of the next word of each."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(config.vocab_size, config.n_embd),
                "wpe": nn.Embedding(config.block_size, config.n_embd),
                "drop": nn.Dropout(config.dropout),
                "h": nn.ModuleList([Block(config) for _ in range(config.n_layer)]),
                "ln_f": nn.LayerNorm(config.n_embd, bias=config.bias),
            }
        )
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.transformer.wte.weight = self.lm_head.weight
        for name, p in self.named_parameters():
            if p.ndim >= 2:  # what ends a shortcut is narrower, as the shortcuts add up
                last = name.endswith("c_proj.weight")
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * config.n_layer) if last else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def get_num_params(self, non_embedding: bool = True) -> int:
        """The number of parameters; `non_embedding` leaves out the places."""
        places = self.transformer.wpe.weight.numel() if non_embedding else 0
        return sum(p.numel() for p in self.parameters()) - places

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Scores [N, T, vocab_size] and the mean loss for `targets` [N, T], of which -1 are passed over.

        Without targets the scores of the last word alone, [N, 1, vocab_size], and None.
        """
        words = idx.shape[1]
        if words > self.config.block_size:
            raise ValueError(f"GPT: {words} words, but block_size is only {self.config.block_size}")
        places = arange(words, device=idx.device)
        x = self.transformer.drop(self.transformer.wte(idx) + self.transformer.wpe(places))
        for block in self.transformer.h:
            x = block(x)
        x = self.transformer.ln_f(x)
        if targets is None:
            return self.lm_head(x[:, -1:]), None
        logits = self.lm_head(x)
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)

    def crop_block_size(self, block_size: int) -> None:
        """Forget places from `block_size` on."""
        if block_size > self.config.block_size:
            raise ValueError(f"GPT: block_size {block_size} is more than {self.config.block_size}")
        self.config.block_size = block_size
        table = self.transformer.wpe
        table.weight = nn.Parameter(table.weight.detach()[:block_size].clone())
        table.num_embeddings = block_size

    def configure_optimizers(
        self, weight_decay: float, learning_rate: float, betas: tuple[float, float], device_type: str = "cuda"
    ) -> optim.AdamW:
        """AdamW, which lets matrices decay and nothing else. It is fused on every device, whatever `device_type`."""
        trained = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        return optim.AdamW(groups, lr=learning_rate, betas=betas)

    @no_grad()
    def generate(self, idx: Tensor, max_new_tokens: int, temperature: float = 1.0, top_k: int | None = None) -> Tensor:
        """idx [N, T] with more words, drawn from softmax(scores / temperature), of the best `top_k` if given.

        Call `eval()` first, or dropout takes part.
        """
        for _ in range(max_new_tokens):
            scores = self(idx[:, -self.config.block_size :])[0][:, -1] / temperature
            if top_k is not None:
                least = topk(scores, min(top_k, scores.shape[-1]))[0][:, -1:]
                scores = scores.masked_fill(scores < least, -math.inf)
            idx = cat([idx, multinomial(F.softmax(scores, -1), 1)], 1)
        return idx
