"""Decode: the pixels of an image file. ToPIL: an image for functions that want a Pillow one.

In: a file's bytes as uint8[n] (what ImageFolderDataset gives); uint8[H, W, C]. Out: uint8[H, W, 3]; a PIL.Image. Both
run in Python, through Pillow. Transforms take Pillow images for what they are, arrays of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ArgumentError, DataError
from ...frontend.location import user_source


@dataclass(frozen=True)
class Decode:
    """JPEG, PNG, BMP, GIF, ... to RGB pixels uint8[H, W, 3], or a PIL.Image with `to_pil`. Raises DataError for what is
    no image."""

    to_pil: bool = False

    def __call__(self, data: Any) -> Any:
        from ..image_folder import decode_image

        pixels = decode_image(np.asarray(data, np.uint8).tobytes(), "what Decode was given")
        return ToPIL()(pixels) if self.to_pil else pixels


@dataclass(frozen=True)
class ToPIL:
    """Pixels uint8[H, W, 3], [H, W, 1] or [H, W] to a PIL.Image. `map` leaves it out before a transform of this package,
    which takes the pixels. Raises DataError for anything else."""

    def __call__(self, image: Any) -> Any:
        try:
            from PIL import Image
        except ImportError:
            raise ArgumentError(
                "ToPIL needs Pillow, which is not installed", at=user_source(), fix="pip install pillow"
            ) from None
        pixels = np.asarray(image)
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
        if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or pixels.shape[2:] == (3,)):
            raise DataError(
                "ToPIL takes images of bytes", at=user_source(), expected="uint8[H, W, 3], [H, W, 1] or [H, W]",
                given=f"{pixels.dtype}{list(pixels.shape)}",
            )  # fmt: skip
        return Image.fromarray(pixels)
