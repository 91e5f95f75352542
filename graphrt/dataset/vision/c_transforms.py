"""The module name release 1.1 gave these transforms."""

from . import HWC2CHW, Border, Inter, Normalize, Pad, RandomCrop, RandomHorizontalFlip, Rescale, Resize

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
]
