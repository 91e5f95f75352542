"""Datasets: sources, the stages of a pipeline (`map/shuffle/batch/repeat/take/skip/zip/split/...`), transforms."""

from . import config, transforms, vision
from .cifar import Cifar10Dataset
from .combine import zip
from .download import download
from .generator import GeneratorDataset
from .image_folder import ImageFolderDataset
from .iterable import IterableDataset
from .mnist import FashionMnistDataset, MnistDataset
from .pipeline import Dataset
from .plan import ResidentPlan, resident_plan
from .selection import (
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    SubsetSampler,
    WeightedRandomSampler,
)
from .sources import NumpySlicesDataset
from .stages import BatchInfo

__all__ = [
    "BatchInfo", "Cifar10Dataset", "Dataset", "DistributedSampler", "FashionMnistDataset", "GeneratorDataset",
    "ImageFolderDataset", "IterableDataset", "MnistDataset", "NumpySlicesDataset", "RandomSampler", "ResidentPlan",
    "Sampler", "SequentialSampler", "SubsetRandomSampler", "SubsetSampler", "WeightedRandomSampler", "config", "download",
    "resident_plan", "transforms", "vision", "zip",
]  # fmt: skip
