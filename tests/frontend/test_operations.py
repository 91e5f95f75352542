"""Operations as objects (`P.ReLU()(x)`): every class applies what its name says, with MindSpore's argument order."""

import numpy as np
import pytest

import graphrt
from graphrt import Parameter, Tensor, ops
from graphrt.errors import ArgumentError, TraceError
from graphrt.ops import functional as F
from graphrt.ops import operations as P

RNG = np.random.default_rng(9)
A, B = (RNG.standard_normal((3, 4)).astype(np.float32) for _ in range(2))
IMAGE = RNG.standard_normal((2, 3, 5, 5)).astype(np.float32)
WEIGHT = RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)
LABELS = np.array([1, 3, 0], np.int32)
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


LOSS = -np.log(softmax(A))[range(3), LABELS]
GRADIENT = softmax(A) - ONE_HOT

# (operation, arguments, expected)
STATISTICS = A[:, 2], A[:, 3] ** 2
NORMALIZED = np.moveaxis(
    (np.moveaxis(IMAGE, 1, -1) - STATISTICS[0]) / np.sqrt(STATISTICS[1] + 1e-5) * A[:, 0] + A[:, 1], -1, 1
)
ROWS = [
    (P.ReLU(), (A,), np.maximum(A, 0)), (P.TensorAdd(), (A, B), A + B), (P.RealDiv(), (A, B), A / B),
    (P.MatMul(), (A, B.T), A @ B.T), (P.MatMul(transpose_b=True), (A, B), A @ B.T),
    (P.BatchMatMul(True), (IMAGE, IMAGE), np.swapaxes(IMAGE, -1, -2) @ IMAGE),
    (P.Softmax(), (A,), softmax(A)), (P.Softmax(axis=0), (A,), softmax(A.T).T),
    (P.Cast(), (A, graphrt.int32), A.astype(np.int32)), (P.Reshape(), (A, (2, -1)), A.reshape(2, -1)),
    (P.Transpose(), (IMAGE, (0, 2, 3, 1)), IMAGE.transpose(0, 2, 3, 1)),
    (P.ReduceMean(), (IMAGE, (2, 3)), IMAGE.mean((2, 3))), (P.ReduceMean(keep_dims=True), (A,), A.mean(keepdims=True)),
    (P.ReduceSum(), (A, 0), A.sum(0)), (P.ReduceMax(True), (A, 1), A.max(1, keepdims=True)),
    (P.ReduceMin(), (A, -1), A.min(-1)), (P.ReduceProd(), (A, 0), A.prod(0)),
    (P.Argmax(), (A,), A.argmax(-1).astype(np.int32)), (P.Argmin(0), (A,), A.argmin(0).astype(np.int32)),
    (P.ArgMaxWithValue(axis=1), (A,), (A.argmax(1).astype(np.int32), A.max(1))),
    (P.ArgMinWithValue(1, True), (A,), (A.argmin(1)[:, None].astype(np.int32), A.min(1, keepdims=True))),
    (P.OneHot(), (LABELS, 4, 1.0, 0.0), ONE_HOT), (P.Concat(1), ((A, B),), np.concatenate([A, B], 1)),
    (P.Stack(1), ([A, B],), np.stack([A, B], 1)), (P.Pack(), ([A, B],), np.stack([A, B])),
    (P.Unstack(1), (A,), tuple(A.T)), (P.ExpandDims(), (A, -1), A[..., None]), (P.Squeeze(0), (A[:1],), A[0]),
    (P.Squeeze(), (A[:1],), A[0]), (P.Flatten(), (IMAGE,), IMAGE.reshape(2, -1)), (P.Gather(), (A, LABELS, 1), A[:, LABELS]),
    (P.GatherV2(), (A, LABELS[:1], 0), A[LABELS[:1]]), (P.Select(), (A > 0, A, B), np.where(A > 0, A, B)),
    (P.Equal(), (A, A), np.ones_like(A, bool)), (P.LogicalNot(), (A > 0,), A <= 0), (P.Tile(), (A, (2, 1)), np.tile(A, (2, 1))),
    (P.Split(1, 2), (A,), tuple(np.split(A, 2, 1))), (P.Slice(), (A, (1, 0), (2, -1)), A[1:]),
    (P.StridedSlice(), (A, (0, 3), (3, 0), (2, -1)), A[0:3:2, 3:0:-1]), (P.Pad(((1, 0), (0, 2))), (A,), np.pad(A, ((1, 0), (0, 2)))),
    (P.ReverseV2([1]), (A,), A[:, ::-1]), (P.CumSum(), (A, 1), A.cumsum(1)),
    (P.CumSum(exclusive=True, reverse=True), (A, 0), A[::-1].cumsum(0)[::-1] - A),
    (P.TopK(), (A, 2), (-np.sort(-A)[:, :2], np.argsort(-A)[:, :2].astype(np.int32))),
    (P.Sort(descending=True), (A,), (-np.sort(-A), np.argsort(-A).astype(np.int32))),
    (P.EmbeddingLookup(), (A, LABELS[:1], 1), A[LABELS[:1] - 1]), (P.AddN(), ((A, B, A),), A + B + A),
    (P.L2Loss(), (A,), (A * A).sum() / 2), (P.L2Normalize(1), (A,), A / np.linalg.norm(A, axis=1, keepdims=True)),
    (P.Einsum("ij,kj->ik"), ((A, B),), A @ B.T), (P.CumProd(), (A, 1), A.cumprod(1)), (P.Atan2(), (A, B), np.arctan2(A, B)),
    (P.BatchNorm(), (IMAGE, A[:, 0], A[:, 1], A[:, 2], A[:, 3] ** 2),
     (NORMALIZED, *STATISTICS, *STATISTICS)),
    (P.BiasAdd(), (IMAGE, A[:, 0]), IMAGE + A[:, :1, None]), (P.Fill(), (graphrt.float32, (2, 2), 3), np.full((2, 2), 3, np.float32)),
    (P.Eye(), (2, 3, graphrt.int32), np.eye(2, 3, dtype=np.int32)), (P.OnesLike(), (A,), np.ones_like(A)),
    (P.Zeros(), ((2,), graphrt.int32), np.zeros(2, np.int32)), (P.Range(), (2, 8, 3), np.arange(2, 8, 3, dtype=np.int32)),
    (P.GeLU(), (A,), A / 2 * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (A + 0.044715 * A**3)))),
    (P.SoftmaxCrossEntropyWithLogits(), (A, ONE_HOT), (LOSS, GRADIENT)),
    (P.SparseSoftmaxCrossEntropyWithLogits(), (A, LABELS), LOSS.mean()),
    (P.SparseSoftmaxCrossEntropyWithLogits(is_grad=True), (A, LABELS), GRADIENT / 3),
    (P.SigmoidCrossEntropyWithLogits(), (A, ONE_HOT), np.logaddexp(0, A) - A * ONE_HOT),
    (P.NLLLoss(), (np.log(softmax(A)), LABELS, np.ones(4, np.float32)), (LOSS.mean(), np.float32(3))),
    (P.LayerNorm(), (A, np.ones(4, np.float32), np.zeros(4, np.float32)),
     ((A - A.mean(1, keepdims=True)) / np.sqrt(A.var(1, keepdims=True) + 1e-7), A.mean(1, keepdims=True), A.var(1, keepdims=True))),
]  # fmt: skip


