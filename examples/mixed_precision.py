"""The same training at several amp levels, in bfloat16 and, with a loss scale that adapts itself, in float16.

    python examples/mixed_precision.py

Parameters stay float32 at all levels. On CPUs low precision halves the memory of activations; it is not faster.
"""

import argparse

from handwriting import add_data_option, handwriting, prepared

import graphrt
from graphrt import DynamicLossScaleManager, Model, nn

RUNS = [("O0", "float32"), ("O1", "bfloat16"), ("O2", "float16"), ("auto", "bfloat16")]


def main():
    parser = argparse.ArgumentParser(description="Train in mixed precision.")
    add_data_option(parser)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--levels", nargs="+", choices=[level for level, _ in RUNS], help="default: all")
    options = parser.parse_args()

    for level, low in RUNS:
        if options.levels and level not in options.levels:
            continue
        graphrt.set_seed(0)
        training, testing = (prepared(data, batch=64) for data in handwriting(options.data))
        network = nn.SequentialCell(
            nn.Conv2d(1, 8, 3, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dense(8 * 14 * 14, 10),
        )
        settings = {}
        if level != "O0":
            settings = {"amp_level": level, "amp_dtype": low, "loss_scale_manager": None}
        if (
            low == "float16"
        ):  # its range is small: gradients are computed times 2^k, steps that overflow are dropped
            settings["loss_scale_manager"] = DynamicLossScaleManager(2**24, scale_factor=2, scale_window=50)
        optimizer = nn.Momentum(network.trainable_params(), 0.05, 0.9)
        model = Model(network, nn.CrossEntropyLoss(), optimizer, metrics={"accuracy"}, **settings)
        losses = model.train(options.epochs, training).losses
        accuracy = 100 * model.eval(testing)["accuracy"]
        print(
            f"{level:>4} {low:<8}  loss {losses[0]:.3f} -> {losses[-1]:.3f}  test accuracy {accuracy:.1f} %"
        )


if __name__ == "__main__":
    main()
