"""A whole step as LLVM IR: its bindings, its shared kernels, its counters, and barriers wherever they are needed.

Threads that race give wrong results only now and then, so barriers are checked without threads: the step is cut at its
barriers, and between two of them the shares of the threads run one after the other, in ascending and in descending
order. Whatever depends on another thread's share without a barrier in between then comes out wrong every time.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace

import numpy as np
import pytest
from differential import PROFILES, difference, lowered, run_reference
from random_graphs import random_graph, random_values

from graphrt import compiler
from graphrt.codegen import jit
from graphrt.codegen.lowered import LoweredStep
from graphrt.codegen.target import target
from graphrt.dtypes import float32
from graphrt.ir import Graph, TensorType, input_node
from graphrt.ops import build
from graphrt.runtime.executor import Executable

BARRIER = "  call void @graphrt_barrier(ptr %barrier, i64 %nth)"
WORK = re.compile(r"  (call void @|br i1 %first)")  # the first line behind the loading of pointers


def segments(step: LoweredStep) -> tuple[str, int]:
    """The step's text with one exported function per stretch between barriers, and how many there are."""
    start = step.text.index(f"define internal void @{step.name}(")
    kernels, lines = step.text[:start], step.text[start:].rstrip().splitlines()
    first = next((k for k, line in enumerate(lines) if WORK.match(line)), len(lines) - 2)
    head, body = lines[1:first], lines[first:-2]
    assert lines[-2:] == ["  ret void", "}"]
    parts: list[list[str]] = [[]]
    for line in body:
        if line == BARRIER:
            parts.append([])
        else:
            parts[-1].append(line)
    signature = "(ptr noalias %arena, ptr %bindings, i64 %tid, i64 %nth, ptr %barrier)"
    functions = [
        "\n".join([f"define void @part{k}{signature} {{", *head, *part, "  ret void", "}"])
        for k, part in enumerate(parts)
    ]
    attributes = "attributes #0 = { noinline nounwind }"
    return "\n".join([*sorted(step.declarations), kernels, *functions, attributes]), len(parts)


def run_in_turns(
    step: LoweredStep, values: dict[str, np.ndarray], threads: int, descending: bool
) -> dict[str, np.ndarray]:
    """Outputs and updated states when the threads' shares run one after the other between barriers."""
    text, count = segments(step)
    names = [f"part{k}" for k in range(count)]
    loaded = jit.load([jit.compile_text(text, target()).object_code], names)
    arena = np.full(step.arena_bytes + step.scratch_bytes * threads + 128, 0xFF, np.uint8)
    arena_at = arena.ctypes.data + (-arena.ctypes.data) % 64
    arrays: list[np.ndarray] = []
    for binding in step.bindings:
        given = binding.value if binding.kind == "constant" else values.get(binding.label)
        memory = np.zeros(binding.type.bytes + 64, np.uint8)
        start = -memory.ctypes.data % 64
        array = (
            memory[start : start + binding.type.bytes]
            .view(binding.type.dtype.numpy)
            .reshape(binding.type.shape)
        )
        if given is not None:
            array[...] = given
        arrays.append(array)
    pointers = (ctypes.c_uint64 * len(arrays))(*(a.ctypes.data for a in arrays))
    prototype = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
    )
    for name in names:
        entry = prototype(loaded.address(name))
        order = range(threads)
        for thread in reversed(order) if descending else order:
            entry(arena_at, ctypes.addressof(pointers), thread, threads, None)
    outputs = [a for a, b in zip(arrays, step.bindings) if b.kind == "output"]
    states = {b.label: a for a, b in zip(arrays, step.bindings) if b.kind == "state"}
    # Passes drop states that keep their value: those are what they were.
    return {**values, **states, **{f"output {k}": a for k, a in enumerate(outputs)}}


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize("name", ["exact", "exact_large"])
def test_threads_may_run_in_any_order_between_barriers(name: str, threads: int) -> None:
    crossed = 0
    for seed in range(15):
        graph = random_graph(seed, 10, **PROFILES[name])
        values = random_values(graph, seed, exact=True)
        step = lowered(compiler.optimize(graph), threads)
        crossed += step.text.count(BARRIER)
        expected = run_reference(graph, values)
        for descending in (False, True):
            reason = difference(run_in_turns(step, values, threads, descending), expected, exact=True)
            assert reason is None, f"seed {seed}, {threads} threads, descending {descending}: {reason}"
    assert crossed > 15


def test_a_missing_barrier_is_noticed() -> None:
    """The check above can fail: without its barriers this step gives another result."""
    x = input_node("x", TensorType((64, 64), float32))
    graph = Graph((x,), (build.matmul(build.matmul(x, x), build.exp(build.matmul(x, x))),), {}, "products")
    values = {"x": np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32) / 8}
    step = lowered(compiler.optimize(graph), 2)
    assert BARRIER in step.text
    expected = run_reference(graph, values)
    assert difference(run_in_turns(step, values, 2, True), expected, exact=False) is None
    broken = replace(step, text=step.text.replace(BARRIER + "\n", ""))
    assert difference(run_in_turns(broken, values, 2, False), expected, exact=False) is not None


# ---- the text --------------------------------------------------------------------------------------------------


def two_equal_products() -> Graph:
    x, v, w = (input_node(n, TensorType((20, 20), float32)) for n in "xvw")
    outputs = build.relu(build.matmul(x, v)), build.relu(build.matmul(x, w))
    return Graph((x, v, w), outputs, {}, "products")


def test_kernels_of_equal_text_are_emitted_once() -> None:
    step = compiler.lower(two_equal_products(), threads=1)
    kernels = re.findall(r"^define internal void @(k\w+)\(", step.text, re.MULTILINE)
    calls = re.findall(r"call void @(k\w+)\(", step.text)
    assert len(set(kernels)) == len(kernels) < len(calls)
    assert set(calls) == set(kernels)


def test_bindings_come_in_the_order_of_the_graph() -> None:
    x, w = input_node("x", TensorType((3,), float32)), input_node("w", TensorType((3,), float32), "state")
    table = build.constant(np.array([1.0, 2.0, 4.0], np.float32))
    graph = Graph((w, x), (build.mul(x, table), w), {w: build.add(w, x)}, "bindings")
    step = compiler.lower(graph, threads=1)
    found = [(b.kind, b.label) for b in step.bindings]
    assert [kind for kind, _ in found] == ["data", "state", "output", "output", "constant"]
    assert found[:2] == [("data", "x"), ("state", "w")]
    assert step.bindings[4].value is not None and step.bindings[4].value.tolist() == [1, 2, 4]
    assert step.updates == ("w",)


def test_the_same_graph_gives_the_same_text() -> None:
    for seed in range(5):
        texts = {
            compiler.lower(compiler.optimize(random_graph(seed, **PROFILES["smooth"])), threads=2).text
            for _ in range(2)
        }
        assert len(texts) == 1, seed


def test_counters_tell_where_the_time_went() -> None:
    graph = two_equal_products()
    step = compiler.lower(graph, threads=1, profile=True)
    (profile,) = [b for b in step.bindings if b.label == "profile"]
    kernels = profile.type.shape[1] - 1
    assert kernels == len(re.findall(r"call void @k\w+\(", step.text))
    cycles = np.zeros(profile.type.shape, np.int64)
    arrays = [np.ones((20, 20), np.float32)] * 3
    results = Executable(step, threads=1)(*arrays, state={"profile": cycles})
    assert all((result == 20).all() for result in results)
    assert (cycles[0, :kernels, 0] > 0).all()
    assert cycles[0, kernels, 0] >= cycles[0, :kernels, :2].sum()
