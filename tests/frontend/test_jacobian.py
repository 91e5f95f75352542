"""jvp, vjp, Jacobians and Hessians against formulas, and stop_gradient."""

import numpy as np
import pytest

import graphrt
from graphrt import Parameter, Tensor, nn, ops
from graphrt.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(11)
x = RNG.standard_normal(4)
X, V = Tensor(x), Tensor(RNG.standard_normal(4))
M = Tensor(RNG.standard_normal((3, 4)))


def close(actual, expected):
    np.testing.assert_allclose(actual.asnumpy(), expected, rtol=1e-10, atol=1e-12)


def sine(a):
    return ops.sin(a) * a


SLOPE = np.cos(x) * x + np.sin(x)
CURVATURE = 2 * np.cos(x) - x * np.sin(x)


@pytest.fixture(params=[False, True], ids=["eager", "compiled"])
def run(request):
    """Calls a function as it is, or compiled."""
    return (lambda f, *a: graphrt.compile(f)(*a)) if request.param else lambda f, *a: f(*a)


def test_jvp(run):
    value, change = run(lambda a, v: graphrt.jvp(sine, a, v), X, V)
    close(value, np.sin(x) * x)
    close(change, SLOPE * V.asnumpy())
    (product, power), (by_product, by_power) = run(
        lambda a, b, v, w: ops.jvp(lambda s, t: (s * t, s**3), (a, b), (v, w)), X, V, V, X
    )
    close(product, x * V.asnumpy())
    close(by_product, V.asnumpy() ** 2 + x**2)
    close(power, x**3)
    close(by_power, 3 * x**2 * V.asnumpy())


def test_jvp_with_aux_and_independent_results(run):
    _, change, (aux,) = run(lambda a, v: graphrt.jvp(lambda s: (s.sum(), s * 2), a, v, has_aux=True), X, V)
    close(change, V.asnumpy().sum())
    close(aux, x * 2)
    _, zero = run(lambda a, v: graphrt.jvp(lambda s: Tensor(np.ones(2)), a, v), X, V)
    assert zero.tolist() == [0.0, 0.0]


def test_jvp_of_a_network_equals_finite_differences():
    net = nn.SequentialCell(nn.Dense(4, 6, dtype="float64"), nn.Tanh(), nn.Dense(6, 3, dtype="float64"))
    a, v = Tensor(RNG.standard_normal((2, 4))), Tensor(RNG.standard_normal((2, 4)))
    _, change = graphrt.jvp(net, a, v)
    ahead, behind = net(a + v * 1e-6), net(a - v * 1e-6)
    np.testing.assert_allclose(change.asnumpy(), ((ahead - behind) / 2e-6).asnumpy(), rtol=1e-6, atol=1e-9)


def test_vjp(run):
    def pull(a, b, v):
        value, vjp_fn = graphrt.vjp(lambda s, t: s**3 + t, a, b)
        return value, vjp_fn(v)

    value, gradients = run(pull, X, V, V)
    close(value, x**3 + V.asnumpy())
    close(gradients[0], 3 * x**2 * V.asnumpy())
    close(gradients[1], V.asnumpy())


def test_vjp_of_several_results_with_aux(run):
    def pull(a, v):
        value, vjp_fn, aux = ops.vjp(lambda s: ((s * 2, s * s), s + 1), a, has_aux=True)
        return value, vjp_fn(v, v), aux

    value, (gradient,), (aux,) = run(pull, X, V)
    close(value[1], x * x)
    close(gradient, 2 * V.asnumpy() + 2 * x * V.asnumpy())
    close(aux, x + 1)


def test_vjp_with_weights(run):
    w = Parameter(np.arange(4.0), name="w")

    def pull(a, v):
        value, vjp_fn = graphrt.vjp(lambda s: s * w, a, weights=[w])
        return value, vjp_fn(v)

    _, (inputs, weights) = run(pull, X, V)
    close(inputs[0], np.arange(4.0) * V.asnumpy())
    close(weights[0], x * V.asnumpy())


