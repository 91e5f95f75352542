"""The search behind `compile(tune=True)`: contractions by the plan that is fastest here, not by the one thought so.

In: an optimized graph. Out: the name of each contraction's group, and its fastest plan.

The whole step is compiled several times, each time with the next best plan of the cost model for all contractions, and
run on made-up data with cycle counters around every kernel. So kernels are measured where they will run: after the
kernel before them, with what it left in the caches, on all threads. The numbers of the data do not matter, but indices
are 0: lookups in tables find theirs in the cache.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from .codegen.lowered import Binding, LoweredStep
from .ir import Graph
from .kernels.contraction_plan import Plan

CANDIDATES = 6  # plans per contraction
SECONDS = 0.2  # in which a candidate is run again and again
RUNS = 3, 50  # but so often at least, and at most
GAIN = 0.97  # a plan replaces a better ranked one below this part of its time: less is noise

Cycles = dict[str, float]  # by kernel, over all its uses


def fastest_plans(graph: Graph, threads: int | None, sink: bool) -> dict[str, Plan]:
    """By name of the group. `threads`, `sink`: see `compiler.lower`. Takes as long as compiling the step `CANDIDATES`
    times, and some runs."""
    from . import compiler
    from .kernels.plan_choice import candidate

    found = []
    for rank in range(CANDIDATES):
        plans: dict[str, Plan] = {}
        step = compiler.lower(
            graph, threads=threads, sink=sink, profile=True, begin=True, plans=candidate(rank, plans)
        )
        if not plans:
            return {}
        found.append((plans, kernel_cycles(step, threads)))
    return fastest(found)


def fastest(found: Sequence[tuple[Mapping[str, Plan], Cycles]]) -> dict[str, Plan]:
    """The plan with the fewest cycles of each contraction; a better ranked one where the difference may be noise."""
    best: dict[str, tuple[float, Plan]] = {}
    for plans, cycles in found:
        for name, plan in plans.items():
            if name in cycles and (name not in best or cycles[name] < GAIN * best[name][0]):
                best[name] = cycles[name], plan
    return {name: plan for name, (_, plan) in best.items()}


def kernel_cycles(step: LoweredStep, threads: int | None) -> Cycles:
    """The fewest cycles each kernel of a step with counters took in any of some runs, on the thread that took longest."""
    from .runtime.executor import Executable

    executable = Executable(step, threads=threads)
    random = np.random.default_rng(0)
    data = [_values(binding, random) for _, binding in step.positions("data")]
    state = {binding.label: _values(binding, random) for _, binding in step.positions("state")}
    counters = state["profile"]
    least = np.full(len(step.kernels), np.inf)
    least_runs, most_runs = RUNS
    started, run = time.perf_counter(), 0
    while run < least_runs or (run < most_runs and time.perf_counter() - started < SECONDS):
        counters[...] = 0
        executable(*data, state=state)
        least = np.minimum(least, counters[:, :-1, 0].max(axis=0))
        run += 1
    cycles: Cycles = {}
    for name, count in zip(step.kernels, least.tolist()):
        cycles[name] = cycles.get(name, 0.0) + count
    return cycles


def _values(binding: Binding, random: np.random.Generator) -> np.ndarray:
    """An array for a binding: small positive numbers, which roots and logarithms take, or zeros for integers."""
    shape, dtype = binding.type.shape, binding.type.dtype
    if not dtype.is_float:
        return np.zeros(shape, dtype.numpy)
    return np.asarray(random.uniform(0.01, 0.1, shape)).astype(dtype.numpy)
