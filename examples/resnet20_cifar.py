"""ResNet-20 learns CIFAR-10 in native sinks; cropping and flipping are part of the compiled step.

    python examples/resnet20_cifar.py --data-dir ./cifar-10-batches-bin    # the binary version of CIFAR-10

Reads whatever training files the folder has. Images stay bytes in memory: every step picks its batch, shifts each image
by up to 4 pixels, mirrors half of them, scales them and trains on them.
"""

import argparse
import time

import numpy as np

import graphrt
from graphrt import Model, nn, ops
from graphrt.common.initializer import HeNormal
from graphrt.dataset import Cifar10Dataset, vision
from graphrt.train.callback import LossMonitor

BATCH = 128
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def convolution(inputs, outputs, size=3, stride=1):
    return nn.Conv2d(
        inputs, outputs, size, stride, pad_mode="pad", padding=size // 2,
        weight_init=HeNormal(mode="fan_out", nonlinearity="relu"),
    )  # fmt: skip


class Block(nn.Cell):
    """Two normalized convolutions added to the input, which a 1x1 convolution fits to their shape where it changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first, self.first_norm = convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.second, self.second_norm = convolution(outputs, outputs), nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity()
            if same
            else nn.SequentialCell([convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)])
        )

    def construct(self, x):
        y = ops.relu(self.first_norm(self.first(x)))
        return ops.relu(self.second_norm(self.second(y)) + self.shortcut(x))


@graphrt.compile
class ResNet20(nn.Cell):
    """He et al. 2015, section 4.2: 3 stages of 3 blocks, 16, 32 and 64 channels. (N, 3, H, W) to (N, 10) logits."""

    def __init__(self, widths=(16, 32, 64), blocks=3):
        super().__init__()
        self.stem, self.stem_norm = convolution(3, widths[0]), nn.BatchNorm2d(widths[0])
        cells, inputs = [], widths[0]
        for stage, outputs in enumerate(widths):
            for number in range(blocks):
                cells.append(Block(inputs, outputs, stride=2 if stage and number == 0 else 1))
                inputs = outputs
        self.blocks = nn.SequentialCell(cells)
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.classify = nn.Dense(inputs, 10)

    def construct(self, x):
        x = self.blocks(ops.relu(self.stem_norm(self.stem(x))))
        return self.classify(self.flatten(self.pool(x)))


net = ResNet20()  # for graphrt-dump: this line is all that importing the file does


def prepare(data, augment):
    """Bytes (32, 32, 3) to floats (3, 32, 32), in batches."""
    changes = [vision.RandomCrop(32, padding=4), vision.RandomHorizontalFlip()] if augment else []
    scale = [vision.Rescale(1 / 255, 0.0), vision.Normalize(MEAN, STD), vision.HWC2CHW()]
    return data.map([*changes, *scale], "image").batch(BATCH, drop_remainder=augment)


def main():
    parser = argparse.ArgumentParser(description="Train ResNet-20 on CIFAR-10 in native sinks.")
    parser.add_argument(
        "--data-dir", default="./cifar-10-batches-bin", help="folder with data_batch_1.bin[.gz], ..."
    )
    parser.add_argument("--epochs", type=int, default=20, help="passes over the data")
    parser.add_argument("--samples", type=int, help="use only so many training images")
    parser.add_argument("--no-augment", action="store_true", help="neither shift nor mirror the images")
    parser.add_argument("--threads", type=int, help="default: the CPUs this process may use")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    graphrt.set_context(threads=options.threads)
    graphrt.set_seed(options.seed)
    training = Cifar10Dataset(options.data_dir, "train", num_samples=options.samples)
    test = Cifar10Dataset(options.data_dir, "test", shuffle=False)
    print(f"{len(training)} training images, {len(test)} test images")
    training, test = prepare(training, augment=not options.no_augment), prepare(test, augment=False)

    network = ResNet20()
    steps = options.epochs * training.get_dataset_size()
    # The rate falls along half a cosine inside the native step. Scales and offsets of the normalization do not decay.
    rate = nn.CosineDecayLR(0.0, 0.1, max(1, steps))
    optimizer = nn.Momentum(network.trainable_params(), rate, 0.9, weight_decay=1e-4)
    model = Model(network, nn.CrossEntropyLoss(), optimizer, metrics={"accuracy"})
    start = time.perf_counter()
    history = model.train(options.epochs, training, LossMonitor(), dataset_sink_mode=True)
    seconds = time.perf_counter() - start

    print(f"{steps} steps in {seconds:.1f} s, tracing and compiling included")
    print(f"mean loss of the last pass: {np.mean(history.losses[-training.get_dataset_size() :]):.4f}")
    print(f"test accuracy: {100 * model.eval(test)['accuracy']:.2f} %")


if __name__ == "__main__":
    main()
