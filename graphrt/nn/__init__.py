"""`graphrt.nn`: Cells, layers, losses, training cells, optimizers."""

from ..frontend.cell import Cell
from . import dynamic_lr, learning_rate_schedule
from .activation import (
    ELU,
    GELU,
    HSigmoid,
    HSwish,
    Identity,
    LeakyReLU,
    LogSoftmax,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    get_activation,
)
from .adam_weight_decay import AdamW, AdamWeightDecay
from .container import CellList, Dropout, Flatten, Sequential, SequentialCell
from .conv import AvgPool2d, Conv2d, MaxPool2d
from .dense import Dense, Linear
from .dynamic_lr import (
    cosine_decay_lr,
    exponential_decay_lr,
    inverse_decay_lr,
    natural_exp_decay_lr,
    piecewise_constant_lr,
    polynomial_decay_lr,
    warmup_lr,
)
from .embedding import Embedding
from .learning_rate_schedule import (
    CosineDecayLR,
    ExponentialDecayLR,
    InverseDecayLR,
    LearningRateSchedule,
    NaturalExpDecayLR,
    PolynomialDecayLR,
    WarmUpLR,
)
from .loss import CrossEntropyLoss, L1Loss, LossBase, MSELoss, SoftmaxCrossEntropyWithLogits
from .normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d, LayerNorm
from .optimizer import SGD, Adam, Momentum, Optimizer
from .pooling import AdaptiveAvgPool2d
from .training import TrainOneStepCell, WithEvalCell, WithLossCell

__all__ = [
    "ELU",
    "GELU",
    "SGD",
    "Adam",
    "AdamW",
    "AdamWeightDecay",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Cell",
    "CellList",
    "Conv2d",
    "CosineDecayLR",
    "CrossEntropyLoss",
    "Dense",
    "Dropout",
    "Embedding",
    "ExponentialDecayLR",
    "Flatten",
    "HSigmoid",
    "HSwish",
    "Identity",
    "InverseDecayLR",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "LearningRateSchedule",
    "Linear",
    "LogSoftmax",
    "LossBase",
    "MSELoss",
    "MaxPool2d",
    "Mish",
    "Momentum",
    "NaturalExpDecayLR",
    "Optimizer",
    "PolynomialDecayLR",
    "ReLU",
    "ReLU6",
    "Sequential",
    "SequentialCell",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SoftmaxCrossEntropyWithLogits",
    "Softplus",
    "Tanh",
    "TrainOneStepCell",
    "WarmUpLR",
    "WithEvalCell",
    "WithLossCell",
    "cosine_decay_lr",
    "dynamic_lr",
    "exponential_decay_lr",
    "get_activation",
    "inverse_decay_lr",
    "learning_rate_schedule",
    "natural_exp_decay_lr",
    "piecewise_constant_lr",
    "polynomial_decay_lr",
    "warmup_lr",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Metrics are reachable from here too (`nn.Accuracy`), as in early releases."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import metrics

    if name != "metrics" and not hasattr(metrics, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return metrics if name == "metrics" else getattr(metrics, name)
