"""Two tutorial programs of PyTorch, reduced to what decides their losses, and the losses PyTorch gets from them.

In: nothing; images, labels and first weights follow from NumPy's legacy generator, whose numbers never change. Out: the
loss of each of the first 200 steps. To store them anew (any Python that has torch and NumPy; torch 2.13.0 wrote them):

    python tests/followed/pytorch_programs.py

Both programs train 784-512-512-10 with ReLU on images of ten classes. `one_hot_momentum`: batches of 10, one-hot
targets, rate 1e-3, momentum 0.9. `plain_descent`: batches of 64, class indices, rate 1e-3.
"""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

STORED = Path(__file__).with_name("pytorch_losses.json")
STEPS, SAMPLES = 200, 640
SIZES = (784, 512, 512, 10)


@dataclass(frozen=True)
class Program:
    batch: int
    one_hot: bool
    momentum: float
    rate: float = 1e-3


PROGRAMS = {
    "one_hot_momentum": Program(10, True, 0.9),
    "plain_descent": Program(64, False, 0.0),
}


def images_and_labels():
    """uint8 (640, 28, 28) and int32 (640,): a pattern per class, each pixel replaced by noise with probability 0.3."""
    random = np.random.RandomState(2)
    patterns = 255 * random.randint(0, 2, (10, 28, 28))
    labels = random.randint(0, 10, SAMPLES)
    noise, replaced = random.randint(0, 256, (SAMPLES, 28, 28)), random.random_sample((SAMPLES, 28, 28)) < 0.3
    return np.where(replaced, noise, patterns[labels]).astype(np.uint8), labels.astype(np.int32)


def first_weights():
    """[(weight float32 (out, in), bias (out,)), ...], all U(-1/sqrt(in), 1/sqrt(in))."""
    random = np.random.RandomState(3)
    return [
        tuple((random.uniform(-1, 1, shape) / np.sqrt(before)).astype(np.float32) for shape in ((after, before), (after,)))
        for before, after in pairwise(SIZES)
    ]  # fmt: skip


def pytorch_losses(program):
    """The loss of each step, in PyTorch."""
    import torch
    from torch import nn

    images, labels = images_and_labels()
    images, labels = torch.tensor(images / np.float32(255), dtype=torch.float32), torch.tensor(labels).long()
    targets = nn.functional.one_hot(labels, 10).float() if program.one_hot else labels
    layers = [nn.Linear(before, after) for before, after in pairwise(SIZES)]
    for layer, (weight, bias) in zip(layers, first_weights()):
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
    network = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    optimizer = torch.optim.SGD(network.parameters(), lr=program.rate, momentum=program.momentum)
    losses = []
    for step in range(STEPS):
        start = step * program.batch % SAMPLES
        rows = slice(start, start + program.batch)
        loss = nn.CrossEntropyLoss()(network(images[rows]), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    import torch

    found = {
        name: [float(f"{loss:.8g}") for loss in pytorch_losses(program)] for name, program in PROGRAMS.items()
    }
    lines = [
        f'  "{name}": {json.dumps(losses)}' for name, losses in {"torch": torch.__version__, **found}.items()
    ]
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    for name, losses in found.items():
        print(name, losses[0], losses[-1])


if __name__ == "__main__":
    main()
