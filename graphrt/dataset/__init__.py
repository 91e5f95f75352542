"""Datasets: sources, the pipeline `map/shuffle/batch/repeat/take/skip`, image and general transforms."""

from . import transforms, vision
from .mnist import MnistDataset
from .pipeline import Dataset
from .plan import ResidentPlan, resident_plan
from .sources import GeneratorDataset, NumpySlicesDataset

__all__ = [
    "Dataset", "GeneratorDataset", "MnistDataset", "NumpySlicesDataset", "ResidentPlan",
    "resident_plan", "transforms", "vision",
]  # fmt: skip
