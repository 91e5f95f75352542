"""Keys of random operations inside networks.

In: the global seed. Out: uint32[2] Parameters (stream, step): every use takes the present value and adds one to the
step, eagerly at once and inside a trace as an update, so that compiled steps draw anew each time.
"""

from __future__ import annotations

import numpy as np

from ..context import next_stream, seed_generation
from .parameter import Parameter, assign
from .tensor import Tensor

_default: tuple[int, Parameter] | None = (
    None  # (seed generation, key) of random functions that are given no key
)


def new_key() -> np.ndarray:
    """A fresh key (stream, 0) from the next random stream."""
    stream = np.random.SeedSequence(next_stream()).generate_state(1, np.uint32)[0]
    return np.array([stream, 0], np.uint32)


def advance(key: Parameter) -> Tensor:
    """The key's value for this use; the next use gets another one."""
    value = key.value()
    assign(key, value + np.array([0, 1], np.uint32))
    return value


def default_key() -> Parameter:
    """The key shared by random functions called without one; started anew by `set_seed`."""
    global _default
    if _default is None or _default[0] != seed_generation():
        _default = (seed_generation(), Parameter(new_key(), name="random_key", requires_grad=False))
    return _default[1]


def default_key_if_made() -> Parameter | None:
    """The key of `default_key`, or None if no random function has needed it since `set_seed`."""
    return _default[1] if _default is not None and _default[0] == seed_generation() else None
