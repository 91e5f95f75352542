"""Operations. `graphrt.ops.relu(tensor)` and all other user functions come from the front end, when first used.

The op classes live in this folder's modules; `ops/build.py` makes nodes of them. Importing `graphrt.ops.build` loads
no front end.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .functional import *  # noqa: F403

_ALIAS_MODULES = (
    "operations",
    "composite",
    "functional",
)  # modules users also reach as attributes of graphrt.ops
# the functions layers are made of; all functions; and graphrt.ops.ReLU() is graphrt.ops.operations.ReLU()
_HOMES = ("..frontend.functional", ".functional", ".composite", ".operations")


def _homes() -> Iterator[Any]:
    """The modules that hold the public names, each imported when the ones before do not have a name."""
    for home in _HOMES:
        yield importlib.import_module(home, __name__)


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _ALIAS_MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if importlib.util.find_spec(f"{__name__}.{name}") is not None:  # op modules are imported the ordinary way
        raise AttributeError(f"module {__name__!r} has not imported its submodule {name!r}")
    for module in _homes():
        if name in module.__all__:
            value = globals()[name] = getattr(module, name)  # found without this function next time
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *(name for module in _homes() for name in module.__all__)})
