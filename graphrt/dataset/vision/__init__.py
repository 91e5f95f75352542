"""Image transforms. Images are (H, W, C) or (H, W) until `HWC2CHW` or `ToTensor`, and (C, H, W) after.

In: a sample, a batch or a traced batch of images (see `dataset/transform.py`). Out: the same, transformed.
"""

from ..transforms import TypeCast as ToType
from .arrange import HWC2CHW, Border, Pad
from .augment import RandomCrop
from .color import (
    AdjustBrightness,
    AdjustContrast,
    AdjustHue,
    AdjustSaturation,
    Grayscale,
    Invert,
    RandomColorAdjust,
)
from .crop import CenterCrop, Crop
from .decode import Decode, ToPIL
from .flip import HorizontalFlip, RandomHorizontalFlip, RandomVerticalFlip, VerticalFlip
from .resize import Inter, Resize
from .resized_crop import RandomResizedCrop
from .scale import Normalize, Rescale, ToTensor

__all__ = [
    "HWC2CHW", "AdjustBrightness", "AdjustContrast", "AdjustHue", "AdjustSaturation", "Border", "CenterCrop", "Crop", "Decode", "Grayscale",
    "HorizontalFlip", "Inter", "Invert", "Normalize", "Pad", "RandomColorAdjust", "RandomCrop", "RandomHorizontalFlip",
    "RandomResizedCrop", "RandomVerticalFlip", "Rescale", "Resize", "ToPIL", "ToTensor", "ToType", "VerticalFlip",
]  # fmt: skip
