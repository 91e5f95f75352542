"""`graphrt.nn`: Cells, layers, losses, training cells, optimizers.

Arguments that mean the same everywhere:

- `dtype`: the element type of the Parameters; `has_bias`: whether there is a bias.
- `weight_init`, `bias_init`, `gamma_init`, `beta_init`, `moving_mean_init`, `moving_var_init`: what Parameters start as:
  an initializer of `graphrt.common.initializer`, its name, a number, or a Tensor.
- `out_channels`, `kernel_size`, `stride`, `padding`, `dilation`: an int, the window's an int or one per axis of the image;
  `pad_mode`: "same" (as many positions as strides fit the image), "valid" (windows inside the image) or "pad" (`padding`
  zeros around it). `data_format`: "NCHW", (samples, channels, height, width), is the only one.
- `reduction`: what a loss returns: "mean", "sum", or "none" for the loss of each sample. `label_smoothing`: the part of the
  probability that is spread over all classes. `ignore_index`: the label of samples that do not count.
- `learning_rate`: a number, Tensor, iterable (the i-th step takes the i-th value) or `LearningRateSchedule`; `beta1`,
  `beta2`: how much of the running mean of gradients, and of squared gradients, a step keeps. `use_locking` is accepted
  and has no meaning here.
- `auto_prefix`, `flags`: those of `Cell`.

Layers raise ShapeError, DTypeError or ArgumentError, which name the Cell, what was expected and what was given.
"""

from ..frontend.cell import Cell
from . import dynamic_lr, learning_rate_schedule
from .activation import (
    CELU,
    ELU,
    GELU,
    GLU,
    Hardtanh,
    HShrink,
    HSigmoid,
    HSwish,
    Identity,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    SeLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softmin,
    Softplus,
    SoftShrink,
    Softsign,
    Tanh,
    Tanhshrink,
    Threshold,
    get_activation,
)
from .attention import MultiheadAttention, TransformerEncoder, TransformerEncoderLayer
from .basic import Flatten, Norm, OneHot, Unflatten
from .container import CellDict, CellList, Sequential, SequentialCell
from .conv import AvgPool2d, Conv2d, MaxPool2d
from .conv1d import AvgPool1d, Conv1d, MaxPool1d
from .conv_transpose import Conv2dTranspose
from .dense import Dense, Linear
from .dropout import Dropout, Dropout1d, Dropout2d, Dropout3d
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
from .group_normalization import GroupNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, RMSNorm
from .learning_rate_schedule import (
    CosineDecayLR,
    ExponentialDecayLR,
    InverseDecayLR,
    LearningRateSchedule,
    NaturalExpDecayLR,
    PolynomialDecayLR,
    WarmUpLR,
)
from .loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CosineEmbeddingLoss,
    CosineSimilarity,
    CrossEntropyLoss,
    DiceLoss,
    HingeEmbeddingLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    LossBase,
    MAELoss,
    MarginRankingLoss,
    MSELoss,
    NLLLoss,
    RMSELoss,
    SmoothL1Loss,
    SoftMarginLoss,
    SoftmaxCrossEntropyWithLogits,
    TripletMarginLoss,
)
from .loss_scale import DynamicLossScaleUpdateCell, FixedLossScaleUpdateCell, TrainOneStepWithLossScaleCell
from .normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d, LayerNorm
from .optim import (
    ASGD,
    FTRL,
    LARS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdaMax,
    AdamW,
    AdamWeightDecay,
    ExponentialMovingAverage,
    Lamb,
    Momentum,
    Optimizer,
    OptimizerWrapper,
    RMSProp,
    Rprop,
)
from .padding import (
    ConstantPad1d,
    ConstantPad2d,
    ConstantPad3d,
    Pad,
    ReflectionPad1d,
    ReflectionPad2d,
    ReplicationPad1d,
    ReplicationPad2d,
    ZeroPad2d,
)
from .pooling import AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool2d
from .recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from .resize import PixelShuffle, PixelUnshuffle, ResizeBilinear, Upsample
from .training import TrainOneStepCell, WithEvalCell, WithLossCell

__all__ = [
    "ASGD",
    "CELU",
    "ELU",
    "FTRL",
    "GELU",
    "GLU",
    "GRU",
    "LARS",
    "LSTM",
    "RNN",
    "SGD",
    "AdaMax",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "AdamWeightDecay",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Cell",
    "CellDict",
    "CellList",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "Conv1d",
    "Conv2d",
    "Conv2dTranspose",
    "CosineDecayLR",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "Dense",
    "DiceLoss",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "DynamicLossScaleUpdateCell",
    "Embedding",
    "ExponentialDecayLR",
    "ExponentialMovingAverage",
    "FixedLossScaleUpdateCell",
    "Flatten",
    "GRUCell",
    "GroupNorm",
    "HShrink",
    "HSigmoid",
    "HSwish",
    "Hardtanh",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "InverseDecayLR",
    "KLDivLoss",
    "L1Loss",
    "LSTMCell",
    "Lamb",
    "LayerNorm",
    "LeakyReLU",
    "LearningRateSchedule",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "LossBase",
    "MAELoss",
    "MSELoss",
    "MarginRankingLoss",
    "MaxPool1d",
    "MaxPool2d",
    "Mish",
    "Momentum",
    "MultiheadAttention",
    "NLLLoss",
    "NaturalExpDecayLR",
    "Norm",
    "OneHot",
    "Optimizer",
    "OptimizerWrapper",
    "PReLU",
    "Pad",
    "PixelShuffle",
    "PixelUnshuffle",
    "PolynomialDecayLR",
    "RMSELoss",
    "RMSNorm",
    "RMSProp",
    "RNNCell",
    "ReLU",
    "ReLU6",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ResizeBilinear",
    "Rprop",
    "SeLU",
    "Sequential",
    "SequentialCell",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "SoftShrink",
    "Softmax",
    "SoftmaxCrossEntropyWithLogits",
    "Softmin",
    "Softplus",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "TrainOneStepCell",
    "TrainOneStepWithLossScaleCell",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "TripletMarginLoss",
    "Unflatten",
    "Upsample",
    "WarmUpLR",
    "WithEvalCell",
    "WithLossCell",
    "ZeroPad2d",
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
