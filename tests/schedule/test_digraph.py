"""The graph of groups against networkx."""

import networkx
from hypothesis import given
from hypothesis import strategies as st

from graphrt.schedule.digraph import Digraph

COUNT = 7
edges = st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)), max_size=20)


def both(pairs):
    ours, theirs = Digraph(range(COUNT)), networkx.DiGraph()
    theirs.add_nodes_from(range(COUNT))
    for before, after in pairs:
        if before != after:
            ours.connect(before, after)
            theirs.add_edge(before, after)
    return ours, theirs


def same(ours, theirs):
    return list(ours) == list(theirs) and all(
        (set(ours.after(n)), set(ours.before(n))) == (set(theirs.successors(n)), set(theirs.predecessors(n)))
        for n in theirs
    )


@given(edges, st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)), max_size=4))
def test_merging_nodes(pairs, merges):
    ours, theirs = both(pairs)
    copy = ours.copy()
    for node, other in merges:
        if node != other and node in theirs and other in theirs:
            ours.merge(node, other)
            theirs = networkx.contracted_nodes(theirs, node, other, self_loops=False)
            assert same(ours, theirs)
    assert same(copy, both(pairs)[1])


@given(edges, st.integers(0, COUNT - 1), st.integers(0, COUNT - 1))
def test_ways(pairs, start, end):
    ours, theirs = both(pairs)
    assert ours.reaches(start, end) == networkx.has_path(theirs, start, end)
    if start != end:
        if theirs.has_edge(start, end):
            theirs.remove_edge(start, end)
        assert ours.reaches(start, end, indirectly=True) == networkx.has_path(theirs, start, end)


def test_neighbours_come_in_the_order_of_their_edges():
    ours, _ = both([(0, 5), (0, 2), (4, 5), (0, 3), (0, 2)])
    assert ours.after(0) == [5, 2, 3] and ours.before(5) == [0, 4]
