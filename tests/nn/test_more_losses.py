"""Losses against PyTorch 2.13's numbers (float64, same inputs), their gradients against finite differences, native code
against the interpreter; reductions and messages."""

import numpy as np
import pytest

import graphrt
from graphrt import Tensor, nn
from graphrt.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(7)
X, Y, Z = (RNG.standard_normal((4, 5)) for _ in range(3))
LABELS, SIGN = np.array([1, 4, 0, 2], np.int32), np.array([1, -1, -1, 1], np.int32)
P, T, W = 1 / (1 + np.exp(-X)), RNG.uniform(0, 1, (4, 5)), RNG.uniform(0.5, 2, 5)
S = np.sign(Y)
LOG = X - np.log(np.exp(X).sum(1, keepdims=True))
Q = T / T.sum(1, keepdims=True)
FACTORS = Tensor(W.astype(np.float32))

# name: (loss, inputs, PyTorch's value)
CASES = {
    "NLL": (lambda: nn.NLLLoss(), (LOG, LABELS), 1.6206616),
    "NLL weight": (lambda: nn.NLLLoss(FACTORS, ignore_index=4), (LOG, LABELS), 1.2740261),
    "BCE": (lambda: nn.BCELoss(), (P, T), 0.6602789),
    "BCE weight": (lambda: nn.BCELoss(FACTORS, "sum"), (P, T), 19.2029284),
    "BCE logits": (lambda: nn.BCEWithLogitsLoss(), (X, T), 0.6602789),
    "BCE logits weights": (lambda: nn.BCEWithLogitsLoss("mean", FACTORS, FACTORS[::-1]), (X, T), 1.2970844),
    "KL": (lambda: nn.KLDivLoss(), (LOG, Q), 0.0419239),
    "KL batch": (lambda: nn.KLDivLoss("batchmean"), (LOG, Q), 0.2096197),
    "Huber": (lambda: nn.HuberLoss(delta=0.7), (X, Y), 0.584322),
    "SmoothL1": (lambda: nn.SmoothL1Loss(0.6, "mean"), (X, Y), 0.8799217),
    "SoftMargin": (lambda: nn.SoftMarginLoss(), (X, S), 0.7369018),
    "Cosine": (lambda: nn.CosineEmbeddingLoss(0.1), (X, Y, SIGN), 0.4816722),
    "Ranking": (lambda: nn.MarginRankingLoss(0.3), (X, Y, S), 1.1292449),
    "Hinge": (lambda: nn.HingeEmbeddingLoss(0.8), (X, S), 0.6981632),
    "Triplet": (lambda: nn.TripletMarginLoss(margin=2), (X, Y, Z), 2.0661213),
    "Triplet swap": (lambda: nn.TripletMarginLoss(3, True, margin=2), (X, Y, Z), 2.1562955),
    "Triplet p=1": (lambda: nn.TripletMarginLoss(1, margin=2), (X, Y, Z), 3.0169707),
    "CosineSimilarity": (lambda: nn.CosineSimilarity(), (X, Y), -0.1979567),
    "CrossEntropy": (lambda: nn.CrossEntropyLoss(FACTORS, 4, label_smoothing=0.2), (X, LABELS), 1.4212308),
    "CrossEntropy probabilities": (lambda: nn.CrossEntropyLoss(FACTORS, label_smoothing=0.2), (X, Q), 2.4597786),
    "RMSE": (lambda: nn.RMSELoss(), (X, Y), np.sqrt(((X - Y) ** 2).mean())),
    "MAE": (lambda: nn.MAELoss(), (X, Y), abs(X - Y).mean()),
    "Dice": (lambda: nn.DiceLoss(), (P, T), 1 - 2 * (P * T).sum() / ((P**2).sum() + (T**2).sum() + 1e-5)),
}  # fmt: skip


