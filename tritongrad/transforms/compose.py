"""Transforms made of transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tritongrad.nn.module import Module
from tritongrad.transforms.image import draw


class Compose:
    """Each of the given transforms, one after another."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return _listing(self, "", self.transforms)


class Lambda:
    """A function as a transform. TypeError for what cannot be called."""

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class RandomApply(Module):
    """All of the given transforms with probability p, else none."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5) -> None:
        super().__init__()
        self.transforms, self.p = transforms, p

    def forward(self, img: Any) -> Any:
        if self.p < draw().random():
            return img
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return _listing(self, f"\n    p={self.p}", self.transforms)


class RandomTransforms:
    """Base class of what chooses among a list of transforms. TypeError for anything but a list or tuple."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        if not isinstance(transforms, Sequence):
            raise TypeError("Argument transforms should be a sequence")
        self.transforms = transforms

    def __call__(self, *args: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: a random choice of transforms defines __call__")

    def __repr__(self) -> str:
        return _listing(self, "", self.transforms)


class RandomOrder(RandomTransforms):
    """Each of the given transforms, in random order."""

    def __call__(self, img: Any) -> Any:
        for i in draw().permutation(len(self.transforms)).tolist():
            img = self.transforms[i](img)
        return img


class RandomChoice(RandomTransforms):
    """One of the given transforms, with probabilities in proportion to `p`, by default equal."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: Sequence[float] | None = None) -> None:
        super().__init__(transforms)
        if p is not None and not isinstance(p, Sequence):
            raise TypeError("Argument p should be a sequence")
        self.p = p

    def __call__(self, *args: Any) -> Any:
        share = None if self.p is None else [weight / sum(self.p) for weight in self.p]
        return self.transforms[int(draw().choice(len(self.transforms), p=share))](*args)

    def __repr__(self) -> str:
        return f"{super().__repr__()}(p={self.p})"


def _listing(owner: Any, head: str, transforms: Any) -> str:
    return f"{type(owner).__name__}({head}" + "".join(f"\n    {t}" for t in transforms) + "\n)"
