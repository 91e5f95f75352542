"""The images that the other examples learn from: small, grey, ten classes.

In: a folder with MNIST's files (or Fashion-MNIST's, which have the same names and form), or None. Out: a training and a
test dataset with the columns image uint8 (28, 28, 1) and label. Without a folder they are scikit-learn's handwritten
digits, brought into MNIST's form: real data that needs no network.
"""

import numpy as np

from graphrt.dataset import (
    FashionMnistDataset,
    MnistDataset,
    NumpySlicesDataset,
    download,
    transforms,
    vision,
)
from graphrt.errors import DataError


def add_data_option(parser):
    """The option `--data`, as every example spells it."""
    parser.add_argument(
        "--data", metavar="DIR", help="folder with MNIST's idx or idx.gz files (default: digits)"
    )


def digits():
    """1797 images of 8x8 pixels; every pixel becomes 3x3, the margin 2; a random 20 % is held out for the test."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    bright = (images * 255 / 16).astype(np.uint8).reshape(-1, 8, 8)
    large = np.pad(bright.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))[..., None]
    order = np.random.default_rng(0).permutation(len(labels))
    held_out, kept = np.split(order, [len(order) // 5])
    return [
        NumpySlicesDataset((large[rows], labels[rows].astype(np.int32)), ["image", "label"], shuffle=shuffle)
        for rows, shuffle in ((kept, True), (held_out, False))
    ]


def handwriting(folder=None):
    """(training, test) datasets: MNIST from its folder, else the digits."""
    if folder is None:
        return digits()
    return [MnistDataset(folder, usage, shuffle=usage == "train") for usage in ("train", "test")]


def fashion(folder=None, fetch=False):
    """(training, test) datasets: Fashion-MNIST from a folder or fetched; else, or if that fails, the digits."""
    if fetch:
        try:
            folder = download("fashion_mnist", folder)
        except DataError as error:
            print(f"{error.message}: learning digits instead")
            return digits()
    if folder is None:
        return digits()
    return [FashionMnistDataset(folder, usage, shuffle=usage == "train") for usage in ("train", "test")]


def prepared(data, batch, mean=0.1307, std=0.3081, one_hot=False):
    """Bytes to floats (1, 28, 28), labels to int32 or, with `one_hot`, to float vectors; then batches."""
    scale = [vision.Rescale(1 / 255, 0.0), vision.Normalize(mean=[mean], std=[std]), vision.HWC2CHW()]
    label = (
        [transforms.OneHot(10), transforms.TypeCast("float32")] if one_hot else transforms.TypeCast("int32")
    )
    return data.map(scale, "image").map(label, "label").batch(batch)
