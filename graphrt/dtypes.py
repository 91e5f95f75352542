"""Element types: one frozen object each, with its NumPy, LLVM and short spellings.

In: a name ("float32", "f32"), a NumPy dtype, a Python type or a DType. Out: the DType (`as_dtype`).
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

from .errors import DTypeError


@dataclass(frozen=True)
class DType:
    """An element type. `short` is its spelling in IR text, `llvm` its type in memory, `size` its bytes."""

    name: str
    short: str
    llvm: str
    size: int
    kind: str  # "float", "int", "uint" or "bool"

    @property
    def numpy(self) -> np.dtype:
        return np.dtype(ml_dtypes.bfloat16) if self.name == "bfloat16" else np.dtype(self.name)

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")

    def __repr__(self) -> str:
        return self.name

    __str__ = __repr__


bool_ = DType("bool", "i1", "i8", 1, "bool")
int8 = DType("int8", "i8", "i8", 1, "int")
int16 = DType("int16", "i16", "i16", 2, "int")
int32 = DType("int32", "i32", "i32", 4, "int")
int64 = DType("int64", "i64", "i64", 8, "int")
uint8 = DType("uint8", "u8", "i8", 1, "uint")
uint16 = DType("uint16", "u16", "i16", 2, "uint")
uint32 = DType("uint32", "u32", "i32", 4, "uint")
uint64 = DType("uint64", "u64", "i64", 8, "uint")
bfloat16 = DType("bfloat16", "bf16", "bfloat", 2, "float")
float16 = DType("float16", "f16", "half", 2, "float")
float32 = DType("float32", "f32", "float", 4, "float")
float64 = DType("float64", "f64", "double", 8, "float")

ALL = (
    bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, bfloat16, float16, float32, float64,
)  # fmt: skip
BY_NAME = {d.name: d for d in ALL}
BY_SHORT = {d.short: d for d in ALL}
_BY_NUMPY = {np.dtype(d.name): d for d in ALL if d is not bfloat16 and d is not bool_} | {
    np.dtype(bool): bool_
}
_PYTHON = {bool: bool_, int: int32, float: float32}


def as_dtype(value: object) -> DType:
    """The DType meant by a DType, a name, a NumPy dtype or one of bool, int, float.

    Raises DTypeError for anything graphrt has no element type for.
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, np.dtype) and value in _BY_NUMPY:  # looked up at every call of a compiled function
        return _BY_NUMPY[value]
    if isinstance(value, type) and value in _PYTHON:
        return _PYTHON[value]
    if isinstance(value, str) and value in BY_NAME:
        return BY_NAME[value]
    if isinstance(value, str) and value in BY_SHORT:
        return BY_SHORT[value]
    try:
        name = np.dtype(value).name  # type: ignore[call-overload]
    except TypeError:
        name = str(value)
    if name in BY_NAME:
        return BY_NAME[name]
    raise DTypeError("unknown element type", expected=", ".join(BY_NAME), given=repr(value))


def promote(a: DType, b: DType) -> DType:
    """The type of a binary operation's result: the wider of two kinds bool < integer < float, then the wider size.

    Mixed integer and float gives the float type (int32 with float32 is float32, as in MindSpore and PyTorch).
    """
    if a == b:
        return a
    rank = {"bool": 0, "uint": 1, "int": 1, "float": 2}
    if rank[a.kind] != rank[b.kind]:
        return a if rank[a.kind] > rank[b.kind] else b
    if {a, b} == {bfloat16, float16}:
        return float32
    if a.kind != b.kind:  # uint with int: the signed type that holds both
        unsigned, signed = (a, b) if a.kind == "uint" else (b, a)
        if signed.size > unsigned.size:
            return signed
        return BY_NAME[f"int{min(64, unsigned.size * 16)}"]
    return a if a.size >= b.size else b
