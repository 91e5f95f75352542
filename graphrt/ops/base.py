"""Op families: what each kind of op must define, and the defaults its kind allows.

Families
- `Elementwise`   inputs of one shape, output of that shape; `scalar(b, *x)` computes one element
- `ElementOp`     any op whose output element is a formula over input elements at computed indices (views, pads,
                  concatenation, gather, small windows, index-dependent values): `element(b, index, read, types)`
- `ReductionOp`   one output element combines many terms: `reduce_extents`, `combine`, `term`
- `ContractionOp` sum over reduction axes of a product of two reads (GEMM and all convolution directions)
- `TiledProductOp` sums of products of transformed tiles (Winograd's weight gradient)
- `CompositeOp`   a large idea kept as one node until `expand` rewrites it in smaller ops

Native lowering is composition: a kernel asks for `element(index)` of its result, every fused producer answers by
reading its own inputs at some index, until a stored buffer is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from ..errors import DTypeError, ShapeError
from ..ir import Node, Op, TensorType, apply, input_node
from .batching import batch_nodes, everywhere, spread

Index = Any  # a symbolic integer: supports + - * (by int) // (by int) % (by int) with ints and other indices
Scalar = Any  # one element's value inside a kernel (opaque to ops)
Read = Callable[[int, Sequence[Index]], Scalar]  # read(operand number, index) -> that input's element


class ElementBuilder(Protocol):
    """What ops may say when they describe one element (implemented by graphrt/loops/builder.py)."""

    def constant(self, value: float | int | bool, dtype: Any) -> Scalar: ...

    def unary(self, name: str, x: Scalar) -> Scalar:
        """neg abs sign exp exp2 expm1 log log1p tanh sigmoid erf sqrt rsqrt floor ceil round trunc sin cos not
        normal_cdf normal_density"""

    def binary(self, name: str, x: Scalar, y: Scalar) -> Scalar:
        """add sub mul div(float) floor_div rem pow min max | eq ne lt le gt ge (-> bool) | and or xor shl shr (bits
        or bool; shr is logical on unsigned types) | mulhi (high half of an unsigned product)"""

    def select(self, condition: Scalar, x: Scalar, y: Scalar) -> Scalar: ...

    def cast(self, x: Scalar, dtype: Any) -> Scalar: ...

    def bitcast(self, x: Scalar, dtype: Any) -> Scalar:
        """The same bits as another type of the same size."""

    def index_value(self, index: Index, dtype: Any) -> Scalar:
        """An index as a number."""

    def as_index(self, x: Scalar, extent: int, known: bool = False) -> Index:
        """A computed integer as an index into an axis of this extent (clamped into it, unless it is `known` to lie there)."""

    def where_in_range(
        self, ranges: Sequence[tuple[Index, int, int]], inside: Callable[[], Scalar], outside: Scalar
    ) -> Scalar:
        """`inside()` where every low <= index < high, else `outside`; reads of `inside` happen only there."""


def same_types(name: str, types: Sequence[TensorType]) -> TensorType:
    """The common type of elementwise operands, or an error that shows them."""
    first = types[0]
    for other in types[1:]:
        if other.shape != first.shape:
            raise ShapeError(
                f"{name}: operands must have one shape", expected=first.describe(), given=other.describe()
            )
        if other.dtype != first.dtype:
            raise DTypeError(
                f"{name}: operands must have one element type",
                expected=first.describe(),
                given=other.describe(),
            )
    return first


class ElementOp(Op, abstract=True):
    """An op whose elements can be computed one by one inside a consumer's kernel. `virtual`: they always are (unless the
    result is asked for); the whole would be too large to store."""

    virtual: ClassVar[bool] = False

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        raise NotImplementedError(f"{self.name} has no element rule")


class Elementwise(ElementOp, abstract=True):
    """All operands and the result share one shape. `dtypes` names the kinds accepted: a tuple of DType kinds."""

    kinds: ClassVar[tuple[str, ...]] = ("float", "int", "uint")

    def infer(self, *types: TensorType) -> TensorType:
        result = same_types(self.name, types)
        if result.dtype.kind not in self.kinds:
            raise DTypeError(
                f"{self.name}: element type not accepted",
                expected=" or ".join(self.kinds), given=result.describe(),
            )  # fmt: skip
        return result

    def scalar(self, b: ElementBuilder, *x: Scalar) -> Scalar:
        raise NotImplementedError(f"{self.name} has no scalar rule")

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        return self.scalar(b, *(read(k, index) for k in range(len(types))))

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(self, *everywhere(size, x, batched))


class ViewOp(ElementOp, abstract=True):
    """Moves elements without computing: `source_index` says where output element `index` comes from in input 0."""

    def source_index(self, index: Sequence[Index], types: Sequence[TensorType]) -> tuple[Index, ...]:
        raise NotImplementedError(f"{self.name} has no index rule")

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        return read(0, self.source_index(index, types))

    def flops(self, *types: TensorType) -> int:
        return 0


class ReductionOp(Op, abstract=True):
    """output[index] = combine over window in reduce_extents of term(index, window), starting from the identity of
    `combine` ("add", "max", "min" or "mul")."""

    combine: ClassVar[str] = "add"

    def reduce_extents(self, types: Sequence[TensorType]) -> tuple[int, ...]:
        raise NotImplementedError

    def term(
        self,
        b: ElementBuilder,
        index: Sequence[Index],
        window: Sequence[Index],
        read: Read,
        types: Sequence[TensorType],
    ) -> Scalar:
        raise NotImplementedError


@dataclass(frozen=True)
class Contraction:
    """output[i] = sum over r of left[left_index(i, r)] * right[right_index(i, r)].

    Index functions are affine in i and r. `left_index` may leave the bounds of the left operand: such terms are zero
    (padding); `right_index` only where `both_leave`, together with the left one. `step` is the interior dilation of the left operand: the left coordinate along axis k exists only where
    it is a multiple of step[k] (the read is then at coordinate // step[k]); all ones for everything but strided
    backward-data.
    """

    output: tuple[int, ...]
    reduce: tuple[int, ...]
    left_index: Callable[[Sequence[Index], Sequence[Index]], tuple[Index, ...]]
    right_index: Callable[[Sequence[Index], Sequence[Index]], tuple[Index, ...]]
    step: tuple[int, ...] | None = None
    both_leave: bool = False


class ContractionOp(Op, abstract=True):
    """A sum of products of two operands."""

    def contraction(self, types: Sequence[TensorType]) -> Contraction:
        raise NotImplementedError

    def flops(self, *types: TensorType) -> int:
        spec = self.contraction(types)
        total = 2
        for extent in spec.output + spec.reduce:
            total *= extent
        return total


class TiledProductOp(Op, abstract=True):
    """Sums of products of transformed tiles of its operands. A kernel strategy of its own computes them; results are
    complete only when it ends, so it has no epilogue, and no axis of an operand is kept in the result."""


class CompositeOp(Op, abstract=True):
    """One idea, one node; `expand(*inputs)` is the same value in smaller ops. ONNX export sees the composite."""

    def expand(self, *x: Node) -> Node:
        raise NotImplementedError

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        """By default that of the expansion."""
        operands = [
            input_node(f"operand {k}", TensorType(n.shape[has:], n.dtype))
            for k, (n, has) in enumerate(zip(x, batched))
        ]
        marked = {o: n for o, n, has in zip(operands, x, batched) if has}
        rest = {o: n for o, n, has in zip(operands, x, batched) if not has}
        expanded = self.expand(*operands)
        (result,) = batch_nodes([expanded], size, marked, rest)
        return spread(result, size) if result.type == expanded.type else result
