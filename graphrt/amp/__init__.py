"""`graphrt.amp`: mixed precision. Networks computed in bfloat16 or float16 with float32 parameters, loss scaling.

Kernels convert what they read to float32 and sum up in float32. Low precision halves the memory of activations; products
are not faster for it, because the processor's bfloat16 instructions are not used.
"""

from ..frontend.conditional import update_where
from ..nn.loss_scale import all_finite
from .loss_scaler import DynamicLossScaler, LossScaler, StaticLossScaler
from .manager import DynamicLossScaleManager, FixedLossScaleManager, LossScaleManager
from .mixed_precision import (
    auto_mixed_precision,
    custom_mixed_precision,
    get_black_list,
    get_white_list,
)
from .training import build_train_network

__all__ = [
    "DynamicLossScaleManager",
    "DynamicLossScaler",
    "FixedLossScaleManager",
    "LossScaleManager",
    "LossScaler",
    "StaticLossScaler",
    "all_finite",
    "auto_mixed_precision",
    "build_train_network",
    "custom_mixed_precision",
    "get_black_list",
    "get_white_list",
    "update_where",
]
