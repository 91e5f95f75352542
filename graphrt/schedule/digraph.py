"""A directed graph small enough to be loaded at once: importing a library for it takes longer than scheduling a network.

In: nodes and edges. Out: neighbours in the order in which the edges came, and whether there is a way from one to another.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, TypeVar

N = TypeVar("N", bound=Hashable)


class Digraph(Generic[N]):
    """Nodes and the edges between them, at most one in each direction."""

    def __init__(self, nodes: Iterable[N] = ()):
        self._after: dict[N, dict[N, None]] = {
            node: {} for node in nodes
        }  # dicts: sets that keep their order
        self._before: dict[N, dict[N, None]] = {node: {} for node in self._after}

    def __iter__(self) -> Iterator[N]:
        return iter(self._after)

    def copy(self) -> Digraph[N]:
        """Another graph with the same nodes and edges."""
        other: Digraph[N] = Digraph()
        other._after = {node: dict(found) for node, found in self._after.items()}
        other._before = {node: dict(found) for node, found in self._before.items()}
        return other

    def connect(self, before: N, after: N) -> None:
        """An edge between two nodes of the graph."""
        self._after[before][after] = None
        self._before[after][before] = None

    def after(self, node: N) -> list[N]:
        """Where the edges from `node` lead."""
        return list(self._after[node])

    def before(self, node: N) -> list[N]:
        """Where the edges to `node` come from."""
        return list(self._before[node])

    def merge(self, node: N, other: N) -> None:
        """`node` takes over the edges of `other`, which leaves the graph. Edges between the two disappear."""
        for before in self._before.pop(other):
            del self._after[before][other]
            if before != node:
                self.connect(before, node)
        for after in self._after.pop(other):
            del self._before[after][other]
            if after != node:
                self.connect(node, after)

    def reaches(self, start: N, end: N, indirectly: bool = False) -> bool:
        """Whether there is a way along edges from `start` to `end`; `indirectly`: one through other nodes."""
        stack, seen = [start], set[N]()
        if indirectly:
            stack, seen = [node for node in self._after[start] if node != end], {start}
        while stack:
            node = stack.pop()
            if node == end:
                return True
            if node not in seen:
                seen.add(node)
                stack.extend(self._after[node])
        return False
