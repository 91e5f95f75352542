"""`graphrt.common`: initializers, and the vocabulary modules users import from here."""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {
    "Tensor": "..frontend.tensor",
    "Parameter": "..frontend.parameter",
    "ParameterTuple": "..frontend.parameter",
}
_NAMES |= {"set_seed": "..context", "get_seed": "..context"}
_MODULES = {"dtype": ".dtype", "initializer": ".initializer"}
__all__ = ["Parameter", "ParameterTuple", "Tensor", "dtype", "get_seed", "initializer", "set_seed"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name], __name__)
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
