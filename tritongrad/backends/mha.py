"""torch.backends.mha: whether attention modules may take a shortcut. Remembered; there is one way here."""

_fastpath = [True]


def get_fastpath_enabled() -> bool:
    return _fastpath[0]


def set_fastpath_enabled(value: bool) -> None:
    _fastpath[0] = value
