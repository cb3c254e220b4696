"""torch.backends.openmp: not used."""


def is_available() -> bool:
    return False
