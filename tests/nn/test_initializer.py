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
