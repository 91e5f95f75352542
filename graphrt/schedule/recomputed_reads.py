"""Large tensors that a kernel need not read, because it reads what they were computed from anyway.

In: groups that have joined as far as they do. Out: the same groups, some of which compute such a tensor's elements again.
Of a normalized activation y = max(a * x + b, 0) the backward pass wants the sign, and the sums of its gradient want x: with
x in a register three operations give y, which would cost a pass through memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..ir import Node
from ..loops.index import Index
from ..ops.views import Constant
from .compose import ReadRecorder, scalar_constant
from .costs import CACHED_BYTES, STREAMED_LIMIT, element_cost, is_plain
from .group import Group

IsStored = Callable[[Node], bool]


def recompute_reads(groups: Iterable[Group], kept: set[Node], is_stored: IsStored) -> None:
    """Makes stored nodes members of groups that can compute them from their other reads. `kept`: nodes that are only ever
    computed in one place."""
    for group in groups:
        for node in list(group.reads):
            leaves = _leaves(group, node, is_stored) if node not in kept else None
            if leaves is not None:
                del group.reads[node]
                group.members.add(node)
                for leaf, indices in leaves.items():
                    if leaf not in group.members:
                        group.reads.setdefault(leaf, []).extend(indices)


def _leaves(group: Group, node: Node, is_stored: IsStored) -> dict[Node, list[tuple[Index, ...]]] | None:
    """Where the group would read what `node` is computed from; None if that is no gain, or too much work."""
    if node.is_input or isinstance(node.op, Constant) or not is_plain(node):
        return None
    if node in group.members or node in group.anchor_reads:
        return None
    if node.type.bytes <= CACHED_BYTES or not _at_own_point(group, node, group.reads[node]):
        return None
    if _work(node, lambda n: n is not node and is_stored(n)) > STREAMED_LIMIT:
        return None
    recorder = ReadRecorder(lambda n: n is not node and is_stored(n))
    recorder.value(node, group.identity)
    for leaf, indices in recorder.reads.items():
        known = leaf in group.reads or leaf in group.members
        if leaf.type.bytes > CACHED_BYTES and not (known and _at_own_point(group, leaf, indices)):
            return None
    return recorder.reads


def _at_own_point(group: Group, node: Node, indices: Sequence[tuple[Index, ...]]) -> bool:
    return node.shape == group.domain and all(at == group.identity for at in indices)


def _work(node: Node, is_stored: IsStored) -> float:
    """Work of one element of `node`, down to what is stored."""
    total, stack, seen = 0.0, [node], set()
    while stack:
        found = stack.pop()
        if found not in seen and not is_stored(found) and scalar_constant(found) is None:
            seen.add(found)
            total += element_cost(found)
            stack += found.inputs
    return total
