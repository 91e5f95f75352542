"""`graphrt.train.callback`: all callbacks under the module name users import them from."""

from .checkpoint_callback import CheckpointConfig, ModelCheckpoint
from .history import History
from .hooks import Callback, CallbackParameters, LambdaCallback, RunContext
from .loggers import CSVLogger, JSONLogger, SummaryCollector, TensorBoardLogger
from .monitors import LossMonitor, TimeMonitor
from .plateau import EarlyStopping, Monitor, ReduceLROnPlateau
from .progress import ProgressBar
from .rates import LearningRateScheduler

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackParameters",
    "CheckpointConfig",
    "EarlyStopping",
    "History",
    "JSONLogger",
    "LambdaCallback",
    "LearningRateScheduler",
    "LossMonitor",
    "ModelCheckpoint",
    "Monitor",
    "ProgressBar",
    "ReduceLROnPlateau",
    "RunContext",
    "SummaryCollector",
    "TensorBoardLogger",
    "TimeMonitor",
]
