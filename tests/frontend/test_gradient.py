"""grad and value_and_grad: values, arrangements of results, nesting, state, messages."""

import numpy as np
import pytest

import graphrt
from graphrt import Parameter, Tensor, nn, ops
from graphrt.errors import ArgumentError, DTypeError

X = Tensor(np.array([1.0, 2.0, 3.0], np.float32))
Y = Tensor(np.array([4.0, 5.0, 6.0], np.float32))


def product(x, y):
    return (x * y).sum()


def both(function, *args):
    """The result of a gradient function called eagerly, checked against the compiled call."""
    eager = function(*args)
    compiled = graphrt.compile(lambda *a: function(*a))(*args)
    left, right = [], []
    _leaves(eager, left)
    _leaves(compiled, right)
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), rtol=1e-6)
    return eager


def _leaves(value, into):
    if isinstance(value, Tensor):
        into.append(value)
    elif isinstance(value, (tuple, list)):
        for item in value:
            _leaves(item, into)


def test_positions():
    assert both(graphrt.grad(product), X, Y).tolist() == Y.tolist()
    assert both(graphrt.grad(product, 1), X, Y).tolist() == X.tolist()
    first, second = both(graphrt.grad(product, (0, 1)), X, Y)
    assert first.tolist() == Y.tolist() and second.tolist() == X.tolist()
    value, gradient = both(graphrt.value_and_grad(product), X, Y)
    assert value.item() == 32.0 and gradient.tolist() == Y.tolist()


def test_weights():
    w, unused = Parameter(np.ones(3, np.float32), name="w"), Parameter(np.ones(2, np.float32), name="unused")

    def function(x):
        return (x * w * w).sum()

    assert both(graphrt.grad(function, None, w), X).tolist() == (X * 2).tolist()
    (one, zero) = both(graphrt.grad(function, None, [w, unused]), X)
    assert one.tolist() == (X * 2).tolist() and zero.tolist() == [0.0, 0.0]
    inputs, weights = both(graphrt.grad(function, 0, iter([w])), X)
    assert inputs.tolist() == [1.0, 1.0, 1.0] and weights[0].tolist() == (X * 2).tolist()


def test_has_aux():
    def function(x):
        return (x * x).sum(), x + 1, x * 100

    (loss, aux, _), gradient = both(graphrt.value_and_grad(function, has_aux=True), X)
    assert loss.item() == 14.0 and aux.tolist() == [2.0, 3.0, 4.0] and gradient.tolist() == (X * 2).tolist()
    gradient, aux = both(graphrt.grad(function, has_aux=True), X)
    assert gradient.tolist() == (X * 2).tolist() and len(aux) == 2


def test_gradients_with_ids():
    w = Parameter(np.ones(3, np.float32), name="w")
    found = both(graphrt.grad(lambda x, y: (x * y * w).sum(), (0, 1), [w], return_ids=True), X, Y)
    assert [pair[0] for part in found for pair in part] == [0, 1, "w"]
    assert graphrt.get_grad(found, 1).tolist() == X.tolist()
    assert graphrt.get_grad(found, w).tolist() == (X * Y).tolist()
    _, (position, gradient) = both(graphrt.value_and_grad(product, return_ids=True), X, Y)
    assert position == 0 and gradient.tolist() == Y.tolist()
    with pytest.raises(ArgumentError, match=r"(?s)get_grad: no gradient of this.*0, 1, 'w'.*given:    2"):
        graphrt.get_grad(found, 2)


def test_vector_results_are_summed():
    assert both(graphrt.grad(lambda x: x * x), X).tolist() == (X * 2).tolist()
    assert both(graphrt.grad(lambda x: (x * x, x)), X).tolist() == (X * 2 + 1).tolist()


def test_second_order():
    cube = graphrt.grad(lambda x: (x * x * x).sum())
    assert both(graphrt.grad(lambda x: cube(x).sum()), X).tolist() == (X * 6).tolist()


