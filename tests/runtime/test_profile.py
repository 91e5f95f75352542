"""Profiles: counters that miss nothing, and operations and bytes counted as the network's arithmetic says."""

import itertools
import json

import numpy as np
import pytest

from graphrt.compiler import lower, optimize
from graphrt.dtypes import float32, int32
from graphrt.errors import ArgumentError, NonFiniteError
from graphrt.ir import Graph, TensorType, apply, input_node
from graphrt.ops import build
from graphrt.ops.contractions import Conv2d, Conv2dBackwardInput, Conv2dBackwardWeight
from graphrt.ops.views import Slice
from graphrt.runtime.ceilings import Ceilings, Level, machine_ceilings
from graphrt.runtime.kernel_work import contraction_terms, group_work
from graphrt.runtime.profile import WINDOWS, Window, from_windows, measure
from graphrt.runtime.sink import Sink

SIZE, BATCH, WIDTH = 40, 8, 256
PEAK = Ceilings(2, 1e11, (Level("L1", 1 << 15, 1e12), Level("memory", None, 1e11)))


def training_graph():
    """Least squares with one hidden layer, by gradient descent on the second weight."""
    x = input_node("x", TensorType((SIZE, 16), float32))
    indices = input_node("indices", TensorType((BATCH,), int32))
    first = input_node("first", TensorType((16, WIDTH), float32), "state")
    second = input_node("second", TensorType((WIDTH, 4), float32), "state")
    hidden = build.tanh(build.matmul(build.gather(x, indices, 0), first))
    y = build.matmul(hidden, second)
    loss = build.reduce_mean(build.mul(y, y), (0, 1), False)
    gradient = build.matmul(build.transpose(hidden, (1, 0)), y)
    return Graph((x, indices, first, second), (loss,), {second: build.sub(second, build.mul(gradient, 1e-4))})


def data():
    generator = np.random.default_rng(0)
    state = {"first": (16, WIDTH), "second": (WIDTH, 4)}
    weights = {label: generator.standard_normal(shape).astype(np.float32) for label, shape in state.items()}
    return generator.standard_normal((SIZE, 16)).astype(np.float32), weights


def profiled(threads):
    """(sink with counters, its schedule)."""
    stages = {}
    step = lower(optimize(training_graph()), threads=threads, record=stages.__setitem__, profile=True)
    return sink_of(step, threads), stages["fused"].schedule


def sink_of(step, threads):
    return Sink([step], size=SIZE, batch_size=BATCH, shuffle=True, seed=1, threads=threads, steady=True)


@pytest.mark.parametrize("threads", [1, 2])
def test_counters_leave_nothing_out(threads):
    sink, schedule = profiled(threads)
    x, state = data()
    windows = measure(sink, [x], state, 50)
    assert [window.steps for window in windows] == [50] * WINDOWS
    for window in windows:
        assert window.counters.shape == (sink.threads, len(schedule.groups) + 1, 8)
        kernels, whole = window.counters[:, :-1, :2].sum(axis=(1, 2)), window.counters[:, -1, 0]
        assert (window.counters[:, :, :2] >= 0).all()
        assert (kernels <= whole).all()
        assert (whole + window.counters[:, -1, 1] <= window.ticks).all()
    profile = from_windows(windows, schedule, PEAK, "net")
    assert profile.threads == sink.threads
    assert profile.wall_us <= profile.median_wall_us
    # a thread may be interrupted between the last kernel and the end of the step, but not in every run
    assert max(from_windows([w], schedule, PEAK, "net").accounted for w in windows) >= 0.97


def test_rows_explain_the_wall_clock():
    """A thread that gets no CPU at the beginning of a run is not covered, so one good run of several is enough."""
    sink, schedule = profiled(1)
    x, state = data()
    windows = measure(sink, [x], state, 20_000)
    assert max(from_windows([window], schedule, PEAK, "net").coverage for window in windows) >= 0.97


@pytest.mark.parametrize("threads", [1, 2])
def test_profiled_steps_compute_the_same_bits(threads):
    graph = optimize(training_graph())
    x, state = data()
    _, plain = data()
    sink, _ = profiled(threads)
    counters = np.zeros(
        next(b for b in sink.program.steps[0].bindings if b.label == "profile").type.shape, np.int64
    )
    with_counters = sink.run(30, [x], {**state, "profile": counters})
    without = sink_of(lower(graph, threads=threads), threads).run(30, [x], plain)
    assert with_counters.losses.tobytes() == without.losses.tobytes()
    assert state["second"].tobytes() == plain["second"].tobytes()


