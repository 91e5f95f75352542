"""`dataset.config`: settings shared by all pipelines.

In: `set_...` of the user. Out: defaults of arguments, and how long a silent source is waited for.
"""

from __future__ import annotations

from ..context import get_seed, set_seed
from ..errors import ArgumentError
from ..frontend.location import user_source

_workers = 1
_warn_after = 10.0


def set_num_parallel_workers(num: int) -> None:
    """The number of workers of `map`, `batch` and sources that are given none; 1 (the default) means no extra ones."""
    global _workers
    if type(num) is not int or num < 1:
        raise ArgumentError(
            "config: num_parallel_workers must be a positive int", at=user_source(), given=repr(num)
        )
    _workers = num


def get_num_parallel_workers() -> int:
    """The number of workers where none is given."""
    return _workers


def set_multiprocessing_timeout_interval(interval: float) -> None:
    """Seconds after which a wait for data is reported by a DataWarning (default 10)."""
    global _warn_after
    if isinstance(interval, bool) or not isinstance(interval, (int, float)) or not interval > 0:
        raise ArgumentError(
            "config: the interval must be a positive number of seconds",
            at=user_source(),
            given=repr(interval),
        )
    _warn_after = float(interval)


def get_multiprocessing_timeout_interval() -> float:
    """Seconds after which a wait for data is reported."""
    return _warn_after


__all__ = [
    "get_multiprocessing_timeout_interval",
    "get_num_parallel_workers",
    "get_seed",
    "set_multiprocessing_timeout_interval",
    "set_num_parallel_workers",
    "set_seed",
]