def test_closures_are_not_differentiated():
    """The gradient is that of the function's argument, whatever else is computed from the same tensor."""

    def outer(x):
        y = x * 3
        return graphrt.grad(lambda a: (a * x * y).sum())(x)

    expected = (X * X * 3).tolist()
    assert outer(X).tolist() == expected
    assert graphrt.compile(outer)(X).tolist() == expected

    w = Parameter(np.ones(3, np.float32), name="w")

    def penalised(x):
        penalty = (w * w).sum()
        return graphrt.grad(lambda a: (a * w).sum() + penalty, None, w)(x)

    assert penalised(X).tolist() == graphrt.compile(penalised)(X).tolist() == X.tolist()


def test_outer_gradient_goes_through_an_inner_one():
    def outer(x):
        y = x * 3
        return (graphrt.grad(lambda a: (a * a * y).sum())(x)).sum()  # 2 x y = 6 x^2

    assert both(graphrt.grad(outer), X).tolist() == (X * 12).tolist()


def test_state_assigned_in_the_function_is_kept_once():
    count = Parameter(np.zeros((), np.float32), name="count")

    def function(x):
        count.set_data(count + 1)
        return (x * count).sum()

    gradient = graphrt.value_and_grad(function)
    assert gradient(X)[1].tolist() == [1.0] * 3 and count.item() == 1.0
    assert graphrt.compile(lambda x: gradient(x))(X)[1].tolist() == [2.0] * 3 and count.item() == 2.0


def test_gradient_of_a_compiled_network_is_compiled():
    @graphrt.compile
    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.fc = nn.Dense(3, 1)
            self.factor = 1.0

        def construct(self, x):
            return self.fc(x).sum() * self.factor

    net = Net()
    gradient = graphrt.value_and_grad(net, None, net.trainable_params())
    x = Tensor(np.ones((2, 3), np.float32))
    expected = gradient(x)[1][0].asnumpy()
    net.factor = 2.0
    np.testing.assert_allclose(gradient(x)[1][0].asnumpy(), expected * 2)
    assert [v.reason for v in gradient._specialiser.specialisations][1:] == [
        "Net.factor changed from 1.0 to 2.0"
    ]
    assert [n.op.label for n in gradient._specialiser.specialisations[0].graph.data_inputs] == ["x"]


def test_finite_differences_of_a_small_network():
    rng = np.random.default_rng(3)
    net = nn.SequentialCell(nn.Dense(3, 4, dtype="float64"), nn.Sigmoid(), nn.Dense(4, 2, dtype="float64"))
    x, y = Tensor(rng.standard_normal((5, 3))), Tensor(rng.integers(0, 2, 5).astype(np.int32))
    loss_fn = nn.CrossEntropyLoss()
    weights = net.trainable_params()
    _, grads = graphrt.value_and_grad(lambda a: loss_fn(net(a), y), None, weights)(x)
    for weight, grad in zip(weights, grads):
        position = tuple(rng.integers(0, n) for n in weight.shape)
        values = []
        for step in (1e-6, -2e-6):
            weight._array[position] += step
            values.append(loss_fn(net(x), y).item())
        weight._array[position] += 1e-6
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(grad.asnumpy()[position], rel=1e-6, abs=1e-9)


def test_messages():
    with pytest.raises(ArgumentError, match="nothing to differentiate for"):
        graphrt.grad(product, None)
    with pytest.raises(ArgumentError, match="no such argument"):
        graphrt.grad(product, 2)(X, Y)
    with pytest.raises(ArgumentError, match="every element must be a Parameter"):
        graphrt.grad(product, None, [X])
    with pytest.raises(DTypeError, match="weights: steps cannot have a gradient"):
        graphrt.grad(product, None, Parameter(1, name="steps"))
    with pytest.raises(DTypeError, match="argument 0 cannot have a gradient"):
        graphrt.grad(lambda x: x.sum())(Tensor([1, 2]))
    with pytest.raises(DTypeError, match="only floating-point results"):
        graphrt.grad(lambda x: x.argmax())(X)
    with pytest.raises(ArgumentError, match="has_aux=True: the function must return a tuple"):
        graphrt.grad(lambda x: x.sum(), has_aux=True)(X)
    assert ops.grad is graphrt.grad
