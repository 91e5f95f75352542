"""Metrics by hand-computed values, over several batches, and their explaining errors."""

import numpy as np
import pytest

import graphrt
from graphrt import nn
from graphrt.errors import ArgumentError, DataError, ShapeError
from graphrt.nn import metrics

SCORES = np.array([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.2, 0.3, 0.5], [0.4, 0.35, 0.25]], np.float32)
LABELS = np.array([1, 0, 1, 2])


@pytest.mark.parametrize("labels", [LABELS, np.eye(3)[LABELS]], ids=["class numbers", "one-hot"])
@pytest.mark.parametrize("wrap", [np.asarray, graphrt.Tensor])
def test_accuracy(labels, wrap):
    metric = metrics.Accuracy()
    metric.update(wrap(SCORES[:3]), wrap(labels[:3]))
    metric.update(wrap(SCORES[3:]), wrap(labels[3:]))
    assert metric.eval() == 0.5
    metric.clear()
    metric.update(wrap(SCORES[:2]), wrap(labels[:2]))
    assert metric.eval() == 1.0


def test_top_k():
    assert metrics.Top1CategoricalAccuracy()(SCORES, LABELS) == 0.5
    assert metrics.TopKCategoricalAccuracy(2)(SCORES, LABELS) == 0.75
    assert metrics.Top5CategoricalAccuracy()(SCORES, LABELS) == 1.0


def test_loss_mse_mae():
    loss = metrics.Loss()
    loss.update(np.float32(1.0))
    loss.update(np.array([2.0, 4.0], np.float32))
    assert loss.eval() == 2.0
    outputs, targets = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.0, 2.0], [3.0, 1.0]])
    assert metrics.MSE()(outputs, targets) == 5.0 and metrics.MAE()(outputs, targets) == 2.0


def test_names():
    arguments = {"fbeta": (2.0,), "confusion_matrix": (3,), "topk": (3,)}
    for name in metrics.names():
        assert isinstance(metrics.get_metric_fn(name, *arguments.get(name, ())), metrics.Metric)
    assert list(metrics.as_metrics(["acc", metrics.MSE()])) == ["acc", "mse"]
    assert list(metrics.as_metrics({"mine": "loss"})) == ["mine"]
    assert nn.Accuracy is metrics.Accuracy
    assert isinstance(nn.get_metric_fn("precision", eval_type="multilabel"), nn.Precision)


def test_argmax_with_one_hot_exact_message():
    with pytest.raises(ShapeError) as caught:
        metrics.Accuracy().update(SCORES.argmax(1), np.eye(3)[LABELS])
    assert str(caught.value) == (
        "Accuracy: class numbers are compared with one-hot labels\n"
        f"  at:       {caught.value.at}\n"
        "  expected: scores (N, C) with labels (N,) or one-hot labels (N, C)\n"
        "  given:    [4] with [4, 3]\n"
        "  fix:      pass the scores themselves instead of their argmax, or take the argmax of the labels too"
    )


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: metrics.Accuracy()(SCORES, LABELS[:3]), ShapeError, "do not fit together"),
        (lambda: metrics.Accuracy()(SCORES, LABELS[:, None]), ShapeError, r"reshape them to \(N,\)"),
        (lambda: metrics.MSE()(np.zeros(4), np.zeros((4, 1))), ShapeError, "does not broadcast"),
        (lambda: metrics.Accuracy()(SCORES), ArgumentError, "takes outputs and labels"),
        (lambda: metrics.Loss()(1.0, 2.0), ArgumentError, "takes the loss"),
        (lambda: metrics.Accuracy().eval(), DataError, "nothing to average"),
        (lambda: metrics.Accuracy("regression"), ArgumentError, "eval_type"),
        (lambda: metrics.TopKCategoricalAccuracy(0), ArgumentError, "positive"),
        (lambda: metrics.as_metrics(["acc", "acc"]), ArgumentError, "two metrics"),
    ],
)
def test_wrong_use_is_explained(call, error, words):
    with pytest.raises(error, match=words):
        call()
