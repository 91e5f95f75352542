"""Shared tools of the strategies: slots, composition over slots, loop nests with tails, and access analysis."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..dtypes import DType, float32
from ..errors import CompileError
from ..ir import Node
from ..loops import ir
from ..loops.index import Index, Quotient, Remainder, Var, as_index
from ..ops.views import Pad
from ..schedule.compose import Composer
from ..schedule.group import Group
from ..schedule.layout import row_major
from ..schedule.plan import Slot

Slots = Mapping[Node, Slot]

# Relative time of one vector access by how its lanes touch memory (measured: gathers cost about one cycle per lane).
ACCESS_COST = {"uniform": 0.4, "contiguous": 1.0, "varying": 14.0}
SHORT_STRIDE = 4  # between lanes, up to which vectors are picked from whole loads: this much for each of them
STRIDED_COST = 1.5
SERIAL_WORK = 6000  # element operations below which a second thread costs more than it saves
WORTH_SPLITTING = 0.6  # mean work over the busiest thread's, for splits that save a barrier


class SlotComposer(Composer):
    """Composes a group's expressions over buffers, with the anchor's value taken from registers."""

    def __init__(self, group: Group, slots: Slots):
        super().__init__()
        self.group, self.slots = group, slots
        self.buffers: dict[Slot, ir.Buffer] = {}
        self._known: dict[tuple[Node, tuple[Index, ...]], ir.Scalar] = {}

    def buffer(self, slot: Slot) -> ir.Buffer:
        if slot not in self.buffers:
            self.buffers[slot] = ir.Buffer(slot.label, slot.node.dtype, slot.elements)
        return self.buffers[slot]

    @property
    def overrides(self) -> Mapping[tuple[Node, tuple[Index, ...]], ir.Scalar]:
        """Elements whose values are known, by node and position: the anchor's, from registers."""
        return self._known

    @overrides.setter
    def overrides(self, values: Mapping[tuple[Node, tuple[Index, ...]], ir.Scalar]) -> None:
        self._known = {(node, _place(node, at)): value for (node, at), value in values.items()}

    def stored(self, node: Node, index: tuple[Index, ...]) -> ir.Scalar | None:
        known = self._known.get((node, _place(node, index))) if self._known else None
        if known is not None:
            return known
        if self._known and node is self.group.anchor:
            raise CompileError(
                f"{node.op.name}: an epilogue reads another element than its own", at=node.source
            )
        if node in self.group.members and node is not self.group.anchor:
            return None  # recomputed from the same registers
        slot = self.slots.get(node)
        if slot is None:
            return None
        return self.builder.load(self.buffer(slot), slot.layout.address(node.shape, index))

    def stored_as(self, node: Node, shape: tuple[int, ...], index: tuple[Index, ...]) -> ir.Scalar | None:
        slot = self.slots.get(node)
        if (
            slot is None
            or (node in self.group.members and node is not self.group.anchor)
            or node is self.group.anchor
        ):
            return None
        address = slot.layout.address_as(node.shape, shape, index)
        return None if address is None else self.builder.load(self.buffer(slot), address)

    def stored_around(self, node: Node, pad: Pad, index: tuple[Index, ...]) -> ir.Scalar | None:
        slot = self.slots.get(node)
        if slot is None or node in self.group.members or pad.value != 0 or any(pad.interior):
            return None
        for axis, (low, high) in enumerate(zip(pad.low, pad.high)):
            before, after = slot.layout.margin(axis)
            if low > before or high > after:
                return None
        inside = [i - low for i, low in zip(index, pad.low)]
        return self.builder.load(self.buffer(slot), slot.layout.address(node.shape, inside))

    def stores(self, index: Sequence[Index]) -> list[ir.Store]:
        """The group's results at `index` of its domain, sums along axes of it apart."""
        result = []
        for node in self.group.results:
            slot = self.slots[node]
            position = self.group.position_in(node.shape, index)
            value = self.value(node, position)
            result.append(ir.Store(self.buffer(slot), slot.layout.address(node.shape, position), value))
        return result


def _place(node: Node, index: tuple[Index, ...]) -> tuple[Index, ...]:
    """The position, without the loop variables of axes that have one element only."""
    return tuple(i if extent > 1 else Index() for i, extent in zip(index, node.shape))


def domain_order(group: Group, slots: Slots) -> list[int]:
    """The domain's axes as the results want them walked, slow to fast."""
    layouts = (slots[node].layout for node in group.results if node.shape == group.domain)
    return list(next(layouts, group.layout or row_major(len(group.domain))).order)


def accumulator_type(dtype: DType) -> DType:
    """The type sums are kept in: float32 for half precision, which would lose most terms of a long sum."""
    return float32 if dtype.is_float and dtype.size == 2 else dtype


# ---------------------------------------------------------------------- access analysis


