"""Random training steps, native against the reference: forward, gradients and updates, results bit for bit where
the graph's values are exact. A failure prints its seed and the smallest graph that still fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from differential import (
    PROFILES,
    difference,
    failure,
    lowered,
    mismatch,
    run_native,
    run_reference,
    run_step,
    smallest_failure,
)
from random_graphs import random_graph, random_values

from graphrt import compiler
from graphrt.codegen.target import target
from graphrt.ir import Graph
from graphrt.passes import pipeline

SEEDS = {
    "exact": range(300),
    "exact_large": range(300, 340),
    "smooth": range(400, 440),
    "smooth_large": range(480, 500),
}
GROUP = 10  # seeds per test: one test per seed would spend its time in reporting
ROOT = Path(__file__).parents[2]


def check(graph: Graph, seed: int, exact: bool, threads: int = 1) -> None:
    reason = failure(graph, seed, exact, threads)
    if reason is not None:
        small = smallest_failure(graph, seed, exact, threads, limit=150)
        pytest.fail(f"seed {seed}: {reason}\nsmallest: {failure(small, seed, exact, threads)}\n{small}")


@pytest.mark.parametrize(
    ("name", "first"), [(name, seed) for name, seeds in SEEDS.items() for seed in seeds[::GROUP]]
)
def test_native_code_gives_the_results_of_the_reference(name: str, first: int) -> None:
    for seed in range(first, first + GROUP):
        profile = PROFILES[name]
        check(random_graph(seed, **profile), seed, profile.get("exact", False))


def test_exact_graphs_are_exact() -> None:
    """What makes the comparison bit for bit fair: no value comes near the end of the whole numbers of float64."""
    for name in ("exact", "exact_large"):
        for seed in SEEDS[name][::7]:
            graph = random_graph(seed, **PROFILES[name])
            results = run_reference(graph, random_values(graph, seed, exact=True))
            assert all(np.abs(array).max(initial=0) < 2**50 for array in results.values()), seed


def test_random_graphs_contain_every_kind_of_operation() -> None:
    found = {
        node.op.name
        for name, seeds in SEEDS.items()
        for seed in seeds
        for node in random_graph(seed, **PROFILES[name]).nodes()
    }
    expected = {
        "conv2d", "conv2d_backward_input", "conv2d_backward_weight", "mat_mul", "max_pool2d", "avg_pool2d",
        "window_scatter", "window_spread", "softmax_cross_entropy_sparse", "softmax", "log_softmax", "random_bits",
        "gather", "scatter_add", "reduce_sum", "reduce_max", "concat", "pad", "reverse", "slice", "transpose", "arg_max",
    }  # fmt: skip
    assert expected <= found, expected - found


# ---- thread counts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exact_large", "smooth_large"])
@pytest.mark.parametrize("first", (0, 5))
def test_results_do_not_depend_on_the_number_of_threads(name: str, first: int) -> None:
    """Bit for bit, rounding included."""
    for seed in range(first, first + 5):
        graph = random_graph(seed, 8, **PROFILES[name])
        values = random_values(graph, seed, exact=PROFILES[name].get("exact", False))
        alone = run_native(graph, values, threads=1)
        for threads in (2, 3, 5):
            reason = difference(run_native(graph, values, threads=threads, poison=True), alone, exact=True)
            assert reason is None, f"seed {seed}, {threads} threads: {reason}"


def test_small_graphs_are_really_split() -> None:
    graphs = [random_graph(seed, 8, **PROFILES["exact_large"]) for seed in range(10)]
    texts = [lowered(compiler.optimize(g), 3).text for g in graphs]
    assert sum(text.count("i64 %tid, i64 %nth)\n") for text in texts) > 30
    assert sum(text.count("@graphrt_barrier") for text in texts) > 10


def test_repeated_runs_give_the_same_bits() -> None:
    for seed in range(5):
        graph = random_graph(seed, **PROFILES["smooth_large"])
        values = random_values(graph, seed)
        step = lowered(compiler.optimize(graph), threads=2)
        first, second = (run_step(step, graph, values, threads=2, poison=True) for _ in range(2))
        assert {k: a.tobytes() for k, a in first.items()} == {k: a.tobytes() for k, a in second.items()}, seed


# ---- passes off ------------------------------------------------------------------------------------------------

EXPAND = pipeline.PASSES[0]


@pytest.mark.parametrize("name", ["none", *(name for name, _ in pipeline.PASSES[1:])])
def test_any_single_pass_or_none_is_enough(name: str) -> None:
    """Native code does not rely on what a pass happens to clean up (composites must always be expanded)."""
    assert EXPAND[0] == "expand_composites"
    chosen = [EXPAND, *(p for p in pipeline.PASSES[1:] if p[0] == name)]
    for seed in range(50):
        graph = random_graph(seed, 8, **PROFILES["exact"])
        values = random_values(graph, seed, exact=True)
        reason = mismatch(
            graph, values, exact=True, optimize=lambda g: pipeline.run(g, passes=chosen), poison=True
        )
        assert reason is None, f"seed {seed}, passes {[p[0] for p in chosen]}: {reason}"


# ---- other processors ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not target("haswell").is_host_compatible, reason="this machine cannot run AVX2 code")
def test_eight_lanes_instead_of_sixteen(tmp_path: Path) -> None:
    """The same check in a process that generates code for another vector width."""
    command = [
        sys.executable, str(ROOT / "tools" / "fuzz.py"), "--graphs", "20", "--seed", "1000", "--target", "haswell",
        "--failures", str(tmp_path),
    ]  # fmt: skip
    found = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert found.returncode == 0, found.stdout + found.stderr
