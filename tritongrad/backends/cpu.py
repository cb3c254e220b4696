"""torch.backends.cpu: kernels run on a CPU in the interpreter, which is numpy's business."""


def get_cpu_capability() -> str:
    """Always "DEFAULT": no instruction set is chosen here."""
    return "DEFAULT"
