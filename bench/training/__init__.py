"""Whole training steps, ours beside torch's, and their loss curves: `python -m bench train` and `... curves`."""
