"""The composed functions of `graphrt.ops` against NumPy formulas in float64: eagerly, and all of a group compiled to
one native program."""

import inspect
import math

import numpy as np
import pytest

import graphrt
from graphrt import Tensor, ops
from graphrt.errors import ArgumentError, ShapeError
from graphrt.frontend import (
    functional_arrays,
    functional_inverse,
    functional_linear,
    functional_losses,
    functional_math,
)

RNG = np.random.default_rng(5)
A, B, C = (RNG.standard_normal((3, 4)) for _ in range(3))
P, Q = RNG.uniform(0.05, 0.95, (3, 4)), RNG.uniform(0.05, 0.95, (3, 4))
V, U = RNG.standard_normal(4), RNG.standard_normal(6)
S, T = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((2, 4, 5))
LONG = RNG.standard_normal((2, 70))
TIES = RNG.integers(0, 4, (3, 9)).astype(np.float64)
MANY_TIES = RNG.integers(0, 3, (3, 40)).astype(np.float64)
RARE = np.array(
    [[np.nan, 1.0, np.nan] + 27 * [-np.inf], 30 * [np.inf], [2.0] + 29 * [np.nan], 30 * [-np.inf]]
)
SPECIAL = np.array([1.5, np.nan, -np.inf, np.inf, -2.5, 0.0])
I = np.array([2, 0, 1, 2], np.int32)  # noqa: E741  indices
LOGP = np.log(P / P.sum(1, keepdims=True))
LABELS = np.array([1, 3, 0], np.int32)
SIGNS = np.array([1.0, -1.0, 1.0])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def group_normed(x):
    grouped = x.reshape(2, 2, -1)
    grouped = (grouped - grouped.mean(-1, keepdims=True)) / np.sqrt(grouped.var(-1, keepdims=True) + 1e-5)
    return grouped.reshape(x.shape)


def picked(weight, labels=LABELS):
    loss = -LOGP[range(3), labels] * weight[labels]
    return loss.sum() / weight[labels].sum()


def ordered(x, k, largest):
    """Values and positions of the first k; NaN counts as the largest, equal ones stay in order."""
    ranks = np.unique(x, return_inverse=True)[1].reshape(x.shape)
    positions = np.argsort(-ranks if largest else ranks, axis=1, kind="stable")[:, :k].astype(np.int32)
    return np.take_along_axis(x, positions, 1), positions


def triplet(a, p, n):
    def distance(x):
        return np.sqrt(((a - x + 1e-6) ** 2).sum(-1))

    return np.maximum(distance(p) - distance(n) + 1, 0).mean()


