"""How fast this machine can run a kernel at best: its multiply-add peak and what its memory delivers.

In: a thread count. Out: `Ceilings`, which turn operations and bytes into a least time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """Memory of `capacity` bytes (of all threads together; None: no limit) read at `bandwidth` bytes per second."""

    name: str
    capacity: int | None
    bandwidth: float


@dataclass(frozen=True)
class Ceilings:
    """Of `threads` threads together. `flops`: operations per second of the FMA units, two per multiply-add.
    `levels`: memory from small to large; empty where bandwidth has not been measured."""

    threads: int
    flops: float
    levels: tuple[Level, ...] = ()

    def level(self, footprint: int) -> Level | None:
        """The smallest memory that holds so many bytes."""
        for level in self.levels:
            if level.capacity is None or footprint <= level.capacity:
                return level
        return self.levels[-1] if self.levels else None

    def seconds(self, flops: int, count: int, footprint: int) -> float:
        """The least time for so many operations on `count` bytes that live where `footprint` bytes fit: one divided
        by min(FMA peak, intensity x bandwidth), per operation."""
        level = self.level(footprint)
        return max(flops / self.flops, count / level.bandwidth if level is not None else 0.0)


def measure_ceilings(threads: int) -> Ceilings:
    """The ceilings of this machine at this moment (0.1 s). Other programs make them appear lower than they are."""
    from ..codegen.machine import fma_peak

    return Ceilings(threads, fma_peak(threads))


def highest(some: Ceilings, others: Ceilings) -> Ceilings:
    """Of two measurements the one that was disturbed less."""
    return max(some, others, key=lambda ceilings: ceilings.flops)
