"""HyperMap, Map and MultitypeFuncGraph as MindSpore programs use them: for every gradient, for every accumulator."""

import numpy as np
import pytest

import graphrt
from graphrt import Parameter, ParameterTuple, Tensor, nn, ops
from graphrt.errors import ArgumentError
from graphrt.ops import composite as C
from graphrt.ops import functional as F

X = Tensor([1.0, 2.0])
scale = C.MultitypeFuncGraph("scale")


@scale.register("Tensor", "Number")
def _scale_tensor(x, factor):
    return x * factor


@scale.register("Tensor", "None")
def _keep(x, _):
    return x


def test_a_function_by_the_kinds_of_its_arguments():
    assert scale(X, 3).tolist() == [3.0, 6.0] and scale(X, None) is X
    with pytest.raises(
        ArgumentError, match=r"(?s)scale: no function is registered.*\(Tensor, Number\).*\(Tensor, str\)"
    ):
        scale(X, "a")
    with pytest.raises(ArgumentError, match="(?s)scale: unknown kind of argument.*Array"):  # noqa: RUF043
        scale.register("Array")


def test_maps():
    assert [t.tolist() for t in C.HyperMap()(F.partial(scale, X), (2, 3))] == [[2.0, 4.0], [3.0, 6.0]]
    nested = C.HyperMap(ops.add)(((X, X), X), ((X, X), X))
    assert nested[0][1].tolist() == nested[1].tolist() == [2.0, 4.0]
    assert C.Map(lambda pair: len(pair))(((1, 2), (3,))) == (2, 1)
    order = []
    assert C.HyperMap(lambda v: order.append(v) or v * 2, reverse=True)([1, 2, 3]) == [2, 4, 6] and order == [
        3,
        2,
        1,
    ]
    with pytest.raises(ArgumentError, match="the tuples must have one length"):
        C.HyperMap(ops.add)((X,), (X, X))
    with pytest.raises(ArgumentError, match="the first argument is the function"):
        C.HyperMap()((X,))


def test_accumulated_gradients():
    """Two batches accumulated, then one update: the step of the mean over both batches, compiled and eager."""

    class Accumulator:
        def __init__(self, optimizer, accumulate_step):
            self.optimizer = optimizer
            self.inner_grads = ParameterTuple(optimizer.parameters).clone(prefix="accumulate", init="zeros")
            self.zeros = ParameterTuple(optimizer.parameters).clone(prefix="zeros", init="zeros")
            self.counter = Parameter(Tensor(1, graphrt.int32), "counter")
            self.accumulate_step = accumulate_step
            self.map = ops.HyperMap()

        def __call__(self, grads):
            self.map(ops.partial(ops.assign_add), self.inner_grads, grads)
            if self.counter % self.accumulate_step == 0:
                self.optimizer(self.inner_grads)
                self.map(ops.partial(ops.assign), self.inner_grads, self.zeros)
            ops.assign_add(self.counter, Tensor(1, graphrt.int32))
            return True

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 3)).astype(np.float32), rng.standard_normal((8, 1)).astype(np.float32)
    net = nn.Dense(3, 1)
    start = [p.asnumpy() for p in net.trainable_params()]
    accumulate = Accumulator(nn.SGD(net.trainable_params(), 0.1), 2)
    gradient = graphrt.grad(lambda a, b: ops.mse_loss(net(a), b) / 2, None, net.trainable_params())
    for half in (slice(0, 4), slice(4, 8)):
        accumulate(gradient(Tensor(x[half]), Tensor(y[half])))
    error = x @ start[0].T + start[1] - y
    np.testing.assert_allclose(
        net.weight.asnumpy(), start[0] - 0.1 * 2 * (error * x).mean(0, keepdims=True), rtol=1e-4
    )
    assert all((p.asnumpy() == 0).all() for p in accumulate.inner_grads)
