"""Properties over random training steps: no pass, alone or in order, changes a result.

Exact graphs (whole numbers, so every sum has one right answer) are compared bit for bit, zeros with their signs.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph, random_values

from graphrt.dtypes import float64
from graphrt.ir import Graph
from graphrt.ir.interpret import interpret
from graphrt.ir.text import parse, to_text
from graphrt.ir.verify import verify
from graphrt.passes import pipeline

SEEDS = st.integers(0, 10**9)
PASSES = dict(pipeline.PASSES)


def results(graph: Graph, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    outputs, updates = interpret(graph, values)
    return {**{f"output {k}": array for k, array in enumerate(outputs)}, **updates}


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(((a == b) & (np.signbit(a) == np.signbit(b))).all())


@pytest.mark.parametrize("name", PASSES)
@given(seed=SEEDS)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_each_pass_alone_is_exact(name: str, seed: int) -> None:
    graph = random_graph(seed, exact=True, dtype=float64)
    values = random_values(graph, seed, exact=True)
    expected = results(graph, values)
    assert all(np.abs(array).max(initial=0) < 2**50 for array in expected.values()), "not an exact graph"
    after = PASSES[name](graph)
    verify(after, name)
    for key, array in results(after, values).items():
        assert same_bits(array, expected[key]), f"{key} of seed {seed}"


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_all_passes_in_order_are_exact_and_shrink_the_graph(seed: int) -> None:
    graph = random_graph(seed, exact=True, dtype=float64)
    values = random_values(graph, seed, exact=True)
    after = pipeline.run(graph)
    expected = results(graph, values)
    for key, array in results(after, values).items():
        assert same_bits(array, expected[key]), f"{key} of seed {seed}"
    assert len(after.nodes()) <= len(graph.nodes())
    assert parse(to_text(after)) == after


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_all_passes_on_smooth_functions_agree(seed: int) -> None:
    graph = random_graph(seed, dtype=float64)
    values = random_values(graph, seed)
    expected = results(graph, values)
    for key, array in results(pipeline.run(graph), values).items():
        np.testing.assert_allclose(
            array, expected[key], rtol=1e-9, atol=1e-9, err_msg=f"{key} of seed {seed}"
        )


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_second_run_finds_nothing_left(seed: int) -> None:
    once = pipeline.run(random_graph(seed))
    twice = pipeline.run(once)
    assert len(twice.nodes()) == len(once.nodes())
