"""torch.backends.mkl: not used."""


def is_available() -> bool:
    return False
