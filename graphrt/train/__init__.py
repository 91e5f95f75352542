"""Training: Model, callbacks, progress, metrics."""

from ..nn.metrics import (
    F1,
    MAE,
    MSE,
    ROC,
    Accuracy,
    AreaUnderCurve,
    ConfusionMatrix,
    CosineSimilarity,
    Dice,
    Fbeta,
    Loss,
    Metric,
    Perplexity,
    Precision,
    Recall,
    Top1CategoricalAccuracy,
    Top5CategoricalAccuracy,
    TopKCategoricalAccuracy,
    auc,
    get_metric_fn,
    names,
    rearrange_inputs,
)  # fmt: skip
from . import callback
from .checkpoint import load_checkpoint, load_param_into_net, save_checkpoint
from .checkpoint_callback import CheckpointConfig, ModelCheckpoint
from .checkpoint_names import torch_names
from .dataset_helper import DatasetHelper, connect_network_with_dataset, data_sink
from .history import History
from .hooks import Callback, LambdaCallback, RunContext
from .loggers import CSVLogger, JSONLogger, SummaryCollector, TensorBoardLogger
from .model import Model
from .monitors import LossMonitor, TimeMonitor
from .plateau import EarlyStopping, ReduceLROnPlateau
from .progress import ProgressBar
from .rates import LearningRateScheduler

__all__ = [
    "F1", "MAE", "MSE", "ROC", "Accuracy", "AreaUnderCurve", "CSVLogger", "Callback", "CheckpointConfig",
    "ConfusionMatrix", "CosineSimilarity", "DatasetHelper", "Dice", "EarlyStopping", "Fbeta", "History",
    "JSONLogger", "LambdaCallback", "LearningRateScheduler", "Loss", "LossMonitor", "Metric", "Model",
    "ModelCheckpoint", "Perplexity", "Precision", "ProgressBar", "Recall", "ReduceLROnPlateau",
    "RunContext", "SummaryCollector", "TensorBoardLogger", "TimeMonitor", "Top1CategoricalAccuracy",
    "Top5CategoricalAccuracy", "TopKCategoricalAccuracy", "auc", "callback",
    "connect_network_with_dataset", "data_sink", "get_metric_fn", "load_checkpoint", "load_param_into_net", "names", "rearrange_inputs",
    "save_checkpoint", "torch_names",
]  # fmt: skip
