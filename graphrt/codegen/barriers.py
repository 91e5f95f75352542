"""Where threads must wait for each other: between kernels whose data crosses threads, and nowhere else.

In: kernels in execution order, who runs each, and the memory of their buffers. Out: for each kernel whether a barrier
precedes it.

The number of threads is known, so the test is exact up to what `spans` knows: a barrier is needed where one thread may
touch a byte that another one has written since the last barrier, or write one that another has touched. Kernels
that cut memory at the same places need none between them, whatever loops they cut it with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..loops import ir
from .spans import KernelSpans, Spans, meet

Who = Literal["all", "first", "each"]  # every thread its share; thread 0 everything; every thread everything


@dataclass(frozen=True)
class Region:
    """Memory a buffer occupies: a name space ("arena" or a binding) and a byte range in it. Every thread has memory
    of its own in the space `PRIVATE`."""

    space: str
    start: int
    stop: int

    def overlaps(self, other: Region) -> bool:
        return self.space == other.space and self.start < other.stop and other.start < self.stop


PRIVATE = "private"
LINE = 64  # bytes of a cache line


@dataclass(frozen=True)
class Access:
    """One kernel's reads or writes of some memory, and who makes them."""

    region: Region
    writes: bool
    buffer: ir.Buffer
    kernel: KernelSpans
    who: Who
    threads: int

    @property
    def spans(self) -> tuple[Spans, ...]:
        """The bytes of every thread, counted from the beginning of the buffer."""
        if self.who == "all":
            return self.kernel.of(self.buffer, self.writes, self.threads)
        whole = self.kernel.of(self.buffer, self.writes, 1)
        return whole * self.threads if self.who == "each" else (*whole, *((),) * (self.threads - 1))

    @property
    def lines(self) -> int:
        """How many cache lines the threads touch, each its own count."""
        return sum(-(-stop // LINE) - start // LINE for part in self.spans for start, stop in part)


class Accesses:
    """What kernels touch, looked up as often as they are placed."""

    def __init__(self, threads: int):
        self.threads = threads
        self._known: dict[ir.Kernel, KernelSpans] = {}

    def of(self, kernel: ir.Kernel, who: Who, regions: Sequence[Region]) -> list[Access]:
        """The accesses of `kernel`, with `regions` in the order of its buffers; without those of private memory."""
        if kernel not in self._known:
            self._known[kernel] = KernelSpans(kernel)
        spans = self._known[kernel]
        region_of = dict(zip(kernel.buffers, regions))
        return [
            Access(region_of[buffer], writes, buffer, spans, who, self.threads)
            for buffer, writes in spans.uses
            if region_of[buffer].space != PRIVATE
        ]


def barriers(
    kernels: Sequence[tuple[ir.Kernel, Who]], regions: Sequence[Sequence[Region]], accesses: Accesses
) -> list[bool]:
    """For each kernel, whether all threads must have finished the kernels before it."""
    if accesses.threads == 1:
        return [False] * len(kernels)
    result = []
    pending: list[Access] = []
    for (kernel, who), places in zip(kernels, regions):
        new = accesses.of(kernel, who, places)
        wait = conflict(pending, new)
        if wait:
            pending = []
        pending += new
        result.append(wait)
    return result


def conflict(before: Sequence[Access], after: Sequence[Access]) -> bool:
    """Whether a thread touches in `after` what another one touches in `before`, and one of them writes."""
    return any(_crosses(old, new) for new in after for old in before)


def _crosses(a: Access, b: Access) -> bool:
    """A sweep over the bytes of both, in ascending order: what is open on one side when a range begins on the other
    one must be the same thread's."""
    if not (a.writes or b.writes) or not a.region.overlaps(b.region):
        return False
    shift = b.region.start - a.region.start
    if not meet(_hull(a.spans), _hull(b.spans), shift):
        return False
    ranges = [(start, stop, thread, 0) for thread, spans in enumerate(a.spans) for start, stop in spans]
    ranges += [
        (start + shift, stop + shift, thread, 1)
        for thread, spans in enumerate(b.spans)
        for start, stop in spans
    ]
    opened: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for start, stop, thread, side in sorted(ranges):
        other = opened[1 - side]
        other[:] = [(end, owner) for end, owner in other if end > start]
        if any(owner != thread for _, owner in other):
            return True
        opened[side].append((stop, thread))
    return False


def _hull(spans: tuple[Spans, ...]) -> Spans:
    """One range around all of the threads' bytes."""
    found = [part for part in spans if part]
    return ((min(part[0][0] for part in found), max(part[-1][1] for part in found)),) if found else ()