# (function, arguments, expected): arrays among the arguments become inputs, everything else stays
MATH = [
    ("addn", ([A, B, C],), A + B + C), ("addcmul", (A, B, C, 2.0), A + 2 * B * C),
    ("addcdiv", (A, B, P, 2.0), A + 2 * B / P), ("lerp", (A, B, 0.25), A + 0.25 * (B - A)),
    ("hypot", (A, B), np.hypot(A, B)), ("exp2", (A,), 2.0**A), ("log2", (P,), np.log2(P)),
    ("log10", (P,), np.log10(P)), ("tan", (A,), np.tan(A)), ("sinh", (A,), np.sinh(A)), ("cosh", (A,), np.cosh(A)),
    ("sinh", (A * 1e-9,), np.sinh(A * 1e-9)), ("erfc", (A,), np.vectorize(math.erfc)(A)),
    ("trunc", (A * 3,), np.trunc(A * 3)), ("frac", (A * 3,), A * 3 - np.trunc(A * 3)),
    ("logit", (P,), np.log(P / (1 - P))), ("logit", (np.array([0.0, 1.0]), 0.25), np.log([1 / 3, 3])),
    ("xlogy", (np.array([0.0, 2.0]), np.array([0.0, 3.0])), np.array([0, 2 * math.log(3)])),
    ("logaddexp", (A * 500, B * 500), np.logaddexp(A * 500, B * 500)), ("deg2rad", (A,), np.deg2rad(A)),
    ("rad2deg", (A,), np.rad2deg(A)), ("isinf", (SPECIAL,), np.isinf(SPECIAL)),
    ("isclose", (np.array([1.0, 1.0, np.inf, np.nan]), np.array([1.0 + 1e-7, 1.1, np.inf, np.nan])),
     np.array([True, False, True, False])),
    ("isclose", (SPECIAL, SPECIAL, 1e-5, 1e-8, True), np.ones(6, bool)),
    ("nan_to_num", (SPECIAL,), np.nan_to_num(SPECIAL)),
    ("nan_to_num", (SPECIAL, 1.0, 2.0, 3.0), np.nan_to_num(SPECIAL, nan=1, posinf=2, neginf=3)),
    ("logsigmoid", (A * 300,), -np.logaddexp(0, -A * 300)), ("softsign", (A,), A / (1 + abs(A))),
    ("tanhshrink", (A,), A - np.tanh(A)), ("hardtanh", (A, -0.5, 0.7), A.clip(-0.5, 0.7)),
    ("hardshrink", (A,), np.where(abs(A) > 0.5, A, 0)),
    ("softshrink", (A,), np.sign(A) * np.maximum(abs(A) - 0.5, 0)),
    ("threshold", (A, 0.1, 7.0), np.where(A > 0.1, A, 7.0)),
    ("celu", (A, 2.0), np.where(A > 0, A, 2 * np.expm1(A / 2))),
    ("selu", (A,), 1.0507009873554805 * np.where(A > 0, A, 1.6732632423543772 * np.expm1(A))),
    ("prelu", (A, V), np.where(A > 0, A, A * V)), ("prelu", (S, V[:1]), np.where(S > 0, S, S * V[0])),
    ("glu", (A,), A[:, :2] * sigmoid(A[:, 2:])),
    ("softmin", (A,), np.exp(-A) / np.exp(-A).sum(1, keepdims=True)),
    ("logsumexp", (A * 500, 1), np.logaddexp.reduce(A * 500, 1)),
    ("logsumexp", (A, (), True), np.log(np.exp(A).sum(keepdims=True))),
    ("logsumexp", (np.full((2, 3), -np.inf), 1), np.full(2, -np.inf)),
    ("count_nonzero", (TIES, 1), np.count_nonzero(TIES, 1).astype(np.int32)),
    ("std_mean", (A, 1), (A.std(1), A.mean(1))), ("var_mean", (A, None, 1), (A.var(ddof=1), A.mean())),
    ("cosine_similarity", (A, B), (A * B).sum(1) / (np.linalg.norm(A, axis=1) * np.linalg.norm(B, axis=1))),
    ("l2_normalize", (A, 1), A / np.linalg.norm(A, axis=1, keepdims=True)),
]  # fmt: skip
ARRAYS = [
    ("chunk", (U, 4), tuple(np.split(U, 3))), ("unbind", (A, 1), tuple(A.T)), ("unstack", (A,), tuple(A)),
    ("narrow", (A, 1, 1, 2), A[:, 1:3]), ("strided_slice", (A, (0, 3), (3, 0), (2, -1)), A[0:3:2, 3:0:-1]),
    ("tile", (A, (2, 1, 3)), np.tile(A, (2, 1, 3))), ("tile", (S, 2), np.tile(S, 2)),
    ("repeat_interleave", (A, 2, 1), A.repeat(2, 1)), ("repeat_interleave", (A, 3), A.repeat(3)),
    ("roll", (A, 5, 1), np.roll(A, 5, 1)), ("roll", (A, -1), np.roll(A, -1)),
    ("roll", (A, (1, 2), (0, 1)), np.roll(A, (1, 2), (0, 1))), ("movedim", (S, 0, 2), np.moveaxis(S, 0, 2)),
    ("moveaxis", (S, (0, 1), (-1, 0)), np.moveaxis(S, (0, 1), (-1, 0))), ("hstack", ([A, B],), np.hstack([A, B])),
    ("hstack", ([V, U],), np.hstack([V, U])), ("vstack", ([V, A],), np.vstack([V, A])), ("ravel", (A,), A.ravel()),
    ("tril", (S, -1), np.tril(S, -1)), ("triu", (A, 1), np.triu(A, 1)), ("diag", (V,), np.diag(V)),
    ("diag", (A,), np.diag(A)), ("trace", (A,), np.trace(A)),
    ("index_select", (A, 1, I), A[:, I]), ("embedding", (I, A), A[I]),
    ("gather_elements", (A, 1, np.array([[0, 3], [1, -1], [2, 2]], np.int32)),
     np.take_along_axis(A, np.array([[0, 3], [1, 3], [2, 2]]), 1)),
    ("gather_elements", (A, 0, np.array([[2, 1, 0]], np.int64)), A[[2, 1, 0], [0, 1, 2]][None]),
    ("gather_d", (V, 0, I), V[I]),
    ("gather_nd", (S, np.array([[1, 2], [0, 0]], np.int32)), S[[1, 0], [2, 0]]),
    ("gather_nd", (A, np.array([[[2, 3]], [[1, 1]]], np.int32)), A[[2, 1], [3, 1]][:, None]),
    ("masked_fill", (A, A > 0, -1.0), np.where(A > 0, -1.0, A)),
    ("unsorted_segment_sum", (A, LABELS, 5), np.stack([A[2], A[0], 0 * V, A[1], 0 * V])),
    ("cumprod", (LONG, 1), LONG.cumprod(1)), ("cumprod", (I, 0), I.cumprod(dtype=np.int32)),
    ("median", (LONG,), (np.sort(LONG)[:, 34], np.argsort(LONG)[:, 34].astype(np.int32))),
    ("median", (A, 0, True), (np.sort(A, 0)[1:2], np.argsort(A, 0)[1:2].astype(np.int32))),
    ("cumsum", (LONG, 1), LONG.cumsum(1)), ("cumsum", (A, 0), A.cumsum(0)), ("cumsum", (I, 0), I.cumsum(dtype=np.int32)),
    ("topk", (A, 2), (-np.sort(-A)[:, :2], np.argsort(-A)[:, :2].astype(np.int32))),
    ("topk", (A, 2, 0, False), (np.sort(A, 0)[:2], np.argsort(A, 0)[:2].astype(np.int32))),
    *(("topk", (x, 3, None, largest), ordered(x, 3, largest))
      for x in (LONG, MANY_TIES, RARE, MANY_TIES.astype(np.int32)) for largest in (True, False)),
    ("sort", (TIES,), (np.sort(TIES), np.argsort(TIES, kind="stable").astype(np.int32))),
    ("sort", (TIES, 0, True), (-np.sort(-TIES, 0), np.argsort(-TIES, 0, kind="stable").astype(np.int32))),
    ("sort", (SPECIAL,), (np.sort(SPECIAL), np.argsort(SPECIAL, kind="stable").astype(np.int32))),
    ("argsort", (SPECIAL, -1, True), np.array([1, 3, 0, 5, 4, 2], np.int32)),
    ("sort", (I,), (np.sort(I), np.argsort(I, kind="stable").astype(np.int32))),
]  # fmt: skip
EDGES = np.array([0.0, 1.0, -1.0, 0.5, -1e-9])
BEYOND = np.array([1e-9, -1.0, 1e5, -3e12, np.inf, -np.inf, np.nan])
INVERSE = [
    ("atan", (A * 3,), np.arctan(A * 3)), ("arctan", (BEYOND,), np.arctan(BEYOND)),
    ("asin", (EDGES,), np.arcsin(EDGES)), ("arcsin", (P,), np.arcsin(P)),
    ("acos", (EDGES,), np.arccos(EDGES)), ("arccos", (P - Q,), np.arccos(P - Q)),
    ("asinh", (A * 9,), np.arcsinh(A * 9)), ("arcsinh", (BEYOND,), np.arcsinh(BEYOND)),
    ("acosh", (1 + P,), np.arccosh(1 + P)), ("arccosh", (np.array([1.0, 7e9]),), np.arccosh([1.0, 7e9])),
    ("atanh", (P - Q,), np.arctanh(P - Q)), ("arctanh", (np.array([1e-9, 1.0, -1.0]),), np.array([1e-9, np.inf, -np.inf])),
    ("atan2", (A, B), np.arctan2(A, B)),
    ("arctan2", (np.array([0.0, 0.0, 2.0, -2.0, 1.0]), np.array([0.0, -3.0, 0.0, 0.0, -1.0])),
     np.array([0, np.pi, np.pi / 2, -np.pi / 2, 0.75 * np.pi])),
]  # fmt: skip
SQUARES, STACK = RNG.standard_normal((3, 3, 2)), RNG.standard_normal((2, 1, 3, 4))
LINEAR = [
    ("mm", (A, B.T), A @ B.T), ("bmm", (S, T), S @ T), ("mv", (A, V), A @ V), ("dot", (V, V), V @ V),
    ("inner", (S, A), np.inner(S, A)), ("outer", (V, U), np.outer(V, U)), ("addmm", (A @ B.T, A, B.T), 2 * A @ B.T),
    ("baddbmm", (S @ T, S, T, 2.0, 3.0), 5 * S @ T), ("linear", (S, A, V[:3]), S @ A.T + V[:3]),
    ("bias_add", (S, V[:3]), S + V[:3, None]), ("tensordot", (S, T, ((2,), (1,))), np.tensordot(S, T, (2, 1))),
    ("tensordot", (A, A.T, 1), A @ A.T), ("tensordot", (A, B, ((0, 1), (0, 1))), (A * B).sum()),
    *(("einsum", (equation, *operands), np.einsum(equation, *operands)) for equation, operands in (
        ("bij,bjk->bik", (S, T)), ("ij,ij->i", (A, B)), ("ij->ji", (A,)), ("ij->", (A,)), ("i,j->ij", (V, U)),
        ("bij,bjk->ki", (S, T)), ("bij,bjk,i->bk", (S, T, A[:, 0])), ("ij,jk", (A, B.T)), ("bij,kj->bki", (S, A)),
        ("ij,kl->il", (A, B)), ("iij->ji", (SQUARES,)), ("ii", (SQUARES[..., 0],)), ("jij,k->ik", (SQUARES.swapaxes(1, 2), V)),
        ("...i,...i->...", (S, A)), ("...ij,...jk->...ik", (STACK, T)), ("...ij,jk", (STACK, A.T)),
        ("i...->...i", (S,)), ("...,...->...", (A[:, :1], A)),
    )),
    ("normalize", (A,), A / np.linalg.norm(A, axis=1, keepdims=True)),
    ("normalize", (A, 1.0, 0), A / abs(A).sum(0)),
    ("group_norm", (S.reshape(2, 4, 3), 2), group_normed(S.reshape(2, 4, 3))),
    ("group_norm", (S.reshape(2, 4, 3), 2, V, V), group_normed(S.reshape(2, 4, 3)) * V[:, None] + V[:, None]),
    ("rms_norm", (A, V), A / np.sqrt((A**2).mean(-1, keepdims=True) + 1e-6) * V),
]  # fmt: skip
D = abs(A - B)
BCE = -(Q * np.log(P) + (1 - Q) * np.log(1 - P))
LOGITS_BCE = (1 - Q) * A + (1 + (V - 1) * Q) * np.logaddexp(0, -A)
LOSSES = [
    ("nll_loss", (LOGP, LABELS), -LOGP[range(3), LABELS].mean()),
    ("nll_loss", (LOGP, LABELS, P[0]), picked(P[0])),
    ("nll_loss", (LOGP, np.array([1, -100, 0], np.int32), None, -100, "none"), -LOGP[range(3), LABELS] * [1, 0, 1]),
    ("nll_loss", (np.log(P[0]), np.array(2, np.int32)), -np.log(P[0, 2])),
    ("binary_cross_entropy", (P, Q), BCE.mean()),
    ("binary_cross_entropy", (np.array([0.0, 1.0]), np.array([0.0, 0.0]), None, "none"), np.array([0.0, 100.0])),
    ("binary_cross_entropy", (P, Q, V, "sum"), (BCE * V).sum()),
    ("binary_cross_entropy_with_logits", (A * 400, Q, None, None, "sum"),
     (np.maximum(A * 400, 0) - A * 400 * Q + np.log1p(np.exp(-abs(A * 400)))).sum()),
    ("binary_cross_entropy_with_logits", (A, Q, V, V), (LOGITS_BCE * V).mean()),
    ("smooth_l1_loss", (A, B, 0.5), np.where(D < 0.5, D**2, D - 0.25)),
    ("huber_loss", (A, B, "mean", 0.5), np.where(D <= 0.5, D**2 / 2, 0.5 * (D - 0.25)).mean()),
    ("kl_div", (np.log(P), Q, "batchmean"), (Q * (np.log(Q) - np.log(P))).sum() / 3),
    ("margin_ranking_loss", (A[:, 0], B[:, 0], SIGNS, 0.1), np.maximum(-SIGNS * (A - B)[:, 0] + 0.1, 0).mean()),
    ("hinge_embedding_loss", (P[:, 0], SIGNS), np.where(SIGNS > 0, P[:, 0], 1 - P[:, 0]).mean()),
    ("soft_margin_loss", (A[:, 0], SIGNS, "none"), np.logaddexp(0, -SIGNS * A[:, 0])),
    ("cosine_embedding_loss", (A, A, SIGNS, 0.3), np.array([0.0, 0.7, 0.0]).mean()),
    ("triplet_margin_loss", (A, B, C), triplet(A, B, C)),
]  # fmt: skip
GROUPS = {"math": MATH, "arrays": ARRAYS, "linear": LINEAR, "inverse": INVERSE, "losses": LOSSES}


