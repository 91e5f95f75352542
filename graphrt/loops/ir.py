"""Loop IR: what a kernel is made of. This file is the grammar.

    Kernel    = (name, parameters: Buffer..., scratch: Buffer..., body: Statement...)
    Buffer    = (name, dtype, elements)                      one pointer argument; physical, linear addresses
    Statement = Loop(var, kind, body)                        kind: serial | parallel | vector
              | Store(buffer, address, value)
              | Assign(register, value)                      registers are SSA values after promotion, never arrays
              | Prefetch(buffer, address, write)             a hint: that cache line will be used soon
              | FoldLanes(combine, registers, total)      total lane j = all active lanes of register j, combined
              | TransposeLanes(registers)                 as many registers as lanes: register j lane k <-> register k lane j
    Scalar    = Constant | Load | Unary | Binary | Fma | PairDot | Select | Cast | Bitcast | IndexValue | Read(register)
              | InRange(index, low, high) | LaneReduce(combine, value)

Inside a `vector` loop (its extent is the lane count) every scalar that depends on the loop variable is a vector; the
address coefficient of the variable decides each access: 0 broadcast, 1 contiguous, else gather or scatter. `active`
lanes below the lane count mask loads, stores and lane reductions. Unrolling happens when a strategy builds
statements, so there is no unrolled loop kind. Addresses are `Index` values with constant strides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ..dtypes import DType, bool_
from .index import Index, Var


@dataclass(frozen=True, eq=False)
class Buffer:
    """A pointer argument of a kernel. `writes` is set when the kernel stores to it."""

    name: str
    dtype: DType
    elements: int


class Scalar:
    """One element's value. `dtype` is its element type, `vars` the loop variables it depends on."""

    __slots__ = ()
    operands: ClassVar[tuple[str, ...]] = ()  # the fields that hold scalars it is computed from, in order
    dtype: DType
    vars: frozenset[Var]


@dataclass(frozen=True, eq=False)
class Expression(Scalar):
    """A scalar that depends on what its operands depend on."""

    vars: frozenset[Var] = field(init=False)

    def __post_init__(self) -> None:
        fields = self.__dict__
        found: frozenset[Var] = frozenset()
        for name in self.operands:
            found |= fields[name].vars
        fields["vars"] = found  # past the check of frozen classes: there are very many of these


@dataclass(frozen=True, eq=False)
class Constant(Scalar):
    value: float | int | bool
    dtype: DType
    vars: frozenset[Var] = frozenset()


@dataclass(frozen=True, eq=False)
class Load(Scalar):
    """buffer[address] where `predicate` holds (None: always), else zero; nothing is touched where it does not."""

    buffer: Buffer
    address: Index
    predicate: Scalar | None = None
    vars: frozenset[Var] = field(init=False)

    def __post_init__(self) -> None:
        found = self.address.vars()
        object.__setattr__(self, "vars", found if self.predicate is None else found | self.predicate.vars)

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return self.buffer.dtype


@dataclass(frozen=True, eq=False)
class Unary(Expression):
    """neg abs sqrt floor ceil round(to even) trunc not. Other functions are expanded by loops/math.py."""

    operands = ("x",)
    op: str
    x: Scalar

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return self.x.dtype


COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


@dataclass(frozen=True, eq=False)
class Binary(Expression):
    """add sub mul div floor_div rem min max and or xor shl shr mulhi, and the comparisons (whose dtype is bool).

    Floats: min/max propagate NaN of either operand. Integers: div truncates; shr is logical on unsigned types.
    """

    operands = ("x", "y")
    op: str
    x: Scalar
    y: Scalar

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return bool_ if self.op in COMPARISONS else self.x.dtype


@dataclass(frozen=True, eq=False)
class Fma(Expression):
    """x * y + z with one rounding."""

    operands = ("x", "y", "z")
    x: Scalar
    y: Scalar
    z: Scalar

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return self.x.dtype


@dataclass(frozen=True, eq=False)
class PairDot(Expression):
    """x.low * y.low + x.high * y.high + z in float32, where x and y are uint32 words of two bfloat16 each. How the
    three are rounded, and whether denormals count, is up to the processor."""

    operands = ("x", "y", "z")
    x: Scalar
    y: Scalar
    z: Scalar

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return self.z.dtype


@dataclass(frozen=True, eq=False)
class Select(Expression):
    operands = ("condition", "x", "y")
    condition: Scalar
    x: Scalar
    y: Scalar

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return self.x.dtype


@dataclass(frozen=True, eq=False)
class Cast(Expression):
    """Numeric conversion (float to int truncates toward zero and saturates; to bool is != 0)."""

    operands = ("x",)
    x: Scalar
    dtype: DType


@dataclass(frozen=True, eq=False)
class Bitcast(Expression):
    """The same bits as another type of the same size."""

    operands = ("x",)
    x: Scalar
    dtype: DType


