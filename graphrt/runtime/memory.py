"""Memory for native programs: aligned, and refused before it is allocated when it cannot fit.

In: sizes in bytes or tensor types. Out: NumPy arrays that own their memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import GraphrtError
from ..ir import TensorType
from . import cgroup

VECTOR = 64  # bytes of the widest vector register, and of a cache line
PAGE = 4096


class OutOfMemoryError(GraphrtError, MemoryError):
    """A program needs more memory than this process can get. Raised before anything is allocated."""


def aligned_bytes(count: int, alignment: int = VECTOR) -> np.ndarray:
    """uint8[count], uninitialised, its address a multiple of `alignment` (a power of two)."""
    block = np.empty(count + alignment - 1, np.uint8)
    start = -address(block) % alignment
    return block[start : start + count]


def address(array: np.ndarray) -> int:
    """Where the array's first element is (a third of the time `array.ctypes.data` takes)."""
    return array.__array_interface__["data"][0]


def aligned_empty(type: TensorType) -> np.ndarray:
    """An uninitialised C-contiguous array of this type at a multiple of 64 bytes."""
    return aligned_bytes(type.bytes).view(type.dtype.numpy).reshape(type.shape)


def arena(count: int) -> np.ndarray:
    """uint8[count] for a step's temporaries, page aligned so that planned offsets decide cache behaviour.

    Raises OutOfMemoryError if the process cannot get that much.
    """
    check_memory(count, "temporaries of one step")
    return aligned_bytes(max(count, VECTOR), PAGE)


def check_memory(count: int, purpose: str) -> None:
    """Raise OutOfMemoryError if `count` bytes for `purpose` are more than the process can get."""
    available = available_memory()
    if available is not None and count > available:
        raise OutOfMemoryError(
            f"not enough memory for the {purpose}",
            expected=f"at most {_readable(available)} (what this process can still get)",
            given=_readable(count),
            fix="use a smaller batch, or raise the memory limit",
        )


def available_memory() -> int | None:
    """Bytes this process can still get: the least of free system memory, control group and address space limits.

    None where the system tells none of them.
    """
    limits = [cgroup.free_memory(), _system_memory(), _address_space()]
    return min((limit for limit in limits if limit is not None), default=None)


def _system_memory() -> int | None:
    fields = _kilobyte_fields("/proc/meminfo")
    if "MemAvailable" not in fields:
        return None
    return fields["MemAvailable"] + fields.get("SwapFree", 0)


def _address_space() -> int | None:
    try:
        import resource
    except ImportError:  # not a POSIX system
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    return max(0, limit - _kilobyte_fields("/proc/self/status").get("VmSize", 0))


def _kilobyte_fields(path: str) -> dict[str, int]:
    """The "Name:  123 kB" lines of a file of /proc, in bytes."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return {}
    rows = (line.split() for line in lines if line.endswith(" kB"))
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}


def _readable(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit} ({count} bytes)"
    return f"{count} bytes"
