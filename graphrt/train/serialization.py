"""`graphrt.train.serialization`: the functions on weights under the module name users import them from."""

from .checkpoint import load_checkpoint, load_param_into_net, save_checkpoint
from .checkpoint_names import torch_names

__all__ = ["load_checkpoint", "load_param_into_net", "save_checkpoint", "torch_names"]
