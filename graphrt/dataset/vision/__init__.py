"""Image transforms. Images are (H, W, C) or (H, W) until `HWC2CHW` or `ToTensor`, and (C, H, W) after.

In: a sample, a batch or a traced batch of images (see `dataset/transform.py`). Out: the same, transformed.
"""

from .arrange import HWC2CHW, Border, Pad
from .augment import RandomCrop, RandomHorizontalFlip
from .resize import Inter, Resize
from .scale import Normalize, Rescale, ToTensor

__all__ = [
    "HWC2CHW",
    "Border",
    "Inter",
    "Normalize",
    "Pad",
    "RandomCrop",
    "RandomHorizontalFlip",
    "Rescale",
    "Resize",
    "ToTensor",
]