def tensors(inputs, dtype=np.float32):
    return tuple(Tensor(x if x.dtype == np.int32 else x.astype(dtype)) for x in inputs)


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient(case):
    make, inputs, expected = CASES[case]
    loss = make()
    value, slope = graphrt.value_and_grad(loss)(*tensors(inputs))
    assert value.asnumpy().sum() == pytest.approx(expected, rel=2e-5)
    with graphrt.set_context(engine="native"):
        native, native_slope = graphrt.compile(graphrt.value_and_grad(make()))(*tensors(inputs))
    np.testing.assert_allclose(native.asnumpy(), value.asnumpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(native_slope.asnumpy(), slope.asnumpy(), rtol=1e-4, atol=1e-6)
    direction = RNG.standard_normal(inputs[0].shape)
    ends = [
        loss(*tensors((inputs[0] + step * direction, *inputs[1:]), np.float64))
        .asnumpy()
        .sum(dtype=np.float64)
        for step in (1e-6, -1e-6)
    ]
    assert (slope.asnumpy() * direction).sum() == pytest.approx(
        (ends[0] - ends[1]) / 2e-6, rel=2e-3, abs=1e-4
    )


@pytest.mark.parametrize(
    "make, inputs",
    [
        (nn.NLLLoss, (LOG, LABELS)), (nn.BCELoss, (P, T)), (nn.BCEWithLogitsLoss, (X, T)), (nn.KLDivLoss, (LOG, Q)),
        (nn.HuberLoss, (X, Y)), (nn.SmoothL1Loss, (X, Y)), (nn.SoftMarginLoss, (X, S)), (nn.MAELoss, (X, Y)),
        (nn.CosineEmbeddingLoss, (X, Y, SIGN)), (nn.MarginRankingLoss, (X, Y, S)), (nn.HingeEmbeddingLoss, (X, S)),
        (nn.TripletMarginLoss, (X, Y, Z)),
    ],
)  # fmt: skip
def test_reductions(make, inputs):
    each = make(reduction="none")(*tensors(inputs)).asnumpy()
    assert make(reduction="sum")(*tensors(inputs)).item() == pytest.approx(each.sum(), rel=1e-5)
    assert make(reduction="mean")(*tensors(inputs)).item() == pytest.approx(each.mean(), rel=1e-5)
    default = make()(*tensors(inputs)).asnumpy()
    assert default.shape == (each.shape if make is nn.SmoothL1Loss else ())
    with pytest.raises(ArgumentError, match=f"{make.__name__}: unknown reduction"):
        make(reduction="average")


def test_nll_of_images_is_cross_entropy_of_logits():
    logits = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
    labels = RNG.integers(0, 3, (2, 4, 5)).astype(np.int32)
    log = graphrt.ops.log_softmax(Tensor(logits), 1)
    expected = nn.CrossEntropyLoss()(Tensor(logits), Tensor(labels)).item()
    assert nn.NLLLoss()(log, Tensor(labels)).item() == pytest.approx(expected, rel=1e-5)


def test_extreme_probabilities_stay_finite():
    certain = Tensor(np.array([0.0, 1.0, 0.0, 1.0], np.float32))
    target = Tensor(np.array([0.0, 1.0, 1.0, 0.0], np.float32))
    value, slope = graphrt.value_and_grad(nn.BCELoss(reduction="sum"))(certain, target)
    assert value.item() == pytest.approx(-2 * np.log(1e-12), rel=1e-5) and np.isfinite(slope.asnumpy()).all()
    large = Tensor(np.array([500.0, -500.0], np.float32))
    value, slope = graphrt.value_and_grad(nn.BCEWithLogitsLoss(reduction="none"))(large, target[:2])
    np.testing.assert_allclose(value.asnumpy(), [500.0, 500.0])
    np.testing.assert_allclose(slope.asnumpy(), [1.0, -1.0])
    zero = Tensor(np.zeros((1, 3), np.float32))
    _, slope = graphrt.value_and_grad(nn.KLDivLoss())(zero, zero)
    assert np.isfinite(slope.asnumpy()).all()


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: nn.NLLLoss()(*tensors((LOG[0], LABELS))), ShapeError, "NLLLoss: logits need a batch and a class axis"),
        (lambda: nn.NLLLoss()(*tensors((LOG, T[:, 0]))), DTypeError, "NLLLoss: class indices must be integers"),
        (lambda: nn.BCELoss()(*tensors((P, T[:2]))), ShapeError, "BCELoss: predictions and labels must have one shape"),
        (lambda: nn.HuberLoss(delta=0), ArgumentError, "HuberLoss: delta must be positive"),
        (lambda: nn.DiceLoss(0), ArgumentError, "DiceLoss: smooth must be positive"),
        (lambda: nn.CosineEmbeddingLoss(2), ArgumentError, "CosineEmbeddingLoss: margin out of range"),
        (
            lambda: nn.TripletMarginLoss()(*tensors((X, Y, Z[:2]))), ShapeError,
            "TripletMarginLoss: the samples must be vectors of one shape",
        ),
    ],
)  # fmt: skip
def test_messages(call, error, text):
    with pytest.raises(error, match=text):
        call()
