"""Training: Model, callbacks, progress, metrics."""

from ..nn.metrics import (
    MAE,
    MSE,
    Accuracy,
    Loss,
    Metric,
    Top1CategoricalAccuracy,
    Top5CategoricalAccuracy,
    TopKCategoricalAccuracy,
)  # fmt: skip
from .hooks import Callback, RunContext
from .model import Model
from .monitors import History, LossMonitor, TimeMonitor
from .progress import ProgressBar

__all__ = [
    "MAE", "MSE", "Accuracy", "Callback", "History", "Loss", "LossMonitor", "Metric", "Model", "ProgressBar",
    "RunContext", "TimeMonitor", "Top1CategoricalAccuracy", "Top5CategoricalAccuracy", "TopKCategoricalAccuracy",
]  # fmt: skip