def loads(roots: Iterable[ir.Scalar]) -> list[ir.Load]:
    """Every distinct load under the given scalars."""
    seen: set[int] = set()
    found: list[ir.Load] = []
    stack = list(roots)
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, ir.Load):
            found.append(node)
        stack.extend(ir.children(node))
    return found


def access(address: Index, var: Var) -> str:
    """ "uniform", "contiguous" or "varying": what the lanes of `var` touch."""
    if var not in address.vars():
        return "uniform"
    if address.coefficient(var) == 1 and var not in (address - as_index(var)).vars():
        return "contiguous"
    return "varying"


def _load_cost(address: Index, var: Var) -> float:
    kind = access(address, var)
    stride = address.coefficient(var)
    if (
        kind == "varying"
        and 2 <= stride <= SHORT_STRIDE
        and var not in (address - as_index(var) * stride).vars()
    ):
        return STRIDED_COST * stride
    return ACCESS_COST[kind]


def access_cost(scalars: Iterable[ir.Scalar], stores: Iterable[ir.Store], var: Var) -> float:
    """Relative memory cost of one vector of lanes."""
    total = sum(_load_cost(load.address, var) for load in loads(scalars))
    return total + 1.5 * sum(ACCESS_COST[access(store.address, var)] for store in stores)


# ---------------------------------------------------------------------- loop nests