def test_time_between_steps_is_not_counted_across_runs():
    sink, _ = profiled(1)
    x, state = data()
    counters = np.zeros((1, len(sink_kernels(sink)) + 1, 8), np.int64)
    sink.run(1, [x], {**state, "profile": counters})
    assert counters[0, -1, 0] > 0
    assert counters[0, -1, 1] == 0  # there was no step before
    assert counters[0, -1, 2] > 0
    sink.run(3, [x], {**state, "profile": counters})
    assert counters[0, -1, 1] > 0


def sink_kernels(sink):
    binding = next(b for b in sink.program.steps[0].bindings if b.label == "profile")
    return range(binding.type.shape[1] - 1)


def test_a_loss_that_is_not_finite_ends_the_profile():
    sink, _ = profiled(1)
    x, state = data()
    x[:] = np.inf
    with pytest.raises(NonFiniteError, match="a loss is not finite"):
        measure(sink, [x], state, 10)


# ------------------------------------------------------------------------------------------- operations and bytes


def works():
    _, schedule = profiled(1)
    return {group.name: (group, group_work(group, schedule.slots)) for group in schedule.groups}


def test_matmuls_count_two_operations_per_term():
    products = [work.flops for group, work in works().values() if group.lead.op.name == "mat_mul"]
    expected = [2 * BATCH * 16 * WIDTH, 2 * BATCH * WIDTH * 4, 2 * BATCH * WIDTH * 4]
    # epilogues (tanh, square, update) add one per element
    assert sorted(products)[-1] - expected[0] in (0, BATCH * WIDTH)
    assert sum(products) >= sum(expected)
    assert sum(products) <= sum(expected) + BATCH * WIDTH + 2 * BATCH * 4 + 2 * WIDTH * 4


def test_a_gather_reads_its_rows_and_not_the_column():
    total = sum(
        work.bytes_read
        for group, work in works().values()
        if any(node.is_input and node.op.label == "x" for node in {*group.reads, *group.anchor_reads})
    )
    rows, indices, weights = 4 * BATCH * 16, 4 * BATCH, 4 * 16 * WIDTH
    assert rows + indices <= total <= rows + indices + weights
    assert total < 4 * SIZE * 16 + indices + weights


def test_an_update_is_read_and_written():
    (work,) = [
        w
        for g, w in works().values()
        if any(n.shape == (WIDTH, 4) and n.op.name != "mat_mul" for n in g.stores)
    ]
    assert work.bytes_written >= 4 * WIDTH * 4
    assert work.bytes_read >= 4 * WIDTH * 4


def terms_by_evaluation(op, *types):
    """With ones for operands a contraction adds up a one per product."""
    return int(op.evaluate(*(np.ones(type.shape, np.float32) for type in types)).sum())


