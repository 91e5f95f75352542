"""Errors of shape rules and build functions: exact texts, with the user's place."""

from __future__ import annotations

import numpy as np
import pytest

from graphrt.errors import ArgumentError, DTypeError, GraphrtError, ShapeError
from graphrt.ir import Source, source_scope
from graphrt.ops import build


def f32(*shape):
    return build.zeros(shape)


def i32(*shape):
    return build.zeros(shape, "int32")


MESSAGES = [
    (
        lambda: build.add(f32(32, 10), f32(32)), ShapeError,
        """add: shapes do not broadcast
  cell:     Net.fc1
  at:       model.py:14
  expected: equal extents, or 1, on every axis from the right
  given:    float32[32, 10] and float32[32]""",
    ),
    (
        lambda: build.matmul(f32(32, 784), f32(512, 10)), ShapeError,
        """matmul: inner dimensions differ
  cell:     Net.fc1
  at:       model.py:14
  expected: second operand with 784 rows, to match float32[32, 784]
  given:    float32[512, 10]""",
    ),
    (
        lambda: build.conv2d(f32(32, 784), f32(6, 1, 5, 5)), ShapeError,
        """conv2d: the image must have 4 axes
  cell:     Net.fc1
  at:       model.py:14
  expected: float32[N, C, H, W]
  given:    float32[32, 784]""",
    ),
    (
        lambda: build.conv2d(f32(2, 3, 8, 8), f32(6, 1, 5, 5)), ShapeError,
        """conv2d: the image has another number of channels than the weight
  cell:     Net.fc1
  at:       model.py:14
  expected: 1 channels, for a weight of shape [6, 1, 5, 5]
  given:    float32[2, 3, 8, 8]""",
    ),
    (
        lambda: build.cross_entropy(f32(32, 10), build.zeros(32, "float64")), DTypeError,
        """cross_entropy: class indices must be integers
  cell:     Net.fc1
  at:       model.py:14
  expected: int32[32] (or class probabilities float32[32, 10])
  given:    float64[32]
  fix:      labels.astype(graphrt.int32)""",
    ),
    (
        lambda: build.cross_entropy(f32(32, 10), i32(32, 10)), DTypeError,
        """cross_entropy: class probabilities must be floats
  cell:     Net.fc1
  at:       model.py:14
  expected: float32[32, 10] (or class indices int32[32])
  given:    int32[32, 10]
  fix:      labels.astype(graphrt.float32)""",
    ),
    (
        lambda: build.cross_entropy(f32(32, 10), i32(16)), ShapeError,
        """cross_entropy: labels do not fit logits float32[32, 10]
  cell:     Net.fc1
  at:       model.py:14
  expected: int32[32] class indices or float32[32, 10] class probabilities
  given:    int32[16]""",
    ),
    (
        lambda: build.reshape(f32(4, 5), (3, -1)), ShapeError,
        """reshape: the number of elements must stay the same
  cell:     Net.fc1
  at:       model.py:14
  expected: 20 elements, from float32[4, 5]
  given:    [3, -1] with a multiple of 3""",
    ),
    (
        lambda: build.getitem(f32(4, 5), (0, 5)), ShapeError,
        """indexing: axis 1 has no element 5
  cell:     Net.fc1
  at:       model.py:14
  expected: -5 to 4
  given:    5, into float32[4, 5]""",
    ),
    (
        lambda: build.getitem(f32(4), build.less(f32(4), 0)), DTypeError,
        """indexing: a bool mask gives a result without a static shape
  cell:     Net.fc1
  at:       model.py:14
  expected: an integer index
  given:    bool[4]
  fix:      ops.where(mask, x, other), or multiply by the mask""",
    ),
    (
        lambda: build.add(build.zeros(3, "uint8"), 300), ArgumentError,
        """the number 300 does not fit into the tensor's element type
  cell:     Net.fc1
  at:       model.py:14
  expected: 0 to 255
  given:    300
  fix:      cast the tensor to a wider type first""",
    ),
    (
        lambda: build.max_pool2d(f32(1, 1, 2, 8), 3), ShapeError,
        """max_pool2d: the window does not fit into the padded image
  cell:     Net.fc1
  at:       model.py:14
  expected: at least 3 rows
  given:    2""",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("action", "kind", "text"), MESSAGES, ids=[m[2].split("\n")[0] for m in MESSAGES])
def test_message(action, kind, text):
    with source_scope(Source("model.py", 14, "Net.fc1")), pytest.raises(kind) as caught:
        action()
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "action",
    [
        lambda: build.reduce_sum(f32(3), 1),
        lambda: build.reduce_sum(f32(3, 4), (0, -2)),
        lambda: build.reduce_max(f32(0, 3), 0),
        lambda: build.reduce_mean(f32(0)),
        lambda: build.argmax(f32(3, 0), 1),
        lambda: build.transpose(f32(2, 3), (0, 0)),
        lambda: build.transpose(f32(2, 3), (0,)),
        lambda: build.concat([f32(2, 3), f32(3, 2)]),
        lambda: build.concat([]),
        lambda: build.stack([]),
        lambda: build.stack([f32(2), f32(3)]),
        lambda: build.split(f32(5), [2, 2]),
        lambda: build.split(f32(5), 0),
        lambda: build.squeeze(f32(2, 1), 0),
        lambda: build.pad(f32(2), (1, 1, 1, 1)),
        lambda: build.pad(f32(2), ((1, 1), (1, 1))),
        lambda: build.gather(f32(3), f32(2)),
        lambda: build.gather(f32(0, 2), i32(2)),
        lambda: build.scatter_add(i32(3), f32(2), 4),
        lambda: build.broadcast_to(f32(3), (2,)),
        lambda: build.getitem(f32(3), (0, 0)),
        lambda: build.getitem(f32(3), 1.5),
        lambda: build.getitem(f32(3), True),
        lambda: build.getitem(f32(3), "a"),
        lambda: build.getitem(f32(3), (..., ...)),
        lambda: build.getitem(f32(3), slice(None, None, 0)),
        lambda: build.getitem(f32(3), f32(2)),
        lambda: build.matmul(f32(3), 2.0),
        lambda: build.matmul(f32(2, 3, 4), f32(3, 4, 5)),
        lambda: build.conv2d(f32(1, 1, 3, 3), f32(1, 1, 5, 5)),
        lambda: build.conv2d(f32(1, 1, 3, 3), f32(1, 1, 2, 2), stride=0),
        lambda: build.conv2d(f32(1, 1, 3, 3), f32(1, 1, 2, 2), padding=(1, 2, 3)),
        lambda: build.conv2d(f32(1, 4, 3, 3), f32(3, 2, 2, 2), groups=2),
        lambda: build.avg_pool2d(f32(1, 1, 4, 4), 2, padding=2),
        lambda: build.max_pool2d(f32(4, 4), 2),
        lambda: build.softmax(f32(3, 0)),
        lambda: build.softmax(f32(3), 1),
        lambda: build.cross_entropy(f32(3, 2), i32(3), weight=f32(3)),
        lambda: build.cross_entropy(f32(3, 2), i32(3), reduction="average"),
        lambda: build.cross_entropy(f32(3, 2), i32(3), label_smoothing=2.0),
        lambda: build.softmax_cross_entropy_sparse(f32(3), i32(3)),
        lambda: build.mse_loss(f32(3), f32(3), "average"),
        lambda: build.bitwise_and(f32(3), f32(3)),
        lambda: build.bitwise_not(f32(3)),
        lambda: build.left_shift(f32(3), 1),
        lambda: build.multiply_high(i32(3), i32(3)),
        lambda: build.random_bits(i32(2), 3),
        lambda: build.random_bits(build.zeros(3, "uint32"), 3),
        lambda: build.random_bits(build.zeros(2, "uint32"), (2**17, 2**16)),
        lambda: build.random_normal(build.zeros(2, "uint32"), 3, dtype="int32"),
        lambda: build.arange(0, 5, 0),
        lambda: build.constant("text"),
        lambda: build.constant(np.array(["text"])),
        lambda: build.constant(1 + 2j),
        lambda: build.add(f32(3), object()),
    ],
)
def test_wrong_use_is_a_graphrt_error_with_facts(action):
    with pytest.raises(GraphrtError) as caught:
        action()
    assert caught.value.expected is not None
    assert caught.value.given not in (None, "") or "no tensors given" in caught.value.message
