"""Datasets: sources, the pipeline `map/shuffle/batch/repeat/take/skip`, image and general transforms."""

from . import transforms, vision
from .cifar import Cifar10Dataset
from .mnist import MnistDataset
from .pipeline import Dataset
from .plan import ResidentPlan, resident_plan
from .sources import GeneratorDataset, NumpySlicesDataset

__all__ = [
    "Cifar10Dataset", "Dataset", "GeneratorDataset", "MnistDataset", "NumpySlicesDataset", "ResidentPlan",
    "resident_plan", "transforms", "vision",
]  # fmt: skip
