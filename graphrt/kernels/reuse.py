"""Groups that compute the same thing from other tensors share one kernel: the layers of a deep network differ in
nothing else.

In: a group and the slots of its program. Out: its kernel, built anew or taken from a structurally equal group before it,
and the slots of the kernel's buffers.

Two groups are equal when their expressions are, node by node down to the stored tensors they read, and when these have
equal types and layouts, are known to be zero at the same places, and the same ones among them share memory.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ..ir import Node
from ..loops import ir
from ..schedule.bands import value_band
from ..schedule.compose import scalar_constant
from ..schedule.group import Group
from ..schedule.plan import Slot
from .build import build_kernel, split_kernel
from .plan_choice import PlanChoice, cheapest
from .space import Slots

# What the key says of a group in its own way; any other field becomes part of the key as it is.
EXPRESSED = {"anchor", "stores", "domain", "members", "reads", "anchor_reads", "identity", "layout", "name"}


class KernelTable:
    """The kernels of one program, each built once."""

    def __init__(
        self, slots: Slots, lanes: int, threads: int, reuse: bool = True, plans: PlanChoice = cheapest
    ):
        """`reuse`: whether equal groups share a kernel; otherwise each has one with its own name. `plans`: see
        `build_kernel`."""
        self._slots, self._lanes, self._threads = slots, lanes, threads
        self._reuse, self._plans = reuse, plans
        self._known: dict[Any, tuple[ir.Kernel, list[int]] | None] = {}

    def kernel(self, group: Group) -> tuple[ir.Kernel, list[Slot]]:
        """What `build_kernel` gives; the kernel may carry the name and labels of the first group like this one."""
        built = self._reused(group, None)
        assert built is not None
        return built

    def split_kernel(self, group: Group, split: int) -> tuple[ir.Kernel, list[Slot]] | None:
        """What `split_kernel` gives for the same threads, reused alike."""
        return self._reused(group, split)

    def _reused(self, group: Group, split: int | None) -> tuple[ir.Kernel, list[Slot]] | None:
        structure, used = _structure(group, self._slots)
        key = structure, split, None if self._reuse else group
        if key not in self._known:
            places = self._slots, self._lanes, self._threads
            built: tuple[ir.Kernel, list[Slot]] | None
            if split is None:
                built = build_kernel(group, *places, self._plans)
            else:
                built = split_kernel(group, *places, split, self._plans)
            number = {id(slot): k for k, slot in enumerate(used)}
            self._known[key] = built and (built[0], [number[id(slot)] for slot in built[1]])
            return built
        found = self._known[key]
        return found and (found[0], [used[k] for k in found[1]])


def _structure(group: Group, slots: Slots) -> tuple[Any, list[Slot]]:
    """A key equal for groups with equal kernels, and the slots of the group in the order in which the key names them."""
    rows: list[tuple] = []
    row_of: dict[Node, int] = {}
    used: list[Slot] = []
    number_of: dict[int, int] = {}

    def slot_number(node: Node) -> tuple:
        slot = slots[node]
        if id(slot) not in number_of:
            number_of[id(slot)] = len(used)
            used.append(slot)
        return number_of[id(slot)], slot.layout

    def is_read(node: Node) -> bool:
        return node in slots and node not in group.members

    stack = [*group.stores, *([group.anchor] if group.anchor is not None else [])]
    while stack:
        node = stack[-1]
        if node in row_of:
            stack.pop()
            continue
        number = scalar_constant(node)
        operands = () if is_read(node) or number is not None else node.inputs
        missing = [operand for operand in operands if operand not in row_of]
        if missing:
            stack += missing
            continue
        stack.pop()
        row_of[node] = len(rows)
        if number is not None:
            rows.append(("number", repr(number), node.type))
        elif is_read(node):
            rows.append(("read", slot_number(node), node.type))
        else:
            inner = tuple(row_of[operand] for operand in operands)
            rows.append((node.op, node.type, node in group.members, inner))
    results = tuple((row_of[node], slot_number(node)) for node in group.stores)
    anchor = row_of[group.anchor] if group.anchor is not None else None
    own = slot_number(group.anchor) if group.anchor is not None and group.anchor in slots else None
    others = tuple(getattr(group, f.name) for f in fields(group) if f.name not in EXPRESSED)
    touched = [*group.stores, *(group.anchor.inputs if group.anchor is not None else ())]
    bands = tuple(value_band(node) for node in touched)
    return (group.domain, anchor, own, results, bands, others, tuple(rows)), used
