"""GradOperation: its flags, the seed, and the forward that is written twice and runs once."""

import copy
import pickle
from collections import Counter

import numpy as np
import pytest

import graphrt
from graphrt import Parameter, ParameterTuple, Tensor, nn
from graphrt.errors import ArgumentError, ShapeError
from graphrt.ops import composite as C
from graphrt.ops import functional as F
from graphrt.ops import operations as P

X = Tensor(np.array([1.0, 2.0, 3.0], np.float32))
Y = Tensor(np.array([4.0, 5.0, 6.0], np.float32))
LABELS = Tensor(np.array([1, 0, 2], np.int32))


class Scaled(nn.Cell):
    def __init__(self):
        super().__init__()
        self.w = Parameter(np.full(3, 2.0, np.float32))
        self.b = Parameter(np.zeros(3, np.float32))

    def construct(self, x, y):
        return x * y * self.w + self.b


def both(function, *args):
    """The results of a function called eagerly and compiled, which must agree."""
    eager, compiled = function(*args), graphrt.compile(function)(*args)
    for a, b in zip(flat(eager), flat(compiled), strict=True):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), rtol=1e-6)
    return eager


def flat(value):
    return [leaf for item in value for leaf in flat(item)] if isinstance(value, (tuple, list)) else [value]


def test_default_is_the_gradient_of_the_first_input():
    gradient = both(lambda x, y: C.GradOperation()(Scaled())(x, y), X, Y)
    assert gradient.tolist() == (Y * 2).tolist()


def test_get_all():
    gradients = both(lambda x, y: C.GradOperation(get_all=True)(Scaled())(x, y), X, Y)
    assert [g.tolist() for g in gradients] == [(Y * 2).tolist(), (X * 2).tolist()]
    of_x, of_labels = both(lambda x, n: C.GradOperation(get_all=True)(lambda a, k: a * k)(x, n), X, LABELS)
    assert of_x.tolist() == [1.0, 0.0, 2.0]
    assert of_labels.tolist() == [0, 0, 0] and of_labels.dtype == graphrt.int32


def test_get_by_list():
    net = Scaled()
    weights = ParameterTuple(net.trainable_params())
    gradients = both(lambda x, y: C.GradOperation(get_by_list=True)(net, weights)(x, y), X, Y)
    assert [g.tolist() for g in gradients] == [(X * Y).tolist(), [1.0, 1.0, 1.0]]
    alone = both(lambda x, y: C.GradOperation(get_by_list=True)(net, net.w)(x, y), X, Y)
    assert alone.tolist() == (X * Y).tolist()
    operation = C.GradOperation(get_all=True, get_by_list=True)
    inputs, of_weights = both(lambda x, y: operation(net, [net.w])(x, y), X, Y)
    assert [g.tolist() for g in inputs] == [(Y * 2).tolist(), (X * 2).tolist()]
    assert [g.tolist() for g in of_weights] == [(X * Y).tolist()]


def test_sens():
    net = Scaled()
    seeded = C.GradOperation(sens_param=True)(net)
    assert both(lambda x, y, v: seeded(x, y, v), X, Y, X).tolist() == (X * Y * 2).tolist()
    assert both(lambda x, y: seeded(x, y, sens=3.0), X, Y).tolist() == (Y * 6).tolist()
    two = C.GradOperation(sens_param=True)(lambda x: (x * 2, x * x))
    assert both(lambda x: two(x, (Y, X)), X).tolist() == (Y * 2 + X * X * 2).tolist()


def test_gradient_functions_are_made_once():
    net, operation = Scaled(), C.GradOperation(get_by_list=True)
    assert operation(net, net.trainable_params()) is operation(net, net.trainable_params())
    assert operation(net, net.trainable_params()) is not operation(net, [net.w])


