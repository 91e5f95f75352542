"""vmap: functions of one sample for many samples, and many networks trained as one.

python examples/vectorized_models.py
"""

import argparse

import numpy as np

import graphrt
from graphrt import Tensor, ops, vmap


def distance(a, b):
    """The Euclidean distance of two points, vectors of the same length."""
    return ops.sqrt(ops.square(a - b).sum())


def predict(weights, x):
    """A network with one hidden layer, for one point x: its guess at the label, a number."""
    hidden, hidden_bias, output = weights
    return (ops.tanh(x @ hidden + hidden_bias) * output).sum()


def mean_loss(weights, x, y):
    """The loss of one network on all points: samples by vmap."""
    return ops.square(vmap(predict, (None, 0))(weights, x) - y).mean()


@graphrt.compile
def train_step(weights, x, y):
    """One step of gradient descent for every network of a stack at once: networks by vmap. Returns new weights, losses."""

    def step(own):
        loss, gradient = graphrt.value_and_grad(lambda h, b, o: mean_loss((h, b, o), x, y), (0, 1, 2))(*own)
        return tuple(w - 0.2 * g for w, g in zip(own, gradient)), loss

    return vmap(step)(weights)


def main():
    parser = argparse.ArgumentParser(description="Vectorize functions and networks.")
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    random = np.random.default_rng(0)

    points = Tensor(random.standard_normal((5, 3)), "float32")
    table = vmap(vmap(distance, (None, 0)), (0, None))(points, points)  # (3,), (3,) -> () becomes (5, 5)
    print(f"all distances of 5 points:\n{np.round(table.asnumpy(), 2)}")

    x = random.standard_normal((256, 2)).astype(np.float32)
    y = np.sign(x[:, 0] * x[:, 1]).astype(np.float32)
    shapes = ((2, 16), (16,), (16,))
    weights = tuple(Tensor(random.standard_normal((options.networks, *shape)), "float32") for shape in shapes)
    x, y = Tensor(x), Tensor(y)
    for _ in range(options.steps):
        weights, losses = train_step(weights, x, y)
    outputs = vmap(vmap(predict, (None, 0)), (0, None))(weights, x)
    singly = (ops.sign(outputs) == y).astype("float32").mean(1).asnumpy()
    together = (ops.sign(outputs.mean(0)) == y).astype("float32").mean().item()
    print(f"losses of {options.networks} networks: {np.round(losses.asnumpy(), 2)}")
    print(f"accuracy: worst {singly.min():.3f}, best {singly.max():.3f}, all together {together:.3f}")


if __name__ == "__main__":
    main()
