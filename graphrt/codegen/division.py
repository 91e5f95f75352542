"""Which thread does what: every kernel of a step divided so that threads rarely wait for each other.

In: a schedule, and its kernels divided in one way or another. Out: a `Division`: the kernels in the order they run, who runs each, and
between which of them all threads meet.

A kernel runs divided along a loop (each thread its share), on thread 0 alone, or on every thread, which then all compute
the same into memory of their own. Between two barriers, a phase, no thread may touch what another one writes.

    phase 0   gather, product, loss, ... of samples 0..15     the same of samples 16..31    (kernels split by samples)
    barrier
    phase 1   gradient and update of weights 0..31            of weights 32..63

Kernels are taken in the schedule's order. One that meets no data of another thread joins the phase: as its strategy
divides it, or along another axis. If what it needs is little work, every thread does that work itself. What
would have to wait is held back while others do not need it; then comes the barrier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..ir import Node
from ..kernels.plan_choice import PlanChoice, cheapest
from ..kernels.reuse import KernelTable
from ..loops import ir
from ..schedule import work
from ..schedule.group import Group
from ..schedule.plan import Schedule, Slot
from .barriers import PRIVATE, Access, Accesses, Region, conflict
from .parts import Part, part_of
from .sharing import is_movable, with_less_sharing


@dataclass(frozen=True)
class Division:
    """The kernels of each phase, and the nodes of which every thread has a copy of its own. `nanoseconds`: about how
    long a step takes; `alone`: on one thread."""

    phases: tuple[tuple[Part, ...], ...]
    private: frozenset[Node]
    nanoseconds: float
    alone: float
    accesses: Accesses

    @property
    def threads(self) -> int:
        return self.accesses.threads

    @property
    def is_tentative(self) -> bool:
        """Whether one thread may be the better choice after all."""
        return self.threads > 1 and self.alone < work.SMALL_STEP

    @property
    def parts(self) -> list[Part]:
        return [part for phase in self.phases for part in phase]


def division_for(
    schedule: Schedule,
    lanes: int,
    available: int,
    sink: bool,
    reuse: bool = True,
    on_kernel: Callable[[ir.Kernel], Any] | None = None,
    plans: PlanChoice = cheapest,
) -> Division:
    """The division of a step that may run on `available` threads: on all of them, on two or on one, whatever should take
    the least time. `lanes`: float32 elements per vector register; `reuse` and `plans`: see `KernelTable`. `on_kernel` hears of
    kernels that will be part of the step as soon as they are built.

    In a single call threads must first be woken, so that a step has to be larger than in a sink. In large steps a barrier
    is nothing beside a kernel, and the strategies' own division is good enough, but for sweeps that mostly wait for each
    other's cache lines.
    """

    def table(threads: int) -> KernelTable:
        return KernelTable(schedule.slots, lanes, threads, reuse, plans)

    alone = sum(work.group_nanoseconds(group, schedule.slots) for group in schedule.groups)
    if not sink or available == 1 or alone >= work.LARGE_STEP:
        threads = available if sink else work.useful_threads(schedule.graph, available)
        return as_built(schedule, table(threads), threads, on_kernel)
    best = divide(schedule, table(available), available)
    if available > 2 and best.alone < work.SMALL_STEP:
        best = min(best, divide(schedule, table(2), 2), key=lambda division: division.nanoseconds)
    if work.worth_dividing(best.alone, best.nanoseconds):
        return best
    return as_built(schedule, table(1), 1, on_kernel)


def as_built(
    schedule: Schedule,
    table: KernelTable,
    threads: int,
    on_kernel: Callable[[ir.Kernel], Any] | None = None,
) -> Division:
    """All kernels in the schedule's order, each as its strategy divides it, but for sweeps (`sharing.py`)."""

    def chosen(part: Part) -> None:
        if on_kernel is not None:
            on_kernel(part.kernel)

    parts = []
    for group in schedule.groups:
        part = part_of(group, *table.kernel(group), work.group_nanoseconds(group, schedule.slots))
        part = part if threads > 1 else replace(part, who="each")
        if not is_movable(part):
            chosen(part)
        parts.append(part)
    accesses = Accesses(threads)
    parts, private = with_less_sharing(parts, table, accesses, chosen)
    time = sum(part.nanoseconds for part in parts)
    return Division((tuple(parts),), private, time, time, accesses)


