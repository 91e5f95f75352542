"""A whole step as LLVM IR: its bindings, its shared kernels, its counters, and barriers wherever they are needed.

Barriers are checked without threads, see `turns.py`.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from differential import PROFILES, difference, lowered, run_reference
from random_graphs import random_graph, random_values
from turns import BARRIER, run_in_turns

from graphrt import compiler
from graphrt.dtypes import float32
from graphrt.ir import Graph, TensorType, input_node
from graphrt.ops import build
from graphrt.runtime.executor import Executable


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
