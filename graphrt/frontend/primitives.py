"""Operations as objects, for `graphrt.ops.operations`: settings at construction, Tensors at the call.

In: the name of a function of `graphrt.ops` and the settings its class takes. Out: a class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ArgumentError
from .location import user_source


class Primitive:
    """An operation with its settings; calling it applies the function of `graphrt.ops` it stands for."""

    def __init__(self, **settings: Any):
        self.settings = settings

    @property
    def name(self) -> str:
        """The name of the operation."""
        return type(self).__name__

    def __call__(self, *args: Any) -> Any:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.settings.items())})"


def define(
    name: str, function: Callable[..., Any], settings: Mapping[str, Any] | None = None, doc: str | None = None
) -> type[Primitive]:
    """A Primitive class: `settings` maps constructor arguments to defaults; they go to `function` by name."""
    defaults = dict(settings or {})
    names = list(defaults)

    def __init__(self: Primitive, *args: Any, **kwargs: Any) -> None:
        unknown = set(kwargs) - set(names)
        if len(args) > len(names) or unknown:
            raise ArgumentError(
                f"{name}: unknown settings", at=user_source(), expected=f"{name}({', '.join(names)})",
                given=", ".join(sorted(unknown)) or f"{len(args)} arguments",
                fix=f"the Tensors go to the second call: {name}({', '.join(names)})(x)",
            )  # fmt: skip
        Primitive.__init__(self, **{**defaults, **dict(zip(names, args)), **kwargs})

    def __call__(self: Primitive, *args: Any) -> Any:
        return function(*args, **self.settings)

    attributes: dict[str, Any] = {"__init__": __init__, "__call__": __call__, "__module__": __name__}
    attributes["__doc__"] = doc or function.__doc__
    return type(name, (Primitive,), attributes)
