"""Which tensors keep samples in vector lanes, and the arithmetic of layouts."""

from __future__ import annotations

import itertools

import pytest

from graphrt.loops.index import iterate
from graphrt.schedule.layout import Layout, lanes_of, row_major
from graphrt.schedule.plan import Schedule

from .networks import LANES, dense_step, lenet_step, scheduled


def images(planned: Schedule, batch: int) -> list[Layout]:
    """Layouts of the temporaries with four axes, one of them the samples."""
    return [
        slot.layout
        for node, slot in planned.slots.items()
        if slot.kind == "arena" and len(node.shape) == 4 and node.shape[0] == batch
    ]


@pytest.mark.parametrize("batch", [32, 37, 16, 64])
def test_samples_lie_in_lanes_for_whole_batches(batch: int) -> None:
    found = images(scheduled(lenet_step(batch)), batch)
    assert len(found) >= 8
    assert all(layout == lanes_of(4, 0, LANES) for layout in found)


@pytest.mark.parametrize("batch", range(1, 8))
def test_small_batches_stay_row_major(batch: int) -> None:
    found = images(scheduled(lenet_step(batch)), batch)
    assert len(found) >= 8
    assert not any(layout.lane_axis == 0 for layout in found)


@pytest.mark.parametrize("batch", [1, 5, 32, 37])
def test_the_callers_memory_is_row_major(batch: int) -> None:
    for graph in (lenet_step(batch), dense_step(batch)):
        planned = scheduled(graph)
        for slot in planned.slots.values():
            assert slot.kind == "arena" or slot.layout.is_row_major
        for state, value in planned.graph.updates.items():
            assert planned.slots[value] is planned.slots[state]


def test_results_of_one_kernel_share_a_layout() -> None:
    planned = scheduled(lenet_step(37))
    for group in planned.groups:
        layouts = {planned.slots[n].layout for n in group.stores if planned.slots[n].kind == "arena"}
        assert len(layouts) <= 1, group.name


# ---- addresses -------------------------------------------------------------------------------------------------


def addresses(layout: Layout, shape: tuple[int, ...]) -> list[int]:
    found = [layout.address(shape, at) for at in iterate(shape)]
    assert all(index.is_constant for index in found)
    return [index.constant for index in found]


LAYOUTS = [
    (shape, layout)
    for shape in [(5,), (16,), (17, 3), (3, 33), (4, 1, 7), (1, 1), (2, 17, 3, 2)]
    for layout in [
        *(Layout(order) for order in itertools.permutations(range(len(shape)))),
        *(lanes_of(len(shape), axis, lanes) for axis in range(len(shape)) for lanes in (8, 16)),
    ]
]


@pytest.mark.parametrize(("shape", "layout"), LAYOUTS, ids=str)
def test_every_element_has_a_place_of_its_own(shape: tuple[int, ...], layout: Layout) -> None:
    found = addresses(layout, shape)
    assert len(set(found)) == len(found)
    assert min(found) >= 0 and max(found) < layout.elements(shape)


def test_row_major_is_the_order_of_numpy() -> None:
    assert addresses(row_major(3), (2, 3, 4)) == list(range(24))
    assert row_major(3).elements((2, 3, 4)) == 24


def test_lanes_lie_side_by_side() -> None:
    layout = lanes_of(2, 0, 16)
    assert layout.elements((17, 3)) == 2 * 3 * 16
    assert [layout.address((17, 3), (k, 1)).constant for k in range(17)] == [*range(16, 32), 64]
    assert str(layout) == "[0/16,1|16]"


@pytest.mark.parametrize("layout", [row_major(2), lanes_of(2, 0, 16)], ids=str)
def test_reshapes_that_move_nothing(layout: Layout) -> None:
    """A tensor seen through another shape: the address of the element with the same row-major position."""
    shape, seen = (17, 12), (17, 3, 4)
    for row, column in iterate(shape):
        through = layout.address_as(shape, seen, (row, column // 4, column % 4))
        assert through is not None
        assert through.constant == layout.address(shape, (row, column)).constant


def test_reshapes_that_move_something() -> None:
    assert lanes_of(2, 0, 16).address_as((16, 12), (12, 16), (0, 0)) is None
    assert Layout((1, 0)).address_as((4, 6), (24,), (0,)) is None
