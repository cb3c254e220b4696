"""What optimisers do to one parameter: formulas for `optim.update`, which loads, casts and stores for all of them.

A formula takes the parameter p, its gradient g, a tuple of state and a tuple of numbers, all in the type of the
arithmetic, and returns the new p and the new state. Wherever the numbers begin with `sign, decay`, the gradient is
sign g + decay p: sign = -1 maximises, and decay is an L2 penalty. `keep` multiplies the parameter: 1 - lr weight_decay
where decay bypasses the gradient, else 1. What only depends on the step is worked out on the host, in double.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tritongrad_kernels import formulas


@triton.jit
def _rmsprop(p, g, states, numbers):
    """v = alpha v + (1-alpha) g^2;  p -= lr g / (sqrt(v) + eps). Source: Tieleman and Hinton 2012, lecture 6.5."""
    sign, decay, lr, alpha, rest, eps = numbers
    g = sign * g + decay * p
    v = alpha * states[0] + rest * g * g
    return p - lr * g / (tl.sqrt(v) + eps), (v,)


@triton.jit
def _rmsprop_momentum(p, g, states, numbers):
    """As `_rmsprop`, with b = momentum b + g / (sqrt(v) + eps);  p -= lr b."""
    sign, decay, lr, alpha, rest, eps, momentum = numbers
    g = sign * g + decay * p
    v = alpha * states[0] + rest * g * g
    b = momentum * states[1] + g / (tl.sqrt(v) + eps)
    return p - lr * b, (v, b)


@triton.jit
def _rmsprop_centered(p, g, states, numbers):
    """As `_rmsprop`, with v - a^2, a the mean of g, in the place of v. Source: Graves 2013, equations 38 to 45."""
    sign, decay, lr, alpha, rest, eps = numbers
    g = sign * g + decay * p
    v = alpha * states[0] + rest * g * g
    a = states[1] + rest * (g - states[1])
    return p - lr * g / (tl.sqrt(v - a * a) + eps), (v, a)


@triton.jit
def _rmsprop_centered_momentum(p, g, states, numbers):
    """`_rmsprop_centered` with the momentum of `_rmsprop_momentum`."""
    sign, decay, lr, alpha, rest, eps, momentum = numbers
    g = sign * g + decay * p
    v = alpha * states[0] + rest * g * g
    a = states[2] + rest * (g - states[2])
    b = momentum * states[1] + g / (tl.sqrt(v - a * a) + eps)
    return p - lr * b, (v, b, a)


@triton.jit
def _adagrad(p, g, states, numbers):
    """s += g^2;  p -= rate g / (sqrt(s) + eps), rate = lr / (1 + (t-1) lr_decay). Source: Duchi et al. 2011."""
    sign, decay, rate, eps = numbers
    g = sign * g + decay * p
    s = states[0] + g * g
    return p - rate * g / (tl.sqrt(s) + eps), (s,)


@triton.jit
def _adadelta(p, g, states, numbers):
    """v = rho v + (1-rho) g^2;  d = sqrt(u + eps) / sqrt(v + eps) g;  u = rho u + (1-rho) d^2;  p -= lr d.

    Source: Zeiler 2012, algorithm 1.
    """
    sign, decay, lr, rho, rest, eps = numbers
    g = sign * g + decay * p
    v = rho * states[0] + rest * g * g
    d = tl.sqrt(states[1] + eps) / tl.sqrt(v + eps) * g
    return p - lr * d, (v, rho * states[1] + rest * d * d)


@triton.jit
def _adamax(p, g, states, numbers):
    """m = b1 m + (1-b1) g;  u = max(b2 u, |g| + eps);  p -= rate m / u, rate = lr / (1-b1^t).

    Source: Kingma and Ba 2015, algorithm 2.
    """
    sign, decay, rate, rest1, b2, eps = numbers
    g = sign * g + decay * p
    m = states[0] + rest1 * (g - states[0])
    u = tl.maximum(b2 * states[1], tl.abs(g) + eps, propagate_nan=tl.PropagateNan.ALL)
    return p - rate * m / u, (m, u)


@triton.jit
def _nadam(p, g, states, numbers):
    """m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= (now g + next m) / (sqrt(v / (1-b2^t)) + eps).

    now = lr (1-mu_t) / (1 - mu_1 ... mu_t), next = lr mu_{t+1} / (1 - mu_1 ... mu_{t+1}).
    Source: Dozat 2016, algorithm 2.
    """
    sign, decay, keep, now, next, rest1, b2, rest2, correction2, eps = numbers
    g = sign * g + decay * p
    m = states[0] + rest1 * (g - states[0])
    v = b2 * states[1] + rest2 * g * g
    return keep * p - (now * g + next * m) / (tl.sqrt(v / correction2) + eps), (m, v)


@triton.jit
def _radam(p, g, states, numbers):
    """m and v as Adam's;  p -= rate m / (sqrt(v) + eps), rate = lr rectification sqrt(1-b2^t) / (1-b1^t).

    Source: Liu et al. 2020, algorithm 2, where the variance of the step is bounded (rho_t > 5).
    """
    sign, decay, keep, rate, rest1, b2, rest2, eps = numbers
    g = sign * g + decay * p
    m = states[0] + rest1 * (g - states[0])
    v = b2 * states[1] + rest2 * g * g
    return keep * p - rate * m / (tl.sqrt(v) + eps), (m, v)


@triton.jit
def _radam_at_first(p, g, states, numbers):
    """As `_radam` while the variance of the step is not bounded: p -= rate m, rate = lr / (1-b1^t)."""
    sign, decay, keep, rate, rest1, b2, rest2, _eps = numbers
    g = sign * g + decay * p
    m = states[0] + rest1 * (g - states[0])
    return keep * p - rate * m, (m, b2 * states[1] + rest2 * g * g)


@triton.jit
def _asgd(p, g, states, numbers):
    """p = (1 - lambd eta) p - eta g;  a += mu (p - a). Source: Polyak and Juditsky 1992."""
    sign, decay, keep, eta, mu = numbers
    p = keep * p - eta * (sign * g + decay * p)
    return p, (tl.where(mu == 1.0, p, states[0] + mu * (p - states[0])),)


@triton.jit
def _rprop(p, g, states, numbers):
    """s *= plus where g has the sign it had before, minus where it turned, and stays in bounds;  p -= sign(g) s.

    Where g turned, it counts as 0, now and as what it was before.
    Source: Riedmiller and Braun 1993, in the form called iRprop- by Igel and Huesken 2000.
    """
    sign, minus, plus, least, most = numbers
    g = sign * g
    same = g * states[0]
    s = states[1] * tl.where(same > 0, plus, tl.where(same < 0, minus, 1.0))
    s = tl.where(s < least, least, tl.where(s > most, most, s))
    g = tl.where(same < 0, 0.0, g)
    return p - tl.where(g > 0, s, tl.where(g < 0, -s, 0.0)), (g, s)


@triton.jit
def _towards(p, g, states, numbers):
    """p goes the part `numbers[0]` of the way to g, which is no gradient here but any array."""
    return formulas._lerp(p, g, numbers[0]), states
