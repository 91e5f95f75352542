"""Model.eval, predict and fit against NumPy."""

import numpy as np
import pytest

import graphrt
from graphrt import dataset as ds
from graphrt import nn
from graphrt.errors import ArgumentError, DataError
from graphrt.train import Accuracy, Callback, Loss, Metric, Model


def forward(model, x):
    net = model.train_network
    hidden = np.tanh(x @ net.hidden.weight.asnumpy().T + net.hidden.bias.asnumpy())
    return hidden @ net.out.weight.asnumpy().T + net.out.bias.asnumpy()


def cross_entropy(scores, labels):
    scores = scores - scores.max(1, keepdims=True)
    return np.log(np.exp(scores).sum(1)) - scores[np.arange(len(labels)), labels]


def test_metrics_equal_numpy_with_a_ragged_last_batch(engine, make_model, resident, streamed, points):
    x, y = points
    model = make_model(metrics={"accuracy", "loss"})
    scores = forward(model, x)
    losses = cross_entropy(scores, y)
    expected_loss = np.mean(
        [losses[k : k + 6].mean() for k in range(0, 20, 6)]
    )  # every batch counts the same
    for data in (resident(), streamed()):
        result = model.eval(data)
        assert set(result) == {"accuracy", "loss"}
        assert result["accuracy"] == (scores.argmax(1) == y).mean()
        np.testing.assert_allclose(result["loss"], expected_loss, rtol=1e-5)


def test_predict(engine, make_model, points):
    model = make_model()
    for rows in (1, 3, 3, 20):
        output = model.predict(points[0][:rows])
        assert isinstance(output, graphrt.Tensor)
        np.testing.assert_allclose(output.asnumpy(), forward(model, points[0][:rows]), rtol=1e-5, atol=1e-6)


def test_predictions_follow_training(make_model, resident, points):
    model = make_model()
    before = model.predict(points[0]).asnumpy()
    model.train(3, resident())
    after = model.predict(graphrt.Tensor(points[0])).asnumpy()
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, forward(model, points[0]), rtol=1e-5, atol=1e-6)


def test_evaluation_runs_in_inference_mode_and_leaves_the_mode_alone(points):
    net = nn.SequentialCell(nn.Dense(4, 32), nn.Dropout(p=0.9), nn.Dense(32, 2))
    model = Model(net, nn.CrossEntropyLoss(), nn.SGD(net.trainable_params(), 0.1), metrics={"loss"})
    net.set_train()
    net[0].set_train(False)
    data = ds.NumpySlicesDataset(points).batch(20)
    assert model.eval(data) == model.eval(data)
    assert np.array_equal(model.predict(points[0]).asnumpy(), model.predict(points[0]).asnumpy())
    assert net.training and not net[0].training and net[1].training
    losses = model.train(2, ds.NumpySlicesDataset(points, shuffle=False).batch(20)).losses
    assert losses[0] != pytest.approx(model.eval(data)["loss"], rel=1e-3)


def test_fit_evaluates_at_the_right_epochs(make_model, resident, capsys):
    from graphrt.train import LossMonitor

    model = make_model(metrics={"acc": Accuracy()})
    history = model.fit(4, resident(), resident(), valid_frequency=2, callbacks=LossMonitor(0))
    assert len(history.history["acc"]) == 2
    assert capsys.readouterr().out.splitlines() == [
        f"Eval result: epoch {epoch}, metrics: {{'acc': {value}}}"
        for epoch, value in zip((2, 4), history.history["acc"])
    ]
    history = model.fit(3, resident(), resident(), valid_frequency=[1, 3])
    assert len(history.history["acc"]) == 2 and model.train_network.training


def test_custom_metrics_and_eval_networks(make_model, resident, points):
    class Count(Metric):
        def clear(self):
            self.rows = 0

        def update(self, output, label):
            assert output.shape == (*label.shape, 2)
            self.rows += len(label)

        def eval(self):
            return self.rows

    assert make_model(metrics=[Count()]).eval(resident()) == {"count": 20}

    class Evaluation(nn.Cell):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def construct(self, x, label):
            return label, self.net(x)

    model = make_model(metrics={"loss"})
    swapped = Model(
        model.train_network,
        metrics={"a": Accuracy().set_indexes([1, 0])},
        eval_network=Evaluation(model.train_network),
    )
    assert swapped.eval(resident())["a"] == (forward(model, points[0]).argmax(1) == points[1]).mean()


def test_eval_callbacks(make_model, resident):
    events = []

    class Watch(Callback):
        def on_eval_begin(self, run_context):
            events.append("begin")

        def on_eval_step_end(self, run_context):
            events.append(run_context.original_args().cur_step_num)

        def on_eval_end(self, run_context):
            events.append(run_context.original_args().eval_results)

    result = make_model(metrics={"accuracy"}).eval(resident(), Watch())
    assert events == ["begin", 1, 2, 3, 4, result]


def test_wrong_use_is_explained(make_model, resident, points):
    with pytest.raises(ArgumentError, match="the model has no metrics"):
        make_model().eval(resident())
    with pytest.raises(ArgumentError, match="unknown metric 'acuracy'"):
        make_model(metrics={"acuracy"})
    with pytest.raises(ArgumentError, match="make an object of it: Accuracy"):
        make_model(metrics=[Accuracy])
    with pytest.raises(ArgumentError, match="needs a loss function"):
        Model(nn.Dense(4, 2), metrics=[Loss()]).eval(resident())
    with pytest.raises(DataError, match="the dataset is empty"):
        make_model(metrics={"loss"}).eval(resident(batch_size=30, drop_remainder=True))
    with pytest.raises(ArgumentError, match="a dataset is needed"):
        make_model(metrics={"loss"}).eval(points)
