"""Model.build, summary, fast_dev_run, and the arguments of Model."""

import numpy as np
import pytest

import graphrt
from graphrt import compiler, nn, ops
from graphrt import dataset as ds
from graphrt.errors import ArgumentError, NonFiniteError
from graphrt.train import Metric, Model

from .conftest import Net, weights


@pytest.fixture
def compilations(monkeypatch):
    """Grows with every compiled sink and graph."""
    calls = []
    for name in ("compile_sink", "compile_graph"):
        original = getattr(compiler, name)
        monkeypatch.setattr(
            compiler, name, lambda *a, _original=original, **k: calls.append(1) or _original(*a, **k)
        )
    return calls


def test_build_compiles_ahead(make_model, resident, compilations):
    model = make_model(metrics={"accuracy", "loss"})
    data, before = resident(), weights(model)
    model.build(data, data)
    assert len(compilations) == 2
    assert all(np.array_equal(before[name], value) for name, value in weights(model).items())
    expected = make_model().train(2, resident()).losses
    count = len(compilations)
    assert model.train(2, data).losses.tobytes() == expected.tobytes()
    model.eval(data)
    assert len(compilations) == count


def test_build_needs_something(make_model, resident):
    with pytest.raises(ArgumentError, match="nothing to compile for"):
        make_model().build()
    with pytest.raises(ArgumentError, match="the model has no metrics"):
        make_model().build(valid_dataset=resident())
    with pytest.raises(ArgumentError, match=r"Model\.build: sink_size"):
        make_model().build(resident(), sink_size=0)


