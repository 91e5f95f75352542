"""What a sink is: how many steps, on which data, with which losses; the same however the steps are cut into sinks."""

import numpy as np
import pytest

import graphrt
from graphrt import dataset as ds
from graphrt import nn
from graphrt.errors import ArgumentError, DataError
from graphrt.train import Model

from .conftest import assert_same_weights, weights


def test_steps_follow_the_formulas(engine):
    """Two passes of plain gradient descent on a linear model, against NumPy, ragged batch included."""
    draw = np.random.default_rng(1)
    x, y = draw.standard_normal((10, 3)).astype(np.float32), draw.standard_normal((10, 1)).astype(np.float32)
    net = nn.Dense(3, 1)
    w, b = net.weight.asnumpy().astype(np.float64), net.bias.asnumpy().astype(np.float64)
    model = Model(net, nn.MSELoss(), nn.SGD(net.trainable_params(), 0.05))
    losses = model.train(2, ds.NumpySlicesDataset((x, y), shuffle=False).batch(4)).losses
    expected = []
    for _ in range(2):
        for start in (0, 4, 8):
            xs, ys = x[start : start + 4].astype(np.float64), y[start : start + 4]
            error = xs @ w.T + b - ys
            expected.append(np.mean(error**2))
            w -= 0.05 * 2 / len(xs) * error.T @ xs
            b -= 0.05 * 2 / len(xs) * error.sum(0)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_allclose(net.weight.asnumpy(), w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.bias.asnumpy(), b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [dict(sink_size=1), dict(sink_size=5), dict(dataset_sink_mode=False)])
def test_losses_and_weights_do_not_depend_on_how_steps_are_cut(engine, make_model, resident, shape):
    whole = make_model()
    expected = whole.train(5, resident()).losses  # 5 passes of 4 steps
    model = make_model()
    epochs = 20 // shape["sink_size"] if "sink_size" in shape else 5
    losses = model.train(epochs, resident(), **shape).losses
    assert losses.tobytes() == expected.tobytes()
    assert_same_weights(model, whole)


def test_two_runs_with_one_seed_are_equal_and_another_seed_differs(make_model, resident):
    losses = [make_model(seed).train(2, resident()).losses for seed in (0, 0, 1)]
    assert losses[0].tobytes() == losses[1].tobytes() != losses[2].tobytes()


def test_minus_one_is_one_pass_per_epoch(make_model, resident):
    assert len(make_model().train(3, resident()).losses) == 12
    assert len(make_model().train(1, resident(drop_remainder=True)).losses) == 3
    assert len(make_model().train(1, resident().repeat(2)).losses) == 8
    assert len(make_model().train(1, resident(batch_size=100)).losses) == 1


def test_the_cursor_goes_on_across_epochs_and_calls(make_model, resident):
    expected = make_model().train(3, resident()).losses
    model, data = make_model(), resident()
    parts = [model.train(2, data, sink_size=3).losses, model.train(1, data, sink_size=6).losses]
    assert np.concatenate(parts).tobytes() == expected.tobytes()


def test_training_in_pieces_is_training_at_once(make_model, resident):
    expected = make_model().train(3, resident()).losses
    model, data = make_model(), resident()
    assert np.concatenate([model.train(1, data).losses for _ in range(3)]).tobytes() == expected.tobytes()


def test_a_whole_pass_starts_at_the_beginning_of_one(make_model, points):
    """After a part of a pass, -1 does not finish that pass but begins the next one."""
    x, _ = points
    marked = x.copy()
    marked[:, 0] = np.arange(len(x))

    class Spy(nn.Cell):
        def __init__(self):
            super().__init__()
            self.weight = graphrt.Parameter(np.zeros(1, np.float32), name="weight")

        def construct(self, x):
            return x[:, 0].mean() + 0.0 * self.weight.sum()

    net = Spy()
    model = Model(net, None, nn.SGD(net.trainable_params(), 0.1))
    data = ds.NumpySlicesDataset(marked, shuffle=False).batch(4)
    seen = [model.train(1, data, sink_size=size).losses.tolist() for size in (2, -1, 1)]
    assert seen == [[1.5, 5.5], [1.5, 5.5, 9.5, 13.5, 17.5], [1.5]]


