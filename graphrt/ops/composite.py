"""`from graphrt.ops import composite as C`: functions that transform functions, under MindSpore's module name."""

from ..frontend.functional import clip_by_global_norm, clip_by_value
from ..frontend.gradient import grad, value_and_grad

__all__ = ["clip_by_global_norm", "clip_by_value", "grad", "value_and_grad"]
