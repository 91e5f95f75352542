"""One kernel of a step, and who runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..loops import ir
from ..schedule.group import Group
from ..schedule.plan import Slot
from .barriers import Who


@dataclass(frozen=True, eq=False)
class Part:
    """One kernel of the step: its `slots` in the order of its buffers, who runs it, and how long one thread would
    take for all of it."""

    group: Group
    kernel: ir.Kernel
    slots: Sequence[Slot]
    who: Who
    nanoseconds: float


def part_of(group: Group, kernel: ir.Kernel, slots: Sequence[Slot], nanoseconds: float) -> Part:
    """A kernel as its strategy wants it run."""
    return Part(group, kernel, slots, "first" if kernel.serial else "all", nanoseconds)
