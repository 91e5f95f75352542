"""The protocol every op follows. One frozen dataclass per op holds all of its rules; see `graphrt/ops/`.

The IR itself knows only this base class and `Input`; concrete ops register themselves by name when defined.
"""

from __future__ import annotations

import importlib
import re
import struct
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from .types import TensorType

REGISTRY: dict[str, type[Op]] = {}

# Modules that define ops, imported by name the first time text mentions an op nobody has defined yet. The IR imports
# none of them itself; a package with ops of its own appends its module here.
LIBRARIES: list[str] = ["graphrt.ops.build"]


def find_op(name: str) -> type[Op] | None:
    """The op class of this name, importing the op libraries if it is not defined yet; None if there is none."""
    if name not in REGISTRY:
        for library in LIBRARIES:
            importlib.import_module(library)
    return REGISTRY.get(name)


class Op:
    """Base class of ops. Subclasses are frozen dataclasses whose fields are the op's attributes.

    Attributes may be int, float, bool, str, None, DType, Literal (see types.py) and tuples of these, so that ops
    hash, compare, print and parse without further code. `name` is the class name in snake_case.

    Rules (each op class defines those that make sense for it; families in `ops/base.py` give defaults):

    - `infer(*types) -> TensorType`        shape and dtype rule; raises ShapeError/DTypeError with what was expected
    - `evaluate(*arrays) -> ndarray`       NumPy oracle: interpreter, constant folding, eager mode; keeps dtypes exact
    - `vjp(g, y, *x) -> tuple`             one cotangent node (or None: no gradient) per input, built from nodes,
                                           so that higher-order gradients come for free
    - `batch(size, x, batched) -> Node`    the results of `size` samples, stacked: operands marked in `batched` have one
                                           more axis in front, and so has the result (see `ops/batching.py`)
    - `expand(*x) -> Node`                 composite ops only: the same value in smaller ops
    - `element / reduction / contraction`  native lowering (see `ops/base.py`)
    - `onnx(context, node)`                ONNX export
    - `flops(*types) -> int`               arithmetic of one evaluation, for reports
    """

    name: ClassVar[str]

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if abstract:
            return
        cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        if cls.name in REGISTRY:
            raise TypeError(f"two op classes are named {cls.name}")
        REGISTRY[cls.name] = cls

    def attributes(self) -> dict[str, Any]:
        """Attribute values by name, in declaration order."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def key(self) -> tuple[Any, ...]:
        """What makes two ops the same, exact to the bit: NaN equals NaN, 0.0 is not -0.0, True is not 1."""
        return (self.name, *(_attribute_key(value) for value in self.attributes().values()))

    def infer(self, *types: TensorType) -> TensorType:
        raise NotImplementedError(f"{self.name} has no shape rule")

    def evaluate(self, *arrays: np.ndarray) -> np.ndarray:
        raise NotImplementedError(f"{self.name} has no reference evaluation")

    def vjp(self, g: Any, y: Any, *x: Any) -> tuple[Any, ...]:
        raise NotImplementedError(f"{self.name} has no gradient rule")

    def batch(self, size: int, x: Any, batched: Any) -> Any:
        raise NotImplementedError(f"{self.name} has no batching rule")

    def flops(self, *types: TensorType) -> int:
        return self.infer(*types).size


def _attribute_key(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_attribute_key(v) for v in value)
    if isinstance(value, float):
        return "float", "nan" if value != value else struct.pack("<d", value)
    if isinstance(value, bool):
        return "bool", value
    return value


@dataclass(frozen=True)
class Input(Op):
    """A value the graph is given. `kind` is "data" (changes every call) or "state" (kept between calls, may have
    an update: parameters, moments, statistics, counters)."""

    label: str
    kind: str = "data"
