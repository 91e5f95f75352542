"""LeNet-5 learns handwritten digits in native sinks: whole training steps, many per call, with no Python in between.

    python examples/lenet_sink.py                                    # scikit-learn's bundled digits
    python examples/lenet_sink.py --data mnist --data-dir ./MNIST    # MNIST, if you have its files

Images enter as bytes. Resizing, scaling, shuffling, forward, backward and update all run inside the compiled step.
"""

import argparse
import math
import os
import time

import numpy as np

import graphrt
from graphrt import Model, Tensor, nn
from graphrt.dataset import MnistDataset, NumpySlicesDataset, vision
from graphrt.train.callback import Callback, LossMonitor

BATCH = 32


@graphrt.compile
class LeNet5(nn.Cell):
    """LeCun et al. 1998, as MindSpore's tutorials write it: (N, 1, 32, 32) images to (N, 10) logits."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, pad_mode="valid")
        self.conv2 = nn.Conv2d(6, 16, 5, pad_mode="valid")
        self.fc1 = nn.Dense(16 * 5 * 5, 120)
        self.fc2 = nn.Dense(120, 84)
        self.fc3 = nn.Dense(84, 10)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.flatten = nn.Flatten()

    def construct(self, x):
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        x = self.flatten(x)
        x = self.relu(self.fc1(x))
        x = self.relu(self.fc2(x))
        return self.fc3(x)


net = LeNet5()  # for graphrt-dump: this line is all that importing the file does


def digits(seed):
    """1797 images of 8x8 pixels with 17 grey levels; a random 20 % is held out for the test."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(labels))
    held_out, kept = np.split(order, [len(order) // 5])
    return [
        NumpySlicesDataset((images[rows], labels[rows].astype(np.int32)), ["image", "label"], shuffle=shuffle)
        for rows, shuffle in ((kept, True), (held_out, False))
    ]


def mnist(folder):
    """60,000 training and 10,000 test images of 28x28 pixels with 256 grey levels."""
    return [MnistDataset(folder, usage, shuffle=usage == "train") for usage in ("train", "test")]


def prepare(data, levels, mean, std):
    """Bytes to floats of 32x32 pixels, in batches."""
    transforms = [
        vision.Resize((32, 32)),
        vision.Rescale(1 / levels, 0.0),
        vision.Normalize(mean=[mean], std=[std]),
        vision.HWC2CHW(),
    ]
    return data.map(transforms, "image").batch(BATCH)


class Stopwatch(Callback):
    """Seconds from the first step to the last, without tracing and compiling."""

    def begin(self, run_context):
        self.start = time.perf_counter()

    def end(self, run_context):
        self.seconds = time.perf_counter() - self.start


def main():
    parser = argparse.ArgumentParser(description="Train LeNet-5 in native sinks.")
    parser.add_argument("--data", choices=["digits", "mnist"], default="digits")
    parser.add_argument("--data-dir", default="./MNIST", help="folder with MNIST's idx or idx.gz files")
    parser.add_argument("--epochs", type=int, help="passes over the data (default: 40 on digits, 5 on MNIST)")
    parser.add_argument("--sink-size", type=int, default=100, help="steps per native call; -1: one pass")
    parser.add_argument("--threads", type=int, help="default: the CPUs this process may use")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--onnx", default="lenet5.onnx", metavar="FILE", help="where to write the trained network"
    )
    options = parser.parse_args()

    graphrt.set_context(threads=options.threads)
    graphrt.set_seed(options.seed)
    is_mnist = options.data == "mnist"
    train_data, test_data = mnist(options.data_dir) if is_mnist else digits(options.seed)
    levels, mean, std = (255, 0.1307, 0.3081) if is_mnist else (16, 0.305, 0.376)
    train_data, test_data = (prepare(data, levels, mean, std) for data in (train_data, test_data))

    network = LeNet5()
    optimizer = nn.Momentum(network.trainable_params(), learning_rate=0.01, momentum=0.9)
    model = Model(network, nn.CrossEntropyLoss(), optimizer, metrics={"accuracy"})

    # In sinks of a given size an "epoch" is a sink, as in MindSpore; the place in the data carries over.
    sinks = options.epochs if options.epochs is not None else 5 if is_mnist else 40
    steps = sinks * train_data.get_dataset_size()
    if options.sink_size > 0:
        sinks = math.ceil(steps / options.sink_size)
        steps = sinks * options.sink_size
    start, stopwatch = time.perf_counter(), Stopwatch()
    model.train(
        sinks, train_data, [LossMonitor(), stopwatch], dataset_sink_mode=True, sink_size=options.sink_size
    )
    compiling = time.perf_counter() - start - stopwatch.seconds

    print(
        f"{steps} steps: {steps / stopwatch.seconds:.0f} steps/s, after {compiling:.2f} s of tracing and compiling"
    )
    print(f"test accuracy: {100 * model.eval(test_data)['accuracy']:.2f} %")
    if options.onnx:
        example = Tensor(np.zeros((BATCH, 1, 32, 32), np.float32))
        path = graphrt.export(network, example, file_name=options.onnx, file_format="ONNX")
        print(f"{path}: written, and verified against the network at batch 1 and 3")
    print(
        f"look inside: graphrt-dump {os.path.relpath(__file__)}:net --input {BATCH}x1x32x32:f32 --stage all"
    )


if __name__ == "__main__":
    main()
