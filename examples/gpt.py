"""A small GPT learns the first lines of the Zen of Python, on a CPU in under a minute.

python examples/gpt.py
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import io
import math
import time

import tritongrad as torch
from tritongrad.models import GPT, GPTConfig

with contextlib.redirect_stdout(io.StringIO()):
    import this

TEXT = "\n".join(codecs.decode(this.s, "rot13").splitlines()[2:8])
CHARACTERS = sorted(set(TEXT))
CODES = {character: code for code, character in enumerate(CHARACTERS)}


def batch(tokens: torch.Tensor, size: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`size` pieces of the text [size, length], and the same one character further on."""
    starts = torch.randint(len(tokens) - length, (size,)).tolist()
    return (
        torch.stack([tokens[i : i + length] for i in starts]),
        torch.stack([tokens[i + 1 : i + 1 + length] for i in starts]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--tell", type=int, default=32, help="characters to write in the end")
    args = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = GPTConfig(block_size=16, vocab_size=len(CHARACTERS), n_layer=1, n_head=2, n_embd=64)
    model = GPT(config).to(device)
    tokens = torch.tensor([CODES[character] for character in TEXT], device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.95), weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-2, total_steps=max(args.steps, 1), pct_start=0.2
    )

    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(TEXT)} characters")
    start, mean = time.perf_counter(), math.log(len(CHARACTERS))
    for step in range(1, args.steps + 1):
        inputs, targets = batch(tokens, args.batch_size, config.block_size)
        _, loss = model(inputs, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
        mean += (loss.item() - mean) / min(step, 10)
        if step % 25 == 0 or step == args.steps:
            print(f"step {step:3d}/{args.steps}  loss {mean:.3f}  {time.perf_counter() - start:5.1f} s", flush=True)

    model.eval()
    told = model.generate(tokens[None, :8], args.tell, top_k=1)[0].tolist()
    print("".join(CHARACTERS[code] for code in told))


if __name__ == "__main__":
    main()
