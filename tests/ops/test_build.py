"""Build functions against NumPy: promotion, broadcasting, indexing, shapes, matrix products, losses."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import graphrt.ops
from graphrt import dtypes
from graphrt.ir import Node, input_node
from graphrt.ir.interpret import evaluate
from graphrt.ir.types import Literal
from graphrt.ops import build

RNG = np.random.default_rng(3)


def value(node: Node) -> np.ndarray:
    return evaluate([node], {})[0]


def const(array) -> Node:
    return build.constant(np.asarray(array))


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def cotangents(output: Node, *inputs: Node) -> list[np.ndarray]:
    from graphrt.passes.differentiate import gradients

    return evaluate(gradients([output], inputs), {})


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(graphrt.ops.__path__)])
def test_every_module_can_be_the_first_imported(module):
    subprocess.run([sys.executable, "-c", f"import graphrt.ops.{module}"], check=True)


def test_public_names_exist_and_have_docstrings():
    for name in build.PUBLIC:
        assert getattr(build, name).__doc__, name


# ---- promotion and broadcasting


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ("float32", 2, "float32"), ("float32", 2.5, "float32"), ("float32", True, "float32"),
        ("int32", 2, "int32"), ("int32", 2.5, "float32"), ("uint8", 2, "uint8"), ("uint8", 0.5, "float32"),
        ("bool", 2, "int32"), ("bool", 2.5, "float32"), ("bool", True, "int32"), ("float16", 2.5, "float16"),
        ("float64", 1.5, "float64"), ("bfloat16", 1, "bfloat16"), ("int64", np.int32(3), "int64"),
        ("float32", np.float64(3), "float32"), ("float32", np.ones(3), "float64"),
        ("int32", np.ones(3, np.float32), "float32"), ("uint8", np.ones(3, np.int8), "int16"),
    ],
)  # fmt: skip
def test_a_number_takes_the_type_of_the_tensor(x, y, expected):
    node = build.add(const(np.ones(3)), 0)
    node = build.add(build.cast(node, x), y)
    assert node.dtype.name == expected
    assert build.add(y, build.cast(const(np.ones(3)), x)).dtype.name == expected


def test_numbers_alone_become_int32_and_float32():
    assert build.add(1, 2).dtype == dtypes.int32
    assert build.add(1, 2.0).dtype == dtypes.float32
    assert build.constant([1, 2]).dtype == dtypes.int32
    assert build.constant([[1.5]]).dtype == dtypes.float32
    assert build.constant(2**40).dtype == dtypes.int64
    assert build.div(const(np.int32([7])), 2).dtype == dtypes.float32


def test_constants_do_not_alias_the_callers_array():
    array = np.ones(3)
    node = const(array)
    array[0] = 9
    assert isinstance(node.op.value, Literal) and value(node)[0] == 1


@pytest.mark.parametrize(
    ("a", "b"), [((3, 4), (4,)), ((3, 1), (1, 4)), ((), (2, 3)), ((2, 1, 3), (4, 1)), ((0, 3), (1, 3))]
)
def test_broadcasting_is_numpys_and_its_gradient_sums(a, b):
    x, y = floats(*a), floats(*b)
    nodes = const(x), const(y)
    np.testing.assert_array_equal(value(build.sub(*nodes)), x - y)
    dx, dy = cotangents(build.reduce_sum(build.mul(*nodes)), *nodes)
    assert dx.shape == a and dy.shape == b
    np.testing.assert_allclose(dx.sum(), np.broadcast_to(y, np.broadcast_shapes(a, b)).sum(), rtol=1e-5)
    np.testing.assert_allclose(dy.sum(), np.broadcast_to(x, np.broadcast_shapes(a, b)).sum(), rtol=1e-5)


def test_unbroadcast_undoes_a_broadcast():
    g = floats(2, 3, 4)
    np.testing.assert_allclose(value(build.unbroadcast(const(g), (3, 1))), g.sum((0, 2))[:, None], rtol=1e-6)
    assert build.unbroadcast(const(g), (2, 3, 4)).shape == (2, 3, 4)


def test_where_promotes_and_broadcasts():
    condition = np.array([[True], [False]])
    np.testing.assert_array_equal(
        value(build.where(const(condition), const(np.int32([1, 2])), 0)), [[1, 2], [0, 0]]
    )
    assert build.where(const(condition), 1.0, const(np.int32([1]))).dtype == dtypes.float32
    np.testing.assert_array_equal(value(build.where(const(np.float32([0, 2])), 1, 0)), [0, 1])


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 7, -1, -2, 0.5, -0.5, 1.7, 2.0])
def test_powers_of_numbers(exponent):
    x = np.abs(floats(9)) + np.float32(0.5)
    result = build.pow(const(x), exponent)
    assert result.dtype == dtypes.float32
    np.testing.assert_allclose(value(result), x**exponent, rtol=2e-6)


def test_powers_of_integers():
    x = np.int32([-3, 0, 2, 5])
    np.testing.assert_array_equal(value(build.pow(const(x), 3)), x**3)
    np.testing.assert_array_equal(
        value(build.pow(const(x), const(np.int32([2, 0, 10, 3])))), x ** np.int32([2, 0, 10, 3])
    )
    assert build.pow(const(x), 0.5).dtype == dtypes.float32
    np.testing.assert_array_equal(value(build.pow(2.0, const(np.float32([1, 3])))), [2, 8])


def test_rounding_keeps_integers_and_shifts_follow_the_sign():
    x = np.int32([-5, 7])
    assert build.floor(const(x)).dtype == dtypes.int32
    np.testing.assert_array_equal(value(build.right_shift(const(x), 1)), x >> 1)
    np.testing.assert_array_equal(value(build.bitwise_not(const(x))), ~x)
    np.testing.assert_array_equal(value(build.bitwise_not(const(np.uint8([3])))), [252])
    np.testing.assert_array_equal(value(build.bitwise_not(const(np.array([True])))), [False])


def test_integer_division_by_zero_gives_zero():
    x, y = np.int32([7, -7, -(2**31)]), np.int32([0, 2, -1])
    np.testing.assert_array_equal(value(build.floor_div(const(x), const(y))), [0, -4, -(2**31)])
    np.testing.assert_array_equal(value(build.remainder(const(x), const(y))), [0, 1, 0])


def test_clip_any_all_norm_variance():
    x = floats(4, 5)
    np.testing.assert_array_equal(value(build.clip(const(x), -0.5, 0.5)), x.clip(-0.5, 0.5))
    np.testing.assert_array_equal(value(build.reduce_any(const(x > 1), 1)), (x > 1).any(1))
    np.testing.assert_array_equal(value(build.reduce_all(const(x < 1), 0)), (x < 1).all(0))
    np.testing.assert_allclose(value(build.norm(const(x), 1)), np.linalg.norm(x, axis=1), rtol=1e-6)
    np.testing.assert_allclose(value(build.variance(const(x), 0)), x.var(0), rtol=1e-5)
    np.testing.assert_allclose(value(build.gelu(const(np.float32([1.0])))), [0.8413447], rtol=1e-6)


def test_reductions_of_bool_and_integers():
    x = np.array([[True, False], [True, True]])
    np.testing.assert_array_equal(value(build.reduce_sum(const(x), 0)), [2, 1])
    assert build.reduce_mean(const(np.uint8([1, 2]))).dtype == dtypes.float32
    assert value(build.reduce_sum(const(np.uint8([200, 100])))) == 44  # the element type is kept, and wraps
    assert value(build.argmax(const(np.float32([[1, 5], [7, 2]])))) == 2
    assert build.argmax(const(np.float32([[1, 5], [7, 2]])), 1, keepdims=True).shape == (2, 1)


# ---- gradients at kinks


def test_ties_send_the_cotangent_to_the_first_operand():
    x, y = const(np.float32([1, 2, 3])), const(np.float32([1, 3, 2]))
    for op in (build.maximum, build.minimum):
        dx, dy = cotangents(build.reduce_sum(op(x, y)), x, y)
        assert dx[0] == 1 and dy[0] == 0
        np.testing.assert_array_equal(dx + dy, [1, 1, 1])


def test_extremes_share_the_cotangent_and_relu_and_abs_are_flat_at_zero():
    x = const(np.float32([2, 0, 2]))
    np.testing.assert_array_equal(cotangents(build.reduce_max(x), x)[0], [0.5, 0, 0.5])
    zero = const(np.float32([0, -0.0]))
    for op in (build.relu, build.abs):
        np.testing.assert_array_equal(cotangents(build.reduce_sum(op(zero)), zero)[0], [0, 0])


def test_products_with_zeros_have_exact_gradients():
    for row, expected in (([2, 3, 4], [12, 8, 6]), ([2, 0, 4], [0, 8, 0]), ([0, 0, 4], [0, 0, 0])):
        x = const(np.float32(row))
        np.testing.assert_array_equal(cotangents(build.reduce_prod(x), x)[0], expected)


def test_power_gradients_stay_finite_at_zero():
    base, exponent = const(np.float32([0, 0, -2])), const(np.float32([0, 2, 3]))
    d_base, d_exponent = cotangents(build.reduce_sum(build.pow(base, exponent)), base, exponent)
    np.testing.assert_array_equal(d_base, [0, 0, 12])
    np.testing.assert_array_equal(d_exponent, [0, 0, 0])


# ---- shapes


X = floats(4, 5, 6)
ROWS, COLUMNS = np.int32([0, -1, 2]), np.array([[1], [3]])
INDICES = [
    1, -1, slice(1, 3), slice(None, None, 2), slice(None, None, -1), slice(-2, None, -2), slice(10, 20), slice(3, 1),
    (0, 1, 2), (slice(None), 2), (..., -1), (..., slice(1, 4), 0), (None, 1), (1, None, ..., None), (), ..., None,
    (slice(3, 0, -2), ..., slice(None, None, -3)), ROWS, (slice(None), ROWS), (..., COLUMNS), (ROWS, ROWS),
    (ROWS, slice(None), ROWS), (slice(None), ROWS, ROWS), (0, slice(None), ROWS), (COLUMNS, ROWS), (ROWS, 1),
    (1, ROWS), (ROWS, None, ROWS), (slice(1, 3), COLUMNS, slice(None, None, -1)), [0, 2], (ROWS, ROWS, ROWS),
    (np.int64(2), slice(None, None, 3)), (None, ROWS, None, ROWS), (slice(None), ROWS, None, ROWS),
    (slice(None), 1, None, ROWS), (slice(1, 3), None, COLUMNS, ROWS),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_indexing_is_numpys(index):
    np.testing.assert_array_equal(value(build.getitem(const(X), index)), X[index])


def test_indexing_by_nodes_and_its_gradient():
    x, rows = const(X), input_node("rows", const(ROWS).type)
    picked = build.getitem(x, (rows, 1))
    np.testing.assert_array_equal(evaluate([picked], {rows: ROWS})[0], X[ROWS, 1])
    repeated = const(np.int32([1, 1, 3]))
    (dx,) = cotangents(build.reduce_sum(build.getitem(x, repeated)), x)
    np.testing.assert_array_equal(dx[:, 0, 0], [0, 2, 0, 1])


def test_reshaping():
    x = const(X)
    np.testing.assert_array_equal(value(build.reshape(x, (-1, 6))), X.reshape(-1, 6))
    assert build.reshape(x, X.shape) is x
    assert build.reshape(x, -1).shape == (120,)
    assert build.flatten(x).shape == (4, 30)
    assert build.flatten(x, 0, 1).shape == (20, 6)
    assert build.flatten(const(np.float32(1))).shape == (1,)
    assert build.flatten(const(np.zeros((0, 3, 2)))).shape == (0, 6)
    np.testing.assert_array_equal(value(build.transpose(x)), X.T)
    np.testing.assert_array_equal(value(build.transpose(x, (0, -1, 1))), X.transpose(0, 2, 1))
    np.testing.assert_array_equal(value(build.swap_axes(x, 0, -1)), X.swapaxes(0, 2))
    assert build.squeeze(build.expand_dims(x, -1)).shape == X.shape
    assert build.squeeze(const(np.zeros((1, 3, 1))), 0).shape == (3, 1)


def test_making_tensors():
    np.testing.assert_array_equal(value(build.arange(5)), np.arange(5, dtype=np.int32))
    np.testing.assert_allclose(value(build.arange(1, 2, 0.25)), np.arange(1, 2, 0.25, dtype=np.float32))
    np.testing.assert_array_equal(value(build.arange(5, 0, -2)), [5, 3, 1])
    assert build.arange(3, 1).shape == (0,)
    assert build.zeros(3).shape == (3,) and value(build.ones_like(const(np.int8([4]))))[0] == 1
    labels = np.int32([[0, 2], [1, 7]])
    expected = labels[..., None] == np.arange(3)
    np.testing.assert_array_equal(value(build.one_hot(const(labels), 3)), expected)
    np.testing.assert_array_equal(
        value(build.one_hot(const(labels), 3, 5, -1, axis=0)), np.where(np.moveaxis(expected, -1, 0), 5, -1)
    )
    assert build.one_hot(const(np.uint8([1])), 300).shape == (1, 300)


def test_joining_and_cutting():
    a, b = floats(2, 3), floats(2, 2)
    np.testing.assert_array_equal(value(build.concat([const(a), const(b)], -1)), np.concatenate([a, b], 1))
    np.testing.assert_array_equal(value(build.stack([const(a), const(a)], 1)), np.stack([a, a], 1))
    assert build.concat([const(a), const(np.zeros((1, 3), np.int32))]).dtype == dtypes.float32
    pieces = build.split(const(X), 4, axis=2)
    assert [p.shape for p in pieces] == [(4, 5, 4), (4, 5, 2)]
    np.testing.assert_array_equal(value(build.split(const(X), [1, 4, 0], axis=1)[1]), X[:, 1:])


def test_padding_in_both_spellings_and_negative():
    x = floats(2, 3)
    expected = np.pad(x, ((0, 2), (1, 0)), constant_values=7)
    np.testing.assert_array_equal(value(build.pad(const(x), ((0, 2), (1, 0)), 7)), expected)
    np.testing.assert_array_equal(value(build.pad(const(x), (1, 0, 0, 2), 7)), expected)
    np.testing.assert_array_equal(value(build.pad(const(x), (1, -1))), np.pad(x, ((0, 0), (1, 0)))[:, :-1])


# ---- layers and losses


@pytest.mark.parametrize(
    ("a", "b"),
    [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 5, 3), (3, 4)), ((2, 5, 3), (2, 3, 4)), ((5, 3), (7, 3, 2)),
     ((2, 1, 5, 3), (4, 3, 2)), ((2, 0, 3), (3, 4)), ((2, 5, 3), (3,)), ((2, 3, 0), (0, 4))],
)  # fmt: skip
def test_matmul_is_numpys(a, b):
    x, y = floats(*a), floats(*b)
    nodes = const(x), const(y)
    result = build.matmul(*nodes)
    np.testing.assert_allclose(value(result), x @ y, rtol=1e-5, atol=1e-6)
    dx, dy = cotangents(build.reduce_sum(result), *nodes)
    assert dx.shape == a and dy.shape == b
    # the sum is linear in either operand
    np.testing.assert_allclose([(dx * x).sum(), (dy * y).sum()], (x @ y).sum(), rtol=1e-4, atol=1e-5)


def test_dense_and_conv2d_add_their_bias():
    x, w, b = floats(2, 3), floats(4, 3), floats(4)
    np.testing.assert_allclose(
        value(build.dense(const(x), const(w), const(b))), x @ w.T + b, rtol=1e-5, atol=1e-6
    )
    image, kernel, bias = floats(1, 2, 5, 5), floats(3, 2, 3, 3), floats(3)
    y = value(build.conv2d(const(image), const(kernel), const(bias), stride=2, padding=(1, 1)))
    assert y.shape == (1, 3, 3, 3)
    np.testing.assert_allclose(y[0, 1, 1, 1], (image[0, :, 1:4, 1:4] * kernel[1]).sum() + bias[1], rtol=1e-5)


def test_pooling():
    x = floats(1, 1, 4, 4)
    blocks = x.reshape(2, 2, 2, 2).swapaxes(1, 2).reshape(2, 2, 4)
    np.testing.assert_array_equal(value(build.max_pool2d(const(x), 2))[0, 0], blocks.max(-1))
    np.testing.assert_allclose(value(build.avg_pool2d(const(x), 2))[0, 0], blocks.mean(-1), rtol=1e-6)
    ones = const(np.ones((1, 1, 2, 2), np.float32))
    np.testing.assert_array_equal(
        value(build.avg_pool2d(ones, 2, 1, 1, count_include_pad=False)), np.ones((1, 1, 3, 3))
    )
    assert value(build.avg_pool2d(ones, 2, 1, 1))[0, 0, 0, 0] == 0.25


def log_softmax(x):
    x = x.astype(np.float64)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


LOGITS, LABELS = floats(6, 5), np.int32([0, 4, 2, -100, 1, 4])
WEIGHT = np.abs(floats(5)) + np.float32(0.1)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_cross_entropy_of_class_indices(weight, smoothing):
    counted = LABELS != -100
    logp, w = log_softmax(LOGITS), np.ones(5) if weight is None else weight
    labels = np.where(counted, LABELS, 0)
    nll = -logp[np.arange(6), labels] * w[labels]
    loss = ((1 - smoothing) * nll - smoothing / 5 * (logp * w).sum(1)) * counted
    mass = w[labels] * counted
    settings = {"weight": None if weight is None else const(weight), "label_smoothing": smoothing}
    for reduction, expected in (("none", loss), ("sum", loss.sum()), ("mean", loss.sum() / mass.sum())):
        result = build.cross_entropy(const(LOGITS), const(LABELS), reduction=reduction, **settings)
        np.testing.assert_allclose(value(result), expected, rtol=2e-5, atol=1e-6)


def test_cross_entropy_of_probabilities_and_of_images():
    p = RNG.dirichlet(np.ones(5), 6).astype(np.float32)
    expected = -(p * log_softmax(LOGITS)).sum(1)
    np.testing.assert_allclose(
        value(build.cross_entropy(const(LOGITS), const(p))), expected.mean(), rtol=1e-5
    )
    image, labels = floats(2, 5, 3, 4), RNG.integers(0, 5, (2, 3, 4)).astype(np.int32)
    loss = value(build.cross_entropy(const(image), const(labels), reduction="none"))
    rows = log_softmax(np.moveaxis(image, 1, -1).reshape(-1, 5))
    np.testing.assert_allclose(
        loss.reshape(-1), -rows[np.arange(24), labels.reshape(-1)], rtol=1e-4, atol=1e-6
    )
    dense = value(build.cross_entropy(const(image), build.one_hot(const(labels), 5, axis=1)))
    np.testing.assert_allclose(dense, loss.mean(), rtol=1e-5)


def test_cross_entropy_survives_large_logits():
    logits = const(np.float32([[1000, -1000], [-1000, 1000], [1e30, 0]]))
    loss = build.cross_entropy(logits, const(np.int32([0, 0, 0])), reduction="none")
    np.testing.assert_array_equal(value(loss), [0, 2000, 0])
    (gradient,) = cotangents(build.reduce_sum(loss), logits)
    np.testing.assert_array_equal(gradient, [[0, 0], [-1, 1], [0, 0]])


def test_labels_outside_the_classes_make_the_loss_nan():
    loss = value(build.softmax_cross_entropy_sparse(const(LOGITS[:3]), const(np.int32([5, -1, 2]))))
    assert list(np.isnan(loss)) == [True, True, False]


def test_dense_cross_entropy_of_zero_labels_is_zero():
    logits = const(LOGITS)
    loss = build.softmax_cross_entropy_dense(logits, build.zeros_like(logits))
    np.testing.assert_array_equal(value(loss), np.zeros(6))
    np.testing.assert_array_equal(cotangents(build.reduce_sum(loss), logits)[0], np.zeros((6, 5)))


def test_simple_losses():
    a, b = floats(3, 4), floats(3, 4)
    np.testing.assert_allclose(value(build.mse_loss(const(a), const(b))), ((a - b) ** 2).mean(), rtol=1e-6)
    np.testing.assert_allclose(
        value(build.mse_loss(const(a), const(b), "sum")), ((a - b) ** 2).sum(), rtol=1e-6
    )
    np.testing.assert_allclose(value(build.l1_loss(const(a), const(b), "none")), np.abs(a - b), rtol=1e-6)
