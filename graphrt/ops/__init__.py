"""Operations. `graphrt.ops.relu(tensor)` and all other user functions come from the front end, when first used.

Tensors, Parameters, NumPy arrays and numbers can be mixed; shapes broadcast as in NumPy, and numbers take the element type
of the tensors. Arguments that mean the same everywhere:

- `axis`, `axes`, `dim`: ints from the front or, negative, from the end; where several are allowed, None or () means all.
- `keepdims`, `keep_dims`, `keepdim`: whether reduced axes stay, with extent 1. `ddof`: what is subtracted from the count of
  elements before dividing by it.
- `shape`, `size`: an int or several; `dtype`: the element type of the result, `graphrt.float32` or its name.
- `key`: uint32[2], the state of random functions; without one the stream that `graphrt.set_seed` starts.
- `kernel_size`, `stride`, `padding`, `dilation`: an int, or one per axis of the image.
- `reduction`: what a loss returns: "mean", "sum", or "none" for the loss of each sample. `label_smoothing`: the part of the
  probability that is spread over all classes. `ignore_index`: the label of samples that do not count.
- `eps`, `epsilon`: a small number that keeps divisions away from zero.

Errors are ShapeError, DTypeError or ArgumentError of `graphrt.errors`, with the line of the call, what was expected and
what was given.

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
