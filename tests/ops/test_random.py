"""Random bits: the published Threefry vectors, independence of shape, distributions, dropout."""

from __future__ import annotations

import numpy as np
import pytest

from graphrt import dtypes
from graphrt.errors import ArgumentError
from graphrt.ir.interpret import evaluate
from graphrt.ops import build
from graphrt.ops.random import _NUMPY, threefry


def value(node):
    return evaluate([node], {})[0]


def key(a=1, b=2):
    return build.constant(np.array([a, b], np.uint32))


@pytest.mark.parametrize(
    ("key_words", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_published_vectors(key_words, counter, expected):
    words = [np.array([w], np.uint32) for w in (*key_words, *counter)]
    result = threefry(tuple(words[:2]), tuple(words[2:]), lambda name, x, y: _NUMPY[name](x, y), np.uint32)
    assert tuple(int(w[0]) for w in result) == expected


def test_the_position_alone_decides():
    flat = value(build.random_bits(key(), 60))
    np.testing.assert_array_equal(value(build.random_bits(key(), (3, 4, 5))).reshape(-1), flat)
    np.testing.assert_array_equal(value(build.random_bits(key(), 10)), flat[:10])
    assert not np.array_equal(value(build.random_bits(key(1, 3), 60)), flat)
    assert len(set(flat)) == 60


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform(dtype):
    x = value(build.random_uniform(key(), 40_000, dtype=dtype))
    assert x.dtype == dtype and x.min() >= 0 and x.max() < 1
    assert abs(x.mean() - 0.5) < 0.01 and abs(x.var() - 1 / 12) < 0.003
    y = value(build.random_uniform(key(), 1000, -3, 5, dtype=dtype))
    assert y.min() >= -3 and y.max() < 5 and abs(y.mean() - 1) < 0.3


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_normal(dtype):
    x = value(build.random_normal(key(), (200, 200), mean=1.0, sigma=2.0, dtype=dtype))
    assert x.dtype == dtype and np.isfinite(x).all()
    x = (x.astype(np.float64) - 1) / 2
    assert abs(x.mean()) < 0.02 and abs(x.std() - 1) < 0.02 and abs((x**4).mean() - 3) < 0.2


def test_dropout_keeps_the_mean_and_drops_p():
    x = np.ones(40_000, np.float32)
    y = value(build.dropout(build.constant(x), 0.25, key()))
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.01
    node = build.constant(x)
    assert build.dropout(node, 0.0, key()) is node
    assert not value(build.dropout(node, 1.0, key())).any()


def test_dropout_gradient_uses_the_same_mask():
    from graphrt.passes.differentiate import gradients

    x = build.constant(np.linspace(1, 2, 50, dtype=np.float32))
    y = build.dropout(x, 0.5, key())
    forward, backward = evaluate([y, gradients([build.reduce_sum(y)], [x])[0]], {})
    np.testing.assert_array_equal(forward != 0, backward != 0)
    assert build.random_bits(key(), 3).dtype == dtypes.uint32


def test_dropout_refuses_what_is_no_probability():
    with pytest.raises(ArgumentError, match="dropout: p is a probability"):
        build.dropout(build.ones(3), 1.5, key())
