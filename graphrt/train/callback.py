"""`graphrt.train.callback`: all callbacks under the module name users import them from."""

from .hooks import Callback, CallbackParameters, RunContext
from .monitors import History, LossMonitor, TimeMonitor
from .progress import ProgressBar

__all__ = [
    "Callback",
    "CallbackParameters",
    "History",
    "LossMonitor",
    "ProgressBar",
    "RunContext",
    "TimeMonitor",
]
