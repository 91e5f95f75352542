"""Training with Winograd's convolutions: the setting reaches the training step, and the losses stay nearly the same."""

from __future__ import annotations

import numpy as np
import pytest

import graphrt
from graphrt import compiler, nn
from graphrt import dataset as ds
from graphrt.train import Model


class Net(nn.Cell):
    """Two 3x3 convolutions."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(16, 32, 3, pad_mode="pad", padding=1)
        self.second = nn.Conv2d(32, 32, 3, pad_mode="pad", padding=1)
        self.flatten = nn.Flatten()
        self.out = nn.Dense(32 * 8 * 8, 4)

    def construct(self, x):
        x = graphrt.ops.relu(self.first(x))
        return self.out(self.flatten(graphrt.ops.relu(self.second(x))))


def trained(convolution: str, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, str]:
    """The losses of eight steps, and the code of a step."""
    steps = []
    lowered = compiler.lowered
    monkeypatch.setattr(compiler, "lowered", lambda *a, **k: steps.append(lowered(*a, **k)) or steps[-1])
    generator = np.random.default_rng(0)
    images = generator.standard_normal((128, 16, 8, 8)).astype(np.float32)
    labels = generator.integers(0, 4, 128).astype(np.int32)
    graphrt.set_seed(1)
    net = Net()
    model = Model(net, nn.CrossEntropyLoss(), nn.Momentum(net.trainable_params(), 0.02, 0.9))
    data = ds.NumpySlicesDataset((images, labels), ["x", "y"], shuffle=False).batch(32)
    with graphrt.set_context(convolution=convolution):
        losses = np.array(model.train(2, data).losses)
    return losses, steps[0].text


def test_training_with_the_setting(monkeypatch):
    direct, code = trained("direct", monkeypatch)
    assert "winograd" not in code
    losses, code = trained("winograd", monkeypatch)
    calls = [line for line in code.splitlines() if "call void @" in line]
    assert (
        sum("winograd_conv2d" in line for line in calls) == 3
    )  # both forward, the gradient of the second's input
    assert sum("winograd_weight_products" in line for line in calls) == 2
    np.testing.assert_allclose(losses, direct, rtol=1e-4)
