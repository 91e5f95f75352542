"""The idx file format (MNIST and relatives), plain or gzip-compressed.

In: a path that may hold anything. Out: a uint8 array, or DataError naming the file, what was expected, what was found.
Layout: two zero bytes, a type byte (8: uint8), the number of axes, one big-endian uint32 per axis, then the elements.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from ..errors import DataError
from .folder import damaged_file, read_file

_DEFLATE_LIMIT = 1032  # no deflate stream expands further than this
_PIECE = 1 << 18  # bytes asked for at once: gzip makes a copy of what it is asked for
_KIND = "idx"  # in error messages


def read_idx(path: str, rank: int) -> np.ndarray:
    """The uint8 array of `rank` axes stored in the idx file `path` (gzip if the name ends with .gz).

    Memory is allocated only after the header was found plausible for the file's size. Raises DataError.
    """
    growth = _DEFLATE_LIMIT if path.endswith(".gz") else 1
    return read_file(_KIND, path, lambda file: _read(path, file, rank, os.path.getsize(path) * growth))


def _read(path: str, file: Any, rank: int, most_bytes: int) -> np.ndarray:
    header_size = 4 + 4 * rank
    header = _read_up_to(file, header_size)
    if len(header) < header_size:
        raise _damaged(
            path, "is truncated in its header", f"{header_size} bytes of header", f"{len(header)} bytes"
        )
    magic, expected = header[:4].tobytes(), bytes((0, 0, 8, rank))
    if magic != expected:
        raise _damaged(path, "is not an idx file of this kind", f"magic number {expected.hex()}", magic.hex())
    shape = tuple(int(extent) for extent in header[4:].view(">u4"))
    size = math.prod(shape)
    if size > most_bytes:
        raise _truncated(path, shape, size, f"a file that can hold at most {most_bytes}")
    data = _read_up_to(file, size)
    if len(data) < size:
        raise _truncated(path, shape, size, f"{len(data)} bytes")
    if file.read(1):  # reaching the end also makes gzip compare its checksum
        raise _damaged(
            path, "is longer than its header says", f"{size} bytes after the header for {list(shape)}", "more"
        )
    return data.reshape(shape)


def _read_up_to(file: Any, size: int) -> np.ndarray:
    """At most `size` bytes; fewer where the file (or its gzip stream) ends early."""
    data = np.empty(size, np.uint8)
    view, done = memoryview(data), 0  # type: ignore[arg-type]
    while done < size:
        try:
            count = file.readinto(view[done : done + _PIECE])
        except EOFError:  # a gzip stream without its end
            break
        if not count:
            break
        done += count
    return data[:done]


def _truncated(path: str, shape: tuple[int, ...], size: int, given: str) -> DataError:
    return _damaged(path, "is truncated", f"{size} bytes after the header for {list(shape)}", given)


def _damaged(path: str, what: str, expected: str, given: str) -> DataError:
    return damaged_file(_KIND, path, what, expected, given)