def divide(schedule: Schedule, table: KernelTable, threads: int) -> Division:
    """The better of two divisions: with small kernels split wherever they can be, so that what follows finds its data
    where it was computed, and with small kernels on thread 0."""
    steps = _Kernels(schedule, table, threads)
    return min((_Divider(steps, eager).divide() for eager in (True, False)), key=lambda d: d.nanoseconds)


class _Kernels:
    """What all divisions of a schedule start from: its groups as their strategies divide them."""

    def __init__(self, schedule: Schedule, table: KernelTable, threads: int):
        self.groups, self.slots, self.table, self.threads = schedule.groups, schedule.slots, table, threads
        self.accesses = Accesses(threads)
        times = {group: work.group_nanoseconds(group, self.slots) for group in self.groups}
        self.whole = {group: part_of(group, *table.kernel(group), times[group]) for group in self.groups}
        self.touched = {group: _touches(part) for group, part in self.whole.items()}
        own = {slot for part in self.whole.values() for slot in part.slots if slot.kind != "data"}
        self.is_near = sum(slot.bytes for slot in own) <= work.NEAR_BYTES
        self._number: dict[int, int] = {}

    def stored(self, part: Part) -> list[Slot]:
        """Where a part's results go."""
        return [self.slots[node] for node in part.group.stores]

    def region(self, slot: Slot) -> Region:
        """The memory of a slot before it has a place: nothing is shared."""
        return Region(f"slot{self._number.setdefault(id(slot), len(self._number))}", 0, max(1, slot.bytes))


