"""One native call: what is accepted, what is returned, what stays untouched."""

import gc
import os
import threading
import tracemalloc

import numpy as np
import pytest

from graphrt import dtypes
from graphrt.codegen.lowered import Binding, LoweredStep
from graphrt.errors import ArgumentError, CompileError, DTypeError, ShapeError
from graphrt.ir import TensorType
from graphrt.runtime import memory
from graphrt.runtime.executor import Executable
from graphrt.runtime.reference import ReferenceExecutable

from . import handwritten


def scale(count, *, parallel=False, constant=3.0):
    """y = constant[0] * x, elementwise over float32[count]; thread t takes every nth element."""
    text = """\
define internal void @scale(ptr noalias %arena, ptr %bindings, i64 %tid, i64 %nth, ptr %barrier) nounwind {
entry:
  %x = load ptr, ptr %bindings, align 8
  %c.slot = getelementptr ptr, ptr %bindings, i64 1
  %c = load ptr, ptr %c.slot, align 8
  %y.slot = getelementptr ptr, ptr %bindings, i64 2
  %y = load ptr, ptr %y.slot, align 8
  %factor = load float, ptr %c, align 64
  br label %loop
loop:
  %i = phi i64 [ %tid, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, COUNT
  br i1 %more, label %body, label %done
body:
  %x.at = getelementptr float, ptr %x, i64 %i
  %value = load float, ptr %x.at, align 4
  %scaled = fmul float %value, %factor
  %y.at = getelementptr float, ptr %y, i64 %i
  store float %scaled, ptr %y.at, align 4
  %next = add i64 %i, %nth
  br label %loop
done:
  call void @graphrt_barrier(ptr %barrier, i64 %nth)
  ret void
}
""".replace("COUNT", str(count))
    vector = TensorType((count,), dtypes.float32)
    value = np.full(1, constant, np.float32)
    bindings = (
        Binding("data", "x", vector),
        Binding("constant", "c", TensorType((1,), dtypes.float32), value),
        Binding("output", "y", vector),
    )
    return LoweredStep(
        "scale", text, frozenset({"declare void @graphrt_barrier(ptr, i64)"}), bindings, 0, parallel, ()
    )


@pytest.mark.parametrize("count", [0, 1, 17, 1024, 1025, 100_000])  # 1024 floats are one page: staged
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_outputs_are_right_fresh_and_aligned(count, threads):
    run = Executable(scale(count, parallel=threads > 1), threads=threads)
    assert run.threads == threads
    x = np.arange(count, dtype=np.float32)
    (first,) = run(x)
    (second,) = run(x + 1)
    assert first.dtype == np.float32 and first.shape == (count,) and first.flags.c_contiguous
    assert np.array_equal(first, 3 * x) and np.array_equal(second, 3 * x + 3)
    assert first.flags.writeable and not np.shares_memory(first, second)
    if count > 1024:
        assert first.ctypes.data % 64 == 0


@pytest.mark.parametrize("count", [10, 5000])
def test_strided_and_unaligned_inputs_are_converted(count):
    run = Executable(scale(count))
    wide = np.arange(2 * count, dtype=np.float32)
    unaligned = np.frombuffer(b"\0" + wide[:count].tobytes(), np.uint8)[1:].view(np.float32)
    read_only = wide[:count]
    read_only.setflags(write=False)
    assert not unaligned.flags.aligned
    assert np.array_equal(run(wide[::2])[0], 3 * wide[::2])
    assert np.array_equal(run(wide[count - 1 :: -1])[0], 3 * wide[count - 1 :: -1])
    assert np.array_equal(run(unaligned)[0], 3 * wide[:count])
    assert np.array_equal(run(read_only)[0], 3 * wide[:count])


def test_states_are_updated_in_place_as_the_interpreter_does():
    size, batch = 9, 4
    run, oracle = (
        Executable(handwritten.step(size, batch)),
        ReferenceExecutable(handwritten.graph(size, batch)),
    )
    x, ours, theirs = handwritten.data(size), handwritten.weights(), handwritten.weights()
    kept = ours["w"]
    for start in range(5):
        indices = np.arange(start, start + batch, dtype=np.int32)
        mine, expected = run(x, indices, state=ours), oracle(x, indices, state=theirs)
        assert mine[0].shape == () and mine[0].tobytes() == expected[0].tobytes()
        assert ours["w"] is kept and kept.tobytes() == theirs["w"].tobytes()


def test_another_state_array_is_noticed():
    run, x = Executable(handwritten.step(9, 4)), handwritten.data(9)
    indices, first, second = np.arange(4, dtype=np.int32), handwritten.weights(), handwritten.weights()
    run(x, indices, state=first)
    after = first["w"].copy()
    run(x, indices, state=second)
    assert np.array_equal(first["w"], after) and np.array_equal(second["w"], after)
    first["w"] = handwritten.weights()["w"]  # same mapping, other array
    run(x, indices, state=first)
    assert np.array_equal(first["w"], after)


