"""`build` for the op modules: loaded at the first use, because build functions are made of op classes.

In: nothing. Out: an object whose attributes are those of `graphrt.ops.build`. Gradient rules and expansions
use it, so that op modules import nothing above themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import build
else:

    class _Build:
        def __getattr__(self, name: str) -> Any:
            function = getattr(import_module("graphrt.ops.build"), name)
            setattr(self, name, function)
            return function

    build = _Build()

__all__ = ["build"]
