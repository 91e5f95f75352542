"""`graphrt.dtype`: the element types under the module name users import (`from graphrt import dtype as mstype`)."""

from .dtypes import (
    DType,
    as_dtype,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)  # fmt: skip

float_ = float32
int_ = int64
uint = uint64
half, single, double = float16, float32, float64


def dtype_to_nptype(type_: object):
    """The NumPy scalar type of an element type."""
    return as_dtype(type_).numpy.type


__all__ = [
    "DType", "as_dtype", "bfloat16", "bool_", "double", "dtype_to_nptype", "float16", "float32", "float64", "float_",
    "half", "int8", "int16", "int32", "int64", "int_", "single", "uint", "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip
