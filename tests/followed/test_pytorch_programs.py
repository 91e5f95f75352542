"""The losses of two tutorial programs of PyTorch, step by step: those it stored, and live ones where it is installed."""

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest

import graphrt
from graphrt import Model, Tensor, nn
from graphrt.dataset import NumpySlicesDataset, transforms, vision

from .pytorch_programs import (
    PROGRAMS,
    SIZES,
    STEPS,
    STORED,
    first_weights,
    images_and_labels,
    pytorch_losses,
)

TOLERANCE = 1e-3
stored = json.loads(STORED.read_text(encoding="utf-8"))
programs = pytest.mark.parametrize("name", PROGRAMS)


def make(program):
    """Network, loss function, optimizer and batches of a program; scaling and one-hot targets are part of the data."""
    dense = [nn.Dense(i, o, Tensor(w), Tensor(b)) for i, o, (w, b) in zip(SIZES, SIZES[1:], first_weights())]
    network = nn.SequentialCell(nn.Flatten(), dense[0], nn.ReLU(), dense[1], nn.ReLU(), dense[2])
    optimizer = nn.SGD(network.trainable_params(), program.rate, momentum=program.momentum)
    images, labels = images_and_labels()
    data = NumpySlicesDataset((images[..., None], labels), ["image", "label"], shuffle=False)
    data = data.map([vision.Rescale(1 / 255, 0.0), vision.HWC2CHW()], "image")
    if program.one_hot:
        data = data.map([transforms.OneHot(10), transforms.TypeCast("float32")], "label")
    return network, nn.CrossEntropyLoss(), optimizer, data.batch(program.batch)


def sunk_losses(program):
    """All steps in one native call."""
    network, loss_fn, optimizer, data = make(program)
    return Model(network, loss_fn, optimizer).train(1, data, sink_size=STEPS).losses


def looped_losses(program):
    """A loop over batches, as the tutorials write it."""
    network, loss_fn, optimizer, data = make(program)
    gradient = graphrt.value_and_grad(lambda x, y: loss_fn(network(x), y), None, optimizer.parameters)

    @graphrt.compile
    def train_step(image, target):
        loss, gradients = gradient(image, target)
        optimizer(gradients)
        return loss

    network.set_train()
    losses = []
    while len(losses) < STEPS:
        losses += [train_step(*batch).item() for batch in data.create_tuple_iterator()]
    return losses[:STEPS]


def gap(losses, expected):
    assert len(losses) == len(expected) == STEPS
    return np.abs(np.asarray(losses) - np.asarray(expected)).max()


@programs
def test_follows_the_stored_losses(name):
    assert gap(sunk_losses(PROGRAMS[name]), stored[name]) < TOLERANCE


def test_a_loop_follows_them_too():
    assert gap(looped_losses(PROGRAMS["one_hot_momentum"]), stored["one_hot_momentum"]) < TOLERANCE


@programs
def test_another_program_would_be_noticed(name):
    """Training at a rate two hundredths higher is already beyond the tolerance."""
    program = PROGRAMS[name]
    assert gap(sunk_losses(replace(program, rate=1.02 * program.rate)), stored[name]) > 1.5 * TOLERANCE


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
@programs
def test_follows_pytorch_itself(name):
    live = pytorch_losses(PROGRAMS[name])
    assert gap(live, stored[name]) < TOLERANCE
    assert gap(sunk_losses(PROGRAMS[name]), live) < TOLERANCE
