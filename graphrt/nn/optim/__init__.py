"""`graphrt.nn.optim`: optimizers, and wrappers around optimizers."""

from .adam import Adam, AdamW, AdamWeightDecay
from .adaptive import FTRL, Adadelta, Adagrad, AdaMax, RMSProp, Rprop
from .averaged_sgd import ASGD
from .layerwise import LARS, Lamb
from .momentum import SGD, Momentum
from .optimizer import Optimizer
from .wrapper import ExponentialMovingAverage, OptimizerWrapper

__all__ = [
    "ASGD", "FTRL", "LARS", "SGD", "AdaMax", "Adadelta", "Adagrad", "Adam", "AdamW", "AdamWeightDecay",
    "ExponentialMovingAverage", "Lamb", "Momentum", "Optimizer", "OptimizerWrapper", "RMSProp", "Rprop",
]  # fmt: skip
