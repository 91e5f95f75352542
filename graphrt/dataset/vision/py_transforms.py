"""The module name release 1.1 gave these transforms when they worked on Pillow images: channels come first there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import *  # noqa: F403
from . import __all__ as __all__
from . import scale


@dataclass(frozen=True, init=False)
class Normalize(scale.Normalize):  # type: ignore[no-redef]
    """`vision.Normalize` of images (C, H, W): in release 1.1 it stands after `ToTensor`."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__(mean, std, is_hwc=False)
