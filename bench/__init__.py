"""Speed of the kernels beside torch's on the same device: `python -m bench`. Outside tests, only this imports torch."""
