"""Gradients: of a vector through a vector-Jacobian product, of a gradient, and past a leaf that wants none."""

import tritongrad as tg

# Q = 3 a^3 - b^2, whose derivatives are 9 a^2 and -2 b.
a = tg.tensor([2.0, 3.0], requires_grad=True)
b = tg.tensor([6.0, 4.0], requires_grad=True)
Q = 3 * a**3 - b**2

# Q is a vector, so backward needs the vector that its Jacobian is multiplied with. Ones give the gradient of Q.sum().
Q.backward(gradient=tg.tensor([1.0, 1.0]))
assert a.grad is not None and b.grad is not None
print("dQ/da   ", a.grad, "= 9 a^2:", tg.allclose(a.grad, 9 * a**2))
print("dQ/db   ", b.grad, "= -2 b: ", tg.allclose(b.grad, -2 * b))

# create_graph records the gradient's own computation, so that it can be differentiated again.
x = tg.tensor([0.5, 1.0, 2.0], dtype=tg.float64, requires_grad=True)
y = tg.sin(x).sum()
(first,) = tg.autograd.grad(y, x, create_graph=True)
(second,) = tg.autograd.grad(first.sum(), x)
print("sin'    ", first.detach(), "=  cos x:", tg.allclose(first, tg.cos(x)))
print("sin''   ", second, "= -sin x:", tg.allclose(second, -tg.sin(x)))

# A leaf without requires_grad takes part in the forward pass and costs nothing in the backward pass.
frozen = tg.rand(5, 5)
trained = tg.rand(5, 5, requires_grad=True)
(frozen @ trained).sum().backward()
print("frozen  ", frozen.grad, "/ trained", None if trained.grad is None else tuple(trained.grad.shape))
