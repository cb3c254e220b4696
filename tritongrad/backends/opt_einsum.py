"""torch.backends.opt_einsum: the order of products in einsum is chosen without it. Switches are remembered."""

from __future__ import annotations

enabled = False
strategy: str | None = None


def is_available() -> bool:
    return False


def get_opt_einsum() -> None:
    """The package, which is not used."""
