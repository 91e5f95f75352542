"""Initialisers: distributions, names, seeds, messages."""

import math

import numpy as np
import pytest

import graphrt
from graphrt import Tensor
from graphrt.common import initializer as module
from graphrt.common.initializer import (
    Constant,
    HeNormal,
    HeUniform,
    Normal,
    TruncatedNormal,
    Uniform,
    XavierNormal,
    XavierUniform,
    initializer,
)  # fmt: skip
from graphrt.errors import ArgumentError, ShapeError

SHAPE = (200, 100)


@pytest.mark.parametrize(
    "init, deviation, bound",
    [
        (Normal(), 0.01, None),
        (Normal(0.5), 0.5, None),
        (TruncatedNormal(0.02), 0.02 * 0.8796, 0.04),
        (Uniform(), 0.07 / math.sqrt(3), 0.07),
        (HeUniform(math.sqrt(5)), 0.1 / math.sqrt(3), 0.1),
        (HeNormal(), math.sqrt(2 / 100), None),
        (HeNormal(mode="fan_out", nonlinearity="relu"), math.sqrt(2 / 200), None),
        (XavierUniform(), math.sqrt(2 / 300), math.sqrt(6 / 300)),
        (XavierNormal(2), 2 * math.sqrt(2 / 300), None),
    ],
    ids=repr,
)
def test_distributions(init, deviation, bound):
    values = initializer(init, SHAPE).asnumpy()
    assert values.dtype == np.float32 and values.shape == SHAPE
    assert values.std() == pytest.approx(deviation, rel=0.03) and abs(values.mean()) < deviation * 0.05
    if bound is not None:
        assert np.abs(values).max() <= bound * 1.000001


def test_fans_of_convolution_weights():
    assert module.fans((8, 3, 5, 5)) == (75, 200)
    with pytest.raises(ShapeError, match="at least 2 axes"):
        initializer(HeNormal(), (3,))


@pytest.mark.parametrize(
    "name, value", [("zeros", 0), ("ONE", 1), ("zero", 0), ("ones", 1), (3, 3), (2.5, 2.5)]
)
def test_constants(name, value):
    assert initializer(name, (2,)).tolist() == [value, value]
    assert initializer(Constant(7), 2, "int32").tolist() == [7, 7]


@pytest.mark.parametrize(
    "name",
    ["normal", "he_uniform", "HeNormal", "xavieruniform", "xavier_normal", "uniform", "truncatedNormal"],
)
def test_names(name):
    assert initializer(name, (4, 4)).asnumpy().any()


def test_tensors_are_taken_as_they_are():
    tensor = Tensor(np.ones((2, 2), np.float32))
    assert initializer(tensor, (2, 2)) is tensor
    with pytest.raises(ShapeError, match="another shape"):
        initializer(tensor, (4,))
    assert Tensor(shape=(2, 3), dtype="float32", init="ones").sum().item() == 6


def test_seeds():
    graphrt.set_seed(1)
    first = initializer("normal", (3,)).tolist()
    again = initializer("normal", (3,)).tolist()
    graphrt.set_seed(1)
    assert first == initializer("normal", (3,)).tolist() != again
    assert graphrt.get_seed() == 1
    graphrt.set_seed(2)
    assert initializer("normal", (3,)).tolist() != first


@pytest.mark.parametrize("init", ["gauss", object(), None, "constant"])
def test_unknown(init):
    with pytest.raises(ArgumentError, match="unknown initialiser"):
        initializer(init, (2,))


@pytest.mark.parametrize("mode, fan", [("fan_in", 100), ("fan_out", 200), ("fan_avg", 150)])
@pytest.mark.parametrize("distribution", ["truncated_normal", "untruncated_normal", "uniform"])
def test_variance_scaling(mode, fan, distribution):
    values = initializer(module.VarianceScaling(2.0, mode, distribution), SHAPE).asnumpy()
    deviation = math.sqrt(2 / fan)
    assert values.std() == pytest.approx(deviation, rel=0.03) and abs(values.mean()) < deviation * 0.05
    limits = {"truncated_normal": 2 / 0.8796, "uniform": math.sqrt(3), "untruncated_normal": 9}
    assert np.abs(values).max() <= limits[distribution] * deviation * 1.0001


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (4, 3, 2, 2)])
def test_orthogonal(shape):
    matrix = initializer(module.Orthogonal(2.0), shape).asnumpy().reshape(shape[0], -1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)


def test_weights_that_hand_through():
    assert np.array_equal(initializer("identity", (2, 3)).asnumpy(), np.eye(2, 3))
    weights = initializer(module.Dirac(2), (4, 2, 3, 3)).asnumpy()
    images = Tensor(np.random.default_rng(0).standard_normal((2, 4, 5, 5)).astype(np.float32))
    layer = graphrt.nn.Conv2d(4, 4, 3, group=2, weight_init=Tensor(weights))
    np.testing.assert_array_equal(layer(images).asnumpy(), images.asnumpy())


def test_sparse():
    values = initializer(module.Sparse(0.4, 0.5), (10, 300)).asnumpy()
    assert ((values == 0).sum(0) == 4).all()
    assert values[values != 0].std() == pytest.approx(0.5, rel=0.06)


def test_own_initialiser_that_fills_in_place():
    class Counts(module.Initializer):
        def _initialize(self, arr):
            arr[...] = np.arange(arr.size).reshape(arr.shape)

    assert initializer(Counts(), (2, 2)).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: module.VarianceScaling(0), ArgumentError, "VarianceScaling: unknown settings"),
        (lambda: initializer(module.Orthogonal(), (3,)), ShapeError, "Orthogonal: at least 2 axes"),
        (lambda: initializer(module.Identity(), (3,)), ShapeError, "Identity: 2 axes"),
        (
            lambda: initializer(module.Dirac(3), (4, 2, 3)),
            ShapeError,
            "Dirac: not the weights of a convolution",
        ),
        (lambda: module.Sparse(2), ArgumentError, "Sparse: sparsity out of range"),
        (lambda: initializer(module.Sparse(0.5), (3,)), ShapeError, "Sparse: 2 axes"),
    ],
)
def test_messages_of_the_structured_ones(make, error, text):
    with pytest.raises(error, match=text):
        make()
