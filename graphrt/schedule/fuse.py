"""Which nodes share a kernel.

In: an optimized graph of primitive ops. Out: `Group`s in execution order: each computes one anchor (a contraction, a
reduction, a scatter, or nothing for pure elementwise work) and stores one or more results over a common index space.

Three decisions, in this order:
1. `storage.py`: what lives in memory. Everything else is recomputed inside its readers.
2. merging: a group whose expression reads another group's result only at the same index joins it (epilogues,
   optimizer updates, several outputs of one sweep; `joining.py`), unless that would make a cycle. Max-pool joins the
   convolution whose result nobody else reads (`window_epilogues.py`): then only one value per window is stored. Sums
   of large tensors join the group that computes their terms (`partial_sums.py`).
3. order: producers first, readers of a state before the group that overwrites it (`dependencies.py`, `order.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..ir import Graph, Node
from ..ops import views
from .dependencies import Dependencies
from .group import Group, domain_vars, single_group
from .joining import are_siblings, is_epilogue
from .layout import Layout
from .partial_sums import may_take_sum
from .recomputed_reads import recompute_reads
from .storage import stored_nodes
from .window_epilogues import is_window_epilogue


def fuse(
    graph: Graph,
    forced: Iterable[Node] = (),
    layouts: Mapping[Node, Layout] | None = None,
    virtual: Iterable[Node] = (),
) -> list[Group]:
    """The groups of `graph` in execution order.

    `forced` nodes are stored whatever their cost, `virtual` ones never; groups only merge when their results share one
    layout (margins apart).
    """
    stored = stored_nodes(graph, forced, virtual)
    layouts = layouts or {}

    def is_stored(node: Node) -> bool:
        return node in stored or node.is_input

    groups = [
        single_group(node, layouts.get(node), is_stored)
        for node in graph.nodes()
        if node in stored and not isinstance(node.op, views.Constant)
    ]
    dependencies = Dependencies(graph, groups, is_stored)
    roots = set(graph.roots)
    _merge_epilogues(dependencies, roots)
    _merge_siblings(dependencies)
    _merge_sums(dependencies, is_stored)
    recompute_reads(dependencies.groups, roots, is_stored)
    ordered = dependencies.order()
    for number, group in enumerate(ordered):
        kept = [n for n in group.stores if n in roots or dependencies.readers(n) - {group}]
        group.stores = kept or group.stores  # a member read only inside its group stays in registers
        group.name = f"k{number}_{group.lead.op.name}"
    return ordered


def _merge_epilogues(dependencies: Dependencies, roots: set[Node]) -> None:
    """A later elementwise group that reads a group's result at its own index joins that group, and so does a search
    of windows through a contraction's result."""
    for group in dependencies.groups:
        while group.stores and _merge_one_epilogue(group, dependencies, roots):
            pass


def _merge_one_epilogue(group: Group, dependencies: Dependencies, roots: set[Node]) -> bool:
    """Let the first group that may follow `group` join it; False if there is none."""

    def readers(node: Node) -> set[Group | None]:
        return {*dependencies.readers(node), *([None] if node in roots else [])}

    consumers = dependencies.consumers(group)
    for consumer in consumers:
        through_windows = is_window_epilogue(group, consumer, readers)
        if not through_windows and not is_epilogue(group, consumer, sole_reader=len(consumers) == 1):
            continue
        if dependencies.path_avoiding_edge(group, consumer):
            continue
        if through_windows and group.window is None:
            group.domain, group.identity = consumer.domain, domain_vars(consumer.domain)
            group.window = consumer.stores[0].op.window  # type: ignore[attr-defined]
        elif not through_windows and consumer.domain == group.domain:
            group.layout = consumer.layout
        dependencies.join(group, consumer)
        return True
    return False


def _merge_sums(dependencies: Dependencies, is_stored: Callable[[Node], bool]) -> None:
    """A sum of values that a group has in registers is taken there."""
    for group in dependencies.groups:
        if group.stores:
            for consumer in dependencies.consumers(group):
                if not dependencies.path_avoiding_edge(group, consumer) and may_take_sum(
                    group, consumer, is_stored
                ):
                    dependencies.join(group, consumer)


def _merge_siblings(dependencies: Dependencies) -> None:
    """Elementwise groups over one index space that read a common buffer become one sweep."""
    by_domain: dict[tuple[int, ...], list[Group]] = {}
    for group in dependencies.groups:
        if group.stores and group.anchor is None:
            by_domain.setdefault(group.domain, []).append(group)
    for siblings in by_domain.values():
        for k, first in enumerate(siblings):
            if not first.stores:
                continue
            for second in siblings[k + 1 :]:
                if (
                    second.stores
                    and are_siblings(first, second)
                    and not dependencies.connected(first, second)
                ):
                    dependencies.join(first, second)
