"""ImageFolderDataset: photographs in one folder per class.

In: a folder. Out: columns image (the file's bytes, or its decoded pixels uint8[H, W, 3]) and label int32[], read file by
file while training runs.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError
from ..frontend.location import user_source
from .folder import check_folder, listing
from .parallel import worker_count
from .random_access import RandomAccessDataset
from .rows import Row
from .selection import select

_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_EXPECTED = "one folder of images per class"


class ImageFolderDataset(RandomAccessDataset):
    """The images of `dataset_dir/<class>/...` with the number of their class, classes in alphabetical order.

    `decode`: give pixels uint8[H, W, 3] (RGB) instead of the file's bytes (`vision.Decode` makes pixels of those).
    `extensions`: endings of the files to take, default those of the usual image formats. `class_indexing`: class name ->
    label, for the classes to take. `num_parallel_workers`: threads that read and decode. `num_samples`, `shuffle`,
    `sampler`, `num_shards` and `shard_id` as for NumpySlicesDataset. Images differ in size: `map` a `vision.Resize` or
    crop before `batch`.

    Raises DataError if the folder is missing or holds no images, and, when it is read, for a file that is no
    image. `cache` and `decrypt` must be None.
    """

    def __init__(
        self,
        dataset_dir: str | os.PathLike[str],
        num_samples: int | None = None,
        num_parallel_workers: int | None = None,
        shuffle: bool | None = None,
        sampler: Any = None,
        extensions: Sequence[str] | None = None,
        class_indexing: Mapping[str, int] | None = None,
        decode: bool = False,
        num_shards: int | None = None,
        shard_id: int | None = None,
        cache: object = None,
        decrypt: object = None,
    ):
        if decrypt is not None:
            raise ArgumentError(
                "ImageFolderDataset: decrypt is not supported", at=user_source(), given=repr(decrypt),
                fix="map() a function that decrypts the bytes, then vision.Decode()",
            )  # fmt: skip
        folder = os.fspath(dataset_dir)
        workers = worker_count("ImageFolderDataset", num_parallel_workers)
        self._classes = _class_numbers(folder, class_indexing)
        endings = tuple(e.lower() for e in extensions) if extensions is not None else _EXTENSIONS
        files = [
            (path, label) for name, label in self._classes.items() for path in _files(folder, name, endings)
        ]
        if not files:
            raise DataError(
                f"ImageFolderDataset: the folder {folder!r} holds no images", at=user_source(),
                expected=f"<class>/<image>, with endings {', '.join(endings)}", given=listing(folder),
            )  # fmt: skip
        selection = select(
            "ImageFolderDataset", len(files), num_samples=num_samples, shuffle=shuffle, sampler=sampler,
            num_shards=num_shards, shard_id=shard_id, cache=cache,
        )  # fmt: skip

        def read(number: int) -> Row:
            path, label = files[number]
            try:
                with open(path, "rb") as file:
                    data = file.read()
            except OSError as error:
                raise DataError(
                    f"the image {path} cannot be read", at=user_source(), given=error.strerror or str(error)
                ) from None
            image = decode_image(data, path) if decode else np.frombuffer(data, np.uint8)
            return image, np.array(label, np.int32)

        super().__init__(
            ("image", "label"), read, len(files), selection, workers, False, "ImageFolderDataset"
        )

    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self._classes)

    def get_class_indexing(self) -> dict[str, int]:
        """Class name -> label."""
        return dict(self._classes)


def _class_numbers(folder: str, chosen: Mapping[str, int] | None) -> dict[str, int]:
    check_folder("ImageFolderDataset", folder, _EXPECTED)
    found = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    if chosen is None:
        return {name: number for number, name in enumerate(found)}
    unknown = [name for name in chosen if name not in found]
    if unknown:
        raise DataError(
            f"ImageFolderDataset: there is no class {unknown[0]!r} in {folder!r}", at=user_source(),
            expected=", ".join(found) or _EXPECTED, given=", ".join(chosen),
        )  # fmt: skip
    return {name: int(number) for name, number in chosen.items()}


def _files(folder: str, name: str, endings: tuple[str, ...]) -> list[str]:
    found = []
    for place, _, files in os.walk(os.path.join(folder, name)):
        found += [os.path.join(place, file) for file in files if file.lower().endswith(endings)]
    return sorted(found)


def decode_image(data: bytes, name: str) -> np.ndarray:
    """The pixels uint8[H, W, 3] (RGB) of an image file. `name` is for errors: DataError for what is no image, an
    ArgumentError that says what to install where Pillow is missing."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise ArgumentError(
            "decoding images needs Pillow, which is not installed", at=user_source(), fix="pip install pillow"
        ) from None
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{name} is not a readable image", at=user_source(), given=str(error) or type(error).__name__,
            fix="remove or replace the file",
        ) from None  # fmt: skip
