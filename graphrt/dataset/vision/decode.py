"""Decode: the pixels of an image file.

In: a file's bytes as uint8[n] (what ImageFolderDataset gives). Out: uint8[H, W, 3]. Runs in Python, through Pillow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ArgumentError
from ...frontend.location import user_source


@dataclass(frozen=True)
class Decode:
    """JPEG, PNG, BMP, GIF, ... to RGB pixels. Raises DataError for what is no image."""

    def __init__(self, to_pil: bool = False):
        if to_pil:
            raise ArgumentError(
                "Decode: images are arrays here",
                at=user_source(),
                expected="to_pil=False",
                given="to_pil=True",
            )

    def __call__(self, data: Any) -> np.ndarray:
        from ..image_folder import decode_image

        return decode_image(np.asarray(data, np.uint8).tobytes(), "what Decode was given")
