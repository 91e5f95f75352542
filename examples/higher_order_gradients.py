"""Gradients of gradients: derivatives of a function, Newton's method, Hessian-vector products, a gradient penalty.

python examples/higher_order_gradients.py
"""

import argparse

import numpy as np

import graphrt
from graphrt import Tensor, nn, ops


def rosenbrock(x):
    """A narrow curved valley; the minimum, 0, is at (1, 1)."""
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


@graphrt.compile
def newton_step(x):
    """x minus the inverse Hessian times the gradient, for two variables."""
    gradient, curvature = graphrt.grad(rosenbrock)(x), graphrt.hessian(rosenbrock)(x)
    (a, b), (c, d) = curvature
    return x - ops.stack([d * gradient[0] - b * gradient[1], a * gradient[1] - c * gradient[0]]) / (
        a * d - b * c
    )


def curvature_along(f, x, direction):
    """The Hessian of f at x times a direction, without the Hessian: the gradient's derivative along it."""
    return graphrt.jvp(graphrt.grad(f), x, direction)[1]


class GradientPenalty(nn.Cell):
    """The mean of (|df/dx| - 1)^2 over a batch (N, D): training it differentiates a gradient by the weights."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def construct(self, x):
        slope = graphrt.grad(lambda x: self.network(x).sum())(x)
        return ops.square(ops.sqrt(ops.square(slope).sum(1) + 1e-12) - 1.0).mean()


def main():
    parser = argparse.ArgumentParser(description="Differentiate gradients.")
    parser.add_argument("--steps", type=int, default=200, help="steps with the gradient penalty")
    options = parser.parse_args()

    function, names = ops.sin, ("sin", "its 1st derivative", "its 2nd", "its 3rd")
    for name in names:
        print(f"{name} at 0.5: {function(Tensor(0.5)).item():+.6f}")
        function = graphrt.grad(function)

    x, count = Tensor([-1.2, 1.0]), 0
    while rosenbrock(x).item() > 1e-10:
        x, count = newton_step(x), count + 1
    print(f"Newton's method: {np.round(x.asnumpy(), 4)} after {count} steps")
    direction = Tensor([1.0, 2.0])
    print(
        f"Hessian times (1, 2) at the minimum: {np.round(curvature_along(rosenbrock, x, direction).asnumpy(), 1)}"
    )

    graphrt.set_seed(0)
    network = nn.SequentialCell(nn.Dense(2, 32), nn.Tanh(), nn.Dense(32, 1))
    points = np.random.default_rng(0).standard_normal((512, 2)).astype(np.float32)
    data = graphrt.dataset.NumpySlicesDataset(points, "point").batch(64)
    model = graphrt.Model(GradientPenalty(network), optimizer=nn.Adam(network.trainable_params(), 0.01))
    losses = model.train(1, data, sink_size=options.steps).losses
    print(
        f"gradient penalty: {losses[0]:.3f}, after {options.steps} steps in one native call {losses[-1]:.4f}"
    )


if __name__ == "__main__":
    main()
