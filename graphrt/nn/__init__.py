"""`graphrt.nn`: Cells, layers, losses, training cells, optimizers."""

from ..frontend.cell import Cell
from .activation import Identity, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh, get_activation
from .container import CellList, Dropout, Flatten, Sequential, SequentialCell
from .conv import AvgPool2d, Conv2d, MaxPool2d
from .dense import Dense, Linear
from .loss import CrossEntropyLoss, L1Loss, LossBase, MSELoss, SoftmaxCrossEntropyWithLogits
from .optimizer import SGD, Adam, Momentum, Optimizer
from .training import TrainOneStepCell, WithEvalCell, WithLossCell

__all__ = [
    "SGD", "Adam", "AvgPool2d", "Cell", "CellList", "Conv2d", "CrossEntropyLoss", "Dense", "Dropout", "Flatten",
    "Identity", "L1Loss", "Linear", "LogSoftmax", "LossBase", "MSELoss", "MaxPool2d", "Momentum", "Optimizer", "ReLU",
    "Sequential", "SequentialCell", "Sigmoid", "Softmax", "SoftmaxCrossEntropyWithLogits", "Tanh", "TrainOneStepCell",
    "WithEvalCell", "WithLossCell", "get_activation",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Metrics are reachable from here too (`nn.Accuracy`), as in early releases."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import metrics

    if name != "metrics" and not hasattr(metrics, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return metrics if name == "metrics" else getattr(metrics, name)
