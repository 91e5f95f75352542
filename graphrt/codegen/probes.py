"""Small native programs that find out what this machine can do at most.

In: a thread count or a working set. Out: floating-point operations, bytes, or seconds, each the best of several short
windows: what disturbs a window only ever makes it slower.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from . import jit, meeting
from .target import target

_CHAINS = 12  # independent accumulators: covers latency 4 at two FMA per cycle, with registers to spare
_STREAMS = 8  # independent sums, and vectors read per round of the reading loop


class Probe:
    """A function of the given argument types, compiled for this machine. The code lives with the object."""

    def __init__(self, text: str, symbol: str, *arguments: type):
        self._loaded = jit.load([jit.compile_text(text, target("host")).object_code], [symbol])
        self._function = ctypes.CFUNCTYPE(ctypes.c_float, *arguments)(self._loaded.address(symbol))

    def window(self, arguments: Sequence[Sequence[int | float]]) -> float:
        """Seconds from when the last thread has started to when the last is done; one thread per argument list."""
        if len(arguments) == 1:
            start = time.perf_counter()
            self._function(*arguments[0])
            return time.perf_counter() - start
        ready = threading.Barrier(len(arguments))
        starts: list[float] = []
        ends: list[float] = []

        def work(own: Sequence[int | float]) -> None:
            ready.wait()
            starts.append(time.perf_counter())
            self._function(*own)  # ctypes releases the interpreter lock
            ends.append(time.perf_counter())

        workers = [threading.Thread(target=work, args=(own,)) for own in arguments]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return max(ends) - max(starts)


def _best(window: Callable[[int], float], seconds: float, repeats: int) -> tuple[int, float]:
    """(rounds, the shortest time they took), with as many rounds per window as make it about `seconds` long."""
    rounds, first = 1, window(1)
    while first < seconds / 20 and rounds < 2**40:  # long enough to divide by
        rounds *= 4
        first = window(rounds)
    rounds = max(1, round(rounds * seconds / max(first, 1e-9)))
    return rounds, min(window(rounds) for _ in range(repeats))


class FmaProbe:
    """float32 operations per second of the fused multiply-add units."""

    def __init__(self) -> None:
        self._lanes = target("host").lanes
        self._probe = Probe(
            _chains_text(self._lanes), "fma_chains", ctypes.c_int64, ctypes.c_float, ctypes.c_float
        )

    def measure(self, threads: int = 1, seconds: float = 0.02, repeats: int = 5) -> float:
        """The best of `repeats` windows of about `seconds`, all threads together (an FMA is two operations)."""

        def window(rounds: int) -> float:
            return self._probe.window([(rounds, 0.5, 0.25)] * threads)  # 0.5 a + 0.25 stays finite

        rounds, best = _best(window, seconds, repeats)
        return 2 * _CHAINS * self._lanes * rounds * threads / best


class ReadProbe:
    """Bytes per second read from memory, over and over the same working set."""

    def __init__(self) -> None:
        self._lanes = target("host").lanes
        self._probe = Probe(
            _read_text(self._lanes), "read_all", ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
        )

    @property
    def grain(self) -> int:
        """A working set is a multiple of this many bytes."""
        return 4 * self._lanes * _STREAMS

    def measure(
        self, memory: np.ndarray, threads: int = 1, seconds: float = 0.005, repeats: int = 5
    ) -> float:
        """Every thread reads its own part of `memory` (bytes); its size decides which cache that fits in."""
        blocks = memory.nbytes // (threads * self.grain)
        if blocks < 1:
            raise ValueError(f"a working set of {memory.nbytes} bytes is too small for {threads} threads")
        part = blocks * self.grain

        def window(rounds: int) -> float:
            return self._probe.window(
                [(memory.ctypes.data + k * part, blocks, rounds) for k in range(threads)]
            )

        rounds, best = _best(window, seconds, repeats)
        return part * threads * rounds / best


def barrier_seconds(threads: int, seconds: float = 0.005, repeats: int = 5) -> float:
    """What one barrier between `threads` threads costs when all arrive together."""
    if threads < 2:
        return 0.0
    host = target("host")
    text = meeting.barrier_text(host) + _BARRIERS
    probe = Probe(text, "barriers", ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    storage = np.zeros(meeting.BARRIER_BYTES + meeting.LINE, np.uint8)
    start = -storage.ctypes.data % meeting.LINE
    words = storage[start : start + meeting.BARRIER_BYTES].view(np.int64)
    words[meeting.SPINS // 8] = meeting.PATIENCE
    rounds, best = _best(
        lambda n: probe.window([(words.ctypes.data, threads, n)] * threads), seconds, repeats
    )
    return best / rounds


def _chains_text(lanes: int) -> str:
    """LLVM IR of `float fma_chains(i64 n, float x, float y)`: n rounds of `_CHAINS` vector FMAs that do not depend on
    each other. The factors are arguments so that nothing about the chains is known at compile time."""
    vector = f"<{lanes} x float>"
    fma = f"@llvm.fma.v{lanes}f32"
    chains = range(_CHAINS)
    starts = [f"splat (float 0x3FF{k + 1:X}000000000000)" for k in chains]
    return "\n".join(
        [
            f"declare {vector} {fma}({vector}, {vector}, {vector})",
            "define float @fma_chains(i64 %n, float %x, float %y) {",
            "entry:",
            *_splat_text("scale", "x", lanes),
            *_splat_text("shift", "y", lanes),
            "  br label %loop",
            "loop:",
            "  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]",
            *(f"  %a{k} = phi {vector} [ {starts[k]}, %entry ], [ %b{k}, %loop ]" for k in chains),
            *(
                f"  %b{k} = call {vector} {fma}({vector} %a{k}, {vector} %scale, {vector} %shift)"
                for k in chains
            ),
            "  %i1 = add i64 %i, 1",
            "  %more = icmp ult i64 %i1, %n",
            "  br i1 %more, label %loop, label %done",
            "done:",
            *_sum_text("b", _CHAINS, vector),
        ]
    )


def _splat_text(name: str, scalar: str, lanes: int) -> list[str]:
    vector = f"<{lanes} x float>"
    return [
        f"  %{name}0 = insertelement {vector} poison, float %{scalar}, i32 0",
        f"  %{name} = shufflevector {vector} %{name}0, {vector} poison, <{lanes} x i32> zeroinitializer",
    ]


def _sum_text(name: str, count: int, vector: str) -> list[str]:
    """Return the first lane of %name0 + %name1 + ...: every chain must be used, or LLVM removes it."""
    lines = []
    for k in range(count):
        before = f"%sum{k - 1}" if k else "zeroinitializer"
        lines.append(f"  %sum{k} = fadd {vector} %{name}{k}, {before}")
    return [*lines, f"  %r = extractelement {vector} %sum{count - 1}, i32 0", "  ret float %r", "}", ""]


def _read_text(lanes: int) -> str:
    """LLVM IR of `float read_all(ptr x, i64 blocks, i64 rounds)`: the first lanes' sum of `rounds` times the array."""
    vector = f"<{lanes} x float>"
    streams = range(_STREAMS)
    return "\n".join(
        [
            "define float @read_all(ptr %x, i64 %blocks, i64 %rounds) {",
            "entry:",
            "  br label %round",
            "round:",
            "  %r0 = phi i64 [ 0, %entry ], [ %r1, %again ]",
            *(f"  %c{k} = phi {vector} [ zeroinitializer, %entry ], [ %b{k}, %again ]" for k in streams),
            "  br label %loop",
            "loop:",
            "  %i = phi i64 [ 0, %round ], [ %i1, %loop ]",
            *(f"  %a{k} = phi {vector} [ %c{k}, %round ], [ %b{k}, %loop ]" for k in streams),
            f"  %block = getelementptr [{_STREAMS} x {vector}], ptr %x, i64 %i",
            *(f"  %p{k} = getelementptr {vector}, ptr %block, i64 {k}" for k in streams),
            *(f"  %v{k} = load {vector}, ptr %p{k}, align 4" for k in streams),
            *(f"  %b{k} = fadd {vector} %a{k}, %v{k}" for k in streams),
            "  %i1 = add i64 %i, 1",
            "  %more = icmp ult i64 %i1, %blocks",
            "  br i1 %more, label %loop, label %again",
            "again:",
            "  %r1 = add i64 %r0, 1",
            "  %repeat = icmp ult i64 %r1, %rounds",
            "  br i1 %repeat, label %round, label %done",
            "done:",
            *_sum_text("b", _STREAMS, vector),
        ]
    )


_BARRIERS = """
define float @barriers(ptr %barrier, i64 %threads, i64 %n) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]
  call void @graphrt_barrier(ptr %barrier, i64 %threads)
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %n
  br i1 %more, label %loop, label %done
done:
  ret float 0.0
}
"""
