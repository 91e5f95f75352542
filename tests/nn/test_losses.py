"""Losses against their formulas; label checks; training cells."""

import numpy as np
import pytest

import graphrt
from graphrt import Tensor, nn
from graphrt.errors import ArgumentError, DTypeError, ShapeError
from graphrt.frontend.location import shown_path

HERE = shown_path(__file__)
RNG = np.random.default_rng(1)
LOGITS = RNG.standard_normal((6, 4)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 1, 0], np.int32)
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]
LOG = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))
LOSSES = -LOG[np.arange(6), LABELS]


def run(loss, logits, labels):
    return loss(Tensor(logits), Tensor(labels)).asnumpy()


def test_cross_entropy_loss():
    np.testing.assert_allclose(run(nn.CrossEntropyLoss(), LOGITS, LABELS), LOSSES.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        run(nn.CrossEntropyLoss(), LOGITS, LABELS.astype(np.uint8)), LOSSES.mean(), rtol=1e-5
    )
    np.testing.assert_allclose(run(nn.CrossEntropyLoss(), LOGITS, ONE_HOT), LOSSES.mean(), rtol=1e-5)
    np.testing.assert_allclose(run(nn.CrossEntropyLoss(reduction="none"), LOGITS, LABELS), LOSSES, rtol=1e-5)
    np.testing.assert_allclose(
        run(nn.CrossEntropyLoss(reduction="sum"), LOGITS, LABELS), LOSSES.sum(), rtol=1e-5
    )
    kept = LABELS != 1
    ignoring = run(nn.CrossEntropyLoss(ignore_index=1), LOGITS, LABELS)
    np.testing.assert_allclose(ignoring, LOSSES[kept].mean(), rtol=1e-5)
    weight = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    weighted = run(nn.CrossEntropyLoss(Tensor(weight)), LOGITS, LABELS)
    np.testing.assert_allclose(weighted, (LOSSES * weight[LABELS]).sum() / weight[LABELS].sum(), rtol=1e-5)
    smoothed = run(nn.CrossEntropyLoss(label_smoothing=0.2), LOGITS, LABELS)
    np.testing.assert_allclose(smoothed, (0.8 * LOSSES - 0.2 * LOG.mean(1)).mean(), rtol=1e-5)


def test_softmax_cross_entropy_with_logits():
    dense = nn.SoftmaxCrossEntropyWithLogits()
    np.testing.assert_allclose(run(dense, LOGITS, ONE_HOT), LOSSES, rtol=1e-5)
    np.testing.assert_array_equal(run(dense, LOGITS, np.zeros_like(ONE_HOT)), np.zeros(6))
    sparse = nn.SoftmaxCrossEntropyWithLogits(sparse=True, reduction="mean")
    np.testing.assert_allclose(run(sparse, LOGITS, LABELS), LOSSES.mean(), rtol=1e-5)


def test_mse_and_l1():
    target = LOGITS + 2
    assert run(nn.MSELoss(), LOGITS, target) == pytest.approx(4, rel=1e-5)
    assert run(nn.L1Loss("sum"), LOGITS, target) == pytest.approx(48, rel=1e-5)
    assert run(nn.MSELoss("none"), LOGITS, target).shape == (6, 4)
    with pytest.raises(ShapeError, match="must have one shape") as caught:
        run(nn.MSELoss(), LOGITS[:, :1], LOGITS[:, 0])
    assert caught.value.fix == "write labels.reshape(6, 1)"
    with pytest.raises(ArgumentError, match="MSELoss: unknown reduction"):
        nn.MSELoss("avg")


def test_exact_message_of_float64_labels():
    class Trained(nn.Cell):
        def __init__(self):
            super().__init__()
            self.loss = nn.CrossEntropyLoss()

        def construct(self, logits, label):
            return self.loss(logits, label)

    line = Trained.construct.__code__.co_firstlineno + 1
    with pytest.raises(DTypeError) as caught:
        run(graphrt.compile(Trained()), LOGITS, LABELS.astype(np.float64))
    assert str(caught.value) == (
        "CrossEntropyLoss: class indices must be integers\n"
        "  cell:     Trained.loss (CrossEntropyLoss)\n"
        f"  at:       {HERE}:{line}\n"
        "  expected: int32[6]\n"
        "  given:    float64[6]\n"
        "  fix:      write label.astype(graphrt.int32), or map transforms.TypeCast(graphrt.int32) over the label column"
    )


def test_labels_of_another_shape():
    with pytest.raises(ShapeError, match="CrossEntropyLoss: labels do not fit the logits") as caught:
        run(nn.CrossEntropyLoss(), LOGITS, LABELS[:, None])
    assert caught.value.expected == "int32[6]" and caught.value.given == "int32[6, 1]"
    with pytest.raises(ShapeError, match="must have one shape"):
        run(nn.SoftmaxCrossEntropyWithLogits(), LOGITS, LABELS)


@pytest.mark.parametrize("compiled", [False, True])
def test_train_one_step_cell(compiled):
    class Mean(nn.Cell):
        def __init__(self, kernel, bias):
            super().__init__()
            self.dense = nn.Dense(4, 3, kernel, bias)

        def construct(self, x):
            return self.dense(graphrt.ops.ReduceMean(keep_dims=False)(graphrt.ops.ReLU()(x), (2, 3)))

    net = Mean(Tensor(np.ones((3, 4), np.float32)), Tensor(np.ones(3, np.float32)))
    optimizer = nn.Momentum(filter(lambda p: p.requires_grad, net.get_parameters()), 0.1, 0.1)
    criterion = nn.SoftmaxCrossEntropyWithLogits(sparse=False)
    step = nn.TrainOneStepCell(nn.WithLossCell(net, criterion), optimizer).set_train()
    step = graphrt.compile(step) if compiled else step
    x = Tensor(RNG.standard_normal((8, 4, 2, 2)).astype(np.float32))
    zeros = step(x, Tensor(np.zeros((8, 3), np.float32)))
    assert str(zeros) == "[0. 0. 0. 0. 0. 0. 0. 0.]"
    labels = Tensor(np.eye(3, dtype=np.float32)[RNG.integers(0, 3, 8)])
    first = step(x, labels).mean().item()
    for _ in range(20):
        last = step(x, labels).mean().item()
    assert last < first and optimizer.global_step.item() == 22


def test_sens_scales_gradients():
    def trained(sens):
        graphrt.set_seed(0)
        net = nn.Dense(4, 4)
        step = nn.TrainOneStepCell(
            nn.WithLossCell(net, nn.MSELoss()), nn.SGD(net.trainable_params(), 0.1), sens
        )
        before = net.weight.asnumpy()
        step(Tensor(LOGITS), Tensor(LOGITS))
        return net.weight.asnumpy() - before

    np.testing.assert_allclose(trained(8.0), trained(1.0) * 8, rtol=1e-4, atol=1e-7)
