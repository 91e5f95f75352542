"""Which group needs which, while groups join one another and until they are in order.

In: a graph, its stored nodes, one group for each. Out: the groups left, each behind those it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir import Graph, Node
from .digraph import Digraph
from .group import Group
from .order import eager_order


class Dependencies:
    """The graph of groups: an edge from each group to every group that reads a result of it.

    `owner`: the group that computes a stored node."""

    def __init__(self, graph: Graph, groups: Sequence[Group], is_stored: Callable[[Node], bool]):
        self.groups = list(groups)
        self.owner = {node: group for group in groups for node in group.members}
        self._graph = graph
        self._users = graph.users()
        self._is_stored = is_stored
        self._position = {group: k for k, group in enumerate(groups)}
        self._edges = Digraph(groups)
        for group in groups:
            for node in group.operands:
                if node in self.owner:
                    self._edges.connect(self.owner[node], group)

    def consumers(self, group: Group) -> list[Group]:
        """The groups that read a result of `group`, in the order of the program."""
        return sorted(self._edges.after(group), key=self._position.__getitem__)

    def readers(self, node: Node) -> set[Group]:
        """The groups that read a node, directly or through what is composed inside them."""
        found: set[Group] = set()
        stack: list[Node] = list(self._users[node])
        seen: set[Node] = set()
        while stack:
            user = stack.pop()
            if user in seen:
                continue
            seen.add(user)
            if user in self.owner:
                found.add(self.owner[user])
            elif not self._is_stored(user):
                stack.extend(self._users[user])
        return found

    def path_avoiding_edge(self, start: Group, end: Group) -> bool:
        """Is there a way from start to end other than the direct edge?"""
        return self._edges.reaches(start, end, indirectly=True)

    def connected(self, a: Group, b: Group) -> bool:
        """Whether one of the two needs the other, directly or not."""
        return self._edges.reaches(a, b) or self._edges.reaches(b, a)

    def join(self, group: Group, other: Group) -> None:
        """`group` takes over everything `other` computes; `other` is left out from here on."""
        for node in other.members:
            self.owner[node] = group
        group.absorb(other)
        self._edges.merge(group, other)

    def order(self) -> list[Group]:
        """Producers first, readers of a state before its in-place update, every contraction and reduction as soon as
        what it needs is there, and elementwise work when it is first needed.

        A weight gradient then runs while the activation gradients it reads are still in cache, and their memory is
        free again soon; a copy is made just before it is read. "As soon as": by how many groups a group depends on.
        """
        work = self._with_updates_last()
        before = {g: sorted(work.before(g), key=self._position.__getitem__) for g in work}
        eager = [g for g in work if g.anchor is not None or not work.after(g)]
        return eager_order(before, eager, self._position)

    def _with_updates_last(self) -> Digraph[Group]:
        """The edges, and one from every reader of a state to the group that overwrites it where that makes no cycle."""
        work = self._edges.copy()
        readers: dict[Node, set[Group]] = {}
        for group in work:
            for node in group.operands:
                if node.is_state:
                    readers.setdefault(node, set()).add(group)
        for state, value in self._graph.updates.items():
            writer = self.owner.get(value)
            if writer is None:
                continue
            for reader in sorted(readers.get(state, ()), key=self._position.__getitem__):
                if reader is not writer and not work.reaches(writer, reader):
                    work.connect(reader, writer)
        return work
