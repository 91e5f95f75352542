"""One scheduled step -> LLVM IR text: its kernels as functions, and the function that calls them in order.

In: a Schedule and its kernels. Out: a `LoweredStep`: text, declarations, bindings, arena size.
Kernels whose text is equal are emitted once. A barrier separates kernels wherever data may cross threads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..dtypes import int64
from ..ir import Node, TensorType
from ..loops import ir
from ..ops.views import Constant
from ..schedule.memory import MemoryPlan
from ..schedule.plan import Schedule, Slot
from .barriers import PRIVATE, Accesses, Region, Who, barriers
from .functions import KernelFunctions
from .lowered import Binding, LoweredStep


@dataclass(frozen=True)
class PlacedKernel:
    """A kernel, the slot each of its buffers is bound to, in argument order, and which threads run it (None: thread 0
    if it is a serial one, else all)."""

    kernel: ir.Kernel
    slots: Sequence[Slot]
    who: Who | None = None

    @property
    def runs(self) -> Who:
        return self.who or ("first" if self.kernel.serial else "all")


def _region(slot: Slot, plan: MemoryPlan, positions: dict[Slot, int], own: _OwnMemory) -> Region:
    """The memory behind a slot."""
    if slot in own.offsets:
        return Region(PRIVATE, own.offsets[slot], own.offsets[slot] + slot.bytes)
    if slot.kind == "arena":
        offset = plan.offset(slot.node)
        return Region("arena", offset, offset + slot.bytes)
    return Region(f"binding{positions[slot]}", 0, max(1, slot.bytes))


class _OwnMemory:
    """The memory every thread has for itself: the slots of which it has a copy, side by side, and behind them the
    scratch buffers of kernels, which use it one after another."""

    ALIGNMENT = 64
    STAGGER = 4096 + 5 * 64  # pages apart, and not at equal offsets within one

    def __init__(self, slots: Iterable[Slot]) -> None:
        self.bytes = 0
        self.offsets: dict[Slot, int] = {}
        for slot in slots:
            self.offsets[slot] = self.bytes
            self.bytes += -(-slot.bytes // self.ALIGNMENT) * self.ALIGNMENT
        if self.offsets:
            self.bytes += self.ALIGNMENT  # no cache line of it is another thread's
        self._first = self.bytes

    def place(self, kernel: ir.Kernel) -> list[int]:
        """The offsets of the kernel's scratch buffers."""
        offsets, end = [], self._first
        for buffer in kernel.scratch:
            offsets.append(end)
            size = buffer.elements * buffer.dtype.size
            end += -(-size // self.ALIGNMENT) * self.ALIGNMENT + self.STAGGER
        self.bytes = max(self.bytes, -(-end // self.ALIGNMENT) * self.ALIGNMENT)
        return offsets


class _Profile:
    """The cycle-counting instructions between kernels. A kernel's counters have a cache line of their own.

    Every interval between two readings of the counter is added somewhere, so nothing a thread does goes missing.
    """

    def __init__(self, position: int, kernels: int):
        self._position, self._kernels, self._count = position, kernels, 0

    def head(self) -> list[str]:
        row = (self._kernels + 1) * 8
        return [
            f"  %profile.at = getelementptr ptr, ptr %bindings, i64 {self._position}",
            "  %profile.all = load ptr, ptr %profile.at, align 8",
            f"  %profile.row = mul i64 %tid, {row}",
            "  %profile = getelementptr i64, ptr %profile.all, i64 %profile.row",
            "  %clock0 = call i64 @llvm.readcyclecounter()",
            f"  %profile.left.at = getelementptr i64, ptr %profile, i64 {self._kernels * 8 + 2}",
            "  %profile.left = load i64, ptr %profile.left.at, align 8",
            "  %profile.first = icmp eq i64 %profile.left, 0",
            "  %profile.away = sub i64 %clock0, %profile.left",
            "  %profile.between = select i1 %profile.first, i64 0, i64 %profile.away",
            f"  %profile.gap.at = getelementptr i64, ptr %profile, i64 {self._kernels * 8 + 1}",
            "  %profile.gap = load i64, ptr %profile.gap.at, align 8",
            "  %profile.gaps = add i64 %profile.gap, %profile.between",
            "  store i64 %profile.gaps, ptr %profile.gap.at, align 8",
        ]

    def _add(self, slot: int, since: int) -> list[str]:
        self._count += 1
        k = self._count
        return [
            f"  %clock{k} = call i64 @llvm.readcyclecounter()",
            f"  %cycles{k} = sub i64 %clock{k}, %clock{since}",
            f"  %counter{k} = getelementptr i64, ptr %profile, i64 {slot}",
            f"  %old{k} = load i64, ptr %counter{k}, align 8",
            f"  %new{k} = add i64 %old{k}, %cycles{k}",
            f"  store i64 %new{k}, ptr %counter{k}, align 8",
        ]

    def worked(self, kernel: int) -> list[str]:
        return self._add(kernel * 8, self._count)

    def waited(self, kernel: int) -> list[str]:
        return self._add(max(kernel, 0) * 8 + 1, self._count)

    def whole(self) -> list[str]:
        added = self._add(self._kernels * 8, 0)
        return [*added, f"  store i64 %clock{self._count}, ptr %profile.left.at, align 8"]


def _may_finish_early(kernels: Sequence[PlacedKernel], waits: Sequence[bool], schedule: Schedule) -> bool:
    """See `LoweredStep.early`: threads have met since all of them entered, and the first output was computed before
    that or by thread 0."""
    if not any(waits) or not schedule.graph.outputs:
        return False
    last = max(number for number, wait in enumerate(waits) if wait)
    first_output = schedule.slots[schedule.graph.outputs[0]]
    return all(
        placed.runs == "first"
        for placed in kernels[last:]
        for buffer, slot in zip(placed.kernel.buffers, placed.slots)
        if slot is first_output and buffer in placed.kernel.written()
    )


def step_bindings(schedule: Schedule) -> tuple[list[Binding], dict[Slot, int]]:
    """The arrays a step is bound to (data, states, outputs, constants) and the position of each slot."""
    graph, slots = schedule.graph, schedule.slots
    bindings: list[Binding] = []
    positions: dict[Slot, int] = {}
    for node in (*graph.data_inputs, *graph.state_inputs, *graph.outputs):
        slot = slots[node]
        positions[slot] = len(bindings)
        bindings.append(Binding(slot.kind, slot.label, node.type))  # type: ignore[arg-type]
    for node, slot in slots.items():
        if slot.kind == "constant":
            assert isinstance(node.op, Constant)
            positions[slot] = len(bindings)
            bindings.append(Binding("constant", slot.label, node.type, np.asarray(node.op.value.array)))
    return bindings, positions


def lower_step(
    schedule: Schedule,
    kernels: Sequence[PlacedKernel],
    plan: MemoryPlan,
    name: str,
    threads: int,
    profile: bool = False,
    functions: KernelFunctions | None = None,
    private: Collection[Node] = (),
    accesses: Accesses | None = None,
    tentative: bool = False,
) -> LoweredStep:
    """The LLVM IR of one step called `name`, planned for `threads` threads. `functions`: those of the kernels, complete
    or not. `private`: the temporaries of which every thread has a copy of its own. `accesses`: what is known already of
    the kernels. `tentative`: see `LoweredStep`.

    With `profile` the step also binds the state "profile", int64[threads, kernels + 1, 8], and adds the cycles
    each thread spends in every kernel (column 0) and waiting after it (column 1). The last row: cycles of whole steps
    (column 0), from the end of one step to the beginning of the next (column 1), the counter at the last end (column
    2; zero it, with the rest, before a run).
    """
    bindings, positions = step_bindings(schedule)
    counters = _Profile(len(bindings), len(kernels)) if profile else None
    if counters is not None:
        bindings.append(Binding("state", "profile", TensorType((threads, len(kernels) + 1, 8), int64)))
    functions = functions or KernelFunctions()
    body: list[str] = []
    own = _OwnMemory(schedule.slots[node] for node in sorted(private, key=schedule.graph.nodes().index))
    needed: dict[int, str] = {}
    offsets: dict[int, str] = {}
    owned: dict[int, str] = {}

    def pointer(slot: Slot) -> str:
        if slot in own.offsets:
            owned.setdefault(own.offsets[slot], f"%o{own.offsets[slot]}")
            return owned[own.offsets[slot]]
        if slot.kind == "arena":
            offset = plan.offset(slot.node)
            offsets.setdefault(offset, f"%a{offset}")
            return offsets[offset]
        position = positions[slot]
        needed.setdefault(position, f"%p{position}")
        return needed[position]

    places = [[_region(s, plan, positions, own) for s in p.slots] for p in kernels]
    waits = barriers([(p.kernel, p.runs) for p in kernels], places, accesses or Accesses(threads))
    for number, placed in enumerate(kernels):
        kernel, function = placed.kernel, functions.name(placed.kernel)
        if waits[number]:
            body.append("  call void @graphrt_barrier(ptr %barrier, i64 %nth)")
        if counters is not None:
            body += counters.waited(number - 1)
        pointers = [pointer(slot) for slot in placed.slots]
        for offset in own.place(kernel):
            body.append(f"  %s{number}.{offset} = getelementptr i8, ptr %scratch, i64 {offset}")
            pointers.append(f"%s{number}.{offset}")
        arguments = ", ".join(f"ptr {p}" for p in pointers)
        separator = ", " if arguments else ""
        whole = f"call void @{function}({arguments}{separator}i64 0, i64 1)"
        if placed.runs == "each":
            body.append(f"  {whole}")
        elif placed.runs == "first":
            body += [
                f"  br i1 %first, label %run{number}, label %next{number}",
                f"run{number}:",
                f"  {whole}",
            ]
            body += [f"  br label %next{number}", f"next{number}:"]
        else:
            body.append(f"  call void @{function}({arguments}{separator}i64 %tid, i64 %nth)")
        if counters is not None:
            body += counters.worked(number)
    if counters is not None:
        body += counters.whole()
    head = ["  %first = icmp eq i64 %tid, 0"]
    for position, register in sorted(needed.items()):
        head.append(f"  {register}.at = getelementptr ptr, ptr %bindings, i64 {position}")
        head.append(f"  {register} = load ptr, ptr {register}.at, align 8")
    for offset, register in sorted(offsets.items()):
        head.append(f"  {register} = getelementptr i8, ptr %arena, i64 {offset}")
    arena_bytes = plan.arena_bytes
    if own.bytes:
        arena_bytes = -(-arena_bytes // _OwnMemory.ALIGNMENT) * _OwnMemory.ALIGNMENT
        head.append(f"  %scratch.own = mul i64 %tid, {own.bytes}")
        head.append(f"  %scratch.at = add i64 %scratch.own, {arena_bytes}")
        head.append("  %scratch = getelementptr i8, ptr %arena, i64 %scratch.at")
        for offset, register in sorted(owned.items()):
            head.append(f"  {register} = getelementptr i8, ptr %scratch, i64 {offset}")
    if counters is not None:
        head += counters.head()
    step = (
        f"define internal void @{name}(ptr noalias %arena, ptr %bindings, i64 %tid, i64 %nth, ptr %barrier) {{\n"
        + "\n".join(["entry:", *head, *body, "  ret void"])
        + "\n}\n"
    )
    clock = {"declare i64 @llvm.readcyclecounter()"} if profile else set()
    updates = tuple(state.op.label for state in schedule.graph.updates)  # type: ignore[attr-defined]
    return LoweredStep(
        name=name,
        text="\n".join([*functions.texts, step]),
        declarations=frozenset(functions.declarations | clock),
        bindings=tuple(bindings),
        arena_bytes=arena_bytes,
        parallel=threads > 1 and any(p.runs == "all" for p in kernels),
        updates=updates,
        scratch_bytes=own.bytes,
        threads=threads,
        early=_may_finish_early(kernels, waits, schedule),
        tentative=tentative,
        kernels=tuple(placed.kernel.name for placed in kernels),
    )
