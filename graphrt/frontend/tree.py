"""Nested arguments and results: tuples, lists and dicts with leaves.

In: a nested value. Out: its leaves in order and a structure that puts other leaves in their places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Slot:
    """Stands for leaf number `position` in a structure."""

    position: int


def flatten(value: Any, is_leaf: Callable[[Any], bool]) -> tuple[list[Any], Any]:
    """The leaves of `value` for which `is_leaf` holds, and the structure: the same nesting with Slots in their place.

    Whatever is neither a leaf nor a tuple, list or dict stays in the structure as it is.
    """
    leaves: list[Any] = []

    def visit(item: Any) -> Any:
        if is_leaf(item):
            leaves.append(item)
            return Slot(len(leaves) - 1)
        return map_children(visit, item)

    return leaves, visit(value)


def unflatten(structure: Any, leaves: Sequence[Any]) -> Any:
    """The structure with its Slots replaced by `leaves`."""
    if isinstance(structure, Slot):
        return leaves[structure.position]
    return map_children(lambda item: unflatten(item, leaves), structure)


def map_children(function: Callable[[Any], Any], value: Any) -> Any:
    """`value` with `function` applied to its direct children; the value itself if it has none."""
    if isinstance(value, tuple):
        children = [function(v) for v in value]
        return type(value)(*children) if hasattr(value, "_fields") else tuple(children)
    if isinstance(value, list):
        return [function(v) for v in value]
    if isinstance(value, dict):
        return {k: function(v) for k, v in value.items()}
    return value


def leaf_names(name: str, value: Any, is_leaf: Callable[[Any], bool]) -> list[str]:
    """A name per leaf of `value`: "x" for a leaf, "x.0", "x.key" below containers; in the order of `flatten`."""
    if is_leaf(value):
        return [name]
    if isinstance(value, (tuple, list)):
        children = list(enumerate(value))
    elif isinstance(value, dict):
        children = list(value.items())
    else:
        return []
    return [n for key, child in children for n in leaf_names(f"{name}.{key}", child, is_leaf)]
