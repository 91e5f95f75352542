"""Loops of one's own over sinks run the steps of Model.train."""

import numpy as np
import pytest

import graphrt
from graphrt import DatasetHelper, connect_network_with_dataset, data_sink, nn
from graphrt import dataset as ds
from graphrt.errors import ArgumentError, DataError, NonFiniteError

from .conftest import assert_same_weights


def step_cell(model):
    """The model's parts as one training step."""
    network, loss_fn, optimizer = model._parts.network, model._parts.loss_fn, model._parts.optimizer
    return nn.TrainOneStepCell(nn.WithLossCell(network, loss_fn), optimizer)


def run(net, helper, loops):
    return [float(net(*inputs).asnumpy()) for _ in range(loops) for inputs in helper]


def test_sinks_from_a_loop_are_sinks_of_a_model(engine, make_model, resident):
    """The place in the data goes on from sink to sink and wraps around its 4 batches."""
    model = make_model()
    expected = model.train(5, resident(), sink_size=3).losses
    other = make_model()
    helper = DatasetHelper(resident(), dataset_sink_mode=True, sink_size=3, epoch_num=5)
    net = connect_network_with_dataset(step_cell(other), helper)
    other.train_network.set_train()
    assert helper.sink_size() == 3
    assert run(net, helper, 5) == expected[2::3].tolist()
    assert_same_weights(other, model)


@pytest.mark.parametrize("source", ["resident", "streamed"])
def test_minus_one_is_a_whole_pass(make_model, source, request):
    make_data = request.getfixturevalue(source)
    expected = make_model().train(3, make_data()).losses
    other = make_model()
    helper = DatasetHelper(make_data())
    net = connect_network_with_dataset(step_cell(other), helper)
    net.set_train()
    assert run(net, helper, 3) == expected[3::4].tolist()
    assert helper.sink_size() == 4


def test_a_stream_goes_on_from_sink_to_sink(make_model, streamed):
    expected = make_model().train(4, streamed(), sink_size=3).losses
    helper = DatasetHelper(streamed(), sink_size=3)
    assert (
        run(connect_network_with_dataset(step_cell(make_model()), helper), helper, 4)
        == expected[2::3].tolist()
    )


def test_a_training_step_of_ones_own(make_model, resident):
    class Step(nn.Cell):
        def __init__(self, network, loss_fn, optimizer):
            super().__init__(auto_prefix=False)
            self.network, self.loss_fn, self.optimizer = network, loss_fn, optimizer
            self.grad = graphrt.value_and_grad(self.forward, None, optimizer.parameters, has_aux=True)

        def forward(self, x, y):
            logits = self.network(x)
            return self.loss_fn(logits, y), logits

        def construct(self, x, y):
            (loss, logits), grads = self.grad(x, y)
            self.optimizer(grads)
            return loss, logits

    expected = make_model().train(2, resident(), sink_size=5).losses
    parts = make_model()._parts
    helper = DatasetHelper(resident(), sink_size=5)
    net = connect_network_with_dataset(Step(parts.network, parts.loss_fn, parts.optimizer), helper)
    assert run(net, helper, 2) == expected[4::5].tolist()


def test_the_training_step_of_the_tutorials(make_model, resident):
    """Two uses of the forward pass, the gradient seeded by hand."""
    from graphrt import ParameterTuple
    from graphrt.ops import composite as C
    from graphrt.ops import functional as F
    from graphrt.ops import operations as P

    class TrainOneStepCell(nn.Cell):
        def __init__(self, network, optimizer, sens=1.0):
            super().__init__(auto_prefix=False)
            self.network, self.optimizer, self.sens = network, optimizer, sens
            self.weights = ParameterTuple(network.trainable_params())
            self.grad = C.GradOperation(get_by_list=True, sens_param=True)

        def construct(self, data, label):
            loss = self.network(data, label)
            sens = P.Fill()(P.DType()(loss), P.Shape()(loss), self.sens)
            grads = self.grad(self.network, self.weights)(data, label, sens)
            return F.depend(loss, self.optimizer(grads))

    expected = make_model().train(2, resident(), sink_size=5).losses
    parts = make_model()._parts
    helper = DatasetHelper(resident(), sink_size=5, epoch_num=2)
    step = TrainOneStepCell(nn.WithLossCell(parts.network, parts.loss_fn), parts.optimizer)
    net = connect_network_with_dataset(step, helper)
    parts.network.set_train()
    np.testing.assert_allclose(run(net, helper, 2), expected[4::5], rtol=1e-6)


