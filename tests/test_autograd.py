"""The graph: accumulation, reuse, freeing, hooks, modes, in-place writes, second derivatives, user functions."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import tritongrad as tg
from tritongrad.autograd import Function, grad, gradcheck, gradgradcheck


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), requires_grad=True)


def test_the_tutorial() -> None:
    a, b = leaf(2.0, 3.0), leaf(6.0, 4.0)
    q = 3 * a**3 - b**2
    q.backward(gradient=tg.tensor([1.0, 1.0]))
    assert tg.equal(a.grad, 9 * a**2) and tg.equal(b.grad, -2 * b)


def test_gradients_add_up_over_uses_and_over_backwards() -> None:
    x = leaf(1.0, 2.0)
    for _ in range(2):
        (x * x + x + x).sum().backward()
    assert x.grad.tolist() == [8.0, 12.0]


def test_gradient_memory_is_the_leafs_own() -> None:
    """x + y gives both the same gradient; writing to one must not change the other."""
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    g = tg.ones(2)
    (x + y).backward(g)
    x.grad.mul_(5)
    assert y.grad.tolist() == [1.0, 1.0] and g.tolist() == [1.0, 1.0]


def test_expanded_gradient_of_a_sum_is_dense_on_the_leaf() -> None:
    x = tg.ones(3, 4, requires_grad=True)
    x.sum().backward()
    assert x.grad.stride() == (4, 1) and x.grad.tolist() == [[1.0] * 4] * 3


def test_frozen_inputs_keep_nothing() -> None:
    """An input that wants no gradient drops its closure, and with it the arrays only that would need."""
    for trained in (False, True):
        x, w = leaf(1.0, 2.0), tg.tensor([3.0, 4.0], requires_grad=trained)
        h = x * 2
        y = h * w  # only the gradient of w needs h
        array = weakref.ref(h.array)
        del h
        assert (array() is not None) == trained
        y.sum().backward()
        assert x.grad.tolist() == [6.0, 8.0]


def test_graph_falls_with_the_last_reference_without_the_collector() -> None:
    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        y = (x.exp() * 2).sigmoid()
        node, array = weakref.ref(y.node), weakref.ref(y.array)
        del y
        assert node() is None and array() is None
    finally:
        gc.enable()


def test_backward_frees_what_was_saved() -> None:
    x = leaf(1.0, 2.0)
    y = x.exp()
    saved = weakref.ref(y.array)
    z = y.sum()
    del y
    assert saved() is not None
    z.backward()
    assert saved() is None


def test_second_backward_is_refused_unless_retained() -> None:
    x = leaf(1.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4.0]
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_a_graph_of_twenty_thousand_nodes() -> None:
    """Neither backward nor freeing recurses."""
    x = tg.zeros(1, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y.reshape(1)
    y.backward()
    assert x.grad.tolist() == [1.0]
    del y


def test_backward_of_what_cannot_be_differentiated() -> None:
    with pytest.raises(RuntimeError, match=r"scalar outputs, but the shape is \[2\]"):
        (leaf(1.0, 2.0) * 2).backward()
    with pytest.raises(RuntimeError, match="does not require grad"):
        tg.ones(1).backward()
    with pytest.raises(RuntimeError, match=r"gradient is float32\[3\], but the tensor float32\[2\]"):
        (leaf(1.0, 2.0) * 2).backward(tg.ones(3))
    with pytest.raises(RuntimeError, match="floating point"):
        tg.tensor([1, 2], requires_grad=True)


def test_grad_of_chosen_inputs_touches_nothing_else() -> None:
    x, y = leaf(2.0), leaf(3.0)
    z = x * y
    w = z * z
    (gz,) = grad(w, z, retain_graph=True)
    gx, gy = grad(w, (x, y))
    assert (gz.item(), gx.item(), gy.item()) == (12.0, 36.0, 24.0)
    assert x.grad is None and z.grad is None


def test_grad_of_unused_input() -> None:
    x, y = leaf(2.0), leaf(3.0)
    with pytest.raises(RuntimeError, match="not have been used"):
        grad(x * 2, (x, y))
    assert grad(x * 2, (x, y), allow_unused=True)[1] is None
    assert grad(x * 2, (x, y), materialize_grads=True)[1].tolist() == [0.0]


def test_grad_where_one_input_depends_on_another() -> None:
    x = leaf(2.0)
    y = x * x
    gy, gx = grad(y * x, (y, x))
    assert (gy.item(), gx.item()) == (2.0, 12.0)


def test_backward_into_chosen_inputs() -> None:
    x, y = leaf(2.0), leaf(3.0)
    (x * y).backward(inputs=[x])
    assert x.grad.tolist() == [3.0] and y.grad is None


def test_second_and_third_derivatives() -> None:
    x = tg.tensor([2.0], requires_grad=True)
    (first,) = grad((x**4).sum(), x, create_graph=True)
    (second,) = grad(first.sum(), x, create_graph=True)
    (third,) = grad(second.sum(), x)
    assert [t.item() for t in (first, second, third)] == [32.0, 48.0, 48.0]


def test_create_graph_in_backward() -> None:
    x = leaf(3.0)
    (x**3).sum().backward(create_graph=True)
    (again,) = grad(x.grad.sum(), x)
    assert again.tolist() == [18.0]


def test_hooks_on_leaves_and_between() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    handle = x.register_hook(lambda g: g * 10)
    y.retain_grad()
    y.sum().backward()
    assert seen == [[1.0, 1.0]] and x.grad.tolist() == [30.0, 30.0] and y.grad.tolist() == [1.0, 1.0]
    handle.remove()
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_modes_nest_and_decorate() -> None:
    x = leaf(1.0)

    @tg.no_grad()
    def off() -> bool:
        return (x * 2).requires_grad

    @tg.no_grad
    def bare() -> bool:
        return (x * 2).requires_grad

    @tg.enable_grad()
    def on() -> bool:
        return (x * 2).requires_grad

    assert not off() and not bare()
    with tg.no_grad():
        assert on() and not (x * 2).requires_grad
    with tg.inference_mode(), tg.inference_mode(False):
        assert (x * 2).requires_grad
    with tg.set_grad_enabled(False):
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()


def test_an_exception_leaves_the_mode_as_it_was() -> None:
    with pytest.raises(KeyError), tg.no_grad():
        raise KeyError
    assert tg.is_grad_enabled()
    x = leaf(1.0)
    y = x * 2
    y.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        y.backward()
    assert tg.is_grad_enabled() and x.grad is None


def test_modes_belong_to_their_thread() -> None:
    seen = []
    with tg.no_grad():
        thread = threading.Thread(target=lambda: seen.append(tg.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_write_after_save_is_refused() -> None:
    x = leaf(1.0, 2.0)
    y = x * 1
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"inplace operation: a float32 tensor of shape \[2\] saved by mul"):
        z.sum().backward()
    y = x.exp()
    z = y * 2
    y.zero_()
    with pytest.raises(RuntimeError, match="saved by exp"):
        z.sum().backward()


def test_write_that_destroys_nothing_needed() -> None:
    """y + 1 saves nothing, so writing to y afterwards is fine; ReLU in place keeps its own result."""
    x = leaf(-1.0, 2.0)
    y = x * 2
    z = y + 1
    y.mul_(3)
    (z + y).sum().backward()
    assert x.grad.tolist() == [8.0, 8.0]
    x.grad = None
    (x * 2).relu_().sum().backward()
    assert x.grad.tolist() == [0.0, 2.0]


def test_write_to_a_leaf_that_wants_a_gradient() -> None:
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="a leaf Variable"):
        x.add_(1)
    with tg.no_grad():
        x.add_(1)
    assert x.tolist() == [2.0]


def test_write_through_a_view_is_seen_by_the_version() -> None:
    x = leaf(1.0, 2.0)
    base = x * 1
    z = base * base
    with tg.no_grad():
        base[0] = 5.0
    with pytest.raises(RuntimeError, match="inplace"):
        z.sum().backward()


def test_assignment_to_a_slice_has_gradients() -> None:
    x, v = leaf(1.0, 2.0, 3.0), leaf(7.0)
    y = x * 1
    y[1:2] = v
    (y * tg.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [1.0, 0.0, 100.0] and v.grad.tolist() == [10.0]


class Cube(Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x * x * x * scale

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x * ctx.scale, None


def test_user_function() -> None:
    x = leaf(2.0)
    y = Cube.apply(x, 5.0)
    (first,) = grad(y, x, create_graph=True)
    (second,) = grad(first, x)
    assert (y.item(), first.item(), second.item()) == (40.0, 60.0, 60.0)
    assert not Cube.apply(x.detach(), 1.0).requires_grad


class Split(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2, x * 3

    @staticmethod
    def backward(ctx, a, b):
        return a * 2 + b * 3


def test_user_function_with_two_outputs_one_unused() -> None:
    x = leaf(1.0, 1.0)
    a, b = Split.apply(x)
    b.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0] and a.requires_grad


def test_user_function_with_wrong_gradient() -> None:
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x.sum()

        @staticmethod
        def backward(ctx, g):
            return tg.ones(5)

    with pytest.raises(
        RuntimeError, match=r"Wrong: backward gave a gradient of shape \[5\] for an input of shape \[2\]"
    ):
        Wrong.apply(leaf(1.0, 2.0)).backward()


def test_gradcheck_finds_a_wrong_gradient() -> None:
    class Lies(Function):
        @staticmethod
        def forward(ctx, x):
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * 3

    x = tg.tensor(np.array([1.0, 2.0]), requires_grad=True)
    assert gradcheck(lambda t: (t * t).sum(), x)
    assert gradgradcheck(lambda t: t**3, x)
    assert not gradcheck(Lies.apply, x, raise_exception=False)
    with pytest.raises(RuntimeError, match="gradient of output 0 for input 0"):
        gradcheck(Lies.apply, x)
    with pytest.raises(ValueError, match="float64"):
        gradcheck(lambda t: t, leaf(1.0))


def test_grad_fn_and_its_inputs() -> None:
    x = leaf(1.0)
    y = x.exp().sum()
    assert "sum" in repr(y.grad_fn)
    ((node, _),) = y.grad_fn.next_functions
    assert "exp" in repr(node) and node.next_functions[0][0] is x
    assert x.is_leaf and not y.is_leaf


# ------------------------------------------------------------------------------------------- modes, hooks, functions


def test_inference_mode_knows_itself_and_nests() -> None:
    assert not tg.is_inference_mode_enabled()
    with tg.inference_mode():
        assert tg.is_inference_mode_enabled() and not tg.is_grad_enabled()
        with tg.inference_mode(False):
            assert not tg.is_inference_mode_enabled() and tg.is_grad_enabled()
        assert tg.is_inference_mode_enabled()

    @tg.inference_mode()
    def inside() -> tuple:
        return tg.is_inference_mode_enabled(), tg.is_grad_enabled()

    assert inside() == (True, False) and not tg.is_inference_mode_enabled()


def test_set_grad_enabled_in_its_three_forms() -> None:
    tg.set_grad_enabled(False)
    assert not tg.is_grad_enabled()
    tg.set_grad_enabled(True)
    with tg.set_grad_enabled(False):
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()

    @tg.set_grad_enabled(False)
    def inside() -> bool:
        return tg.is_grad_enabled()

    assert tg.is_grad_enabled() and not inside() and tg.is_grad_enabled()


def test_hooks_after_accumulation() -> None:
    x = leaf(1.0, 2.0)
    seen = []
    hook = x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.tolist()))
    for _ in range(2):
        (x * 3).sum().backward()
    hook.remove()
    (x * 3).sum().backward()
    assert seen == [[3.0, 3.0], [6.0, 6.0]] and x.grad.tolist() == [9.0, 9.0]
    with pytest.raises(RuntimeError, match="cannot be registered on non-leaf tensors"):
        (x * 2).register_post_accumulate_grad_hook(print)
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        tg.ones(2).register_post_accumulate_grad_hook(print)


def test_retained_gradients() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    y.retain_grad()
    y.retain_grad()  # once is enough
    (y * y).sum().backward()
    assert y.retains_grad and y.grad.tolist() == [6.0, 12.0] and not x.retains_grad
    with pytest.raises(RuntimeError, match="can't retain_grad on Tensor that has requires_grad=False"):
        tg.ones(2).retain_grad()
    gc.disable()
    try:
        z = x * 2
        z.retain_grad()
        memory = weakref.ref(z.array.memory)
        del z
        assert memory() is None
    finally:
        gc.enable()


def test_what_grad_does_not_offer_is_refused() -> None:
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="is_grads_batched is not supported"):
        grad(x * 2, x, is_grads_batched=True)
    with pytest.raises(RuntimeError, match="only_inputs=False is not supported"):
        grad(x * 2, x, only_inputs=False)


class Exponential(Function):
    """The newer form: forward without ctx."""

    @staticmethod
    def forward(x):
        return x.exp()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return dy * y


class Doubled(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx, dy):
        return dy * 2


class Pair(Function):
    @staticmethod
    def forward(ctx, x, materialize):
        ctx.set_materialize_grads(materialize)
        return x * 2, x * 3

    @staticmethod
    def backward(ctx, a, b):
        Pair.seen = [None if g is None else g.tolist() for g in (a, b)]
        return (a if a is not None else 0 * b) * 2 + (0 if b is None else b * 3), None, None


class Once(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @tg.autograd.function.once_differentiable
    def backward(ctx, dy):
        assert not tg.is_grad_enabled()
        (x,) = ctx.saved_tensors
        return dy * 2 * x


def test_a_function_with_setup_context() -> None:
    assert gradcheck(Exponential.apply, tg.tensor([0.5, -1.0], dtype=tg.float64, requires_grad=True))


def test_a_function_that_writes_to_its_input() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    before = y[0]
    z = Doubled.apply(y)
    assert z is y and y.tolist() == [6.0, 12.0]
    (y.sum() + before).backward()
    assert x.grad.tolist() == [12.0, 6.0]  # views follow
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        Doubled.apply(x)
    with pytest.raises(RuntimeError, match="forward wrote to a view"):
        Doubled.apply((x * 1)[:1])


def test_gradients_of_outputs_nobody_used() -> None:
    x = leaf(1.0)
    Pair.apply(x, True)[0].sum().backward()
    assert Pair.seen == [[1.0], [0.0]]
    Pair.apply(x, False)[0].sum().backward()
    assert Pair.seen == [[1.0], None] and x.grad.tolist() == [4.0]


def test_once_differentiable() -> None:
    x = leaf(3.0)
    y = Once.apply(x)
    (g,) = grad((y * y).sum(), x, create_graph=True)
    assert g.tolist() == [108.0]
    with pytest.raises(RuntimeError, match="marked with @once_differentiable"):
        (g + x).sum().backward()


def test_a_function_holds_no_output() -> None:
    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        kept, dropped = Pair.apply(x, True)
        memory = weakref.ref(dropped.array.memory)
        del dropped
        assert memory() is None and kept.requires_grad
    finally:
        gc.enable()


def test_anomaly_mode_names_the_line() -> None:
    x = leaf(-1.0)
    with tg.autograd.detect_anomaly():
        y = x.sqrt().sum()  # the gradient of this is NaN
        with pytest.raises(
            RuntimeError, match=r"'sqrtBackward' returned nan values in its 0th output; .*test_autograd"
        ):
            y.backward()
    assert x.grad is None or x.grad.isnan().all()
    with tg.autograd.set_detect_anomaly(True, check_nan=False):
        z = x * x
        x.data.mul_(2)
        with pytest.raises(RuntimeError, match=r"saved by mul is at version 1.* recorded at .*: z = x \* x$"):
            z.sum().backward()
    assert not tg.autograd.is_anomaly_enabled()


def test_anomaly_mode_notes_where_a_failing_function_was_called() -> None:
    class Fails(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, dy):
            raise ValueError("no gradient today")

    with tg.autograd.detect_anomaly():
        y = Fails.apply(leaf(1.0))
    with pytest.raises(ValueError, match="no gradient today") as caught:
        y.sum().backward()
    assert any("y = Fails.apply(leaf(1.0))" in note for note in caught.value.__notes__)


# ------------------------------------------------------------------------------------------------------ functional


def test_jacobians_and_hessians_are_torchs() -> None:
    torch = pytest.importorskip("torch")

    def f(x, y):
        return (x * x).sum() * y, x[0] * y.sum()

    def scalar(x, y):
        return (x * x * x).sum() * y.sum() + (y * y).sum()

    def run(m) -> list:
        x, y = m.tensor([0.5, -1.0, 2.0], dtype=m.float64), m.tensor([1.5, 3.0], dtype=m.float64)
        F = m.autograd.functional
        v = m.tensor([1.0, 2.0, 3.0], dtype=m.float64), m.tensor([0.5, -1.0], dtype=m.float64)
        w = m.tensor([2.0, -3.0], dtype=m.float64), m.tensor(0.5, dtype=m.float64)
        found = [
            *(part for row in F.jacobian(f, (x, y)) for part in row),
            *(part for row in F.hessian(scalar, (x, y)) for part in row),
            *F.vjp(f, (x, y), w)[1],
            *F.jvp(f, (x, y), v)[1],
            *F.vhp(scalar, (x, y), v)[1],
            *F.hvp(scalar, (x, y), v)[1],
            F.jacobian(lambda t: t.exp(), x),
            F.vjp(lambda t: t.sum(), x)[1],
        ]
        return [t.tolist() for t in found]

    for ours, theirs in zip(run(tg), run(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_a_jacobian_that_is_differentiated_and_one_that_must_not_be_zero() -> None:
    x = tg.tensor([0.5, -1.0], dtype=tg.float64, requires_grad=True)
    jacobian = tg.autograd.functional.jacobian(lambda t: t * t * t, x, create_graph=True)
    (g,) = grad(jacobian.sum(), x)
    np.testing.assert_allclose(g.tolist(), [3.0, -6.0])
    assert tg.autograd.functional.jacobian(lambda t: tg.ones(2), x).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(RuntimeError, match="strict"):
        tg.autograd.functional.jacobian(lambda t: tg.ones(2), x, strict=True)
