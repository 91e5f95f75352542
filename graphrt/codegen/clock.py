"""The processor's cycle counter, read from Python: the clock of the counters that profiled steps contain.

In: nothing. Out: ticks, and how many of them make a second.
"""

from __future__ import annotations

import ctypes
from functools import cache

from . import jit
from .target import target

_TEXT = """\
declare i64 @llvm.readcyclecounter()

define i64 @read_cycles() nounwind {
  %now = call i64 @llvm.readcyclecounter()
  ret i64 %now
}
"""


class CycleClock:
    """`read()` gives the present value of the counter. The code lives with the object."""

    def __init__(self) -> None:
        self._loaded = jit.load([jit.compile_text(_TEXT, target("host")).object_code], ["read_cycles"])
        self.read = ctypes.CFUNCTYPE(ctypes.c_int64)(self._loaded.address("read_cycles"))


@cache
def cycle_clock() -> CycleClock:
    """The clock of this process."""
    return CycleClock()
