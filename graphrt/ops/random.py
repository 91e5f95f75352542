"""Counter-based random bits: every element is a pure function of a key and its own position.

The generator is Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy
as 1, 2, 3", SC 2011). Equal keys give equal bits in every engine, thread count and fusion; a new key gives
new bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import uint32
from ..errors import DTypeError, ShapeError
from ..ir import Node, TensorType
from .base import ElementBuilder, ElementOp, Index, Read, Scalar
from .deferred import build
from .indexing import linear_index

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_KEY_PARITY = 0x1BD11BDA


def threefry(
    key: tuple[Any, Any],
    counter: tuple[Any, Any],
    binary: Callable[[str, Any, Any], Any],
    number: Callable[[int], Any],
) -> tuple[Any, Any]:
    """The two words of Threefry-2x32-20. `binary(name, x, y)` computes on uint32 values ("add", "xor", "or",
    "shl", "shr"), `number(n)` makes one: NumPy arrays and kernel scalars both fit."""
    words = (key[0], key[1], binary("xor", binary("xor", key[0], key[1]), number(_KEY_PARITY)))
    x, y = binary("add", counter[0], words[0]), binary("add", counter[1], words[1])
    for block in range(5):
        for distance in _ROTATIONS[block % 2]:
            x = binary("add", x, y)
            rotated = binary(
                "or", binary("shl", y, number(distance)), binary("shr", y, number(32 - distance))
            )
            y = binary("xor", rotated, x)
        x = binary("add", x, words[(block + 1) % 3])
        y = binary("add", binary("add", y, words[(block + 2) % 3]), number(block + 1))
    return x, y


_NUMPY = {
    "add": np.add, "xor": np.bitwise_xor, "or": np.bitwise_or, "shl": np.left_shift, "shr": np.right_shift,
}  # fmt: skip


@dataclass(frozen=True)
class RandomBits(ElementOp):
    """key uint32[2] -> uint32 of `shape`: the first Threefry word of (key, counter = the row-major position)."""

    shape: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        (key,) = types
        if key.shape != (2,):
            raise ShapeError("random_bits: a key has two words", expected="uint32[2]", given=key.describe())
        if key.dtype != uint32:
            raise DTypeError("random_bits: a key is uint32", expected="uint32[2]", given=key.describe())
        result = TensorType(self.shape, uint32)
        if result.size >= 2**32:
            raise ShapeError(
                "random_bits: too many elements for one key", expected="below 2**32", given=result.size
            )
        return result

    def evaluate(self, key: np.ndarray) -> np.ndarray:
        counter = np.arange(TensorType(self.shape, uint32).size, dtype=np.uint32)
        with np.errstate(over="ignore"):
            words, _ = threefry(
                (key[0], key[1]),
                (counter, np.zeros_like(counter)),
                lambda name, x, y: _NUMPY[name](x, y),
                np.uint32,
            )
        return words.reshape(self.shape)

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        def number(value: int) -> Scalar:
            return b.constant(value, uint32)

        counter = b.index_value(linear_index(index, self.shape), uint32)
        word, _ = threefry((read(0, (0,)), read(0, (1,))), (counter, number(0)), b.binary, number)
        return word

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        """One key per sample: the generator written in elementwise ops, over (size, number of elements)."""
        count = TensorType(self.shape, uint32).size
        shape = (size, count)
        counter = build.iota(shape, 1, uint32)
        first, second = (
            build.broadcast_to(build.slice_static(x[0], (0, word), (size, word + 1)), shape)
            for word in (0, 1)
        )
        binary = {
            "add": build.add, "xor": build.bitwise_xor, "or": build.bitwise_or,
            "shl": build.left_shift, "shr": build.right_shift,
        }  # fmt: skip
        word, _ = threefry(
            (first, second),
            (counter, build.zeros_like(counter)),
            lambda name, a, b: binary[name](a, b),
            lambda value: build.constant(value, uint32),
        )
        return build.reshape(word, (size, *self.shape))

    def flops(self, *types: TensorType) -> int:
        return 0  # integer work only; see the report's bytes instead

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[None]:
        return (None,)
