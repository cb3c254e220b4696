"""Weight and spectral norm of a layer's weight against torch's: state, forward, gradients, removal, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tritongrad as tg
from tests.check import compare, randn

LAYERS: dict[str, tuple] = {"Linear": (3, 4), "Conv1d": (2, 3, 2), "ConvTranspose1d": (2, 3, 2)}
INPUTS = {"Linear": (5, 3), "Conv1d": (2, 2, 4), "ConvTranspose1d": (2, 2, 4)}


def twins(name: str, wrap: Any) -> tuple[Any, Any]:
    ours, theirs = (wrap(m.nn, getattr(m.nn, name)(*LAYERS[name]).double()) for m in (tg, torch))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: tg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours, theirs


WRAPS = [
    lambda nn, m: nn.utils.weight_norm(m),
    lambda nn, m: nn.utils.weight_norm(m, dim=1),
    lambda nn, m: nn.utils.weight_norm(m, "weight", None),
    lambda nn, m: nn.utils.spectral_norm(m),
    lambda nn, m: nn.utils.spectral_norm(m, n_power_iterations=2, dim=1, eps=1e-6),
]


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("k", range(len(WRAPS)))
def test_layers(name: str, k: int) -> None:
    ours, theirs = twins(name, WRAPS[k])
    for step in range(3):
        if step == 2:
            _ = ours.eval(), theirs.eval()
        x = randn(*INPUTS[name], seed=step)
        y, z = ours(tg.tensor(x)), theirs(torch.tensor(x))
        compare("y", y.detach(), z.detach(), 1e-13)
        (y * y).sum().backward()
        (z * z).sum().backward()
    for (n, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        compare(n, p.grad, q.grad, 1e-12)
    for m, layer in ((tg, ours), (torch, theirs)):
        kind = "spectral_norm" if k > 2 else "weight_norm"
        getattr(m.nn.utils, f"remove_{kind}")(layer)
        with pytest.raises(ValueError, match="not found"):
            getattr(m.nn.utils, f"remove_{kind}")(layer)
    assert set(ours.state_dict()) == set(theirs.state_dict()) == {"weight", "bias"}
    compare("weight", ours.weight.detach(), theirs.weight.detach(), 1e-13)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_errors() -> None:
    for m in (tg, torch):
        for kind in ("weight_norm", "spectral_norm"):
            layer = getattr(m.nn.utils, kind)(m.nn.Linear(2, 2))
            with pytest.raises((RuntimeError, AttributeError, KeyError)):
                getattr(m.nn.utils, kind)(layer)
        with pytest.raises(ValueError, match="n_power_iterations"):
            m.nn.utils.spectral_norm(m.nn.Linear(2, 2), n_power_iterations=0)
        with pytest.raises(ValueError, match="is None"):
            m.nn.utils.spectral_norm(m.nn.Linear(2, 2, bias=False), "bias")
    state = tg.nn.utils.spectral_norm(tg.nn.Linear(2, 2)).state_dict()
    assert state._metadata[""]["spectral_norm"] == {"weight.version": 1}