class Dropping(nn.Cell):
    """A loss that shows whether dropout is on."""

    def __init__(self):
        super().__init__()
        self.drop, self.weight = nn.Dropout(p=0.9), graphrt.Parameter(np.zeros(1, np.float32), name="weight")

    def construct(self, x):
        return self.drop(x).mean() + 0.0 * self.weight.sum()


@pytest.mark.filterwarnings("ignore:gradients are taken of")
@pytest.mark.parametrize("as_function", [False, True], ids=["Cell", "function"])
def test_set_train_works_after_connecting(as_function):
    graphrt.set_seed(0)
    net = Dropping()
    optimizer = nn.SGD(net.trainable_params(), 0.1)
    data = ds.NumpySlicesDataset(np.ones((8, 64), np.float32)).batch(2)
    gradient = graphrt.value_and_grad(net, None, optimizer.parameters)

    def function(x):
        loss, grads = gradient(x)
        optimizer(grads)
        return loss

    if as_function:
        sink = data_sink(function, data, sink_size=2)
    else:
        sink = connect_network_with_dataset(
            nn.TrainOneStepCell(net, optimizer), DatasetHelper(data, sink_size=2)
        )
    modes = [False, True, True, False]
    losses = []
    for mode in modes:
        net.set_train(mode)
        losses.append(float(sink().asnumpy()))
    assert [loss == 1.0 for loss in losses] == [not mode for mode in modes]
    assert int(optimizer.global_step.asnumpy()) == 8


def test_data_sink(make_model, resident):
    expected = make_model().train(4, resident(), sink_size=3).losses
    parts = make_model()._parts
    parts.network.set_train()
    gradient = graphrt.value_and_grad(
        lambda x, y: parts.loss_fn(parts.network(x), y), None, parts.optimizer.parameters
    )

    def train_step(x, y):
        loss, grads = gradient(x, y)
        parts.optimizer(grads)
        return loss

    sink = data_sink(train_step, resident(), sink_size=3)
    assert [float(sink().asnumpy()) for _ in range(4)] == expected[2::3].tolist()


def test_without_sink_mode_the_loop_gives_batches(make_model, resident, points):
    helper = DatasetHelper(resident(shuffle=False), dataset_sink_mode=False, epoch_num=2)
    step = step_cell(make_model())
    assert connect_network_with_dataset(step, helper) is step
    loops = [list(helper) for _ in range(3)]
    assert [len(batches) for batches in loops] == [4, 4, 0] and helper.sink_size() == 1
    assert isinstance(loops[0][0][0], graphrt.Tensor)
    assert np.array_equal(np.concatenate([x.asnumpy() for x, _ in loops[1]]), points[0])
    types, shapes = helper.types_shapes()
    assert types == [np.float32, np.int32] and shapes == [[6, 4], [6]]


def test_a_connected_network_takes_a_batch_too(make_model, resident, points):
    model = make_model()
    net = connect_network_with_dataset(step_cell(model), DatasetHelper(resident(), sink_size=2))
    one = net(graphrt.Tensor(points[0][:6]), graphrt.Tensor(points[1][:6]))
    net()
    assert one.shape == () and int(model._parts.optimizer.global_step.asnumpy()) == 3


def test_errors(make_model, resident):
    for arguments, text in [
        ((3,), "a dataset is needed"), ((resident(), 1), "dataset_sink_mode must be"),
        ((resident(), True, 0), r"sink_size is not usable(.|\n)*sink_size=0"), ((resident(), True, 1, 0), "epoch_num must"),
    ]:  # fmt: skip
        with pytest.raises(ArgumentError, match=text):
            DatasetHelper(*arguments)
    step = step_cell(make_model())
    with pytest.raises(ArgumentError, match=r"a DatasetHelper is needed(.|\n)*DatasetHelper\(dataset\)"):
        connect_network_with_dataset(step, resident())
    with pytest.raises(ArgumentError, match="a Cell is needed"):
        connect_network_with_dataset(nn.Dense, DatasetHelper(resident()))
    with pytest.raises(ArgumentError, match="a function is needed"):
        data_sink(None, resident())
    with pytest.raises(ArgumentError, match="a dataset is needed"):
        data_sink(step, 1)
    with pytest.raises(DataError, match="empty"):
        data_sink(step, resident(batch_size=30, drop_remainder=True))()


def test_nan_and_infinity_end_the_sink():
    x = np.full((8, 2), 1e30, np.float32)
    net = nn.Dense(2, 1)
    step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), nn.SGD(net.trainable_params(), 1e30))
    with pytest.raises(NonFiniteError, match="Invalid loss"):
        data_sink(step, ds.NumpySlicesDataset((x, x[:, :1])).batch(4), sink_size=10)()
