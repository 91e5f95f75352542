"""The random keys inside a dataset's pipeline.

In: a pipeline. Out: the Parameters its transforms draw from; a training run saves and restores them.
"""

from __future__ import annotations

from typing import Any

from ..dataset.pipeline import Dataset
from ..dataset.transform import Transform
from ..frontend.parameter import Parameter

_STAGES = f"{__name__.partition('.')[0]}.dataset."
_DATA = 1000  # items of a list from which on it holds data, not stages or transforms


def dataset_parameters(dataset: Any) -> list[Parameter]:
    """The random keys of a pipeline's transforms, from the source on, each once."""
    found: dict[int, Parameter] = {}
    visited: set[int] = set()

    def visit(value: Any) -> None:
        if isinstance(value, Parameter):
            found.setdefault(id(value), value)
        elif isinstance(value, (list, tuple)) and len(value) < _DATA:
            for item in value:
                visit(item)
        elif isinstance(value, (Dataset, Transform)) or type(value).__module__.startswith(_STAGES):
            if id(value) in visited:
                return
            visited.add(id(value))
            for name, item in vars(value).items() if hasattr(value, "__dict__") else ():
                if name != "_prepared":  # made from the rest when first used
                    visit(item)

    visit(dataset)
    return list(found.values())
