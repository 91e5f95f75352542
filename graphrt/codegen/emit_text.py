"""LLVM IR as text: types, values, constants, and the writer that numbers instructions and remembers their results.

In: instructions without a result name. Out: `Writer.lines` and the intrinsics they call, `Writer.declarations`.
Knows nothing of loop IR.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import DType, bool_

_FLOAT_SUFFIXES = {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16"}


@dataclass(frozen=True)
class Type:
    """An LLVM element type, or a vector of it."""

    element: str
    lanes: int = 0  # 0: one scalar

    def __str__(self) -> str:
        return f"<{self.lanes} x {self.element}>" if self.lanes else self.element

    @property
    def suffix(self) -> str:
        """What intrinsics of this type have at the end of their names."""
        scalar = "p0" if self.element == "ptr" else _FLOAT_SUFFIXES.get(self.element, self.element)
        return f"v{self.lanes}{scalar}" if self.lanes else scalar

    @property
    def zero(self) -> str:
        """The constant zero, without its type."""
        return "zeroinitializer" if self.lanes else "0.0" if self.element in _FLOAT_SUFFIXES else "0"

    def of(self, element: str) -> Type:
        """As many lanes of another element type."""
        return Type(element, self.lanes)


I1, I8, I32, I64, POINTER = Type("i1"), Type("i8"), Type("i32"), Type("i64"), Type("ptr")


@dataclass(frozen=True)
class Value:
    """An SSA value or constant: `text` without its type."""

    text: str
    type: Type

    @property
    def lanes(self) -> int:
        return self.type.lanes

    def __str__(self) -> str:
        return f"{self.type} {self.text}"


def register_element(dtype: DType) -> str:
    """The LLVM element type of values in registers (bool is i1 there, one byte in memory)."""
    return "i1" if dtype == bool_ else dtype.llvm


def literal(value: float | int | bool, dtype: DType) -> str:
    """An exact LLVM constant, without its type."""
    if dtype == bool_:
        return "true" if value else "false"
    if not dtype.is_float:
        return str(int(value))
    if dtype.name == "float32":
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(np.float32(value))))[0]:016X}"
    if dtype.name == "float64":
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(value)))[0]:016X}"
    bits = np.array(value, dtype.numpy).view(np.uint16)
    return f"0x{'R' if dtype.name == 'bfloat16' else 'H'}{int(bits):04X}"


def is_number(text: str) -> bool:
    """Whether the text of an integer is a constant."""
    return text.lstrip("-").isdigit()


class Writer:
    """Writes the instructions of one function, whose vectors have `lanes` elements.

    Results are remembered per block scope, so that what is shared is computed once, and never used where the block that
    computes it has not run.
    """

    def __init__(self, lanes: int):
        self.lanes = lanes
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self._count = 0
        self._scopes: list[dict[object, Any]] = [{}]

    # ---- instructions

    def perform(self, text: str) -> None:
        """Writes an instruction without a result."""
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        """Begins a basic block."""
        self.lines.append(f"{name}:")

    def instruction(self, text: str) -> str:
        """Writes an instruction and returns the name of its result."""
        self._count += 1
        name = f"%v{self._count}"
        self.perform(f"{name} = {text}")
        return name

    def value(self, text: str, type: Type) -> Value:
        """Writes an instruction whose result is of the given type."""
        return Value(self.instruction(text), type)

    def declare(self, result: str, name: str, *types: str) -> None:
        self.declarations.add(f"declare {result} @{name}({', '.join(types)})")

    def call(self, result: Type, name: str, *arguments: Value, flags: str = "") -> Value:
        """Calls an intrinsic, which gets declared."""
        self.declare(str(result), name, *(str(argument.type) for argument in arguments))
        return self.value(f"call {flags}{result} @{name}({', '.join(map(str, arguments))})", result)

    # ---- vectors

    def vector(self, element: str) -> Type:
        """The type of a whole vector."""
        return Type(element, self.lanes)

    def splat(self, value: Value) -> Value:
        """The value in all lanes; a vector stays as it is."""
        if value.lanes:
            return value
        type_ = self.vector(value.type.element)
        if not value.text.startswith("%"):
            return Value(f"splat ({value})", type_)
        key = ("splat", value.text)
        found = self.recall(key)
        if found is None:
            first = self.value(f"insertelement {type_} poison, {value}, i64 0", type_)
            found = self.instruction(
                f"shufflevector {first}, {type_} poison, <{self.lanes} x i32> zeroinitializer"
            )
            self.remember(key, found)
        return Value(found, type_)

    def constant(self, number: int | str, type: Type) -> str:
        """A constant of the given type, in all lanes if that is a vector; without its type."""
        return self.splat(Value(str(number), Type(type.element))).text if type.lanes else str(number)

    # ---- results by what they are computed from

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is remembered inside is forgotten at the end."""
        self._scopes.append({})
        yield
        self._scopes.pop()

    def recall(self, key: object) -> Any:
        """What was remembered under the key in this scope or one around it, or None."""
        for scope in reversed(self._scopes):
            if key in scope:
                return scope[key]
        return None

    def remember(self, key: object, result: Any) -> None:
        self._scopes[-1][key] = result