def is_array(value):
    return isinstance(value, np.ndarray)


def call(name, arguments):
    return getattr(ops, name)(*arguments)


def tensors(value):
    if is_array(value):
        return Tensor(value)
    return [tensors(v) for v in value] if isinstance(value, list) else value


def check(actual, expected):
    if isinstance(expected, tuple):
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected):
            check(a, e)
        return
    expected = np.asarray(expected)
    assert actual.shape == expected.shape and actual.asnumpy().dtype == expected.dtype
    np.testing.assert_allclose(actual.asnumpy(), expected, rtol=1e-9, atol=1e-12)


ROWS = [row for rows in GROUPS.values() for row in rows]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"), ROWS, ids=[f"{k}-{r[0]}" for k, r in enumerate(ROWS)]
)
def test_value(name, arguments, expected):
    check(call(name, [tensors(a) for a in arguments]), expected)


@pytest.mark.parametrize("group", GROUPS)
def test_native_code(group):
    rows = GROUPS[group]

    def everything(calls):
        return [call(row[0], arguments) for row, arguments in zip(rows, calls)]

    with graphrt.set_context(engine="native"):
        results = graphrt.compile(everything)([[tensors(a) for a in row[1]] for row in rows])
    for actual, (_, _, expected) in zip(results, rows, strict=True):
        check(actual, expected)


