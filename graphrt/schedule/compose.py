"""Fusion by composition: the element of any node at any index, as a loop-IR scalar.

A stored node answers with a load from its buffer; any other node asks its op's `element` rule, which reads its
operands the same way. The memo table keeps shared subexpressions shared.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import CompileError
from ..ir import Node
from ..loops import ir as loop_ir
from ..loops.builder import Builder
from ..loops.index import Index, as_index
from ..ops.base import ElementOp
from ..ops.views import Constant, Pad, Reshape


def scalar_constant(node: Node) -> float | int | bool | None:
    """The value of a one-element Constant node, else None."""
    if isinstance(node.op, Constant) and node.type.size == 1:
        return node.op.value.array.reshape(-1)[0].item()
    return None


class Composer:
    """Evaluates nodes at symbolic indices. Subclasses decide what a stored node's element is."""

    def __init__(self) -> None:
        self.builder = Builder()
        self._memo: dict[tuple, loop_ir.Scalar] = {}

    def stored(self, node: Node, index: tuple[Index, ...]) -> loop_ir.Scalar | None:
        """The element of a node that lies in memory (or in a register), None if it must be composed."""
        raise NotImplementedError

    def stored_as(
        self, node: Node, shape: tuple[int, ...], index: tuple[Index, ...]
    ) -> loop_ir.Scalar | None:
        """The element of a stored node seen through a reshape to `shape`, None where addresses do not simply carry
        over (the reshape's own index rule then decides)."""
        return None

    def stored_around(self, node: Node, pad: Pad, index: tuple[Index, ...]) -> loop_ir.Scalar | None:
        """The element of a stored node seen through zero padding, None where its buffer has no margin for it."""
        return None

    def value(self, node: Node, index: Sequence[Index | int]) -> loop_ir.Scalar:
        """The scalar of `node` at `index`."""
        position = tuple(as_index(i) for i in index)
        key = (node, position, self.builder.predicate_key)
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = self._compute(node, position)
        return found

    def _compute(self, node: Node, index: tuple[Index, ...]) -> loop_ir.Scalar:
        number = scalar_constant(node)
        if number is not None:
            return loop_ir.Constant(number, node.dtype)
        found = self.stored(node, index)
        if found is not None:
            return found
        if isinstance(node.op, Reshape):
            found = self.stored_as(node.inputs[0], node.shape, index)
            if found is not None:
                return found
        if isinstance(node.op, Pad):
            found = self.stored_around(node.inputs[0], node.op, index)
            if found is not None:
                return found
        if not isinstance(node.op, ElementOp):
            raise CompileError(f"{node.op.name} has no native lowering", at=node.source)
        types = [n.type for n in node.inputs]
        return node.op.element(self.builder, index, lambda k, at: self.value(node.inputs[k], at), types)


class ReadRecorder(Composer):
    """Finds which stored nodes an expression reads, and at which indices."""

    def __init__(self, is_stored) -> None:
        super().__init__()
        self._is_stored = is_stored
        self.reads: dict[Node, list[tuple[Index, ...]]] = {}

    def stored(self, node: Node, index: tuple[Index, ...]) -> loop_ir.Scalar | None:
        if not self._is_stored(node):
            return None
        self.reads.setdefault(node, []).append(index)
        buffer = loop_ir.Buffer(f"read{len(self.reads)}", node.dtype, 1)
        return loop_ir.Load(buffer, Index())
