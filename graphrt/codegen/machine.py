"""What this machine can do at most: the fused multiply-add ceiling that measured speeds are compared with.

In: a thread count. Out: floating-point operations per second, measured with a small program of nothing but
independent FMA chains held in registers.
"""

from __future__ import annotations

import ctypes
import threading
import time

_CHAINS = 12  # independent accumulators: covers latency 4 at two FMA per cycle, with registers to spare
_FUNCTION = "fma_chains"


def vector_lanes() -> int:
    """float32 lanes of this CPU's widest vector registers."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") else 4


def _chains_ir(lanes: int) -> str:
    """LLVM IR of `float fma_chains(i64 n)`: n rounds of `_CHAINS` vector FMAs that do not depend on each other."""
    vector = f"<{lanes} x float>"
    fma = f"@llvm.fma.v{lanes}f32"
    phis, steps, sums = [], [], []
    for k in range(_CHAINS):
        start = ", ".join([f"float 0x3FF{k + 1:X}000000000000"] * lanes)
        phis.append(f"  %a{k} = phi {vector} [ <{start}>, %entry ], [ %b{k}, %loop ]")
        steps.append(f"  %b{k} = call {vector} {fma}({vector} %a{k}, {vector} %scale, {vector} %shift)")
        before = f"%s{k - 1}" if k else "zeroinitializer"
        sums.append(f"  %s{k} = fadd {vector} %b{k}, {before}")
    return "\n".join(
        [
            f"declare {vector} {fma}({vector}, {vector}, {vector})",
            # The factors are arguments so that nothing about the chains is known at compile time.
            f"define float @{_FUNCTION}(i64 %n, float %x, float %y) {{",
            "entry:",
            f"  %x0 = insertelement {vector} undef, float %x, i32 0",
            f"  %scale = shufflevector {vector} %x0, {vector} undef, <{lanes} x i32> zeroinitializer",
            f"  %y0 = insertelement {vector} undef, float %y, i32 0",
            f"  %shift = shufflevector {vector} %y0, {vector} undef, <{lanes} x i32> zeroinitializer",
            "  br label %loop",
            "loop:",
            "  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]",
            *phis,
            *steps,
            "  %i1 = add i64 %i, 1",
            "  %more = icmp ult i64 %i1, %n",
            "  br i1 %more, label %loop, label %done",
            "done:",
            *sums,
            f"  %r = extractelement {vector} %s{_CHAINS - 1}, i32 0",
            "  ret float %r",
            "}",
        ]
    )


class FmaProbe:
    """The compiled probe. `measure(threads)` may be called as often as wanted; the code lives with the object."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._lanes = vector_lanes()
        module = llvm.parse_assembly(_chains_ir(self._lanes))
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
        )
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        signature = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64, ctypes.c_float, ctypes.c_float)
        self._function = signature(self._engine.get_function_address(_FUNCTION))

    def measure(self, threads: int = 1, seconds: float = 0.02, repeats: int = 5) -> float:
        """The best of `repeats` windows of about `seconds`, in floating-point operations per second.

        Every thread runs the same rounds; a window ends when the last thread is done.
        """
        rounds = 200_000
        rounds = max(1000, int(rounds * seconds / self._window(1, rounds)))
        best = min(self._window(threads, rounds) for _ in range(repeats))
        return 2 * _CHAINS * self._lanes * rounds * threads / best

    def _window(self, threads: int, rounds: int) -> float:
        ready = threading.Barrier(threads)
        spans: list[tuple[float, float]] = []

        def work() -> None:
            ready.wait()
            start = time.perf_counter()
            self._function(
                rounds, 0.5, 0.25
            )  # ctypes releases the interpreter lock; 0.5 a + 0.25 stays finite
            spans.append((start, time.perf_counter()))

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return max(end for _, end in spans) - min(start for start, _ in spans)


def fma_peak(threads: int = 1) -> float:
    """float32 operations per second of this machine's FMA units with `threads` threads (two operations per FMA)."""
    return FmaProbe().measure(threads)