class _Divider:
    """The state of one division: what is placed, and the phase that is being filled."""

    def __init__(self, kernels: _Kernels, eager: bool):
        self._kernels, self._eager = kernels, eager
        self._phases: list[list[Part]] = []
        self._phase: list[Part] = []
        self._pending: list[Access] = []
        self._private: set[Slot] = set()

    def divide(self) -> Division:
        remaining = list(self._kernels.groups)
        while remaining:
            remaining = self._fill(remaining)
            self._phases.append(self._phase)
            self._phase, self._pending = [], []
        phases = tuple(map(tuple, self._phases))
        private = frozenset(slot.node for slot in self._private)
        together = (
            sum(self._phase_time(phase) for phase in phases)
            + len(phases) * work.BARRIER * self._kernels.threads
        )
        alone = sum(part.nanoseconds for part in self._kernels.whole.values())
        return Division(phases, private, together, alone, self._kernels.accesses)

    def _phase_time(self, phase: Sequence[Part]) -> float:
        first = sum(part.nanoseconds for part in phase if part.who == "first")
        each = sum(part.nanoseconds for part in phase if part.who == "each")
        return first + each + sum(p.nanoseconds for p in phase if p.who == "all") / self._kernels.threads

    # ------------------------------------------------------------------ one phase
    def _fill(self, remaining: list[Group]) -> list[Group]:
        """Fills the phase; the groups that are left for later ones, in order."""
        held: list[Group] = []
        for number, group in enumerate(remaining):
            touched = self._kernels.touched
            waits = any(_depend(touched[group], touched[other]) for other in held)
            if waits or not self._join(group):
                held.append(group)
                if not self._may_run_later(group):
                    return held + remaining[number + 1 :]
        return held

    def _may_run_later(self, group: Group) -> bool:
        """Whether others may run before this one: no data falls out of the cache through that."""
        if self._kernels.is_near:
            return True
        return sum(slot.bytes for slot in set(self._kernels.whole[group].slots)) <= work.LIGHT_BYTES

    def _join(self, group: Group) -> bool:
        """Adds the group to the phase, if no thread has to wait for that."""
        part = self._kernels.whole[group]
        is_small = part.nanoseconds <= work.SMALL_KERNEL
        if not is_small:
            return self._add(part)
        if part.who == "first" and self._eager:
            return self._add_split(group) or self._repeat_for(part) or self._add(part)
        return self._add(part) or self._add_split(group) or self._repeat_for(part)

    def _accesses(self, part: Part) -> list[Access]:
        own, region = Region(PRIVATE, 0, 1), self._kernels.region
        regions = [own if slot in self._private else region(slot) for slot in part.slots]
        return self._kernels.accesses.of(part.kernel, part.who, regions)

    def _add(self, part: Part) -> bool:
        new = self._accesses(part)
        if conflict(self._pending, new):
            return False
        self._phase.append(part)
        self._pending += new
        return True

    def _add_split(self, group: Group) -> bool:
        """Adds the group divided along an axis of its domain: of those that fit, the one along which the threads touch
        the fewest cache lines, all counted. What several of them touch has to move between their caches."""
        found = []
        for axis, extent in enumerate(group.domain):
            if extent >= self._kernels.threads:
                built = self._kernels.table.split_kernel(group, axis)
                if built is not None:
                    part = part_of(group, *built, self._kernels.whole[group].nanoseconds)
                    if not conflict(self._pending, self._accesses(part)):
                        found.append(part)
        return bool(found) and self._add(min(found, key=self._touched_lines) if found[1:] else found[0])

    def _touched_lines(self, part: Part) -> int:
        """Without those of arrays that nobody writes."""
        constant = {
            self._kernels.region(slot).space for slot in part.slots if slot.kind in ("data", "constant")
        }
        return sum(access.lines for access in self._accesses(part) if access.region.space not in constant)

    # ------------------------------------------------------------------ work done by every thread
    def _repeat_for(self, part: Part) -> bool:
        """Adds the part after having every thread compute what it needs from other threads, if that is little."""
        state = list(self._phase), list(self._pending), set(self._private)
        if self._repeat_producers(part):
            is_split = self._eager and part.who == "first" and self._add_split(part.group)
            if is_split or self._add(part) or self._add_split(part.group):
                return True
        self._phase, self._pending, self._private = state
        return False

    def _repeat_producers(self, part: Part) -> bool:
        """Lets every thread run the parts of this phase whose results `part` reads, and what these read."""
        wanted: set[Part] = set()
        stack = [part]
        while stack:
            reads = {slot for slot, writes in self._kernels.touched[stack.pop().group] if not writes}
            for other in self._phase:
                if other in wanted or other.who == "each" or not reads & set(self._kernels.stored(other)):
                    continue
                if not all(slot.kind == "arena" for slot in self._kernels.stored(other)):
                    return False
                wanted.add(other)
                stack.append(other)
        repeated = [p for p in self._phase if p.who == "each" or p in wanted]
        if not wanted or sum(p.nanoseconds for p in repeated) > work.REPEATED:
            return False
        parts = [replace(self._kernels.whole[p.group], who="each") if p in wanted else p for p in self._phase]
        self._private |= {slot for p in wanted for slot in self._kernels.stored(p)}
        self._phase, self._pending = [], []
        return all(self._add(p) for p in parts)


def _touches(part: Part) -> set[tuple[Slot, bool]]:
    """The slots a part touches, and whether it writes them."""
    written = part.kernel.written()
    return {(slot, buffer in written) for buffer, slot in zip(part.kernel.buffers, part.slots)}


def _depend(a: set[tuple[Slot, bool]], b: set[tuple[Slot, bool]]) -> bool:
    """Whether the order of two kernels matters: one writes what the other touches."""
    return any(slot is other and (writes or also) for slot, writes in a for other, also in b)