def test_making():
    check(ops.eye(2, 3, "float64"), np.eye(2, 3))
    np.testing.assert_allclose(ops.linspace(-1, 2, 7).asnumpy(), np.linspace(-1, 2, 7), rtol=1e-6)
    for indexing in ("xy", "ij"):
        check(
            ops.meshgrid(Tensor(V), Tensor(U), indexing=indexing), tuple(np.meshgrid(V, U, indexing=indexing))
        )


def test_every_function_has_a_row_and_a_docstring():
    tested = {row[0] for row in ROWS} | {"eye", "linspace", "meshgrid"}
    for module in (
        functional_math,
        functional_arrays,
        functional_inverse,
        functional_linear,
        functional_losses,
    ):
        assert set(module.__all__) - tested == set()
        assert all(inspect.getdoc(getattr(module, name)) for name in module.__all__)


def test_gradients_flow_through_order_and_selection():
    def largest_two(x):
        return (ops.topk(x, 2)[0] * Tensor([3.0, 5.0])).sum()

    assert graphrt.grad(largest_two)(Tensor([1.0, 4.0, 2.0])).tolist() == [0.0, 3.0, 5.0]
    assert graphrt.grad(lambda x: ops.cumsum(x, 0).sum())(Tensor([1.0, 4.0, 2.0])).tolist() == [3.0, 2.0, 1.0]
    gradient = graphrt.grad(lambda x: ops.logsumexp(x, 0))(Tensor(V))
    check(gradient, np.exp(V) / np.exp(V).sum())

    assert graphrt.grad(lambda x: ops.cumprod(x, 0).sum())(Tensor([2.0, 0.0, 3.0])).tolist() == [
        1.0,
        8.0,
        0.0,
    ]