def test_eager_vjp_sees_state_as_the_forward_did():
    drop, w = nn.Dropout(p=0.5).set_train(), Parameter(np.full(64, 2.0, np.float32), name="w")
    value, vjp_fn = graphrt.vjp(lambda s: drop(s) * w, Tensor(np.ones(64, np.float32)))
    w.set_data(np.zeros(64, np.float32))
    assert drop.key.asnumpy()[1] == 1
    for _ in range(2):  # the backward can be used again, and draws no new mask
        (gradient,) = vjp_fn(Tensor(np.ones(64, np.float32)))
        assert gradient.tolist() == value.tolist()
    assert drop.key.asnumpy()[1] == 1


@pytest.mark.parametrize("jacobian", [graphrt.jacrev, graphrt.jacfwd])
def test_jacobians(run, jacobian):
    close(run(lambda a: jacobian(sine)(a), X), np.diag(SLOPE))
    by_matrix, by_vector = run(lambda m, a: jacobian(lambda s, t: s @ t, (0, 1))(m, a), M, X)
    close(by_vector, M.asnumpy())
    expected = np.zeros((3, 3, 4))
    expected[range(3), range(3)] = x
    close(by_matrix, expected)
    close(run(lambda a: jacobian(lambda s: s.sum())(a), X), np.ones(4))
    both, (aux,) = run(lambda a: jacobian(lambda s: (s * s, s), has_aux=True)(a), X)
    close(both, np.diag(2 * x))
    close(aux, x)
    of_two = run(lambda a: jacobian(lambda s: (s * s, s.sum()))(a), X)
    close(of_two[0], np.diag(2 * x))
    close(of_two[1], np.ones(4))


def test_hessian(run):
    close(run(lambda a: graphrt.hessian(lambda s: sine(s).sum())(a), X), np.diag(CURVATURE))
    quadratic = M.asnumpy().T @ M.asnumpy()
    close(run(lambda a: graphrt.hessian(lambda s: ((M @ s) ** 2).sum())(a), X), 2 * quadratic)


def test_higher_order(run):
    def total(a):
        return sine(a).sum()

    second = run(lambda a: graphrt.grad(lambda s: graphrt.grad(total)(s).sum())(a), X)
    close(second, CURVATURE)
    _, product = run(lambda a, v: graphrt.jvp(graphrt.grad(total), a, v), X, V)
    close(product, CURVATURE * V.asnumpy())
    third = run(lambda a: graphrt.grad(graphrt.grad(graphrt.grad(lambda s: s**4)))(a), Tensor(2.0))
    assert third.item() == 48.0


def test_stop_gradient(run):
    assert run(lambda a: ops.stop_gradient(a), X).tolist() == X.tolist()
    close(run(lambda a: graphrt.grad(lambda s: (ops.stop_gradient(s) * s).sum())(a), X), x)
    _, change = run(lambda a, v: graphrt.jvp(lambda s: ops.stop_gradient(s) * 2 + s, a, v), X, V)
    close(change, V.asnumpy())
    close(graphrt.vmap(lambda s: ops.stop_gradient(s) * s)(M), M.asnumpy() ** 2)


def test_stop_gradient_leaves_nothing_behind():
    from graphrt.frontend.trace import trace
    from graphrt.passes import pipeline

    graph = pipeline.run(trace(lambda a: ops.exp(ops.stop_gradient(a)), (X,)).graph)
    assert [node.op.name for node in graph.nodes()] == ["input", "exp"]


def test_messages():
    with pytest.raises(ArgumentError, match="one direction per input"):
        graphrt.jvp(sine, X, (V, V))
    with pytest.raises(
        ShapeError, match=r"(?s)v must have the shapes of the inputs.*float64\[4\].*float64\[3, 4\]"
    ):
        graphrt.jvp(sine, X, M)
    _, vjp_fn = graphrt.vjp(sine, X)
    with pytest.raises(ShapeError, match="must have the result's shape"):
        vjp_fn(M)
    with pytest.raises(ArgumentError, match="one gradient per result"):
        vjp_fn(V, V)
    with pytest.raises(ArgumentError, match="jacrev: a function or Cell is needed"):
        graphrt.jacrev(3)
    with pytest.raises(ArgumentError, match="grad_position is an int or a tuple"):
        graphrt.jacfwd(sine, None)