class Convolutional(nn.Cell):
    """Layers in attributes, in a container, one not called, and arithmetic of its own."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, pad_mode="valid", has_bias=True)
        self.body = nn.SequentialCell(
            nn.Flatten(), nn.Dropout(p=0.5), nn.Dense(4 * 6 * 6, 10, has_bias=False)
        )
        self.unused = nn.Dense(3, 2)
        self.norm = nn.BatchNorm2d(4)

    def construct(self, x):
        return self.body(ops.relu(self.norm(self.conv(x))))


def test_summary():
    net = Convolutional()
    summary = Model(net).summary((2, 1, 8, 8))
    rows = {row.name: row for row in summary.rows}
    assert list(rows) == ["(Convolutional)", "conv", "body.0", "body.1", "body.2", "unused", "norm"]
    assert [(r.kind, r.output, r.parameters, r.trainable) for r in summary.rows] == [
        ("Convolutional", "[2, 10]", 0, 0),
        ("Conv2d", "[2, 4, 6, 6]", 40, 40),
        ("Flatten", "[2, 144]", 0, 0),
        ("Dropout", "[2, 144]", 0, 0),
        ("Dense", "[2, 10]", 1440, 1440),
        ("Dense", None, 8, 8),
        ("BatchNorm2d", "[2, 4, 6, 6]", 16, 8),
    ]
    pixels = 2 * 4 * 6 * 6
    assert rows["conv"].flops == pixels * 2 * 9 + pixels  # the bias
    assert rows["body.2"].flops == 2 * 2 * 144 * 10
    assert rows["(Convolutional)"].flops == pixels and rows["unused"].flops == 0
    assert summary.parameters == sum(p.size for p in net.get_parameters() if p.dtype.is_float)
    assert summary.trainable == sum(p.size for p in net.trainable_params())
    assert summary.flops == sum(row.flops for row in summary.rows)
    assert not net.training and "construct" not in vars(net.conv)


def test_summary_text():
    net = nn.SequentialCell(nn.Dense(4, 8), nn.ReLU())
    assert str(Model(net).summary((3, 4))) == (
        "layer  kind   output  parameters  FLOPs\n"
        "---------------------------------------\n"
        "0      Dense  [3, 8]          40    216\n"
        "1      ReLU   [3, 8]           0     24\n"
        "---------------------------------------\n"
        "SequentialCell: 40 parameters, 40 trainable, 240 FLOPs forward"
    )
    assert str(Model(net).summary()) == (
        "layer  kind   parameters\n"
        "------------------------\n"
        "0      Dense          40\n"
        "1      ReLU            0\n"
        "------------------------\n"
        "SequentialCell: 40 parameters, 40 trainable"
    )


def test_summary_of_other_inputs():
    class Words(nn.Cell):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(7, 3)

        def construct(self, words, scale):
            return self.embedding(words) * scale

    summary = Model(Words()).summary(np.zeros((2, 5), np.int32), (1,))
    assert {row.name: row.output for row in summary.rows}["embedding"] == "[2, 5, 3]"
    with pytest.raises(ArgumentError, match=r"Model\.summary: input 0 is not usable"):
        Model(Words()).summary("abc")
    with pytest.raises(ArgumentError, match="input 1 is not usable"):
        Model(Words()).summary((2, 5), (0, 1))
    with pytest.raises(ArgumentError, match="must be a Cell"):
        Model(lambda x: x).summary((1,))


def test_fast_dev_run_leaves_everything_as_it_was(make_model, resident, streamed):
    for make in (resident, streamed):
        model, data = make_model(metrics={"accuracy"}), make()
        optimizer = model._parts.optimizer
        before = weights(model) | {p.name: p.asnumpy() for p in optimizer.get_parameters()}
        run = model.fast_dev_run(data, make(), steps=3)
        assert len(run.losses) == 3 and set(run.metrics) == {"accuracy"}
        after = weights(model) | {p.name: p.asnumpy() for p in optimizer.get_parameters()}
        assert all(np.array_equal(before[name], value) for name, value in after.items())
        assert not model.train_network.training
        expected = make_model().train(2, make()).losses
        losses = model.train(2, data).losses
        assert losses.tobytes() == expected.tobytes()
        assert run.losses.tobytes() == losses[:3].tobytes()


def test_fast_dev_run_evaluates_as_many_batches(make_model, resident, streamed):
    class Rows(Metric):
        def clear(self):
            self.rows = 0

        def update(self, output, label):
            self.rows += len(label)

        def eval(self):
            return self.rows

    for data in (resident(), streamed()):
        assert make_model(metrics={"rows": Rows()}).fast_dev_run(data, data, steps=2).metrics == {"rows": 12}
    assert make_model().fast_dev_run(resident(), resident()).metrics == {}


def test_fast_dev_run_finds_what_a_long_run_would(make_model, resident, points):
    x, y = points
    broken = ds.NumpySlicesDataset((x * np.nan, y)).batch(5)
    model = make_model()
    before = weights(model)
    with pytest.raises(NonFiniteError, match="Invalid loss"):
        model.fast_dev_run(broken)
    assert all(np.array_equal(before[name], value) for name, value in weights(model).items())
    with_loss = nn.WithLossCell(model.train_network, nn.CrossEntropyLoss())
    with pytest.raises(ArgumentError, match="takes another number of inputs"):
        Model(with_loss, None, model._parts.optimizer, metrics={"loss"}).fast_dev_run(resident(), resident())
    with pytest.raises(ArgumentError, match="steps must be a positive int"):
        make_model().fast_dev_run(resident(), steps=0)


def test_arguments_of_model(resident):
    net = Net()
    with pytest.raises(ArgumentError) as caught:
        Model(net, boost_level="O1")
    assert str(caught.value) == (
        "Model: boost_level is not supported\n"
        f"  at:       {caught.value.at}\n"
        "  expected: 'O0'\n"
        "  given:    'O1'\n"
        "  fix:      leave it out"
    )
    Model(net, boost_level="O0")
    model = Model(net, nn.CrossEntropyLoss(), nn.SGD(net.trainable_params(), 0.1), metrics={"loss"})
    for frequency in (0, [0], [1.5], "2"):
        with pytest.raises(ArgumentError, match="valid_frequency"):
            model.fit(1, resident(), resident(), valid_frequency=frequency)
    with pytest.raises(ArgumentError, match=r"Model.fit: a dataset is needed"):
        model.fit(1, resident(), 3)
    with pytest.raises(ArgumentError, match=r"Model.fit: the model has no metrics"):
        Model(net, nn.CrossEntropyLoss(), model._parts.optimizer).fit(1, resident(), resident())


def test_a_training_step_of_ones_own(points, resident):
    """A Cell that differentiates, clips and updates by itself equals the Model's own step."""

    class Step(nn.Cell):
        def __init__(self, network, loss_fn, optimizer):
            super().__init__(auto_prefix=False)
            self.network, self.loss_fn, self.optimizer = network, loss_fn, optimizer
            self.gradient = graphrt.value_and_grad(self.forward, None, optimizer.parameters)

        def forward(self, x, y):
            return self.loss_fn(self.network(x), y)

        def construct(self, x, y):
            loss, gradients = self.gradient(x, y)
            self.optimizer(ops.clip_by_global_norm(gradients, 0.05))
            return loss

    def parts():
        graphrt.set_seed(0)
        net = Net()
        return net, nn.CrossEntropyLoss(), nn.Momentum(net.trainable_params(), 0.1, 0.9)

    own, ready = Model(Step(*parts())), Model(*parts(), clip_norm=0.05)
    assert np.array_equal(own.train(2, resident()).losses, ready.train(2, resident()).losses)