@pytest.mark.parametrize(
    ("name", "derivative", "points"),
    [
        ("atan", lambda x: 1 / (1 + x * x), [-7.0, -1.0, 0.0, 1e-6, 1e10]),
        ("asin", lambda x: 1 / np.sqrt(1 - x * x), [-0.9, 0.0, 0.7]),
        ("acos", lambda x: -1 / np.sqrt(1 - x * x), [-0.9, 0.0, 0.7]),
        ("asinh", lambda x: 1 / np.sqrt(1 + x * x), [-2.0, 0.0, 3e10]),
        ("acosh", lambda x: 1 / np.sqrt(x * x - 1), [1.5, 8.0]),
        ("atanh", lambda x: 1 / (1 - x * x), [-0.9, 0.0, 0.7]),
    ],
)
def test_gradients_of_inverse_functions(name, derivative, points):
    x = np.array(points)
    gradient = graphrt.grad(lambda t: getattr(ops, name)(t).sum())(Tensor(x))
    np.testing.assert_allclose(gradient.asnumpy(), derivative(x), rtol=1e-12)


def test_gradient_of_the_angle_in_every_quadrant_and_on_the_axes_and_diagonals():
    y, x = np.array([0.0, 1.0, 1.0, -1.0, -0.2, 2.0, 0.0]), np.array([1.0, 0.0, 1.0, 1.0, -3.0, -1.0, -2.0])
    by, bx = graphrt.grad(lambda a, b: ops.atan2(a, b).sum(), (0, 1))(Tensor(y), Tensor(x))
    np.testing.assert_allclose(by.asnumpy(), x / (x * x + y * y), rtol=1e-12)
    np.testing.assert_allclose(bx.asnumpy(), -y / (x * x + y * y), rtol=1e-12, atol=1e-15)


