"""Warnings and errors for programs that run but do not do what was meant; every text in full."""

import warnings

import numpy as np
import pytest

import graphrt
from graphrt import Tensor, nn
from graphrt import dataset as ds
from graphrt.errors import ArgumentError
from graphrt.train import Model


def texts(caught):
    return [str(w.message) for w in caught if issubclass(w.category, UserWarning)]


def vector_loss_model():
    net = nn.Dense(4, 2)
    return Model(net, nn.SoftmaxCrossEntropyWithLogits(sparse=True), nn.SGD(net.trainable_params(), 0.01))


def test_a_vector_loss_is_told_once(points):
    model, data = vector_loss_model(), ds.NumpySlicesDataset(points).batch(6)  # the last batch has 2
    with pytest.warns(UserWarning) as caught:
        model.train(2, data)
        model.train(1, data)
    assert texts(caught) == [
        "the loss is a tensor of shape (6,), not a number: its mean is reported, but the gradient is that of its sum, "
        "6 times as large. If that is not intended, give the loss function reduction='mean'."
    ]
    assert caught[0].filename.endswith("test_warnings.py")


def test_a_step_of_ones_own_may_return_a_vector(points):
    net = nn.Dense(4, 2)
    loss = nn.WithLossCell(net, nn.SoftmaxCrossEntropyWithLogits(sparse=True))
    step = nn.TrainOneStepCell(loss, nn.SGD(net.trainable_params(), 0.01))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Model(step).train(1, ds.NumpySlicesDataset(points).batch(5))


def forward_of(net):
    loss_fn = nn.CrossEntropyLoss()

    def forward(x, y):
        return loss_fn(net(x), y)

    return graphrt.value_and_grad(forward, None, net.trainable_params())


@pytest.fixture
def batch(points):
    return Tensor(points[0]), Tensor(points[1])


@pytest.mark.parametrize("compiled", [False, True])
def test_training_in_inference_mode(batch, compiled):
    net = nn.SequentialCell(nn.Dense(4, 4), nn.BatchNorm1d(4), nn.Dropout(p=0.5), nn.Dense(4, 2))
    step = forward_of(net)
    step = graphrt.compile(step) if compiled else step
    with pytest.warns(UserWarning) as caught:
        for _ in range(2):
            step(*batch)
    assert texts(caught) == [
        "gradients are taken of SequentialCell, which is in inference mode, but BatchNorm1d, Dropout would act otherwise "
        "in training. Call set_train() on the network before training it, and set_train(False) before evaluating it."
    ]
    assert caught[0].filename.endswith("test_warnings.py")


def test_what_is_no_mistake_is_not_told(batch):
    def net(**options):
        return nn.SequentialCell(nn.Dense(4, 4), nn.BatchNorm1d(4, **options), nn.Dense(4, 2))

    frozen = net().set_train()
    frozen[1].set_train(False)  # fine-tuning with fixed statistics
    silent = [net().set_train(), frozen, net(use_batch_statistics=False), nn.Dense(4, 2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for network in silent:
            forward_of(network)(*batch)
        inference = net()
        graphrt.grad(lambda x: inference(x).sum())(batch[0])  # of an input: nothing is trained


COLUMNS = (np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32), np.zeros(4, np.int32))


def test_columns_and_inputs_that_do_not_match():
    net = nn.Dense(4, 2)
    optimizer = nn.SGD(net.trainable_params(), 0.1)
    three = ds.NumpySlicesDataset(COLUMNS, ["image", "mask", "label"]).batch(2)
    with pytest.raises(ArgumentError) as caught:
        Model(net, nn.CrossEntropyLoss(), optimizer).train(1, three)
    assert str(caught.value) == (
        "the network takes another number of inputs than the dataset has columns before the label\n"
        "  cell:     Dense\n"
        f"  at:       {caught.value.at}\n"
        f"  expected: {caught.value.expected}\n"
        "  given:    2 columns ('image', 'mask') and the label ('label')\n"
        "  fix:      choose the columns: dataset.project([..., label])"
    )
    assert caught.value.expected.startswith("construct(x") and caught.value.at.startswith(
        "tests/train/test_w"
    )
    with pytest.raises(ArgumentError) as caught:
        Model(net, None, optimizer).train(1, three)
    assert str(caught.value) == (
        "the network takes another number of inputs than the dataset has columns\n"
        "  cell:     Dense\n"
        f"  at:       {caught.value.at}\n"
        f"  expected: {caught.value.expected}\n"
        "  given:    3 columns ('image', 'mask', 'label')\n"
        "  fix:      choose the columns: dataset.project([...]), or give a loss function: "
        "Model(network, loss_fn, optimizer)"
    )
    with pytest.raises(ArgumentError) as caught:
        Model(net, nn.CrossEntropyLoss(), optimizer).train(1, three.project("image"))
    assert str(caught.value) == (
        "the dataset has one column, but data and label are needed\n"
        f"  at:       {caught.value.at}\n"
        "  expected: columns for the network's inputs and, last, the label\n"
        "  given:    1 column ('image')\n"
        "  fix:      add a label column, or pass a network that returns its own loss and no loss_fn"
    )


def test_metrics_without_what_they_need(points):
    net, data = nn.Dense(4, 2), ds.NumpySlicesDataset(points).batch(5)
    with pytest.raises(ArgumentError) as caught:
        Model(net, metrics={"loss"}).eval(data)
    assert str(caught.value) == (
        "Model.eval: the metric 'loss' needs a loss function\n"
        f"  at:       {caught.value.at}\n"
        "  fix:      give it: Model(network, loss_fn=..., metrics=...)"
    )
    with pytest.raises(ArgumentError) as caught:
        Model(net).eval(data)
    assert str(caught.value) == (
        "Model.eval: the model has no metrics\n"
        f"  at:       {caught.value.at}\n"
        "  expected: at least one\n"
        '  fix:      give some: Model(network, loss_fn, metrics={"accuracy"})'
    )
    with pytest.raises(ArgumentError) as caught:
        Model(net, metrics={"confusion_matrix"})
    assert str(caught.value) == (
        "metric 'confusion_matrix' needs arguments\n"
        f"  at:       {caught.value.at}\n"
        "  expected: ConfusionMatrix(num_classes, normalize, threshold)\n"
        "  given:    missing a required argument: 'num_classes'\n"
        "  fix:      pass an object: metrics={'confusion_matrix': nn.ConfusionMatrix(...)}"
    )
    with pytest.raises(ArgumentError, match="did you mean 'accuracy'"):
        Model(net, metrics="acuracy")
