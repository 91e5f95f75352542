"""The gradient of every sample of a batch, by vmap(grad(f), (None, 0, 0)); training with each of them clipped.

    python examples/per_sample_gradients.py

A batch's gradient is the mean of its samples' gradients. With those at hand, long ones can be shortened before they are
averaged: no single sample moves the weights far, the core of differentially private training. A tenth of the labels is
wrong here, which are the samples with the long gradients.
"""

import argparse

import numpy as np
from handwriting import add_data_option, handwriting, prepared

import graphrt
from graphrt import Parameter, ops, vmap


def loss(weights, image, label):
    """The cross entropy of one image (1, 28, 28) with its label (), under weights (matrix, bias)."""
    logits = image.reshape(1, -1) @ weights[0] + weights[1]
    return ops.cross_entropy(logits, label.reshape(1))


def of_weights(matrix, bias, image, label):
    return loss((matrix, bias), image, label)


# the weights are the same for all samples (None); images and labels are counted by their first axis
sample_gradients = vmap(graphrt.grad(of_weights, (0, 1)), (None, None, 0, 0))


def lengths(gradients):
    """The Euclidean length of every sample's gradient, over all weights: (N,)."""
    return ops.sqrt(sum(ops.square(g).reshape(g.shape[0], -1).sum(1) for g in gradients))


def make_step(weights, limit, rate):
    @graphrt.compile
    def step(image, label):
        gradients = sample_gradients(*weights, image, label)
        length = lengths(gradients)
        factor = ops.minimum(limit / (length + 1e-6), 1.0)
        for weight, gradient in zip(weights, gradients):
            scaled = gradient * factor.reshape(-1, *[1] * (gradient.ndim - 1))
            ops.assign(weight, weight - rate * scaled.mean(0))
        return length

    return step


def main():
    parser = argparse.ArgumentParser(description="Clip the gradient of every sample.")
    add_data_option(parser)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--limit", type=float, default=1.0, help="longest gradient of a sample")
    options = parser.parse_args()

    graphrt.set_seed(0)
    random = np.random.default_rng(0)
    training, testing = (prepared(data, batch=50) for data in handwriting(options.data))
    weights = (Parameter(np.zeros((784, 10), np.float32)), Parameter(np.zeros(10, np.float32)))

    image, label = next(training.create_tuple_iterator())
    gradients = sample_gradients(*weights, image, label)
    whole = graphrt.grad(
        lambda w, b: vmap(of_weights, (None, None, 0, 0))(w, b, image, label).mean(), (0, 1)
    )(*weights)
    gap = max(abs(g.mean(0) - w).max().item() for g, w in zip(gradients, whole))
    print(
        f"{len(label)} gradients of shape {gradients[0].shape[1:]}; their mean is the batch's, to {gap:.0e}"
    )

    step = make_step(weights, options.limit, rate=0.5)
    for epoch in range(options.epochs):
        right, wrong = [], []
        for image, label in training.create_tuple_iterator():
            if len(label) < 50:
                continue
            spoiled = random.random(50) < 0.1
            label = np.where(spoiled, random.integers(0, 10, 50), label.asnumpy()).astype(np.int32)
            length = step(image, graphrt.Tensor(label)).asnumpy()
            right.extend(length[~spoiled])
            wrong.extend(length[spoiled])
        print(
            f"epoch {epoch + 1}: mean length {np.mean(right):.2f} where the label is right, {np.mean(wrong):.2f} where not"
        )
    hits = [
        (ops.argmax(image.reshape(len(label), -1) @ weights[0] + weights[1], 1) == label).asnumpy()
        for image, label in testing.create_tuple_iterator()
    ]
    print(f"test accuracy: {100 * np.concatenate(hits).mean():.1f} %")


if __name__ == "__main__":
    main()
