"""In which order groups run. In: what each depends on. Out: all of them, dependencies first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .group import Group


def eager_order(
    before: Mapping[Group, list[Group]], eager: Iterable[Group], position: Mapping[Group, int]
) -> list[Group]:
    """The `eager` groups as soon as what they need is there, each of the others just before it is first needed.

    "As soon as": by how many groups a group depends on, then by `position`.
    """
    sizes = _ancestor_counts(before)
    placed: dict[Group, None] = {}  # in order
    for wanted in sorted(eager, key=lambda g: (sizes[g], position[g])):
        stack = [wanted]
        while stack:
            group = stack[-1]
            missing = next((g for g in before[group] if g not in placed), None)
            if missing is not None:
                stack.append(missing)
                continue
            placed.setdefault(stack.pop())
    return list(placed)


def _ancestor_counts(before: Mapping[Group, list[Group]]) -> dict[Group, int]:
    """How many groups each group depends on, itself included."""
    bit = {group: 1 << k for k, group in enumerate(before)}
    found: dict[Group, int] = {}
    for start in before:
        stack = [start]
        while stack:
            group = stack[-1]
            missing = [g for g in before[group] if g not in found]
            if missing:
                stack += missing
                continue
            stack.pop()
            found[group] = bit[group]
            for g in before[group]:
                found[group] |= found[g]
    return {group: mask.bit_count() for group, mask in found.items()}
