"""Small batches, large steps: the optimizer takes the mean gradient of several batches. Three ways, the same weights.

python examples/gradient_accumulation.py
"""

import argparse

import numpy as np
from handwriting import add_data_option, handwriting, prepared

import graphrt
from graphrt import Model, Parameter, nn, ops


class Accumulator:
    """Called with the gradients of every batch, calls the optimizer with their sum every `count` batches."""

    def __init__(self, optimizer, count):
        self.optimizer, self.count = optimizer, count
        self.sums = optimizer.parameters.clone(prefix="sums", init="zeros")
        self.zeros = optimizer.parameters.clone(prefix="zeros", init="zeros")
        self.batches = Parameter(np.int32(0), "batches")
        self.map = ops.HyperMap()

    def __call__(self, gradients):
        self.map(ops.partial(ops.assign_add), self.sums, gradients)
        ops.assign_add(self.batches, 1)
        if self.batches % self.count == 0:
            self.optimizer(self.sums)
            self.map(ops.partial(ops.assign), self.sums, self.zeros)


def make(data, batch):
    """Network, optimizer and training data, the same at every call."""
    graphrt.set_seed(0)
    training, _ = handwriting(data)
    network = nn.SequentialCell(nn.Flatten(), nn.Dense(784, 64), nn.ReLU(), nn.Dense(64, 10))
    optimizer = nn.Momentum(network.trainable_params(), 0.05, 0.9)
    return network, optimizer, prepared(training.take(1280), batch)


def one_large_batch(data, count, epochs):
    network, optimizer, training = make(data, 16 * count)
    Model(network, nn.CrossEntropyLoss(), optimizer).train(epochs, training)
    return network


def in_the_native_step(data, count, epochs):
    network, optimizer, training = make(data, 16)
    Model(network, nn.CrossEntropyLoss(), optimizer).train(epochs, training, accumulate=count)
    return network


def by_hand(data, count, epochs):
    network, optimizer, training = make(data, 16)
    accumulate, loss_fn = Accumulator(optimizer, count), nn.CrossEntropyLoss()
    gradient = graphrt.grad(
        lambda image, label: loss_fn(network(image), label) / count, None, optimizer.parameters
    )

    @graphrt.compile
    def train_step(image, label):
        accumulate(gradient(image, label))

    network.set_train()
    for _ in range(epochs):
        for image, label in training.create_tuple_iterator():
            train_step(image, label)
    return network


def main():
    parser = argparse.ArgumentParser(description="Accumulate gradients.")
    add_data_option(parser)
    parser.add_argument("--count", type=int, default=4, help="batches per step of the optimizer")
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()

    _, testing = handwriting(options.data)
    testing = prepared(testing, batch=64)
    reference = None
    for way in (one_large_batch, in_the_native_step, by_hand):
        network = way(options.data, options.count, options.epochs)
        accuracy = Model(network, metrics={"accuracy"}).eval(testing)["accuracy"]
        weights = np.concatenate([p.asnumpy().ravel() for p in network.trainable_params()])
        reference = weights if reference is None else reference
        gap = abs(weights - reference).max()
        print(f"{way.__name__}: test accuracy {100 * accuracy:.1f} %, weights differ by at most {gap:.0e}")


if __name__ == "__main__":
    main()
