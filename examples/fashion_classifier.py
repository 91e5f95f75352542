"""One-hot targets, momentum, and a mistake that prints accuracies above 100 %.

    python examples/fashion_classifier.py                     # scikit-learn's digits
    python examples/fashion_classifier.py --download          # fetches Fashion-MNIST
    python examples/fashion_classifier.py --data ./FashionMNIST

Class probabilities are what CrossEntropyLoss takes here: rows of ten numbers. Comparing the predicted class of each
image with such rows compares everything with everything; the program does that once, to show what it is told.
"""

import argparse
import warnings

from handwriting import fashion, prepared

import graphrt
from graphrt import Model, nn
from graphrt.errors import ShapeError

BATCH = 10


def make_network():
    return nn.SequentialCell(
        nn.Flatten(), nn.Dense(784, 512), nn.ReLU(), nn.Dense(512, 512), nn.ReLU(), nn.Dense(512, 10)
    )


def show_the_mistake(batches):
    """What comes of comparing classes (N,) with one-hot rows (N, 10), over full batches of N = 10 images."""
    wrong = right = images = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for logits, targets in batches:
            classes = logits.argmax(1)
            wrong += (classes == targets).sum().item()
            right += (classes == targets.argmax(1)).sum().item()
            images += len(targets)
    print(f"classes compared with one-hot rows: {100 * wrong / images:.1f} %, and a warning:")
    print(f"    {caught[0].message}")
    try:
        _ = classes[1:] == targets[1:]
    except ShapeError as error:
        print(f"with {BATCH - 1} images an error: {error.message} ({error.fix})")
    print(f"classes compared with classes: {100 * right / images:.1f} %")


def main():
    parser = argparse.ArgumentParser(description="Train with one-hot targets.")
    parser.add_argument("--data", metavar="DIR", help="folder with Fashion-MNIST's idx or idx.gz files")
    parser.add_argument(
        "--download", action="store_true", help="fetch the files (into --data, or a cache folder)"
    )
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    graphrt.set_seed(options.seed)
    training, testing = (
        prepared(data, BATCH, mean=0.0, std=1.0, one_hot=True)
        for data in fashion(options.data, options.download)
    )
    network = make_network()
    optimizer = nn.SGD(network.trainable_params(), learning_rate=1e-3, momentum=0.9)
    model = Model(network, nn.CrossEntropyLoss(), optimizer, metrics={"accuracy", "loss"})
    for epoch in range(options.epochs):
        history = model.train(1, training)
        found = model.eval(testing)
        print(
            f"epoch {epoch + 1}: training loss {history.losses.mean():.4f}, "
            f"test loss {found['loss']:.4f}, accuracy {100 * found['accuracy']:.1f} %"
        )
    batches = testing.create_tuple_iterator()
    show_the_mistake((model.predict(image), targets) for image, targets in batches if len(targets) == BATCH)


if __name__ == "__main__":
    main()
