"""`from graphrt.common.tensor import Tensor`, as MindSpore's first releases write it."""

from ..frontend.tensor import Tensor

__all__ = ["Tensor"]