def test_data_that_shares_memory_with_a_state_is_read_before_the_update():
    size, batch, width = 300, 4, 5
    run, block = Executable(handwritten.step(size, batch, width)), handwritten.data(size, width)
    clean, state = block.copy(), {"w": block[2]}
    expected = {"w": block[2].copy()}
    indices = np.arange(4, dtype=np.int32)
    loss = run(block, indices, state=state)[0]
    assert loss == Executable(handwritten.step(size, batch, width))(clean, indices, state=expected)[0]
    assert np.array_equal(block[2], expected["w"]) and not np.array_equal(clean[2], block[2])


def test_messages_name_the_input_and_both_types():
    run, x = Executable(handwritten.step(9, 4)), handwritten.data(9)
    indices, state = np.arange(4, dtype=np.int32), handwritten.weights()
    with pytest.raises(ShapeError) as error:
        run(x[:8], indices, state=state)
    assert str(error.value) == (
        "input 'x' has the wrong shape\n  expected: float32[9, 5]\n  given:    float32[8, 5]"
    )
    with pytest.raises(DTypeError) as error:
        run(x, np.arange(4), state=state)
    assert str(error.value) == (
        "input 'indices' has the wrong element type\n  expected: int32[4]\n  given:    int64[4]\n"
        "  fix:      convert it with .astype('int32')"
    )
    with pytest.raises(DTypeError, match="given:    >f4"):
        run(x.astype(">f4"), indices, state=state)
    with pytest.raises(
        ArgumentError, match=r"wrong number of inputs\n  expected: 2: x, indices\n  given:    1"
    ):
        run(x, state=state)


def test_unusable_states_are_refused_and_nothing_runs():
    run, x = Executable(handwritten.step(9, 4)), handwritten.data(9)
    indices = np.arange(4, dtype=np.int32)
    read_only = handwritten.weights()["w"]
    read_only.setflags(write=False)
    for state, message in [
        (None, "state 'w' is missing"),
        ({"v": read_only}, "state 'w' is missing"),
        ({"w": [0.0] * 5}, "state 'w' is not an array"),
        ({"w": np.zeros(10, np.float32)[::2]}, "state 'w' cannot be updated in place"),
        ({"w": read_only}, "read-only"),
        ({"w": np.zeros(5)}, "state 'w' has the wrong element type"),
        ({"w": np.zeros(6, np.float32)}, "state 'w' has the wrong shape"),
    ]:
        with pytest.raises((ArgumentError, DTypeError, ShapeError), match=message):
            run(x, indices, state=state)
    state = handwritten.weights()
    run(x, indices, state=state)
    with pytest.raises(ArgumentError):  # also when a good state was bound before
        run(x, indices, state={"w": read_only})
    assert np.array_equal(read_only, handwritten.weights()["w"])


def test_states_sharing_memory_are_refused():
    base = handwritten.step(9, 4)
    more = Binding("state", "v", TensorType((5,), dtypes.float32))
    step = LoweredStep(
        base.name, base.text, base.declarations, (*base.bindings, more), base.arena_bytes, False, ("w",)
    )
    run, x, indices = Executable(step), handwritten.data(9), np.arange(4, dtype=np.int32)
    block = np.zeros(12, np.float32)
    with pytest.raises(ArgumentError, match="states 'w' and 'v' share memory"):
        run(x, indices, state={"w": block[:5], "v": block[4:9]})
    run(x, indices, state={"w": block[:5], "v": block[5:10]})


@pytest.mark.parametrize("parallel", [False, True])
def test_calls_from_several_python_threads_take_turns(parallel):
    run = Executable(scale(3000, parallel=parallel), threads=2)
    wrong = []

    def call(number):
        x = np.full(3000, number, np.float32)
        for _ in range(200):
            if not (run(x)[0] == 3 * number).all():
                wrong.append(number)

    threads = [threading.Thread(target=call, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_is_not_blocked_by_a_call_of_its_parent():
    run, x = Executable(scale(3000, parallel=True), threads=2), np.ones(3000, np.float32)
    with run._lock:  # as if another thread of the parent were in the middle of a call
        child = os.fork()
        if child == 0:
            os._exit(0 if (run(x)[0] == 3).all() else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert (run(x)[0] == 3).all()


def test_memory_is_refused_before_it_is_allocated():
    base = scale(4)
    step = LoweredStep(base.name, base.text, base.declarations, base.bindings, 1 << 50, False, ())
    tracemalloc.start()
    with pytest.raises(
        memory.OutOfMemoryError, match="not enough memory for the temporaries of one step"
    ) as error:
        Executable(step)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(error.value, MemoryError) and "1048576.0 GiB" in str(error.value) and peak < 1 << 24


def test_compiling_and_freeing_leaves_no_code_behind():
    def resident_and_mappings():
        gc.collect()
        with open("/proc/self/maps") as maps, open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096, len(maps.readlines())

    if not os.path.exists("/proc/self/maps"):
        pytest.skip("needs /proc")
    x = np.ones(8, np.float32)
    for _ in range(50):
        Executable(scale(8))(x)
    resident, mappings = resident_and_mappings()
    for _ in range(200):
        Executable(scale(8))(x)
    resident_after, mappings_after = resident_and_mappings()
    assert resident_after - resident < 5 << 20
    assert mappings_after - mappings < 50


def test_code_for_another_processor_is_not_run():
    from graphrt.codegen.target import target

    with pytest.raises(CompileError, match="another processor"):
        Executable(scale(4), target=target("neoverse-n1" if target("host").is_x86 else "haswell"))