def tensors(value):
    if isinstance(value, np.ndarray):
        return Tensor(value)
    return type(value)(tensors(v) for v in value) if isinstance(value, (tuple, list)) else value


def check(actual, expected):
    if isinstance(expected, tuple):
        assert isinstance(actual, tuple) and len(actual) == len(expected)
        for a, e in zip(actual, expected):
            check(a, e)
        return
    expected = np.asarray(expected)
    assert actual.shape == expected.shape and actual.asnumpy().dtype == expected.dtype
    np.testing.assert_allclose(actual.asnumpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("operation", "arguments", "expected"), ROWS, ids=[repr(row[0]) for row in ROWS])
def test_value(operation, arguments, expected):
    check(operation(*[tensors(a) for a in arguments]), expected)


def test_convolution_and_pooling_are_those_of_the_functions():
    x, w = Tensor(IMAGE), Tensor(WEIGHT)
    for pad_mode in ("valid", "same"):
        operation = P.Conv2D(out_channel=4, kernel_size=3, pad_mode=pad_mode, stride=2)
        check(operation(x, w), F.conv2d(x, w, None, 2, pad_mode).asnumpy())
    check(P.Conv2D(4, (3, 3), pad_mode="pad", pad=1)(x, w), F.conv2d(x, w, None, 1, "pad", 1).asnumpy())
    check(P.MaxPool(2, 2)(x), F.max_pool2d(x, 2, 2).asnumpy())
    check(P.MaxPool(ksize=2, strides=1, padding="same")(x), F.max_pool2d(x, 2, 1, (0, 1, 0, 1)).asnumpy())
    same = P.AvgPool(kernel_size=(1, 1, 2, 2), strides=1, pad_mode="SAME")(x).asnumpy()
    assert same.shape == x.shape
    np.testing.assert_allclose(same[:, :, -1, -1], IMAGE[:, :, -1, -1])  # padding does not count


