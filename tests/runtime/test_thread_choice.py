"""On how many threads small steps run: with a clock of the test's own, and in sinks."""

from __future__ import annotations

from dataclasses import replace

from graphrt.runtime import sink as sinks
from graphrt.runtime.handover import WarmCrew
from graphrt.runtime.sink import Sink
from graphrt.runtime.thread_choice import ThreadChoice

from . import handwritten


class Machine:
    """Runs steps as long as `seconds` says of each count of threads."""

    def __init__(self, together: float, alone: float):
        self.now, self.seconds = 0.0, {2: together, 1: alone}
        self.choice = ThreadChoice(2, lambda: self.now)

    def run(self, steps: int) -> dict[int, int]:
        """How many of the steps ran on one thread and on two."""
        counts = {1: 0, 2: 0}
        while steps:
            threads, count = self.choice.next(steps)
            assert 1 <= count <= steps
            took = count * self.seconds[threads]
            self.now += took
            self.choice.ran(threads, count, took)
            counts[threads] += count
            steps -= count
        return counts


def test_most_steps_run_on_the_faster_count() -> None:
    counts = Machine(together=5e-6, alone=10e-6).run(1_000_000)
    assert counts[2] > 0.98 * 1_000_000 and counts[1] > 0
    counts = Machine(together=50e-6, alone=10e-6).run(1_000_000)
    assert counts[1] > 0.98 * 1_000_000 and counts[2] > 0


def test_it_follows_when_the_other_one_becomes_faster() -> None:
    machine = Machine(together=5e-6, alone=10e-6)
    machine.run(200_000)
    machine.seconds[2] = 40e-6
    assert machine.run(200_000)[1] > 150_000
    machine.seconds[2] = 5e-6
    assert machine.run(800_000)[2] > 600_000


def test_single_steps_learn_too() -> None:
    machine = Machine(together=30e-6, alone=10e-6)
    counts = {1: 0, 2: 0}
    for _ in range(20_000):
        for threads, count in machine.run(1).items():
            counts[threads] += count
    assert counts[1] > 0.95 * 20_000


def test_a_disturbed_first_trial_is_soon_repeated() -> None:
    machine = Machine(together=100e-6, alone=10e-6)
    machine.run(300)
    machine.seconds[2] = 5e-6
    assert machine.run(4000)[2] > 2000


def test_trials_that_cost_much_are_rare() -> None:
    """Beside other busy programs a step on all threads may take a hundred times as long."""
    machine = Machine(together=1000e-6, alone=10e-6)
    machine.run(2000)
    before = machine.now
    lost = machine.run(500_000)[2] * machine.seconds[2]
    assert 0 < lost < 0.05 * (machine.now - before)


def test_no_count_is_fixed_for_long() -> None:
    machine = Machine(together=50e-6, alone=100e-6)
    machine.run(10_000)
    for _ in range(100):
        threads, count = machine.choice.next(1_000_000)
        assert count * machine.seconds[threads] < 0.06, "a signal would wait for it"
        machine.now += count * machine.seconds[threads]
        machine.choice.ran(threads, count, count * machine.seconds[threads])


def test_trials_are_short_and_become_rare() -> None:
    machine = Machine(together=5e-6, alone=20e-6)
    assert machine.run(1000)[1] <= 120
    machine.run(2_000_000)
    assert machine.run(1_000_000)[1] <= 2 * 120, "5 seconds, a trial every 3.2"


def test_sinks_that_change_threads_compute_the_same() -> None:
    """Native calls of a few steps, on one thread and on two in turn, are one run."""
    x, state, alone = handwritten.data(13), handwritten.weights(), handwritten.weights()
    steps = [
        replace(handwritten.step(13, size, parallel=True, early=True), threads=2, tentative=True)
        for size in (4, 1)
    ]
    sink = Sink(steps, size=13, batch_size=4, shuffle=True, seed=3, threads=2)
    used: list[tuple[int, int]] = []

    class Alternating:
        def next(self, left: int) -> tuple[int, int]:
            used.append((1 + len(used) % 2, min(left, 7)))
            return used[-1]

        def ran(self, threads: int, count: int, seconds: float) -> None:
            assert (threads, count) == used[-1] and seconds > 0

    assert isinstance(sink._choice, ThreadChoice)
    sink._choice = Alternating()  # type: ignore[assignment]
    assert sink.run(0, [x], state).done == 0 and not used
    result = sink.run(100, [x], state)
    plain = [replace(step, parallel=False) for step in steps]
    expected = Sink(plain, size=13, batch_size=4, shuffle=True, seed=3, threads=1).run(100, [x], alone)
    assert len(used) == 15 and (result.done, result.status) == (100, "finished")
    assert result.losses.tobytes() == expected.losses.tobytes()
    assert state["w"].tobytes() == alone["w"].tobytes()
    assert sink.position == {"step": 100, "epoch": 25, "cursor": 0}


def test_progress_and_bad_losses_between_native_calls(monkeypatch) -> None:
    monkeypatch.setattr(sinks, "PROGRESS_SECONDS", 0.0)
    steps = [replace(handwritten.step(12, 4, parallel=True, early=True), threads=2, tentative=True)]
    sink = Sink(steps, size=12, batch_size=4, shuffle=False, seed=3, threads=2)
    x, seen = handwritten.data(12), []
    sink.run(50, [x], handwritten.weights(), lambda done, losses: seen.append((done, len(losses))))
    assert seen and all(done == count < 50 for done, count in seen)
    x[9, 0] = float("nan")
    sink = Sink(steps, size=12, batch_size=4, shuffle=False, seed=3, threads=2)
    result = sink.run(100, [x], handwritten.weights())
    assert (result.status, result.done) == ("non_finite", 3)


def test_threads_are_ready_before_the_first_trial(monkeypatch) -> None:
    step = replace(handwritten.step(12, 4, parallel=True), threads=2)
    for tentative in (False, True):
        monkeypatch.setattr(sinks, "CREW", WarmCrew())
        steps = [replace(step, tentative=tentative)]
        Sink(steps, size=12, batch_size=4, shuffle=False, seed=3, threads=2)
        assert len(sinks.CREW._gates) == tentative


def test_steady_sinks_and_large_steps_do_not_change() -> None:
    step = replace(handwritten.step(12, 4, parallel=True), threads=2)
    for steps, steady in (([step], False), ([replace(step, tentative=True)], True)):
        sink = Sink(steps, size=12, batch_size=4, shuffle=False, seed=3, threads=2, steady=steady)
        assert sink._choice is None and sink.threads == 2