def test_transforms_run_inside_the_step(engine, make_model, points):
    """uint8 data normalised natively trains like data normalised beforehand."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (20, 2, 2, 1)).astype(np.uint8)
    labels = points[1].astype(np.uint32)
    chain = [ds.vision.Rescale(1 / 255, 0.0), ds.vision.Normalize((0.5,), (0.25,)), ds.vision.HWC2CHW()]
    inside = ds.NumpySlicesDataset((images, labels), ["image", "label"]).map(chain, "image")
    inside = inside.map(ds.transforms.TypeCast(graphrt.int32), "label").batch(6)
    ready = images
    for transform in chain:
        ready = transform.batch(ready)
    outside = ds.NumpySlicesDataset((ready, labels.astype(np.int32))).batch(6)

    def make():
        graphrt.set_seed(0)
        net = nn.SequentialCell(nn.Flatten(), nn.Dense(4, 2))
        return Model(net, nn.CrossEntropyLoss(), nn.Adam(net.trainable_params(), 0.01), metrics={"loss"})

    one, other = make(), make()
    np.testing.assert_allclose(one.train(3, inside).losses, other.train(3, outside).losses, rtol=1e-5)
    np.testing.assert_allclose(one.eval(inside)["loss"], other.eval(outside)["loss"], rtol=1e-5)


@pytest.mark.filterwarnings("ignore:the loss is a tensor of shape")
def test_a_loss_without_reduction_prints_its_mean_and_descends_its_sum(points):
    def train(loss_fn, learning_rate):
        graphrt.set_seed(0)
        net = nn.Dense(4, 2)
        model = Model(net, loss_fn, nn.SGD(net.trainable_params(), learning_rate))
        return model.train(2, ds.NumpySlicesDataset(points, shuffle=False).batch(5)).losses, weights(model)

    vector, scalar = (
        nn.SoftmaxCrossEntropyWithLogits(sparse=True),
        nn.SoftmaxCrossEntropyWithLogits(True, "mean"),
    )
    losses, values = train(vector, 0.01)
    expected_losses, expected = train(scalar, 0.05)  # the mean of 5 samples is a fifth of their sum
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    for name in values:
        np.testing.assert_allclose(values[name], expected[name], rtol=1e-5, atol=1e-7)


def test_networks_that_bring_their_own_loss_or_step(points, make_model, resident):
    expected = make_model().train(1, resident()).losses
    model = make_model()
    with_loss = nn.WithLossCell(model.train_network, nn.CrossEntropyLoss())
    graphrt.set_seed(0)
    optimizer = nn.Momentum(model.train_network.trainable_params(), 0.1, 0.9)
    assert np.array_equal(Model(with_loss, None, optimizer).train(1, resident()).losses, expected)
    model = make_model()
    with_loss = nn.WithLossCell(model.train_network, nn.CrossEntropyLoss())
    step = nn.TrainOneStepCell(with_loss, nn.Momentum(model.train_network.trainable_params(), 0.1, 0.9))
    graphrt.set_seed(0)
    assert np.array_equal(Model(step).train(1, resident()).losses, expected)


def test_a_second_run_compiles_nothing(make_model, resident, streamed, monkeypatch):
    from graphrt import compiler

    calls = []
    original = compiler.compile_sink
    monkeypatch.setattr(compiler, "compile_sink", lambda *a, **k: calls.append(1) or original(*a, **k))
    model = make_model()
    for data in (resident(), resident()):
        model.train(1, data)
        model.train(2, data, sink_size=2)
        model.train(1, data, dataset_sink_mode=False)
    assert len(calls) == 1
    model.train(1, resident(batch_size=5))
    assert len(calls) == 2
    model.train(2, streamed())
    model.train(1, streamed(), sink_size=3)
    assert len(calls) == 4  # full and short batches
    model.train_network.hidden.weight.requires_grad = False
    model.train(1, resident())
    assert len(calls) == 5


def test_train_switches_the_network_to_training(make_model, resident):
    model = make_model()
    assert not model.train_network.training
    model.train(1, resident())
    assert model.train_network.training and model.train_network.hidden.training


@pytest.mark.parametrize("size", [0, -2, 1.5, True, None])
def test_unusable_sink_size_exact_message(make_model, resident, size):
    model = make_model()
    with pytest.raises(ArgumentError) as caught:
        model.train(1, resident(), sink_size=size)
    line = caught.traceback[0].lineno + 1
    assert caught.value.at.endswith(f"test_sinks.py:{line}")
    assert str(caught.value) == (
        "Model.train: sink_size is not usable\n"
        f"  at:       {caught.value.at}\n"
        "  expected: -1 (the whole dataset) or a number of steps > 0\n"
        f"  given:    sink_size={size!r}\n"
        "  fix:      leave it out for one pass over the dataset per epoch"
    )


def test_no_batch_exact_message(make_model, resident):
    model = make_model()
    with pytest.raises(DataError) as caught:
        model.train(1, resident(batch_size=21, drop_remainder=True))
    line = caught.traceback[0].lineno + 1
    assert caught.value.at.endswith(f"test_sinks.py:{line}")
    assert str(caught.value) == (
        "the dataset is empty: one pass over it gives no batch\n"
        f"  at:       {caught.value.at}\n"
        "  expected: at least one batch per pass\n"
        "  fix:      check the source; batch(..., drop_remainder=True) drops a dataset smaller than one batch"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(epoch=0), "epoch must be a positive int"),
        (dict(epoch=1.0), "epoch must be a positive int"),
        (dict(train_dataset=3), "a dataset is needed"),
        (dict(callbacks=print), "must be a Callback"),
        (dict(initial_epoch=-1), "initial_epoch"),
    ],
)
def test_wrong_arguments_are_explained(make_model, resident, arguments, words):
    with pytest.raises(ArgumentError, match=words):
        make_model().train(**{"epoch": 1, "train_dataset": resident(), **arguments})


def test_wrong_models_are_explained(points):
    with pytest.raises(ArgumentError, match="make an object of it: Dense"):
        Model(nn.Dense)
    with pytest.raises(ArgumentError, match="amp_level"):
        Model(nn.Dense(1, 1), amp_level="O4")
    net = nn.Dense(4, 2)
    model = Model(net, nn.CrossEntropyLoss(), nn.SGD(net.trainable_params(), 0.1))
    with pytest.raises(ArgumentError, match="the dataset has one column"):
        model.train(1, ds.NumpySlicesDataset(points[0]).batch(4))
    data = ds.NumpySlicesDataset((points[0], *points), ["a", "b", "label"]).batch(4)
    with pytest.raises(ArgumentError, match="takes another number of inputs") as caught:
        model.train(1, data)
    assert caught.value.cell == "Dense" and caught.value.expected.startswith("construct(x")
    assert caught.value.given == "2 columns ('a', 'b') and the label ('label')"
    assert len(model.train(1, data.project(["a", "label"])).losses) == 5
    with pytest.raises(ArgumentError, match="a loss function but no optimizer"):
        Model(net, nn.CrossEntropyLoss()).train(1, data)