@dataclass
class Axis:
    """One axis of an iteration space and how it is walked.

    `lanes` > 0: the axis is vectorised in blocks of that many lanes. `tile`: how many indices (or lane blocks) are
    unrolled per iteration. `parallel`: split over threads (only sensible on the outermost axis).
    """

    name: str
    extent: int
    lanes: int = 0
    tile: int = 1
    parallel: bool = False
    position: int = 0  # which logical axis of the space this is
    low: tuple[
        Index, ...
    ] = ()  # bounds that narrow the (outermost) serial loop, in its `unit`; see `ir.Loop`
    high: tuple[Index, ...] = ()
    backwards: bool = False
    inner: tuple[int, ...] = ()  # walked by nested loops: these are the extents of all but the outermost
    # So many tiles at both ends have code of their own, where the loop is not narrowed.
    peel: tuple[int, int] = (0, 0)

    @property
    def unit(self) -> int:
        """How many indices one iteration of the outermost loop walks, where the axis has no lanes."""
        return math.prod(self.inner) if self.inner else self.tile

    @property
    def count(self) -> int:
        """Unrollable units: indices, or lane blocks."""
        return -(-self.extent // self.lanes) if self.lanes else self.extent

    @property
    def count_of_tiles(self) -> int:
        """Iterations of the axis's loop, a remainder counted as one."""
        return -(-self.count // self.tile)


@dataclass
class Point:
    """A position in a nest: for every axis the indices of its unrolled tile (lane variable included)."""

    indices: dict[int, list[Index]] = field(default_factory=dict)

    def combinations(self, axes: Sequence[int]) -> list[tuple[Index, ...]]:
        """All index tuples over the given logical axes, the last one fastest."""
        return list(itertools.product(*(self.indices[a] for a in axes)))


def balance(axis: Axis, threads: int) -> float:
    """Mean work over the work of the busiest thread; tails all go to one thread (see `nest`)."""
    whole = axis.extent // axis.lanes if axis.lanes else axis.extent
    tiles = whole // axis.tile
    tail = axis.count - tiles * axis.tile
    return axis.count / max(1, threads * (-(-tiles // threads) * axis.tile + tail))


def may_split(axes: Sequence[Axis], threads: int, split: int) -> bool:
    """Whether the axis at position `split` is there and splits evenly enough to be asked for."""
    return any(axis.position == split and balance(axis, threads) > WORTH_SPLITTING for axis in axes)


def choose_parallel(
    axes: list[Axis], threads: int, split: int | None = None, barred: Container[int] = ()
) -> None:
    """Marks the axis to split over threads and moves it outermost: the one at position `split`, or else the first one that
    splits evenly enough, of those whose positions are not `barred`."""
    if threads <= 1 or not axes:
        return
    wanted = [k for k, axis in enumerate(axes) if axis.position == split]
    allowed = [k for k, axis in enumerate(axes) if axis.position not in barred]
    even = wanted or [k for k in allowed if balance(axes[k], threads) > 0.9]
    position = even[0] if even else max(allowed, key=lambda k: balance(axes[k], threads))
    axis = axes.pop(position)
    axis.parallel = True
    axes.insert(0, axis)


def nest(axes: Sequence[Axis], body: Callable[[Point], list[ir.Statement]]) -> list[ir.Statement]:
    """Loops over `axes` in order, outermost first, with separate code for tails; `body` fills the innermost."""
    lane_axis = next((a for a in axes if a.lanes), None)
    if lane_axis is None:
        return _nest(list(axes), Point(), body, None)
    full, rest = divmod(lane_axis.extent, lane_axis.lanes)
    if not rest:
        return _nest(list(axes), Point(), body, lane_axis.lanes)
    statements: list[ir.Statement] = []
    if full:
        whole = [_with_extent(a, full * a.lanes) if a is lane_axis else a for a in axes]
        statements += _nest(whole, Point(), body, lane_axis.lanes)
    tail = [_tail_axis(a, full) if a is lane_axis else a for a in axes]
    return statements + _nest(tail, Point(), body, rest)


class _TailAxis(Axis):
    """The last, partly filled block of lanes."""

    first: int = 0


def _with_extent(axis: Axis, extent: int) -> Axis:
    return Axis(
        axis.name, extent, axis.lanes, axis.tile, axis.parallel, axis.position, backwards=axis.backwards
    )


def _tail_axis(axis: Axis, full: int) -> Axis:
    tail = _TailAxis(axis.name, axis.lanes, axis.lanes, 1, axis.parallel, axis.position)
    tail.first = full
    return tail


def _nest(axes: list[Axis], point: Point, body, active: int | None) -> list[ir.Statement]:
    if not axes:
        lane = next((v for v in point.indices.get(-1, [])), None)
        if lane is None:
            return body(point)
        var = lane_of(lane)
        clean = Point({a: i for a, i in point.indices.items() if a != -1})
        return [ir.Loop(var, body(clean), "vector", active)]
    axis, rest = axes[0], axes[1:]
    if axis.inner:
        return _nested_loops(axis, rest, point, body, active)
    first = getattr(axis, "first", 0)
    statements: list[ir.Statement] = []
    full, remainder = divmod(axis.count, axis.tile)
    before, after = (0, 0) if axis.low or axis.high else axis.peel
    segments = [(1, k * axis.tile, axis.tile) for k in range(before)]
    segments.append((full - before - after, before * axis.tile, axis.tile))
    segments += [(1, k * axis.tile, axis.tile) for k in range(full - after, full)]
    segments.append((1 if remainder else 0, full * axis.tile, remainder))
    for count, start, tile in segments:
        if not count:
            continue
        var = Var(axis.name, count)
        unit = as_index(var) * tile + (start + first)
        inner = Point(dict(point.indices))
        if axis.lanes:
            lane = as_index(Var(f"{axis.name}_lane", axis.lanes))
            inner.indices[axis.position] = [(unit + j) * axis.lanes + lane for j in range(tile)]
            inner.indices[-1] = [lane]
        else:
            inner.indices[axis.position] = [unit + j for j in range(tile)]
        kind = "parallel" if axis.parallel else "serial"
        loop = ir.Loop(var, _nest(rest, inner, body, active), kind, None, axis.low, axis.high, axis.backwards)
        statements.append(loop)
    return statements


def _nested_loops(axis: Axis, rest: list[Axis], point: Point, body, active: int | None) -> list[ir.Statement]:
    """One loop per digit of the axis' index, the last digit unrolled by its tile (which divides its extent)."""
    count = axis.extent // math.prod(axis.inner)
    digits = [Var(f"{axis.name}_{k}", extent) for k, extent in enumerate((count, *axis.inner[:-1]))]
    last = Var(axis.name, axis.inner[-1] // axis.tile)
    unit = Index()
    for digit, extent in zip(digits, axis.inner):
        unit = (unit + as_index(digit)) * extent
    unit = unit + as_index(last) * axis.tile
    inner = Point({**point.indices, axis.position: [unit + j for j in range(axis.tile)]})
    statements = _nest(rest, inner, body, active)
    for var in (last, *reversed(digits[1:])):
        statements = [ir.Loop(var, statements)]
    return [ir.Loop(digits[0], statements, low=axis.low, high=axis.high)]


def digits_of(addresses: Iterable[Index], var: Var) -> tuple[int, ...]:
    """The `inner` extents with which a loop over `var` makes quotients and remainders of it in `addresses` affine:
    (4, 16) for an extent of 768 and an address with var // 64, var % 64 // 16 and var % 16. Empty if there are none,
    or none that divide each other and the extent."""
    divisors: set[int] = set()
    stack = list(addresses)
    while stack:
        for atom, _ in stack.pop().terms:
            if isinstance(atom, Quotient | Remainder) and var in atom.index.vars():
                divisors.add(atom.divisor)
                stack.append(atom.index)
    steps = [*sorted(divisors), var.extent]
    if not divisors or any(large % small or large == small for small, large in itertools.pairwise(steps)):
        return ()
    return tuple(reversed([steps[0], *(large // small for small, large in itertools.pairwise(steps[:-1]))]))


def lane_of(index: Index) -> Var:
    """The lane variable of an index block * lanes + lane."""
    var = index.terms[-1][0]
    assert isinstance(var, Var)
    return var


def make_kernel(
    name: str, composer: SlotComposer, body: list[ir.Statement], lanes: int, serial: bool
) -> tuple[ir.Kernel, list[Slot]]:
    """The kernel and, in argument order, the slots its buffers are bound to."""
    slots = list(composer.buffers)
    return ir.Kernel(name, tuple(composer.buffers[s] for s in slots), body, lanes, serial), slots
