"""The session's settings: engine, threads, mode, compatibility version, cache, and the global random seed.

In: `set_context(...)`, `set_seed(...)`. Out: `get_context(name)`, `get_seed()`, and for each consumer of randomness
(initialisers, dropout layers) its own stream from `next_stream()`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from .errors import ArgumentError

GRAPH_MODE = 0
PYNATIVE_MODE = 1

_DEFAULTS: dict[str, Any] = {
    "mode": PYNATIVE_MODE,
    "device_target": "CPU",
    "threads": None,
    "engine": "native",
    "compat": "2",
    "cache": True,
    "convolution": "direct",
}
_values: dict[str, Any] = dict(_DEFAULTS)

_ALLOWED: dict[str, tuple[Any, ...]] = {
    "mode": (GRAPH_MODE, PYNATIVE_MODE),
    "engine": ("native", "interpreter"),
    "compat": ("1.1", "2"),
    "cache": (True, False),
    "convolution": ("direct", "winograd"),
}
_COMPILATION = ("engine", "threads", "convolution")  # what compiled code depends on


class _Restore:
    """Returned by `set_context`: used in a `with` statement it puts the previous settings back at the end."""

    def __init__(self, previous: dict[str, Any]):
        self._previous = previous

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        _values.update(self._previous)

    def __repr__(self) -> str:  # a bare `set_context(...)` typed into a REPL shows what changed
        return f"<context set: {', '.join(f'{k}={_values[k]!r}' for k in self._previous)}>"


def set_context(**settings: Any) -> _Restore:
    """Change settings; with `with set_context(...):` only for the block.

    - `mode`: `PYNATIVE_MODE` (default: Cells run op by op unless decorated with `@graphrt.compile`) or `GRAPH_MODE`
      (every Cell called from outside another Cell is compiled).
    - `device_target`: "CPU".
    - `threads`: number of threads of native code; None takes the CPUs this process may use.
    - `engine`: "native", or "interpreter" (op by op in NumPy: the reference, for debugging).
    - `compat`: "2" (default) or "1.1": the initialisers of that release.
    - `cache`: True (default), or False: compile anew, neither reading nor writing the cache on disk.
    - `convolution`: "direct" (default), or "winograd": 3x3 convolutions with stride 1 and their gradients by Winograd's
      F(4x4, 3x3) in native code where that is faster. Results deviate two to three times as much from exact ones.

    Raises ArgumentError for an unknown setting or value.
    """
    for name, value in settings.items():
        if name not in _DEFAULTS:
            raise ArgumentError(
                "set_context: unknown setting",
                expected=", ".join(_DEFAULTS),
                given=repr(name),
                fix="remove it",
            )
        if name == "device_target" and value != "CPU":
            raise ArgumentError(
                "set_context: graphrt runs on CPUs only",
                expected='device_target="CPU"', given=f"device_target={value!r}", fix='write device_target="CPU"',
            )  # fmt: skip
        if name in _ALLOWED and value not in _ALLOWED[name]:
            raise ArgumentError(
                f"set_context: {name} has an unknown value",
                expected=" or ".join(map(repr, _ALLOWED[name])), given=repr(value),
            )  # fmt: skip
        if name == "threads" and value is not None and (type(value) is not int or value < 1):
            raise ArgumentError("set_context: threads must be a positive int or None", given=repr(value))
    previous = {name: _values[name] for name in settings}
    _values.update(settings)
    return _Restore(previous)


def get_context(name: str) -> Any:
    """The current value of one setting."""
    if name not in _values:
        raise ArgumentError("get_context: unknown setting", expected=", ".join(_DEFAULTS), given=repr(name))
    return _values[name]


def compilation_settings() -> dict[str, Any]:
    """The current values of the settings that compiled code depends on."""
    return {name: _values[name] for name in _COMPILATION}


def set_compat(version: str) -> _Restore:
    """Select the defaults of an earlier release ("1.1"); usable in a `with` statement."""
    return set_context(compat=version)


def set_device(device_target: str, device_id: int | None = None) -> None:
    """`set_context(device_target=...)`: "CPU" is the only one, and `device_id` has no meaning here."""
    set_context(device_target=device_target)


# ------------------------------------------------------------------------------------------------ randomness

_seed: int | None = None
_entropy: int = secrets.randbits(64)  # stands in for the seed until `set_seed` is called
_streams: int = 0
_generation: int = 0


def set_seed(seed: int) -> None:
    """Fix the global seed (an int >= 0) and start all random streams anew.

    Initialisers, dropout layers, random operations and dataset shuffling made afterwards repeat exactly.
    """
    global _seed, _streams, _generation
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or seed.__index__() < 0:
        raise ArgumentError("set_seed: the seed must be a non-negative int", given=repr(seed))
    _seed, _streams, _generation = seed.__index__(), 0, _generation + 1


def get_seed() -> int | None:
    """The global seed, or None if `set_seed` was never called."""
    return _seed


def seed_generation() -> int:
    """How often `set_seed` was called: whoever caches something drawn from the seed compares this."""
    return _generation


def next_stream() -> tuple[int, int]:
    """(seed, number) of a fresh random stream. Numbers count up from 0 after `set_seed`, so that the n-th consumer of
    a program always gets the same stream; without `set_seed` the seed differs from process to process."""
    global _streams
    _streams += 1
    return (_seed if _seed is not None else _entropy), _streams - 1


def random_state() -> dict[str, int | None]:
    """The seed and how many streams were taken from it, as plain numbers: part of what a checkpoint keeps."""
    return {"seed": _seed, "entropy": _entropy, "streams": _streams}


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Go on from a `random_state`. Unlike `set_seed` this starts nothing anew: streams in use stay as they
    are. `state`: what `random_state` returned."""
    global _seed, _entropy, _streams
    _seed, _entropy, _streams = state["seed"], state["entropy"], state["streams"]
