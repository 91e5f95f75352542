"""Sweeps of large steps, divided so that few cache lines change between the threads' caches.

In: the kernels of a step in order, each as its strategy divides it. Out: the same kernels, some divided along another
axis or run by every thread into memory of its own.

What a contraction reads from the other threads it reads while it multiplies; a sweep (a copy into another layout, the
gather of a batch) has nothing else to do, and waits for every line:

    lines it reads that another thread wrote, and lines it writes that another thread has read or will read

Computing everything twice is often faster than half of it with the results going to both threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ..ir import Node
from ..kernels.reuse import KernelTable
from ..schedule import work
from ..schedule.plan import Slot
from .barriers import LINE, Access, Accesses, Region
from .parts import Part, part_of
from .spans import Spans, merged


def with_less_sharing(
    parts: Sequence[Part], table: KernelTable, accesses: Accesses, chosen: Callable[[Part], None]
) -> tuple[list[Part], frozenset[Node]]:
    """The parts and the nodes of which every thread then has a copy of its own. `chosen` hears of each part that
    `is_movable`, as soon as it is decided."""
    sharing = _Sharing(parts, accesses)
    result = []
    for part in parts:
        if is_movable(part):
            part = sharing.settle(part, table)
            chosen(part)
        sharing.place(part)
        result.append(part)
    return result, frozenset(slot.node for slot in sharing.private)


def is_movable(part: Part) -> bool:
    """Whether the part is a sweep through temporaries that the caches hold until they are read."""
    return (
        part.who == "all"
        and part.group.anchor is None
        and all(slot.kind == "arena" for slot in _stored(part))
        and sum(slot.bytes for slot in set(part.slots) if slot.kind == "arena") <= work.NEAR_BYTES
    )


class _Sharing:
    """Who reads and who has written what; the parts that are placed are final, those behind them as built."""

    def __init__(self, parts: Sequence[Part], accesses: Accesses):
        self._accesses, self._threads = accesses, accesses.threads
        self.private: set[Slot] = set()
        self._written: dict[int, tuple[Spans, ...]] = {}
        self._readers: dict[int, list[Part]] = {}
        for part in parts:
            for slot in set(part.slots):
                self._readers.setdefault(id(slot), []).append(part)

    def settle(self, part: Part, table: KernelTable) -> Part:
        """The cheapest way to run a sweep; the one it has if that is nearly as cheap."""
        present = self._moved(part) * work.LINE_MOVED
        if present < work.SHARED_SWEEP:
            return part
        best, least = part, self._time(part)
        for axis, extent in enumerate(part.group.domain):
            built = table.split_kernel(part.group, axis) if extent >= self._threads else None
            if built is not None:
                other = part_of(part.group, *built, part.nanoseconds)
                if self._time(other) < least:
                    best, least = other, self._time(other)
        own = sum(slot.bytes for slot in {*self.private, *_stored(part)})
        alone = replace(part, who="each")
        if own <= work.NEAR_BYTES and self._time(alone) < least:
            best = alone
            self.private |= set(_stored(part))
        return best

    def place(self, part: Part) -> None:
        """Remembers what a part writes."""
        for slot, access in self._touched(part):
            if access.writes and slot not in self.private:
                self._written[id(slot)] = access.spans

    def _time(self, part: Part) -> float:
        """About how long the threads take."""
        alone = max(
            part.nanoseconds, sum(slot.bytes for slot in part.slots if slot.kind == "arena") / work.SWEPT
        )
        share = alone if part.who == "each" else alone / self._threads
        return share + self._moved(part) * work.LINE_MOVED

    def _moved(self, part: Part) -> float:
        """How many lines come from another thread's cache or are taken out of it, on the thread with most of them."""
        counts = [0] * self._threads
        for slot, access in self._touched(part):
            if slot.kind != "arena" or (part.who == "each" and access.writes):
                continue
            for thread, own in enumerate(access.spans):
                if access.writes:
                    counts[thread] += _common(own, self._read_elsewhere(slot, part, thread))
                elif id(slot) in self._written:
                    counts[thread] += _size(own) - _common(own, self._written[id(slot)][thread])
        return max(counts) / LINE

    def _read_elsewhere(self, slot: Slot, writer: Part, thread: int) -> Spans:
        """What other threads read of a slot."""
        found: list[tuple[int, int]] = []
        for part in self._readers[id(slot)]:
            if part.group is not writer.group:
                for read, access in self._touched(part):
                    if read is slot and not access.writes:
                        found += (s for t, spans in enumerate(access.spans) if t != thread for s in spans)
        return merged(found)

    def _touched(self, part: Part) -> list[tuple[Slot, Access]]:
        slots = dict(zip(part.kernel.buffers, part.slots))
        regions = [Region("", 0, 1) for _ in part.slots]
        return [(slots[a.buffer], a) for a in self._accesses.of(part.kernel, part.who, regions)]


def _stored(part: Part) -> list[Slot]:
    """Where a part's results go."""
    stores = set(part.group.stores)
    return [slot for slot in part.slots if slot.node in stores]


def _size(spans: Iterable[tuple[int, int]]) -> int:
    return sum(stop - start for start, stop in spans)


def _common(a: Spans, b: Spans) -> int:
    """How many bytes two lists of ranges, both in ascending order, have in common."""
    total = first = 0
    for start, stop in a:
        while first < len(b) and b[first][1] <= start:
            first += 1
        for low, high in b[first:]:
            if low >= stop:
                break
            total += min(stop, high) - max(start, low)
    return total
