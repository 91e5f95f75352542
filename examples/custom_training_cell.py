"""A training step of one's own as a Cell, run in native sinks by a loop of one's own.

    python examples/custom_training_cell.py
    python examples/custom_training_cell.py --data ./MNIST --sink-size 100

The Cell calls the network for its loss and again, through GradOperation, for the gradients of loss times `sens`. The
compiled step runs that forward once. `DatasetHelper` and `connect_network_with_dataset` make a call run a whole sink.
"""

import argparse

from handwriting import add_data_option, handwriting, prepared

import graphrt
from graphrt import DatasetHelper, ParameterTuple, connect_network_with_dataset, nn, ops
from graphrt.common.initializer import TruncatedNormal


class LeNet5(nn.Cell):
    """(N, 1, 28, 28) images to (N, 10) logits."""

    def __init__(self):
        super().__init__()

        def dense(inputs, outputs):
            return nn.Dense(inputs, outputs, TruncatedNormal(0.1), "zeros")

        self.features = nn.SequentialCell(
            nn.Conv2d(1, 6, 5, weight_init=TruncatedNormal(0.1)), nn.ReLU(), nn.MaxPool2d(2, 2),
            nn.Conv2d(6, 16, 5, pad_mode="valid", weight_init=TruncatedNormal(0.1)), nn.ReLU(), nn.MaxPool2d(2, 2),
        )  # fmt: skip
        self.classify = nn.SequentialCell(
            nn.Flatten(), dense(400, 120), nn.ReLU(), dense(120, 84), nn.ReLU(), dense(84, 10)
        )

    def construct(self, image):
        return self.classify(self.features(image))


class TrainStep(nn.Cell):
    """Loss of a batch; as a side effect, one step of the optimizer along the gradients of `sens` times the loss."""

    def __init__(self, network_with_loss, optimizer, sens=1.0):
        super().__init__(auto_prefix=False)
        self.network, self.optimizer, self.sens = network_with_loss, optimizer, sens
        self.weights = ParameterTuple(network_with_loss.trainable_params())
        self.gradient = ops.GradOperation(get_by_list=True, sens_param=True)

    def construct(self, image, label):
        loss = self.network(image, label)
        sens = ops.fill(loss.dtype, loss.shape, self.sens)
        gradients = self.gradient(self.network, self.weights)(image, label, sens)
        return ops.depend(loss, self.optimizer(gradients))


def main():
    parser = argparse.ArgumentParser(description="Run a training step of one's own in native sinks.")
    add_data_option(parser)
    parser.add_argument("--sinks", type=int, default=10)
    parser.add_argument("--sink-size", type=int, default=30, help="steps per native call")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    graphrt.set_seed(options.seed)
    training, testing = (prepared(data, batch=32) for data in handwriting(options.data))
    network = LeNet5()
    loss = nn.WithLossCell(network, nn.SoftmaxCrossEntropyWithLogits(sparse=True, reduction="mean"))
    step = TrainStep(loss, nn.Momentum(network.trainable_params(), 0.01, 0.9))
    helper = DatasetHelper(training, sink_size=options.sink_size, epoch_num=options.sinks)
    run_sink = connect_network_with_dataset(step, helper)

    network.set_train()
    for sink in range(options.sinks):
        for inputs in helper:  # once per sink, and empty: the native loop reads the data itself
            print(f"sink {sink + 1}/{options.sinks}, loss: {run_sink(*inputs).item():.4f}")
    model = graphrt.Model(network, metrics={"accuracy"})
    print(f"test accuracy: {100 * model.eval(testing)['accuracy']:.2f} %")


if __name__ == "__main__":
    main()