def test_batch_norm_moves_its_statistics_in_training():
    mean, variance = Parameter(Tensor(np.zeros(3, np.float32))), Parameter(Tensor(np.ones(3, np.float32)))
    ones, zeros = Tensor(np.ones(3, np.float32)), Tensor(np.zeros(3, np.float32))
    result = P.BatchNorm(is_training=True, momentum=0.25)(Tensor(IMAGE), ones, zeros, mean, variance)
    m, v = IMAGE.mean((0, 2, 3)), IMAGE.var((0, 2, 3))
    expected = (IMAGE - m[:, None, None]) / np.sqrt(v + 1e-5)[:, None, None]
    check(result, (expected, m, v, m, v))
    check(mean, 0.25 * m)
    check(variance, 0.75 + 0.25 * v)


def test_dropout_returns_the_mask():
    result, mask = P.Dropout(keep_prob=0.75)(Tensor(np.full((40, 50), 2.0, np.float32)))
    assert set(np.unique(mask.asnumpy())) == {0.0, 1.0} and 0.7 < mask.asnumpy().mean() < 0.8
    np.testing.assert_allclose(result.asnumpy(), mask.asnumpy() * 2 / 0.75, rtol=1e-6)


def test_state_and_shapes():
    w = Parameter(np.ones(3, np.float32), name="w")
    P.AssignAdd()(w, Tensor([1.0, 2.0, 3.0]))
    assert w.asnumpy().tolist() == [2.0, 3.0, 4.0]
    x = Tensor(A)
    assert (
        P.Shape()(x) == (3, 4) and P.Rank()(x) == 2 and P.Size()(x) == 12 and P.DType()(x) == graphrt.float32
    )
    assert P.Partial()(F.add, x)(x).tolist() == (x + x).tolist()


def test_print(capsys):
    P.Print()("a =", Tensor([1.0]))
    assert capsys.readouterr().out == "a =\n[1.]\n"
    with pytest.raises(TraceError, match="(?s)Print: values are not known.*return the tensor"):  # noqa: RUF043
        graphrt.compile(lambda x: P.Print()(x))(Tensor([1.0]))


def test_messages():
    with pytest.raises(
        ArgumentError, match=r"(?s)ReLU: unknown settings.*given:    1 arguments.*ReLU\(\)\(x\)"
    ):
        P.ReLU(Tensor(A))
    with pytest.raises(ArgumentError, match=r"(?s)Softmax: unknown settings.*Softmax\(axis\).*dim"):
        P.Softmax(dim=1)
    with pytest.raises(ArgumentError, match=r"images are \(N, C, H, W\)"):
        P.MaxPool(2, data_format="NHWC")
    with pytest.raises(ArgumentError, match="Conv2D: the weight has another shape"):
        P.Conv2D(5, 3)(Tensor(IMAGE), Tensor(WEIGHT))
    with pytest.raises(ArgumentError, match="(?s)Split: the axis must divide.*divisor of 4"):  # noqa: RUF043
        P.Split(1, 3)(Tensor(A))
    with pytest.raises(ArgumentError, match="masks are not supported"):
        P.StridedSlice(begin_mask=1)


def test_every_class_is_documented_and_found_in_ops():
    for name in P.__all__:
        assert getattr(P, name).__doc__, name
        assert getattr(ops, name) is getattr(P, name)
    assert repr(P.Softmax(axis=1)) == "Softmax(axis=1)" and P.Softmax().name == "Softmax"
