"""A training loop written out: gradients of a function, an optimizer that is called, batches from an iterator.

python examples/quickstart_functional.py                 # a loop of one's own over compiled steps
python examples/quickstart_functional.py --fit           # the same training in native sinks: Model.fit
python examples/quickstart_functional.py --data ./MNIST
"""

import argparse
import time

from handwriting import add_data_option, handwriting, prepared

import graphrt
from graphrt import Model, nn
from graphrt.train import LossMonitor


@graphrt.compile
class Network(nn.Cell):
    """(N, 1, 28, 28) images to (N, 10) logits."""

    def __init__(self):
        super().__init__()
        self.layers = nn.SequentialCell(
            nn.Flatten(), nn.Dense(784, 512), nn.ReLU(), nn.Dense(512, 512), nn.ReLU(), nn.Dense(512, 10)
        )

    def construct(self, image):
        return self.layers(image)


def make_train_step(network, loss_fn, optimizer):
    """A function of a batch that updates the network and returns the loss; compiled to one native call."""

    def forward(image, label):
        logits = network(image)
        return loss_fn(logits, label), logits

    gradient = graphrt.value_and_grad(forward, None, optimizer.parameters, has_aux=True)

    @graphrt.compile
    def train_step(image, label):
        (loss, _), gradients = gradient(image, label)
        optimizer(gradients)
        return loss

    return train_step


def train(network, train_step, data):
    network.set_train()
    for batch, (image, label) in enumerate(data.create_tuple_iterator()):
        loss = train_step(image, label)
        if batch % 100 == 0:
            print(f"loss: {loss.asnumpy():>7f}  [{batch:>3d}/{data.get_dataset_size():>3d}]")


def test(network, loss_fn, data):
    network.set_train(False)
    right = seen = loss = 0
    for image, label in data.create_tuple_iterator():
        logits = network(image)
        loss += len(label) * loss_fn(logits, label).item()
        right += (logits.argmax(1) == label).sum().item()
        seen += len(label)
    print(f"accuracy: {100 * right / seen:.1f} %, mean loss: {loss / seen:.4f}")


def main():
    parser = argparse.ArgumentParser(description="Train an MLP with a loop of one's own.")
    add_data_option(parser)
    parser.add_argument("--fit", action="store_true", help="let Model.fit do it, in native sinks")
    parser.add_argument("--epochs", type=int, help="passes over the data (default: 10 on digits, 3 on MNIST)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    graphrt.set_seed(options.seed)
    training, testing = (prepared(data, batch=64) for data in handwriting(options.data))
    epochs = options.epochs or (3 if options.data else 10)
    network, loss_fn = Network(), nn.CrossEntropyLoss()
    optimizer = nn.SGD(network.trainable_params(), learning_rate=1e-2)

    start = time.perf_counter()
    if options.fit:
        model = Model(network, loss_fn, optimizer, metrics={"accuracy", "loss"})
        model.fit(epochs, training, testing, callbacks=LossMonitor())
    else:
        train_step = make_train_step(network, loss_fn, optimizer)
        for epoch in range(epochs):
            print(f"epoch {epoch + 1}")
            train(network, train_step, training)
            test(network, loss_fn, testing)
    print(f"{epochs} epochs in {time.perf_counter() - start:.1f} s, tracing and compiling included")


if __name__ == "__main__":
    main()
