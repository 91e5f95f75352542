"""How fast this machine can run a kernel at best: its multiply-add peak and what its memory delivers.

In: a thread count and the measured machine. Out: `Ceilings`, which turn operations and bytes into a least time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """Memory of `capacity` bytes (what all threads reach; None: no limit), read at `bandwidth` bytes per second by all
    threads together."""

    name: str
    capacity: int | None
    bandwidth: float


@dataclass(frozen=True)
class Ceilings:
    """Of `threads` threads together. `flops`: operations per second of the FMA units, two per multiply-add.
    `levels`: memory from small to large, the last one without limit."""

    threads: int
    flops: float
    levels: tuple[Level, ...]

    def level(self, count: int) -> Level:
        """The smallest memory that holds so many bytes: the fastest they can come from."""
        return next(level for level in self.levels if level.capacity is None or count <= level.capacity)

    def seconds(self, flops: int, count: int) -> float:
        """The least time for so many operations on `count` bytes: the operations divided by
        min(FMA peak, intensity x bandwidth)."""
        return max(flops / self.flops, count / self.level(count).bandwidth)


def machine_ceilings(threads: int, refresh: bool = False) -> Ceilings:
    """The ceilings of this machine, which are measured once and kept; `refresh`: measure again, keep the higher."""
    from ..codegen.machine import machine

    found = machine(refresh=refresh)
    # What is near is never slower than what is far; a small working set is just harder to measure.
    l3 = max(found.l3, found.memory)
    l2 = max(found.l2, l3)
    l1 = max(found.l1, l2)
    levels = (
        Level("L1", threads * found.l1_bytes, threads * l1),
        Level("L2", threads * found.l2_bytes, threads * l2),
        Level("L3", found.l3_bytes, threads * l3),
        Level("memory", None, max(found.memory, min(threads * found.memory, found.memory_all))),
    )
    return Ceilings(threads, threads * found.fma, levels)
