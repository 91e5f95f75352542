"""Where the time of a training step goes: per kernel and thread, beside what the machine could do.

In: a sink whose step was lowered with cycle counters, its schedule, data. Out: a `Profile` (text, JSON, Chrome trace).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, NonFiniteError
from ..schedule.plan import Schedule
from . import memory
from .ceilings import Ceilings
from .kernel_work import Work, group_work
from .sink import Sink

WARM_UP_STEPS = 20  # page faults, caches, and the sink's estimate of how long a step takes
WINDOWS = 5  # runs of which the fastest is kept: other programs only ever make a run slower
ENOUGH_COVERAGE = 0.97  # below this share of the wall clock a profile does not tell where the time goes


@dataclass(frozen=True)
class KernelProfile:
    """One kernel, averaged over the steps. `work_us` and `wait_us`: microseconds per step inside the kernel and at the
    barrier after it, by thread. `cell` and `line`: where its main operation comes from. `least_us`: what its
    operations and bytes take at the machine's ceilings; `memory`: the smallest memory that could hold those bytes."""

    name: str
    cell: str
    line: str
    work_us: tuple[float, ...]
    wait_us: tuple[float, ...]
    work: Work
    least_us: float
    memory: str

    @property
    def time_us(self) -> float:
        """Of the thread that takes longest."""
        return max(self.work_us)

    @property
    def gflops(self) -> float:
        """Achieved, in 1e9 operations per second."""
        return self.work.flops / self.time_us / 1e3 if self.time_us else 0.0

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.work.flops / self.work.bytes if self.work.bytes else 0.0

    @property
    def percent(self) -> float:
        """Of min(FMA peak, intensity x bandwidth); without operations, of the bandwidth."""
        return 100 * self.least_us / self.time_us if self.time_us else 0.0


@dataclass(frozen=True)
class Profile:
    """A profiled run of `steps` training steps, the fastest of several.

    `between_us`: by thread, from the end of a step to the beginning of the next (batch choice, shuffling, loss record,
    barriers). `step_us`: by thread, whole steps as one measurement. `wall_us`: one step by the wall clock around the
    run, entering and leaving native code included; `median_wall_us`: of all runs, far above it where other programs use
    the CPUs. Times are microseconds per step. `footprint`: bytes the step touches, which decides the memory whose
    bandwidth limits it.
    """

    name: str
    threads: int
    steps: int
    kernels: tuple[KernelProfile, ...]
    between_us: tuple[float, ...]
    step_us: tuple[float, ...]
    wall_us: float
    median_wall_us: float
    ticks_per_second: float
    ceilings: Ceilings

    @property
    def work_us(self) -> tuple[float, ...]:
        """By thread, in all kernels."""
        return tuple(sum(kernel.work_us[thread] for kernel in self.kernels) for thread in range(self.threads))

    @property
    def wait_us(self) -> tuple[float, ...]:
        """By thread, at all barriers between kernels."""
        return tuple(sum(kernel.wait_us[thread] for kernel in self.kernels) for thread in range(self.threads))

    @property
    def flops(self) -> int:
        """Of one step."""
        return sum(kernel.work.flops for kernel in self.kernels)

    @property
    def bytes(self) -> int:
        """Read and written by the kernels of one step, each tensor once per kernel."""
        return sum(kernel.work.bytes for kernel in self.kernels)

    @property
    def gflops(self) -> float:
        """Achieved by the fastest kernel, in 1e9 operations per second."""
        return max((kernel.gflops for kernel in self.kernels), default=0.0)

    @property
    def coverage(self) -> float:
        """The share of the wall clock that the rows explain, of the thread where it is smallest."""
        rows = zip(self.work_us, self.wait_us, self.between_us)
        return min(sum(parts) for parts in rows) / self.wall_us if self.wall_us else 0.0

    @property
    def accounted(self) -> float:
        """The share of whole steps, measured as one, that the kernels' work and waits add up to (smallest thread)."""
        rows = zip(self.work_us, self.wait_us, self.step_us)
        return min((work + wait) / step if step else 0.0 for work, wait, step in rows)

    def __str__(self) -> str:
        from .profile_text import profile_text

        return profile_text(self)

    def to_json(self) -> dict[str, Any]:
        """Everything as a document for `json.dumps`; times in microseconds per step."""
        kernels = [
            {
                "name": kernel.name,
                "cell": kernel.cell,
                "line": kernel.line,
                "work_us": list(kernel.work_us),
                "wait_us": list(kernel.wait_us),
                "flops": kernel.work.flops,
                "bytes_read": kernel.work.bytes_read,
                "bytes_written": kernel.work.bytes_written,
                "gflops": kernel.gflops,
                "flops_per_byte": kernel.intensity,
                "least_us": kernel.least_us,
                "memory": kernel.memory,
                "percent_of_ceiling": kernel.percent,
            }
            for kernel in self.kernels
        ]
        return {
            "name": self.name,
            "threads": self.threads,
            "steps": self.steps,
            "wall_us": self.wall_us,
            "median_wall_us": self.median_wall_us,
            "step_us": list(self.step_us),
            "work_us": list(self.work_us),
            "wait_us": list(self.wait_us),
            "between_us": list(self.between_us),
            "coverage": self.coverage,
            "accounted": self.accounted,
            "flops": self.flops,
            "bytes": self.bytes,
            "ticks_per_second": self.ticks_per_second,
            "ceilings": asdict(self.ceilings),
            "kernels": kernels,
        }

    def chrome_trace(self) -> dict[str, Any]:
        """An average step as a timeline in the Trace Event Format: every kernel and wait with its mean duration, one
        after the other. Steps differ, so threads meet at barriers only approximately."""
        events: list[dict[str, Any]] = [
            {
                "name": "process_name",
                "ph": "M",
                "pid": 0,
                "args": {"name": f"{self.name}: an average of {self.steps} steps"},
            }
        ]
        for thread in range(self.threads):
            named = {"name": "thread_name", "ph": "M", "pid": 0, "tid": thread}
            events.append({**named, "args": {"name": f"thread {thread}"}})
            now = 0.0
            for kernel in self.kernels:
                facts = {
                    "cell": kernel.cell,
                    "line": kernel.line,
                    "flops": kernel.work.flops,
                    "bytes": kernel.work.bytes,
                    "percent_of_ceiling": round(kernel.percent, 1),
                }
                work, wait = kernel.work_us[thread], kernel.wait_us[thread]
                events.append(_event(kernel.name, "kernel", thread, now, work, facts))
                events.append(_event("wait", "wait", thread, now + work, wait, {"after": kernel.name}))
                now += work + wait
            events.append(_event("between steps", "between", thread, now, self.between_us[thread], {}))
        return {"traceEvents": events, "displayTimeUnit": "ns"}

    def to_chrome_trace(self, path: str | Path) -> Path:
        """Write `chrome_trace()` as a file for a trace viewer (chrome://tracing, Perfetto). Raises ArgumentError if the
        file cannot be written."""
        path = Path(path)
        try:
            path.write_text(json.dumps(self.chrome_trace()), encoding="utf-8")
        except OSError as error:
            raise ArgumentError(
                f"cannot write the trace: {error.strerror}",
                expected="a writable file in an existing folder",
                given=str(path),
            ) from None
        return path


