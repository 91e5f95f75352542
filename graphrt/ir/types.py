"""Values the IR talks about: tensor types, source positions, constant arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..dtypes import DType, as_dtype


@dataclass(frozen=True)
class TensorType:
    """Static shape (Python ints) and element type."""

    shape: tuple[int, ...]
    dtype: DType

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * self.dtype.size

    def __str__(self) -> str:
        return f"{self.dtype.short}[{','.join(map(str, self.shape))}]"

    def describe(self) -> str:
        """The spelling error messages use: float32[32, 784]."""
        return f"{self.dtype.name}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Source:
    """The user's code a node came from: file, line, and the path of the Cell whose construct was running."""

    file: str
    line: int
    cell: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f" in {self.cell}" if self.cell else "")


class Literal:
    """An immutable array that hashes and compares by dtype, shape and bytes, so that it can be an op attribute."""

    __slots__ = ("_hash", "array")

    def __init__(self, array: object):
        value = np.array(array, order="C", copy=True)  # asarray would alias the caller's memory
        if not value.dtype.isnative:  # data read from a file may be big-endian; one byte order inside
            value = value.astype(value.dtype.newbyteorder("="))
        value.setflags(write=False)
        self.array = value
        self._hash = hash((value.dtype.str, value.shape, value.tobytes()))

    @property
    def type(self) -> TensorType:
        return TensorType(tuple(self.array.shape), as_dtype(self.array.dtype))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Literal)
            and self.array.dtype == other.array.dtype
            and self.array.shape == other.array.shape
            and self.array.tobytes() == other.array.tobytes()
        )

    def __repr__(self) -> str:
        return f"Literal({self.array!r})"
