"""Cifar10Dataset: small colour photographs from a folder of CIFAR-10 files in the binary format.

In: a folder that may hold anything. Out: columns image uint8[32, 32, 3] and label uint32[] in memory, the beginning of
a pipeline. A file is a sequence of records without a header: one byte of label, then 32 x 32 bytes each of red, green
and blue, row by row.
"""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np

from ..errors import DataError
from ..frontend.location import user_source
from .folder import check_folder, check_usage, damaged_file, listing, read_file
from .parallel import worker_count
from .selection import select
from .sources import ArraysDataset

_PIXELS = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32
_CLASSES = 10
_MOST_RECORDS = 100_000  # per file, ten times the real ones: a small hostile archive must not fill the memory
_FILES = {
    "train": re.compile(r"data_batch_(\d+)\.bin(\.gz)?"),
    "test": re.compile(r"test_batch()\.bin(\.gz)?"),
}
_EXPECTED = "data_batch_1.bin, data_batch_2.bin, ... and test_batch.bin (each may end with .gz)"
_KIND = "CIFAR-10"  # in error messages


class Cifar10Dataset(ArraysDataset):
    """The CIFAR-10 files (binary version) of a folder.

    `usage`: "train" (every data_batch file there is), "test" or "all"; None takes what the folder holds. `shuffle`:
    another random order each pass; None means True. `num_samples`: use only the first ones. `sampler`, `num_shards`
    and `shard_id` as for NumpySlicesDataset.

    Raises DataError if the folder or a file is missing, damaged or empty. `dataset_dir`: the folder. `cache`
    must be None.
    """

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
        check_usage("Cifar10Dataset", usage)
        worker_count("Cifar10Dataset", num_parallel_workers)
        parts = [_read_file(path) for path in _find_files(os.fspath(dataset_dir), usage)]
        images = np.concatenate([images for images, _ in parts])
        labels = np.concatenate([labels for _, labels in parts])
        selection = select(
            "Cifar10Dataset", len(labels), num_samples=num_samples, shuffle=shuffle, sampler=sampler,
            num_shards=num_shards, shard_id=shard_id, cache=cache,
        )  # fmt: skip
        columns = {"image": np.ascontiguousarray(images), "label": labels.astype(np.uint32)}
        super().__init__(columns, selection)


def _find_files(folder: str, usage: str | None) -> list[str]:
    """Paths of the files wanted, training files first and in the order of their numbers."""
    check_folder("Cifar10Dataset", folder, _EXPECTED)
    wanted = [usage] if usage in _FILES else list(_FILES)
    found: list[str] = []
    for part in wanted:
        numbered: dict[int, str] = {}
        for name in sorted(os.listdir(folder), reverse=True):  # a plain file replaces its compressed twin
            if (match := _FILES[part].fullmatch(name)) is not None:
                numbered[int(match[1] or 0)] = name
        if not numbered and (len(wanted) == 1 or usage == "all"):
            raise DataError(
                f"Cifar10Dataset: {folder!r} lacks the {part} images", at=user_source(),
                expected="test_batch.bin or test_batch.bin.gz" if part == "test" else "data_batch_1.bin, ... or the same with .gz",
                given=listing(folder),
            )  # fmt: skip
        found += [os.path.join(folder, numbered[number]) for number in sorted(numbered)]
    if not found:
        raise DataError(
            f"Cifar10Dataset: the folder {folder!r} holds no CIFAR-10 files", at=user_source(),
            expected=_EXPECTED, given=listing(folder), fix="use the binary version of the data set",
        )  # fmt: skip
    return found


def _read_file(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8[n, 32, 32, 3] and labels uint8[n] of one file (gzip if its name ends with .gz)."""
    most = _MOST_RECORDS * _RECORD
    data: bytes = read_file(_KIND, path, lambda file: file.read(most + 1))
    if len(data) > most:
        raise _damaged(path, "is too large to be one", f"at most {_MOST_RECORDS} images", "more")
    if not data:
        raise _damaged(path, "is empty", f"records of {_RECORD} bytes", "no bytes")
    whole, rest = divmod(len(data), _RECORD)
    if rest:
        given = f"{whole} of them and {rest} bytes more"
        raise _damaged(path, "is truncated", f"whole records of {_RECORD} bytes", given)
    records = np.frombuffer(data, np.uint8).reshape(whole, _RECORD)
    labels = records[:, 0]
    if (strange := np.flatnonzero(labels >= _CLASSES)).size:
        given = f"label {labels[strange[0]]} in record {strange[0]}"
        raise _damaged(path, "is not one", f"labels 0 to {_CLASSES - 1}", given)
    return records[:, 1:].reshape(-1, *_PIXELS).transpose(0, 2, 3, 1), labels


def _damaged(path: str, what: str, expected: str, given: str) -> DataError:
    return damaged_file(_KIND, path, what, expected, given)