def _event(
    name: str, category: str, thread: int, start: float, duration: float, facts: dict[str, Any]
) -> dict[str, Any]:
    times = {"ts": round(start, 4), "dur": round(duration, 4)}
    return {"name": name, "cat": category, "ph": "X", "pid": 0, "tid": thread, **times, "args": facts}


@dataclass(frozen=True)
class Window:
    """One run of a profiled sink: its counters as `codegen.step.lower_step` describes them (int64[threads, kernels + 1,
    8]), and how long it took by the wall clock and by the counter."""

    counters: np.ndarray
    seconds: float
    ticks: int
    steps: int


def measure(
    sink: Sink, columns: Sequence[np.ndarray], state: Mapping[str, np.ndarray], steps: int
) -> list[Window]:
    """Run WINDOWS times `steps` steps of a sink whose step has cycle counters, after a warm-up.

    `state` is updated as training does. Raises NonFiniteError if a loss is NaN or infinite, KeyboardInterrupt after
    Ctrl-C.
    """
    from ..codegen.clock import cycle_clock

    clock = cycle_clock()
    (binding,) = [b for b in sink.program.steps[0].bindings if b.kind == "state" and b.label == "profile"]
    counters = memory.aligned_empty(binding.type)
    bound = {**state, "profile": counters}
    windows = []
    for count in (min(WARM_UP_STEPS, steps), *[steps] * WINDOWS):
        counters[...] = 0
        ticks, started = clock.read(), time.perf_counter()
        result = sink.run(count, columns, bound)
        ticks, seconds = clock.read() - ticks, time.perf_counter() - started
        if result.status == "interrupted":
            raise KeyboardInterrupt("profiling was interrupted")
        if result.status == "non_finite":
            raise NonFiniteError(
                "a loss is not finite, so the profile would not be one of training",
                expected="a finite loss", given=f"{result.losses[-1]} in step {sink.position['step']}",
                fix="profile with the learning rate and data the network trains with",
            )  # fmt: skip
        windows.append(Window(counters[: sink.threads].copy(), seconds, ticks, count))
    return windows[1:]


def from_windows(windows: Sequence[Window], schedule: Schedule, ceilings: Ceilings, name: str) -> Profile:
    """The profile of the fastest of these runs of a step scheduled as `schedule`."""
    best = min(windows, key=lambda window: window.seconds)
    ticks_per_second = best.ticks / best.seconds
    times = best.counters / (ticks_per_second * best.steps) * 1e6
    kernels = []
    for number, group in enumerate(schedule.groups):
        source, work = group.lead.source, group_work(group, schedule.slots)
        kernels.append(
            KernelProfile(
                name=group.name,
                cell=source.cell if source else "",
                line=f"{source.file}:{source.line}" if source else "",
                work_us=tuple(times[:, number, 0].tolist()),
                wait_us=tuple(times[:, number, 1].tolist()),
                work=work,
                least_us=1e6 * ceilings.seconds(work.flops, work.bytes),
                memory=ceilings.level(work.bytes).name,
            )
        )
    return Profile(
        name=name,
        threads=len(best.counters),
        steps=best.steps,
        kernels=tuple(kernels),
        between_us=tuple(times[:, -1, 1].tolist()),
        step_us=tuple(times[:, -1, 0].tolist()),
        wall_us=best.seconds / best.steps * 1e6,
        median_wall_us=float(np.median([window.seconds / window.steps * 1e6 for window in windows])),
        ticks_per_second=ticks_per_second,
        ceilings=ceilings,
    )
