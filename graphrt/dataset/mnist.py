"""MnistDataset and FashionMnistDataset: small grey images from a folder of idx files.

In: a folder. Out: columns image uint8[28, 28, 1] and label uint32[] in memory, the beginning of a pipeline.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..errors import DataError
from ..frontend.location import user_source
from .folder import check_folder, check_usage, listing
from .idx import read_idx
from .parallel import worker_count
from .selection import select
from .sources import ArraysDataset

_PREFIXES = {"train": "train", "test": "t10k"}
_EXPECTED = (
    "train-images-idx3-ubyte and train-labels-idx1-ubyte, or the same with t10k (each may end with .gz)"
)


class _IdxDataset(ArraysDataset):
    """Images and labels in the four files that MNIST and its relatives come in."""

    _name: str  # in error messages

    def __init__(
        self,
        dataset_dir: str | os.PathLike[str],
        usage: str | None = None,
        num_samples: int | None = None,
        num_parallel_workers: int | None = None,
        shuffle: bool | None = None,
        sampler: Any = None,
        num_shards: int | None = None,
        shard_id: int | None = None,
        cache: object = None,
    ):
        check_usage(self._name, usage)
        worker_count(self._name, num_parallel_workers)
        folder = os.fspath(dataset_dir)
        parts = [_read_pair(self._name, *pair) for pair in _find_files(self._name, folder, usage)]
        if len({images.shape[1:] for images, _ in parts}) > 1:
            raise DataError(
                f"{self._name}: the train and test images in {folder} differ in size", at=user_source(),
                given=" and ".join(str(list(images.shape[1:])) for images, _ in parts), fix="choose one with usage=",
            )  # fmt: skip
        images = np.concatenate([p[0] for p in parts]) if len(parts) > 1 else parts[0][0]
        labels = np.concatenate([p[1] for p in parts]) if len(parts) > 1 else parts[0][1]
        selection = select(
            self._name, len(labels), num_samples=num_samples, shuffle=shuffle, sampler=sampler,
            num_shards=num_shards, shard_id=shard_id, cache=cache,
        )  # fmt: skip
        super().__init__({"image": images[:, :, :, None], "label": labels.astype(np.uint32)}, selection)


class MnistDataset(_IdxDataset):
    """The MNIST files (or others of the same form, such as KMNIST) of a folder.

    `usage`: "train", "test" or "all"; None takes what the folder holds. `shuffle`: another random order each pass;
    None means True. `num_samples`: use only the first ones. `sampler`, `num_shards` and `shard_id` as for
    NumpySlicesDataset. Images of any size are accepted. `dataset.download("mnist")` fetches the files.

    Raises DataError if the folder or a file is missing, damaged or empty. `dataset_dir`: the folder. `cache`
    must be None.
    """

    _name = "MnistDataset"


class FashionMnistDataset(_IdxDataset):
    """The Fashion-MNIST files of a folder; arguments, columns and errors as for `MnistDataset`.

    `dataset.download("fashion_mnist")` fetches the files. That is `dataset_dir`, `usage`, `num_samples`,
    `shuffle`, `sampler`, `num_shards`, `shard_id` and `cache`.
    """

    _name = "FashionMnistDataset"


def _find_files(dataset: str, folder: str, usage: str | None) -> list[tuple[str, str]]:
    """(images, labels) paths of every part wanted."""
    check_folder(dataset, folder, _EXPECTED)
    wanted = [usage] if usage in _PREFIXES else list(_PREFIXES)
    found = []
    for part in wanted:
        images = _find(folder, f"{_PREFIXES[part]}-images", "idx3-ubyte")
        labels = _find(folder, f"{_PREFIXES[part]}-labels", "idx1-ubyte")
        if images and labels:
            found.append((images, labels))
        elif images or labels or len(wanted) == 1 or usage == "all":
            missing = "labels" if images else "images"
            raise DataError(
                f"{dataset}: {folder!r} lacks the {part} {missing}", at=user_source(),
                expected=f"{_PREFIXES[part]}-{missing}-idx{1 if images else 3}-ubyte, or the same with .gz",
                given=listing(folder),
            )  # fmt: skip
    if not found:
        raise DataError(
            f"{dataset}: the folder {folder!r} holds no MNIST files", at=user_source(),
            expected=_EXPECTED, given=listing(folder),
        )  # fmt: skip
    return found


def _find(folder: str, stem: str, kind: str) -> str | None:
    for separator in ("-", "."):  # some archives write train-images.idx3-ubyte
        for ending in ("", ".gz"):
            path = os.path.join(folder, f"{stem}{separator}{kind}{ending}")
            if os.path.isfile(path):
                return path
    return None


def _read_pair(dataset: str, images_path: str, labels_path: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{dataset}: the numbers of images and labels differ", at=user_source(),
            expected=f"{len(images)} labels for {images_path}", given=f"{len(labels)} in {labels_path}",
            fix="download both files again",
        )  # fmt: skip
    if images.size == 0:
        raise DataError(
            f"{dataset}: the idx file {images_path} is empty", at=user_source(),
            expected="at least one image", given=f"shape {list(images.shape)}",
        )  # fmt: skip
    return images, labels
