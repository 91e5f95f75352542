"""Small data and networks for training tests."""

from __future__ import annotations

import numpy as np
import pytest

import graphrt
from graphrt import dataset as ds
from graphrt import nn
from graphrt.train import Model


class Net(nn.Cell):
    """4 numbers to 2 classes."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Dense(4, 8)
        self.act = nn.Tanh()
        self.out = nn.Dense(8, 2)

    def construct(self, x):
        return self.out(self.act(self.hidden(x)))


@pytest.fixture
def points():
    """(x float32[20, 4], y int32[20]); with batches of 6 the last one has 2 samples."""
    x = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int32)


@pytest.fixture
def make_model():
    """`make_model(seed=0, **model arguments)`: the same initial weights for the same seed."""

    def make(seed=0, learning_rate=0.1, **arguments):
        graphrt.set_seed(seed)
        net = Net()
        optimizer = nn.Momentum(net.trainable_params(), learning_rate, 0.9)
        return Model(net, nn.CrossEntropyLoss(), optimizer, **arguments)

    return make


@pytest.fixture
def resident(points):
    """`resident(batch_size=6, **options)`: the points in memory, shuffled."""

    def make(batch_size=6, drop_remainder=False, **options):
        return ds.NumpySlicesDataset(points, ["x", "y"], **options).batch(batch_size, drop_remainder)

    return make


@pytest.fixture
def streamed(points):
    """`streamed(batch_size=6)`: the points from a generator function, in order."""

    def make(batch_size=6):
        return ds.GeneratorDataset(lambda: zip(*points), ["x", "y"]).batch(batch_size)

    return make


@pytest.fixture(params=["native", "interpreter"])
def engine(request):
    """Runs the test with each engine."""
    with graphrt.set_context(engine=request.param):
        yield request.param


def weights(model):
    """All parameters of a model's network by name, copied."""
    return {p.name: p.asnumpy() for p in model.train_network.get_parameters()}


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name]), name
