"""The order in which one pass over a dataset visits its samples: a pure function of (size, seed, epoch).

Fisher-Yates driven by a counter-based 32-bit hash, so that the native loop (which runs the same algorithm, see
codegen/driver.py) and this reference agree on every index, and resuming needs no stored permutation.
"""

from __future__ import annotations

import numpy as np

_MASK = 0xFFFFFFFF


def mix(x: int) -> int:
    """One 32-bit avalanche hash (the finalizer of MurmurHash3)."""
    x &= _MASK
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & _MASK
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & _MASK
    return x ^ (x >> 16)


def pass_key(seed: int, epoch: int) -> int:
    """The 32-bit key of one pass over the data."""
    return mix(mix(seed) + 0x9E3779B9 * (epoch + 1))


def permutation(size: int, seed: int, epoch: int) -> np.ndarray:
    """A random permutation of range(size), int32[size], the same for the same arguments everywhere."""
    key = pass_key(seed, epoch)
    index = np.arange(size, dtype=np.uint64)
    x = (index + key) & _MASK
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x85EBCA6B)) & np.uint64(_MASK)
    x = ((x ^ (x >> np.uint64(13))) * np.uint64(0xC2B2AE35)) & np.uint64(_MASK)
    x = x ^ (x >> np.uint64(16))
    targets = ((x * (index + np.uint64(1))) >> np.uint64(32)).tolist()
    order = list(range(size))
    for i in range(size - 1, 0, -1):
        j = targets[i]
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.int32)
