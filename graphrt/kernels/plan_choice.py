"""How the plan of a contraction is chosen among those that are possible.

In: the name of the contraction's group, and what `choose_plan` takes. Out: a `Plan`.

Whatever is chosen, all kernels of a program are built the same way: the cost model's best plan (`cheapest`), one for
steps that run rarely (`short`), the candidates of a search (`candidate`), or what a search has found (`measured`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..ops.base import Contraction
from .contraction_plan import Dependence, Plan, choose_plan, ranked_plans, short_plan

PlanChoice = Callable[[str, Contraction, Dependence, int], Plan]


def cheapest(name: str, spec: Contraction, dependence: Dependence, lanes: int) -> Plan:
    """The plan the cost model thinks best."""
    return choose_plan(spec, dependence, lanes)


def short(name: str, spec: Contraction, dependence: Dependence, lanes: int) -> Plan:
    """A plan with the sums of the cheapest, in the same order, and a fraction of its code."""
    return short_plan(spec, dependence, lanes, choose_plan(spec, dependence, lanes))


def candidate(rank: int, chosen: dict[str, Plan]) -> PlanChoice:
    """The plan in place `rank` of the cost model's ranking (the last one there is), noted in `chosen` by name."""

    def choice(name: str, spec: Contraction, dependence: Dependence, lanes: int) -> Plan:
        ranked = ranked_plans(spec, dependence, lanes, rank + 1)
        chosen[name] = ranked[min(rank, len(ranked) - 1)]
        return chosen[name]

    return choice


def measured(plans: Mapping[str, Plan]) -> PlanChoice:
    """The plan in `plans`, or the cheapest for names it does not have."""

    def choice(name: str, spec: Contraction, dependence: Dependence, lanes: int) -> Plan:
        return plans.get(name) or choose_plan(spec, dependence, lanes)

    return choice
