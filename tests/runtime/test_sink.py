"""The native sink loop: where it stands in the data, what it reports, how it stops."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from graphrt.errors import ArgumentError, CompileError, DTypeError, ShapeError
from graphrt.runtime.reference import ReferenceSink
from graphrt.runtime.shuffle import permutation
from graphrt.runtime.sink import Sink

from . import handwritten


def make(size, batch, *, ragged=True, shuffle=False, seed=3, threads=1, parallel=False, early=False):
    steps = [handwritten.step(size, batch, parallel=parallel, early=early)]
    if ragged and size % batch:
        steps.append(handwritten.step(size, size % batch, parallel=parallel, early=early))
    return Sink(steps, size=size, batch_size=batch, shuffle=shuffle, seed=seed, threads=threads)


def make_reference(size, batch, *, ragged=True, shuffle=False, seed=3):
    rest = handwritten.graph(size, size % batch) if ragged and size % batch else None
    return ReferenceSink(
        handwritten.graph(size, batch), rest, size=size, batch_size=batch, shuffle=shuffle, seed=seed
    )


@pytest.mark.parametrize("size, batch", [(12, 4), (13, 4), (3, 5), (5, 5), (1, 1), (33, 32)])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
def test_agrees_with_the_reference_bit_for_bit(size, batch, shuffle, ragged):
    if size < batch and not ragged:
        pytest.skip("no step can run")
    x, native, oracle = handwritten.data(size), handwritten.weights(), handwritten.weights()
    sink = make(size, batch, ragged=ragged, shuffle=shuffle)
    reference = make_reference(size, batch, ragged=ragged, shuffle=shuffle)
    for steps in (1, 7, 4, 0, 9):
        result, expected = sink.run(steps, [x], native), reference.run(steps, [x], oracle)
        assert result.losses.tobytes() == expected.losses.tobytes()
        assert (result.done, result.status) == (expected.done, expected.status) == (steps, "finished")
        assert native["w"].tobytes() == oracle["w"].tobytes()
        assert sink.position == reference.position
        assert all(type(value) is int for value in sink.position.values())


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_one_long_run_equals_many_short_ones(threads, early):
    x, long, short = handwritten.data(13), handwritten.weights(), handwritten.weights()
    expected = make(13, 4, shuffle=True).run(50, [x], long)
    sink = make(13, 4, shuffle=True, threads=threads, parallel=True, early=early)
    losses = [sink.run(1, [x], short).losses for _ in range(50)]
    assert np.concatenate(losses).tobytes() == expected.losses.tobytes()
    assert short["w"].tobytes() == long["w"].tobytes()


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**32 - 1, -1, 2**40 + 5])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_shuffles_as_the_reference_permutation(size, seed):
    sink, x = make(size, size, shuffle=True, seed=seed), handwritten.data(size)
    for epoch in (0, 1, 2, 77, 2**31):
        sink.position = {"step": 0, "epoch": epoch, "cursor": 0}
        sink.run(1, [x], handwritten.weights())
        assert np.array_equal(sink._order, permutation(size, seed, epoch))


def test_every_pass_visits_every_sample_once():
    """With one sample per step and no weights, the loss of a step is its sample."""
    size = 11
    x = np.zeros((size, 5), np.float32)
    x[:, 0] = np.arange(size)
    sink, state = make(size, 1, shuffle=True), {"w": np.zeros(5, np.float32)}
    orders = []
    for _ in range(3):
        state["w"][:] = 0
        losses = []
        for _ in range(size):
            losses.append(sink.run(1, [x], state).losses[0])
            state["w"][:] = 0
        assert sorted(losses) == list(range(size))
        orders.append(tuple(losses))
    assert len(set(orders)) == 3


def test_position_resumes_in_another_sink():
    x, state = handwritten.data(13), handwritten.weights()
    first = make(13, 4, shuffle=True)
    first.run(6, [x], state)
    copy = {"w": state["w"].copy()}
    second = make(13, 4, shuffle=True)
    second.position = first.position
    assert second.position == {"step": 6, "epoch": 1, "cursor": 8}
    assert first.run(9, [x], state).losses.tobytes() == second.run(9, [x], copy).losses.tobytes()
    assert state["w"].tobytes() == copy["w"].tobytes()


@pytest.mark.parametrize("cursor, epoch", [(3, 0), (16, 0), (-4, 0), (0, -1), (12, 0)])
def test_position_where_no_batch_starts(cursor, epoch):
    sink = make(13, 4, ragged=False)
    with pytest.raises(ArgumentError, match="no batch starts at this position"):
        sink.position = {"step": 0, "epoch": epoch, "cursor": cursor}
    assert sink.position == {"step": 0, "epoch": 0, "cursor": 0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("threads, early", [(1, False), (2, False), (2, True)])
def test_stops_at_the_first_loss_that_is_not_finite(bad, threads, early):
    x, state = handwritten.data(12), handwritten.weights()
    x[9, 0] = bad  # in the third batch of four
    sink = make(12, 4, threads=threads, parallel=threads > 1, early=early)
    result = sink.run(100, [x], state)
    assert (result.status, result.done, len(result.losses)) == ("non_finite", 3, 3)
    assert np.isfinite(result.losses).tolist() == [True, True, False]
    assert sink.position == {"step": 3, "epoch": 1, "cursor": 0}


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("threads", [2, 8])
def test_threads_meet_at_barriers(threads, early):
    """200,000 barriers with more threads than CPUs end, and the result does not depend on the threads."""
    x, state, alone = handwritten.data(64), handwritten.weights(), handwritten.weights()
    steps = 50_000 if threads == 2 else 300
    result = make(64, 2, shuffle=True, threads=threads, parallel=True, early=early).run(steps, [x], state)
    expected = make(64, 2, shuffle=True).run(steps, [x], alone)
    assert (result.status, result.done) == ("finished", steps)
    assert result.losses.tobytes() == expected.losses.tobytes()
    assert state["w"].tobytes() == alone["w"].tobytes()


@pytest.mark.parametrize("early", [False, True])
def test_only_one_variant_is_parallel(early):
    x, state, alone = handwritten.data(13), handwritten.weights(), handwritten.weights()
    steps = [handwritten.step(13, 4, parallel=True, early=early), handwritten.step(13, 1, parallel=False)]
    sink = Sink(steps, size=13, batch_size=4, shuffle=True, seed=3, threads=2)
    assert sink.threads == 2
    assert (
        sink.run(400, [x], state).losses.tobytes()
        == make(13, 4, shuffle=True).run(400, [x], alone).losses.tobytes()
    )


def test_a_new_order_waits_for_the_threads_that_still_read_the_old_one():
    """Passes of a single step: after each of them all samples are shuffled anew, while others may still compute."""
    x, state, alone = handwritten.data(64), handwritten.weights(), handwritten.weights()
    result = make(64, 64, shuffle=True, threads=3, parallel=True, early=True).run(200, [x], state)
    expected = make(64, 64, shuffle=True).run(200, [x], alone)
    assert result.losses.tobytes() == expected.losses.tobytes()
    assert state["w"].tobytes() == alone["w"].tobytes()


def test_a_serial_program_uses_one_thread():
    assert make(12, 4, threads=4, parallel=False).threads == 1


def test_two_sinks_at_once_from_two_python_threads():
    """Both need workers of the same pool; neither may wait for one the other holds."""
    x, expected = handwritten.data(13), handwritten.weights()
    make(13, 4).run(3000, [x], expected)
    states = [handwritten.weights() for _ in range(3)]
    sinks = [make(13, 4, threads=3, parallel=True) for _ in states]

    def train(sink, state):
        for _ in range(30):
            sink.run(100, [x], state)

    threads = [threading.Thread(target=train, args=pair) for pair in zip(sinks, states)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(state["w"].tobytes() == expected["w"].tobytes() for state in states)


def test_progress_is_reported_and_its_exception_ends_the_run():
    x, state, seen = handwritten.data(13), handwritten.weights(), []
    sink = make(13, 4)

    def progress(done, losses):
        seen.append((done, losses.copy()))
        if len(seen) == 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        sink.run(100_000_000, [x], state, progress)
    assert 0 < seen[0][0] < seen[1][0] <= sink.position["step"]
    assert all(len(losses) == done and np.isfinite(losses).all() for done, losses in seen)
    again, oracle = make(13, 4), handwritten.weights()
    assert again.run(seen[1][0], [x], oracle).losses.tobytes() == seen[1][1].tobytes()
    assert sink.run(3, [x], state).status == "finished"


def test_stop_ends_the_run_under_way_and_no_other():
    x, state = handwritten.data(13), handwritten.weights()
    sink = make(13, 4)
    sink.stop()
    assert sink.run(3, [x], state).status == "finished"
    result = sink.run(100_000_000, [x], state, lambda done, losses: sink.stop())
    assert result.status == "interrupted" and 0 < result.done < 100_000_000
    assert len(result.losses) == result.done == sink.position["step"] - 3
    assert sink.run(3, [x], state).status == "finished"


def interrupt_after(seconds):
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_ends_the_run_at_a_step_boundary(threads):
    x, state, oracle = handwritten.data(13), handwritten.weights(), handwritten.weights()
    sink = make(13, 4, shuffle=True, threads=threads, parallel=threads > 1)
    timer = interrupt_after(0.3)
    result = sink.run(100_000_000, [x], state)
    timer.join()
    assert result.status == "interrupted" and 0 < result.done < 100_000_000
    assert len(result.losses) == result.done == sink.position["step"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = make(13, 4, shuffle=True)
    assert again.run(result.done, [x], oracle).losses.tobytes() == result.losses.tobytes()
    assert oracle["w"].tobytes() == state["w"].tobytes() and again.position == sink.position
    more, expected = sink.run(100, [x], state), again.run(100, [x], oracle)
    assert more.status == "finished" and more.losses.tobytes() == expected.losses.tobytes()


def test_ctrl_c_between_short_runs_is_an_ordinary_keyboard_interrupt():
    """Also short runs, which stay on the calling thread, lose no step and no Ctrl-C."""
    x, state, oracle, done = handwritten.data(13), handwritten.weights(), handwritten.weights(), 0
    sink = make(13, 4)
    timer = interrupt_after(0.2)
    try:
        while True:
            result = sink.run(3, [x], state)
            done += result.done
            if result.status == "interrupted":
                break
    except KeyboardInterrupt:
        pass
    timer.join()
    assert sink.position["step"] in (done, done + 3)
    make(13, 4).run(sink.position["step"], [x], oracle)
    assert oracle["w"].tobytes() == state["w"].tobytes()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_signal_handler_of_the_user_is_respected(error):
    x, state, calls = handwritten.data(13), handwritten.weights(), []

    def handler(number, frame):
        calls.append(number)
        raise error

    sink = make(13, 4)
    before = signal.signal(signal.SIGINT, handler)
    try:
        timer = interrupt_after(0.2)
        if error is KeyboardInterrupt:
            assert sink.run(100_000_000, [x], state).status == "interrupted"
        else:
            with pytest.raises(ZeroDivisionError):
                sink.run(100_000_000, [x], state)
        timer.join()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls == [signal.SIGINT]
    oracle = handwritten.weights()
    make(13, 4).run(sink.position["step"], [x], oracle)
    assert oracle["w"].tobytes() == state["w"].tobytes()


CHILD = """
import sys, time
sys.path.insert(0, {tests!r})
from runtime.handwritten import data, step, weights
from graphrt.runtime.sink import Sink
sink = Sink([step(13, 13, parallel=True)], size=13, batch_size=13, shuffle=True, seed=1, threads={threads})
print("ready", flush=True)
result = sink.run(100_000_000, [data(13)], weights(), lambda done, losses: print("at", done, flush=True))
print(result.status, result.done, sink.position["step"], len(result.losses), flush=True)
"""


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_ctrl_c_of_a_process(threads):
    """As a user does it: SIGINT to the process; it ends by itself, with counts that agree."""
    code = CHILD.format(tests=str(Path(__file__).parents[1]), threads=threads)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    assert process.stdout.readline().startswith("at ")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    status, *counts = output.splitlines()[-1].split()
    assert process.returncode == 0 and status == "interrupted"
    assert len(set(counts)) == 1 and 0 < int(counts[0]) < 100_000_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_can_train():
    x, state = handwritten.data(13), handwritten.weights()
    sink = make(13, 4, threads=2, parallel=True)
    sink.run(10, [x], state)
    child = os.fork()
    if child == 0:
        os._exit(0 if sink.run(10, [x], state).status == "finished" else 1)
    deadline = time.monotonic() + 60
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    if not done:
        os.kill(child, signal.SIGKILL)
    assert done and status == 0
    assert sink.run(10, [x], state).status == "finished"


def test_errors_name_the_array():
    x, state, sink = handwritten.data(13), handwritten.weights(), make(13, 4)
    with pytest.raises(ShapeError, match=r"input 'x'(.|\n)*float32\[13, 5\](.|\n)*float32\[12, 5\]"):
        sink.run(1, [x[:12]], state)
    with pytest.raises(DTypeError, match=r"input 'x'(.|\n)*float32\[13, 5\](.|\n)*float64\[13, 5\]"):
        sink.run(1, [x.astype(float)], state)
    with pytest.raises(ArgumentError, match=r"column 'x' cannot be read in place"):
        sink.run(1, [np.asfortranarray(x)], state)
    with pytest.raises(ArgumentError, match="wrong number of dataset columns"):
        sink.run(1, [], state)
    with pytest.raises(ArgumentError, match="state 'w' is missing"):
        sink.run(1, [x], {})
    with pytest.raises(ArgumentError, match="shares memory with a state"):
        block = np.zeros(70, np.float32)
        sink.run(1, [block[:65].reshape(13, 5)], {"w": block[60:65]})
    with pytest.raises(ArgumentError, match="steps must be a number"):
        sink.run(-1, [x], state)
    assert sink.position["step"] == 0
    assert sink.run(2, [x], state).done == 2


def test_sinks_that_cannot_work_are_refused():
    full = handwritten.step(3, 4)
    with pytest.raises(ArgumentError, match="fewer samples than one batch"):
        Sink([full], size=3, batch_size=4, shuffle=False, seed=0)
    with pytest.raises(ArgumentError, match="needs samples"):
        Sink([full], size=0, batch_size=4, shuffle=False, seed=0)
    with pytest.raises(CompileError, match="batches of another size"):
        Sink([full], size=30, batch_size=5, shuffle=False, seed=0)