def test_copies_and_pickles():
    operation = C.GradOperation(get_all=True)
    operation(Scaled())
    for twin in (copy.deepcopy(operation), pickle.loads(pickle.dumps(operation))):
        assert repr(twin) == repr(operation) and twin._functions == {}


# --------------------------------------------------------------------- a training step written by the user


class TrainOneStepCell(nn.Cell):
    """As MindSpore 1.1 programs write it: the forward, then its gradient with a seed."""

    def __init__(self, network, optimizer, sens=1.0):
        super().__init__(auto_prefix=False)
        self.network = network
        self.weights = ParameterTuple(network.trainable_params())
        self.optimizer = optimizer
        self.grad = C.GradOperation(get_by_list=True, sens_param=True)
        self.sens = sens

    def construct(self, data, label):
        weights = self.weights
        loss = self.network(data, label)
        sens = P.Fill()(P.DType()(loss), P.Shape()(loss), self.sens)
        grads = self.grad(self.network, weights)(data, label, sens)
        return F.depend(loss, self.optimizer(grads))


def training_step(step_class, **loss_settings):
    graphrt.set_seed(3)
    net = nn.SequentialCell(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(p=0.4), nn.Flatten(), nn.Dense(50, 4)
    )
    network = nn.WithLossCell(net, nn.SoftmaxCrossEntropyWithLogits(sparse=True, **loss_settings))
    step = step_class(network, nn.Momentum(net.trainable_params(), 0.05, 0.9))
    return net, graphrt.compile(step.set_train())


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return Tensor(rng.standard_normal((8, 1, 5, 5)).astype(np.float32)), Tensor(
        rng.integers(0, 4, 8).astype(np.int32)
    )


@pytest.mark.parametrize("loss_settings", [{}, {"reduction": "mean"}])
def test_forward_written_twice_runs_once(batch, loss_settings):
    """One dropout mask, one update of batch statistics and of the key: all as in the step that runs it once."""
    from graphrt.passes import pipeline

    net, step = training_step(TrainOneStepCell, **loss_settings)
    reference_net, reference = training_step(nn.TrainOneStepCell, **loss_settings)
    for _ in range(3):
        loss = step(*batch)
        np.testing.assert_array_equal(loss.asnumpy(), reference(*batch).asnumpy())
    assert loss.shape == (() if loss_settings else (8,))
    for ours, theirs in zip(net.get_parameters(), reference_net.get_parameters(), strict=True):
        assert ours.name == theirs.name
        np.testing.assert_array_equal(ours.asnumpy(), theirs.asnumpy(), err_msg=ours.name)
    assert net[3].key.asnumpy()[1] == 3

    graphs = [pipeline.run(cell.specialisations[0].graph) for cell in (step, reference)]
    counts = [Counter(node.op.name for node in graph.nodes()) for graph in graphs]
    assert counts[0] == counts[1]
    assert counts[0]["random_bits"] == counts[0]["conv2d"] == 1