def test_random_functions_in_range_anew_in_each_call_and_compiled():
    graphrt.set_seed(3)

    def draw():
        return (
            ops.bernoulli(Tensor(np.zeros(4000, np.float32)), 0.25),
            ops.randint(-2, 3, (4000,)),
            ops.randperm(50),
            ops.dropout2d(Tensor(np.ones((20, 30, 2, 2), np.float32)), 0.4),
        )

    compiled = graphrt.compile(draw)
    first, second = ([t.asnumpy() for t in function()] for function in (draw, compiled))
    for coins, integers, order, images in (first, second, [t.asnumpy() for t in compiled()]):
        assert set(coins) == {0, 1} and abs(coins.mean() - 0.25) < 0.04
        assert integers.dtype == np.int32 and np.all(
            abs(np.bincount(integers + 2, minlength=5) / 4000 - 0.2) < 0.04
        )
        assert sorted(order) == list(range(50)) and order.dtype == np.int32
        assert np.all(images == images[..., :1, :1]) and abs((images == 0).mean() - 0.4) < 0.08
        np.testing.assert_allclose(images[images > 0], 1 / 0.6, rtol=1e-6)
    assert all((a != b).any() for a, b in zip(first, second))
    x = Tensor(np.ones((1, 1, 2, 2), np.float32))
    check(ops.dropout2d(x, 0.5, training=False), x.asnumpy())