@pytest.mark.parametrize(
    "stride, padding, dilation, groups",
    [
        ((1, 1), (0, 0, 0, 0), (1, 1), 1),
        ((1, 1), (2, 2, 2, 2), (1, 1), 1),
        ((2, 1), (1, 0, 2, 1), (1, 2), 1),
        ((2, 2), (1, 1, 1, 1), (1, 1), 2),
    ],
)
def test_terms_in_the_padding_are_not_counted(stride, padding, dilation, groups):
    x = TensorType((2, 4, 9, 8), float32)
    w = TensorType((6, 4 // groups, 3, 3), float32)
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    forward = Conv2d(**settings)
    y = forward.infer(x, w)
    for op, types in (
        (forward, (x, w)),
        (Conv2dBackwardInput(x.shape, **settings), (y, w)),
        (Conv2dBackwardWeight(w.shape, **settings), (x, y)),
    ):
        assert contraction_terms(op.contraction(types), types[0]) == terms_by_evaluation(op, *types), op.name


def test_views_and_partly_needed_producers():
    """exp of a large tensor of which a slice is used: only the slice counts."""
    x = input_node("x", TensorType((100, 10), float32))
    y = apply(Slice((0, 0), (10, 10), (1, 1)), build.exp(x))
    stages = {}
    lower(optimize(Graph((x,), (y,))), threads=1, record=stages.__setitem__)
    schedule = stages["fused"].schedule
    work = [group_work(group, schedule.slots) for group in schedule.groups]
    assert len(work) == 1
    assert work[0].flops == 100
    assert (work[0].bytes_read, work[0].bytes_written) == (400, 400)


# ------------------------------------------------------------------------------------------- ceilings and reports


def test_the_slower_of_arithmetic_and_memory_decides():
    machine = Ceilings(2, 1e9, (Level("L2", 1000, 4e9), Level("memory", None, 1e9)))
    assert machine.seconds(2000, 400) == pytest.approx(2e-6)  # arithmetic
    assert machine.seconds(10, 400) == pytest.approx(1e-7)  # L2
    assert machine.seconds(10, 5000) == pytest.approx(5e-6)  # memory
    assert machine.seconds(0, 0) == 0.0


def test_ceilings_of_this_machine():
    one, two = machine_ceilings(1), machine_ceilings(2)
    assert 0 < one.flops < two.flops
    assert [level.name for level in one.levels] == ["L1", "L2", "L3", "memory"]
    assert one.levels[-1].capacity is None
    rates = [level.bandwidth for level in one.levels]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0


def made_up_profile():
    """Two threads at 1e6 ticks per second, ten steps; counters say exactly what the rows must show."""
    _, schedule = profiled(2)
    kernels = len(schedule.groups)
    counters = np.zeros((2, kernels + 1, 8), np.int64)
    counters[0, :kernels, 0], counters[1, :kernels, 0] = 30, 20
    counters[0, :kernels, 1], counters[1, :kernels, 1] = 0, 10
    counters[:, -1, 0], counters[:, -1, 1] = 30 * kernels, 5
    ticks = 30 * kernels + 10
    fast = Window(counters, ticks / 1e6, ticks, 10)
    slow = Window(counters * 3, 3 * ticks / 1e6, 3 * ticks, 10)
    return from_windows([slow, fast, slow], schedule, PEAK, "net"), kernels


def test_times_per_step_and_thread():
    profile, kernels = made_up_profile()
    assert profile.kernels[0].work_us == pytest.approx((3.0, 2.0))
    assert profile.kernels[0].wait_us == pytest.approx((0.0, 1.0))
    assert profile.kernels[0].time_us == pytest.approx(3.0)
    assert profile.work_us == pytest.approx((3.0 * kernels, 2.0 * kernels))
    assert profile.between_us == pytest.approx((0.5, 0.5))
    assert profile.wall_us == pytest.approx(3.0 * kernels + 1)
    assert profile.median_wall_us == pytest.approx(3 * profile.wall_us)
    assert profile.accounted == pytest.approx(1.0)
    assert profile.coverage == pytest.approx((3.0 * kernels + 0.5) / (3.0 * kernels + 1))
    lead = max(profile.kernels, key=lambda kernel: kernel.work.flops)
    assert lead.percent == pytest.approx(100 * PEAK.seconds(lead.work.flops, lead.work.bytes) / 3e-6)
    assert lead.gflops == pytest.approx(lead.work.flops / 3e-6 / 1e9)


def test_the_table_has_a_line_per_kernel_and_says_what_is_wrong():
    profile, _ = made_up_profile()
    text = str(profile)
    for kernel in profile.kernels:
        assert sum(line.startswith(kernel.name + " ") for line in text.splitlines()) == 1
    assert "between steps" in text
    assert "100 GFLOP/s" in text
    assert "L1 1000, memory 100" in text
    assert "other programs use the CPUs" in text  # the median is three times the fastest run


def test_json_holds_the_numbers():
    profile, kernels = made_up_profile()
    document = json.loads(json.dumps(profile.to_json()))
    assert len(document["kernels"]) == kernels
    assert document["flops"] == sum(kernel["flops"] for kernel in document["kernels"]) == profile.flops
    assert document["kernels"][0]["work_us"] == pytest.approx([3.0, 2.0])
    assert document["ceilings"]["levels"][0] == {"name": "L1", "capacity": 1 << 15, "bandwidth": 1e12}


def test_the_trace_lays_kernels_end_to_end(tmp_path):
    profile, kernels = made_up_profile()
    path = profile.to_chrome_trace(tmp_path / "trace.json")
    events = json.loads(path.read_text())["traceEvents"]
    for thread in range(2):
        spans = [event for event in events if event["ph"] == "X" and event["tid"] == thread]
        assert len(spans) == 2 * kernels + 1
        for before, after in itertools.pairwise(spans):
            assert after["ts"] == pytest.approx(before["ts"] + before["dur"], abs=1e-3)
        whole = spans[-1]["ts"] + spans[-1]["dur"]
        assert whole == pytest.approx(profile.step_us[thread] + profile.between_us[thread], abs=1e-2)
    with pytest.raises(ArgumentError, match="cannot write the trace"):
        profile.to_chrome_trace(tmp_path / "nowhere" / "trace.json")
