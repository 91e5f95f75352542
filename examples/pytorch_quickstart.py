"""What PyTorch's quickstart does: plain SGD at rate 1e-3, test after every epoch, weights to a file and back.

    python examples/pytorch_quickstart.py
    python examples/pytorch_quickstart.py --data ./FashionMNIST --epochs 10

The file is safetensors: `safetensors.torch.load_file` reads it, under the names a torch module of the same attributes has.
"""

import argparse

from handwriting import add_data_option, fashion, prepared

import graphrt
from graphrt import Model, nn
from graphrt.train import LambdaCallback

RATE, BATCH = 1e-3, 64


class NeuralNetwork(nn.Cell):
    """(N, 1, 28, 28) images to (N, 10) logits."""

    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
        )

    def construct(self, x):
        return self.linear_relu_stack(self.flatten(x))


def report(run_context):
    where = run_context.original_args()
    results = where.eval_results
    if not results:
        return
    print(
        f"epoch {where.cur_epoch_num}: training loss {where.net_outputs.item():.4f}, "
        f"test loss {results['loss']:.4f}, accuracy {100 * results['accuracy']:.1f} %"
    )


def main():
    parser = argparse.ArgumentParser(description="PyTorch's quickstart.")
    add_data_option(parser)
    parser.add_argument("--epochs", type=int, help="default: 50 on digits, 10 on Fashion-MNIST")
    parser.add_argument(
        "--save", default="quickstart.safetensors", metavar="FILE", help="where to write the weights"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    graphrt.set_seed(options.seed)
    training, testing = (prepared(data, BATCH, mean=0.0, std=1.0) for data in fashion(options.data))
    network = NeuralNetwork()
    optimizer = nn.SGD(network.trainable_params(), RATE)
    model = Model(network, nn.CrossEntropyLoss(), optimizer, metrics={"accuracy", "loss"})
    epochs = options.epochs or (10 if options.data else 50)
    every = max(1, epochs // 10)
    model.fit(epochs, training, testing, every, callbacks=LambdaCallback(on_train_epoch_end=report))

    graphrt.save_checkpoint(network, options.save)
    restored = NeuralNetwork()
    graphrt.load_param_into_net(restored, graphrt.load_checkpoint(options.save), strict_load=True)
    again = Model(restored, nn.CrossEntropyLoss(), metrics={"accuracy"}).eval(testing)
    print(f"{options.save} holds {', '.join(graphrt.load_checkpoint(options.save))}")
    print(f"a new network with these weights: accuracy {100 * again['accuracy']:.1f} %")


if __name__ == "__main__":
    main()