def test_messages():
    with pytest.raises(ArgumentError, match="addn: no tensors"):
        ops.addn([])
    with pytest.raises(ArgumentError, match="(?s)topk: k must be within the axis.*0 to 4.*5"):  # noqa: RUF043
        ops.topk(Tensor(A), 5)
    with pytest.raises(ArgumentError, match="glu: the axis must have an even extent"):
        ops.glu(Tensor(A), 0)
    with pytest.raises(ShapeError, match="mm: an operand has another number of axes"):
        ops.mm(Tensor(S), Tensor(A))
    with pytest.raises(ShapeError, match="gather_elements: index does not fit"):
        ops.gather_elements(Tensor(A), 1, Tensor(I))
    with pytest.raises(ShapeError, match="cumsum: axis out of range"):
        ops.cumsum(Tensor(A), 2)
    with pytest.raises(ShapeError, match="nll_loss: one class index per sample"):
        ops.nll_loss(Tensor(LOGP), Tensor(A))
    with pytest.raises(ArgumentError, match="kl_div: unknown reduction"):
        ops.kl_div(Tensor(A), Tensor(P), "avg")
    with pytest.raises(ArgumentError, match="group_norm: the groups must divide the channels"):
        ops.group_norm(Tensor(S), 2)
    with pytest.raises(ArgumentError, match="meshgrid: unknown indexing"):
        ops.meshgrid(Tensor(V), indexing="ab")
    with pytest.raises(ArgumentError, match="chunk: at least one piece"):
        ops.chunk(Tensor(V), 0)
    with pytest.raises(ShapeError, match="median: the axis is empty"):
        ops.median(Tensor(np.zeros((2, 0))))
    with pytest.raises(ArgumentError, match="randint: the range is empty or too wide"):
        ops.randint(3, 3, (2,))
    with pytest.raises(ArgumentError, match="randperm: n must not be negative"):
        ops.randperm(-1)
    with pytest.raises(ShapeError, match=r"dropout2d: images are \(N, C, H, W\)"):
        ops.dropout2d(Tensor(A))
    with pytest.raises(ShapeError, match="einsum: axis 'i' has two extents"):
        ops.einsum("ii->i", Tensor(A))
    with pytest.raises(ShapeError, match=r"einsum: axis of '...' has two extents"):
        ops.einsum("...,...", Tensor(A), Tensor(U))
    with pytest.raises(ShapeError, match="einsum: an operand has another number of axes"):
        ops.einsum("ijk->i", Tensor(A))


@pytest.mark.parametrize(
    ("equation", "problem"),
    [("ij,jk->ik", "2 terms for 1 operands"), ("ij->ii", "a letter occurs twice in the result"), ("i.->i", "only letters"),
     ("ij->...i", "the result has '...' but no operand"),
     ("ij->k", "the result has a letter")],
)  # fmt: skip
def test_equations_that_do_not_fit(equation, problem):
    with pytest.raises(ArgumentError, match=problem):
        ops.einsum(equation, Tensor(A))


def test_functions_as_methods():
    from graphrt.frontend.tensor_methods import METHODS

    for names in METHODS.values():
        assert all(callable(getattr(Tensor, name)) and getattr(ops, name) for name in names)
    x = Tensor(A)
    check(x.topk(2)[0], -np.sort(-A)[:, :2])
    check(x.cumsum(axis=1), A.cumsum(1))
    check(x.masked_fill(x > 0, 0.0), np.where(A > 0, 0, A))
    check(x.mm(x.T), A @ A.T)
    check(x[0].expand(2, -1), np.stack([A[0], A[0]]))
    check(x.repeat(2, 1), np.tile(A, (2, 1)))
    check(graphrt.grad(lambda t: (t.detach() * t).sum())(x), A)
    assert x.numel() == 12 and x.type_as(Tensor(1)).dtype == graphrt.int64
    assert x[0].expand_as(x).shape == (3, 4) and x.split(2, axis=1)[0].shape == (3, 2)
