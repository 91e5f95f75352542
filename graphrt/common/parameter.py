"""`from graphrt.common.parameter import Parameter`, as MindSpore's first releases write it."""

from ..frontend.parameter import Parameter, ParameterTuple

__all__ = ["Parameter", "ParameterTuple"]
