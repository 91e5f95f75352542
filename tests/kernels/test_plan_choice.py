"""Whatever plan a contraction gets, its results are right; short ones have the same bits as the cheapest."""

from __future__ import annotations

import numpy as np
import pytest
from differential import difference, run_reference

from graphrt import compiler
from graphrt.codegen.target import target
from graphrt.dtypes import float32
from graphrt.ir import Graph, Node, TensorType, apply, input_node
from graphrt.kernels import plan_choice
from graphrt.kernels.contraction_plan import choose_plan, ranked_plans, short_plan
from graphrt.ops import build
from graphrt.ops.contractions import Conv2dBackwardWeight
from graphrt.runtime.executor import Executable


def tensor(label: str, *shape: int) -> Node:
    return input_node(label, TensorType(shape, float32))


def graph(kind: str) -> Graph:
    if kind == "product":
        x, y = tensor("x", 37, 50), tensor("y", 50, 70)
        return Graph((x, y), (build.relu(build.matmul(x, y)),), {}, kind)
    if kind == "weight_gradient":
        x, y = tensor("x", 64, 40), tensor("y", 64, 30)
        return Graph((x, y), (build.matmul(build.transpose(x), y),), {}, kind)
    x, y = tensor("x", 16, 3, 12, 12), tensor("y", 8, 3, 3, 3)
    if kind == "convolution":
        return Graph((x, y), (build.conv2d(x, y, padding=1),), {}, kind)
    dy = tensor("dy", 16, 8, 10, 10)
    return Graph((x, dy), (apply(Conv2dBackwardWeight((8, 3, 3, 3)), x, dy),), {}, kind)


KINDS = ("product", "weight_gradient", "convolution", "convolution_weight_gradient")


def outputs(kind: str, plans: plan_choice.PlanChoice, threads: int = 2) -> tuple[np.ndarray, list[str]]:
    """The result by these plans, and the names of the groups that asked for one."""
    asked: list[str] = []

    def noted(name, *rest):
        asked.append(name)
        return plans(name, *rest)

    step = compiler.lower(compiler.optimize(graph(kind)), threads=threads, plans=noted)
    random = np.random.default_rng(0)
    data = [random.standard_normal(b.type.shape).astype(np.float32) for _, b in step.positions("data")]
    return Executable(step, threads=threads)(*data)[0], asked


@pytest.mark.parametrize("kind", KINDS)
def test_every_candidate_is_right(kind: str) -> None:
    original = graph(kind)
    random = np.random.default_rng(0)
    values = {n.op.label: random.standard_normal(n.shape).astype(np.float32) for n in original.inputs}  # type: ignore[attr-defined]
    expected = run_reference(original, values)
    seen = set()
    for rank in range(0, 24, 3):
        chosen: dict = {}
        found, asked = outputs(kind, plan_choice.candidate(rank, chosen))
        assert asked and set(asked) == set(chosen)
        seen |= {(plan.vector, plan.tiles) for plan in chosen.values()}
        reason = difference({**values, "output 0": found}, expected, exact=False)
        assert reason is None, f"rank {rank}: {reason}"
    assert len(seen) >= 8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threads", [1, 2])
def test_short_plans_have_the_same_bits(kind: str, threads: int) -> None:
    usual, _ = outputs(kind, plan_choice.cheapest, threads)
    short, _ = outputs(kind, plan_choice.short, threads)
    assert usual.tobytes() == short.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_short_plans_have_less_code(kind: str) -> None:
    usual, short = (
        compiler.lower(compiler.optimize(graph(kind)), threads=1, plans=plans).text
        for plans in (plan_choice.cheapest, plan_choice.short)
    )
    assert len(short) < 0.85 * len(usual)


def test_the_ranking_begins_with_the_cheapest() -> None:
    checked = []

    def plans(name, spec, dependence, lanes):
        best = choose_plan(spec, dependence, lanes)
        ranked = ranked_plans(spec, dependence, lanes, 5)
        assert ranked[0] == best and len({(p.vector, p.tiles) for p in ranked}) == len(ranked) == 5
        assert [p.cost for p in ranked[1:]] == sorted(p.cost for p in ranked[1:])
        short = short_plan(spec, dependence, lanes, best)
        assert short.vector == best.vector
        checked.append(name)
        return best

    compiler.lower(compiler.optimize(graph("product")), threads=1, plans=plans)
    assert checked and target().lanes


def test_measured_plans_are_taken_by_name() -> None:
    chosen: dict = {}
    outputs("product", plan_choice.candidate(4, chosen))
    (name,) = chosen
    taken = []

    def plans(asked, *rest):
        taken.append(plan_choice.measured(chosen)(asked, *rest))
        return taken[-1]

    outputs("product", plans)
    assert taken[0] == chosen[name]
    assert plan_choice.measured({})("x", *_arguments()) == plan_choice.cheapest("x", *_arguments())


def _arguments() -> tuple:
    found: list[tuple] = []

    def plans(name, *rest):
        found.append(rest)
        return plan_choice.cheapest(name, *rest)

    outputs("product", plans)
    return found[0]
