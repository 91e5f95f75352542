"""On how many threads the next steps of a sink run, where it is not clear that several are faster.

In: how long steps took. Out: for how many steps to run on one thread, or on all. A step gives the same bits on one
thread as on those it is planned for, so the choice changes nothing but time.

Small steps exchange as much as they compute. Whether a second CPU helps depends on where it is (whether it shares a
cache with the first one) and on what else runs there, and both change while a program runs. So the other count is tried
again now and then, for as many steps as fit into half a millisecond.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

# On a count that has not just run: threads wake up, data moves to their caches; they say nothing.
WAKE_STEPS = 16
TRIAL_STEPS = 100  # of either count, as long as nothing is known
TRIAL_SECONDS = 0.0005  # for a trial of the count that was slower last time, if it is no slower any more
# Seconds between two trials: at least twice as long after every one that was lost. The first comes soon, because something
# so short is easily disturbed.
SHORTEST_PERIOD, LONGEST_PERIOD = 0.01, 3.2
TRIAL_SHARE = 0.05  # of the time may go into trials: beside other busy programs one takes many times as long
LONGEST_RUN = 0.05  # seconds of the count that was faster, before another look: Ctrl-C waits for that


class ThreadChoice:
    """One thread or `threads`, whichever was faster lately. `clock`: for tests."""

    def __init__(self, threads: int, clock: Callable[[], float] = perf_counter):
        self._threads, self._clock = threads, clock
        self._seconds: dict[int, float] = {}  # per step, when the count last ran
        self._awake = 0  # the count that ran last
        self._waking = 0.0  # how long its first steps took
        self._tried = 0.0  # when the slower count was last tried
        self._period = SHORTEST_PERIOD

    def next(self, left: int) -> tuple[int, int]:
        """The number of threads, and for how many of the `left` steps it is fixed."""
        count, steps = self._plan()
        return count, min(left, steps if self._awake == count else WAKE_STEPS)

    def _plan(self) -> tuple[int, int]:
        for count in (self._threads, 1):
            if count not in self._seconds:
                return count, TRIAL_STEPS
        fast, slow = sorted(self._seconds, key=self._seconds.__getitem__)
        rest = self._tried + self._period - self._clock()
        if rest <= 0:
            return slow, _steps(TRIAL_SECONDS, self._seconds[fast])
        return fast, _steps(min(max(rest, TRIAL_SECONDS), LONGEST_RUN), self._seconds[fast])

    def ran(self, threads: int, steps: int, seconds: float) -> None:
        """`steps` steps on `threads` threads took `seconds`."""
        if self._awake != threads:
            self._awake, self._waking = threads, seconds
            return
        if not steps:
            return
        faster = self._faster()
        self._seconds[threads] = seconds / steps
        if self._faster() != faster:
            self._tried, self._period = self._clock(), SHORTEST_PERIOD
        elif threads != faster:
            period = max(2 * self._period, (self._waking + seconds) / TRIAL_SHARE)
            self._tried, self._period = self._clock(), min(period, LONGEST_PERIOD)

    def _faster(self) -> int | None:
        return min(self._seconds, key=self._seconds.__getitem__, default=None)


def _steps(seconds: float, each: float) -> int:
    """How many steps of `each` seconds take `seconds`: at least one."""
    return max(1, int(seconds / max(each, 1e-9)))
