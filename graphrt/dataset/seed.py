"""The seed of shuffling: `graphrt.set_seed`, or a random one chosen once per process.

In: nothing. Out: an int in 0 .. 2**32 - 1, the same for all datasets; passes differ by their number.
"""

from __future__ import annotations

import secrets

from ..context import get_seed

_unseeded = secrets.randbits(32)  # stands in for the seed until `set_seed` is called


def dataset_seed() -> int:
    """The present seed, read when a pass begins; larger seeds are folded to 32 bits."""
    seed = get_seed()
    if seed is None:
        return _unseeded
    folded = 0
    while seed:
        folded ^= seed & 0xFFFFFFFF
        seed >>= 32
    return folded


def random_state() -> int:
    """What stands in for the seed until `set_seed` is called: part of what a checkpoint keeps."""
    return _unseeded


def restore_random_state(state: int) -> None:
    """Go on from a `random_state`."""
    global _unseeded
    _unseeded = int(state)