@dataclass(frozen=True, eq=False)
class IndexValue(Scalar):
    """An index as a number."""

    index: Index
    dtype: DType
    vars: frozenset[Var] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vars", self.index.vars())


@dataclass(frozen=True, eq=False)
class InRange(Scalar):
    """low <= index < high, as bool."""

    index: Index
    low: int
    high: int
    dtype: DType = bool_
    vars: frozenset[Var] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vars", self.index.vars())


@dataclass(frozen=True, eq=False)
class Register:
    """A local value. `lanes` tells whether it holds one value per lane of the enclosing vector loop."""

    name: str
    dtype: DType
    lanes: bool


@dataclass(frozen=True, eq=False)
class Read(Scalar):
    """A register's current value. `along` is the vector variable whose lanes it holds, if any."""

    register: Register
    along: Var | None = None

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return self.register.dtype

    @property
    def vars(self) -> frozenset[Var]:  # type: ignore[override]
        return frozenset((self.along,)) if self.along is not None else frozenset()


@dataclass(frozen=True, eq=False)
class LaneReduce(Scalar):
    """All active lanes of `x` combined ("add", "max", "min", "mul") into one uniform value, in a fixed tree order."""

    operands = ("x",)
    combine: str
    x: Scalar
    vars: frozenset[Var] = frozenset()

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return self.x.dtype


def children(node: Scalar) -> list[Scalar]:
    """The scalars a scalar is computed from, in evaluation order; integers computed for addresses included."""
    if isinstance(node, Load):
        parts = [node.predicate] if node.predicate is not None else []
        return parts + [scalar for scalar in computed(node.address)]
    if isinstance(node, IndexValue | InRange):
        return computed(node.index)
    return [getattr(node, name) for name in node.operands]


def computed(index: Index) -> list[Scalar]:
    """The scalars an index is computed from: positions read from memory."""
    found: list[Scalar] = []
    for atom, _ in index.terms:
        inner = getattr(atom, "index", None)
        if inner is not None:
            found += computed(inner)
        elif hasattr(atom, "scalar"):
            found.append(atom.scalar)
    return found


# ---------------------------------------------------------------------- statements


@dataclass(eq=False)
class Loop:
    """Runs `body` for var = 0 .. extent - 1. "parallel" loops are split over the threads in contiguous chunks;
    "vector" loops run all lanes at once (var.extent is the lane count, `active` of them count). Serial loops may be
    narrowed to max(0, *low) <= var < min(extent, *high), with bounds that depend on outer loops. `backwards`: from the
    last to the first."""

    var: Var
    body: list[Statement]
    kind: str = "serial"
    active: int | None = None
    low: tuple[Index, ...] = ()
    high: tuple[Index, ...] = ()
    backwards: bool = False


@dataclass(eq=False)
class Store:
    buffer: Buffer
    address: Index
    value: Scalar
    predicate: Scalar | None = None


@dataclass(eq=False)
class Assign:
    register: Register
    value: Scalar


@dataclass(eq=False)
class Prefetch:
    """A hint that the cache line of buffer[address] (of lane 0 inside a vector loop) is read, or written, soon.

    `near`: into every cache level; else only into the L2 cache, where much fetched ahead displaces nothing in use."""

    buffer: Buffer
    address: Index
    write: bool = False
    near: bool = True


@dataclass(eq=False)
class TransposeLanes:
    """Turns a square of values in place: lane k of register j and lane j of register k change places. There are as
    many registers as lanes."""

    registers: tuple[Register, ...]


@dataclass(eq=False)
class FoldLanes:
    """Lane j of `total` becomes all active lanes of register j combined ("add", "max", "min", "mul") in a fixed tree. At
    most as many registers as lanes; the lanes of `total` beyond them hold anything. Folding many registers at once costs
    about three instructions each, a `LaneReduce` about nine."""

    combine: str
    registers: tuple[Register, ...]
    total: Register


Statement = Loop | Store | Assign | Prefetch | FoldLanes | TransposeLanes


@dataclass(eq=False)
class Kernel:
    """A function of its buffers. `lanes` is the vector width in elements; `serial` kernels run on thread 0 only.

    Every thread has its own `scratch` buffers. Their contents are undefined when the kernel begins."""

    name: str
    buffers: tuple[Buffer, ...]
    body: list[Statement]
    lanes: int
    serial: bool = False
    scratch: tuple[Buffer, ...] = ()

    def written(self) -> set[Buffer]:
        return {s.buffer for s in statements(self.body) if isinstance(s, Store)}

    def __str__(self) -> str:
        from .text import kernel_text

        return kernel_text(self)


def statements(body: Sequence[Statement]) -> Iterator[Statement]:
    """All statements, loops included, outside in."""
    stack = list(reversed(body))
    while stack:
        statement = stack.pop()
        yield statement
        if isinstance(statement, Loop):
            stack.extend(reversed(statement.body))