def test_op_by_op_the_second_forward_starts_where_the_first_did(batch):
    """The user's step without @compile: masks, statistics and keys as in the compiled one."""
    net, step = training_step(TrainOneStepCell)
    reference_net, reference = training_step(TrainOneStepCell)
    del step.__dict__["_graphrt_compiled"]
    for _ in range(2):
        np.testing.assert_allclose(step(*batch).asnumpy(), reference(*batch).asnumpy(), rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(net.get_parameters(), reference_net.get_parameters(), strict=True):
        np.testing.assert_allclose(ours.asnumpy(), theirs.asnumpy(), rtol=1e-4, atol=1e-6, err_msg=ours.name)
    assert step.specialisations == [] and net[3].key.asnumpy()[1] == 2


def test_op_by_op_other_arguments_and_assignments_in_between_are_a_new_forward():
    class Step(nn.Cell):
        def __init__(self, change):
            super().__init__()
            self.net, self.grad, self.change = Noisy(), C.GradOperation(), change

        def construct(self, x):
            result = self.net(x)
            return result, self.grad(self.net)(self.change(self.net, x))

    def assigned(net, x):
        net.count.set_data(net.count * 10)
        return x

    for change, count in ((lambda net, x: x, 1.0), (lambda net, x: x + 0, 2.0), (assigned, 11.0)):
        step = Step(change).set_train()
        result, mask = step(WIDE)
        assert (result.tolist() == mask.tolist()) == (count == 1.0) and step.net.count.item() == count


class Noisy(nn.Cell):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(p=0.5)
        self.count = Parameter(np.zeros((), np.float32), requires_grad=False)

    def construct(self, x):
        self.count.set_data(self.count + 1)
        return self.drop(x)


WIDE = Tensor(np.ones((64,), np.float32))


def test_gradient_takes_the_mask_of_the_forward_with_the_same_arguments():
    net = Noisy().set_train()
    gradient = C.GradOperation()

    @graphrt.compile
    def forward_and_gradient(x):
        return net(x), gradient(net)(x)

    result, mask = forward_and_gradient(WIDE)
    assert result.tolist() == mask.tolist() and 0 in mask.tolist()
    assert net.count.item() == 1.0 and net.drop.key.asnumpy()[1] == 1


def test_gradient_of_other_arguments_is_a_forward_of_its_own():
    net = Noisy().set_train()
    gradient = C.GradOperation()

    @graphrt.compile
    def forward_and_gradient(x):
        return net(x), gradient(net)(x + 0)

    result, mask = forward_and_gradient(WIDE)
    assert result.tolist() != mask.tolist() and net.count.item() == 2.0


def test_gradient_after_an_assignment_is_a_forward_of_its_own():
    net = Noisy().set_train()
    gradient = C.GradOperation()

    @graphrt.compile
    def forward_and_gradient(x):
        result = net(x)
        net.count.set_data(net.count * 10)
        return result, gradient(net)(x)

    result, mask = forward_and_gradient(WIDE)
    assert result.tolist() != mask.tolist() and net.count.item() == 11.0


def test_two_plain_calls_stay_two():
    net = Noisy().set_train()
    first, second = graphrt.compile(lambda x: (net(x), net(x)))(WIDE)
    assert first.tolist() != second.tolist() and net.count.item() == 2.0


def test_value_and_grad_runs_its_own_forward():
    net = Noisy().set_train()

    @graphrt.compile
    def twice(x):
        return net(x), graphrt.value_and_grad(net)(x)

    first, (second, mask) = twice(WIDE)
    assert first.tolist() != second.tolist() and second.tolist() == mask.tolist()


def test_cells_inside_a_function_are_found():
    net = Noisy().set_train()
    gradient = C.GradOperation()

    def loss(x):
        return net(x) * 3

    def forward_and_gradient(x):
        return loss(x), gradient(loss)(x)

    result, mask = graphrt.compile(forward_and_gradient)(WIDE)
    assert result.tolist() == mask.tolist() and net.count.item() == 1.0


# ------------------------------------------------------------------------------------------------- messages


def test_messages():
    net = Scaled()
    with pytest.raises(ArgumentError, match="get_by_list=True needs the weights"):
        C.GradOperation(get_by_list=True)(net)
    with pytest.raises(ArgumentError, match="a function or Cell is needed"):
        C.GradOperation()(3)
    with pytest.raises(ArgumentError, match="get_all is True or False"):
        C.GradOperation(get_all=1)
    with pytest.raises(ArgumentError, match="needs the gradient of the result as the last argument"):
        C.GradOperation(sens_param=True)(net)()
    with pytest.raises(ShapeError, match=r"(?s)result's shape.*float32\[3\].*float32\[2\]"):
        C.GradOperation(sens_param=True)(net)(X, Y, np.ones(2, np.float32))
    with pytest.raises(ArgumentError, match="one per result"):
        C.GradOperation(sens_param=True)(net)(X, Y, (X, Y))
