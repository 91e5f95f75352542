"""Predictions compared with labels of another form: warned about, explained, or left alone."""

import warnings

import numpy as np
import pytest

import graphrt
from graphrt import Tensor, ops
from graphrt.errors import ShapeError

INDICES = Tensor(np.array([1, 0, 2], np.int32))
ONE_HOT = Tensor(np.eye(3, dtype=np.float32))


@pytest.mark.parametrize("compare", [lambda a, b: a == b, lambda a, b: ops.not_equal(b, a)])
def test_class_indices_against_one_hot_labels(compare):
    with pytest.warns(
        UserWarning, match=r"\[3\] and \[3, 3\].*\[3, 3\] matrix.*one-hot labels.*labels.argmax\(1\)"
    ) as seen:
        assert compare(INDICES, ONE_HOT).shape == (3, 3)
    assert __file__.endswith(seen[0].filename)


def test_class_indices_against_a_column():
    with pytest.warns(UserWarning, match=r"\[3\] and \[3, 1\].*labels in a column.*labels.squeeze\(1\)"):
        assert ops.equal(INDICES, INDICES.expand_dims(1)).shape == (3, 3)


def test_inside_a_compiled_function():
    with pytest.warns(UserWarning, match="one-hot labels"):
        graphrt.compile(lambda a, b: (a.argmax(1) == b).astype("float32").sum())(ONE_HOT, ONE_HOT)


def test_shapes_that_do_not_broadcast():
    with pytest.raises(
        ShapeError, match=r"(?s)do not broadcast.*\[3\] and \[3, 10\].*one-hot.*labels.argmax\(1\)"
    ):
        ops.equal(INDICES, Tensor(np.zeros((3, 10), np.float32)))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (INDICES, INDICES),
        (INDICES, ONE_HOT.argmax(1)),
        (INDICES, Tensor(np.zeros((2, 3), np.int32))),  # a row per pass, not per sample
        (INDICES.astype("float32"), ONE_HOT),
        (INDICES.expand_dims(0), ONE_HOT),
        (INDICES, 1),
        (Tensor([1]), Tensor([[1]])),
    ],
)
def test_what_is_plain_is_left_alone(left, right):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (left == right).dtype == graphrt.bool_
