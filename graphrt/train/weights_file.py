"""Files of named arrays in the safetensors format: bytes from arrays, arrays from files that nobody vouches for.

In: arrays by name and a little text. Out: the content of a `.safetensors` file; or, from such a file, the same arrays.
The format can hold nothing but arrays and text, so reading a file runs no code; sizes are checked before memory is
taken.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..dtypes import as_dtype
from ..errors import CheckpointError, DTypeError
from ..frontend.location import user_source
from .foreign_weights import foreign_file

SUFFIX = ".safetensors"
HEADER_LIMIT = 16 << 20  # bytes: room for 100,000 names; a longer header only serves to exhaust memory
_LENGTH = 8  # bytes of the little-endian number in front of the header

_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
}  # fmt: skip


@dataclass(frozen=True)
class WeightsFile:
    """What a file holds: arrays in its order (not to be written to), and text by name."""

    arrays: dict[str, np.ndarray]
    metadata: dict[str, str]


def encode(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> bytes:
    """The content of a `.safetensors` file with these arrays (of any shape, in graphrt's element types).

    Raises CheckpointError for an element type no file can hold, or names and metadata beyond HEADER_LIMIT.
    """
    import safetensors.numpy

    ready = {}
    for name, array in arrays.items():
        try:
            as_dtype(array.dtype)
        except DTypeError:
            raise CheckpointError(
                f"an array of this element type cannot be saved: {name}",
                at=user_source(),
                given=str(array.dtype),
            ) from None
        ready[name] = np.require(array, requirements="C").reshape(array.shape)
    content = safetensors.numpy.save(ready, dict(metadata or {}))
    if int.from_bytes(content[:_LENGTH], "little") > HEADER_LIMIT:
        raise CheckpointError(
            "the names and notes of this checkpoint are too long", at=user_source(),
            expected=f"at most {HEADER_LIMIT} bytes", given=f"{int.from_bytes(content[:_LENGTH], 'little')} bytes",
        )  # fmt: skip
    return content


def read(path: str | os.PathLike[str]) -> WeightsFile:
    """Read a file. Raises CheckpointError, naming the file and what is wrong with it, for anything but a safetensors
    file that is whole; OutOfMemoryError if it is larger than the memory this process can get."""
    return decode(read_bytes(Path(path)), Path(path))


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """The content of a regular file of at most `limit` bytes."""
    from ..runtime.memory import check_memory

    try:
        # not blocking: opening a named pipe would otherwise wait for somebody to write to it
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise damaged(path, "it is not a plain file")
            if limit is not None and found.st_size > limit:
                raise damaged(path, f"it is longer than the {limit} bytes such a file may have")
            check_memory(2 * found.st_size, f"content of {path.name}")  # the file and the arrays made of it
            return file.read(found.st_size)
    except OSError as error:
        raise CheckpointError(
            f"the file cannot be read: {path}", at=user_source(), given=error.strerror or str(error),
            fix=_directory_fix(path),
        ) from error  # fmt: skip


def _directory_fix(path: Path) -> str | None:
    """Where a file of that name may be meant to be."""
    import difflib

    if path.is_dir():
        return "name a file in this directory"
    try:
        entries = {entry.stem: entry for entry in path.parent.iterdir()}
    except OSError:
        return None
    close = difflib.get_close_matches(path.stem, entries, n=1)
    return f"did you mean {entries[close[0]]}?" if close else None


def decode(content: bytes, path: Path) -> WeightsFile:
    """The arrays in `content`, which was read from `path` (for messages only)."""
    import safetensors

    length = _header_length(content, path)
    try:
        tensors = dict(safetensors.deserialize(content))
        header = json.loads(content[_LENGTH : _LENGTH + length])
        metadata = header.pop("__metadata__", None) or {}
        names = sorted(
            header, key=lambda name: (header[name]["data_offsets"], name)
        )  # in the order of the file
    except Exception as error:  # the parser's own class, and whatever a hostile header makes of Python
        raise damaged(path, _reason(error)) from error
    arrays = {name: _array(name, tensors[name], path) for name in names}
    return WeightsFile(arrays, metadata)


def _header_length(content: bytes, path: Path) -> int:
    """The header's length, checked against what there is."""
    if len(content) < _LENGTH + 2:
        raise damaged(path, f"it ends after {len(content)} bytes")
    length = int.from_bytes(content[:_LENGTH], "little")
    if content[_LENGTH : _LENGTH + 1] != b"{":
        foreign = foreign_file(content, path)
        if foreign is not None:
            raise foreign
        raise damaged(path, "it does not begin like a safetensors file")
    if length > len(content) - _LENGTH:
        raise damaged(path, f"its header should have {length} bytes, {len(content) - _LENGTH} are there")
    if length > HEADER_LIMIT:
        raise damaged(path, f"its header is longer than {HEADER_LIMIT} bytes")
    return length


def _array(name: str, view: Mapping[str, Any], path: Path) -> np.ndarray:
    data, shape, kind = view["data"], view["shape"], str(view["dtype"])
    if kind not in _NAMES and kind != "BOOL":
        raise CheckpointError(
            f"graphrt has no element type for the array {name!r} of {path}", at=user_source(),
            expected=", ".join([*_NAMES, "BOOL"]), given=kind,
        )  # fmt: skip
    dtype = as_dtype(_NAMES.get(kind, "uint8")).numpy
    try:
        flat = np.frombuffer(data, dtype) if data else np.empty(0, dtype)
        array = flat.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise damaged(path, f"array {name!r}: {_reason(error)}") from error
    return array != 0 if kind == "BOOL" else array


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def damaged(path: Path, reason: str) -> CheckpointError:
    """The error for a file that is not what it should be."""
    return CheckpointError(
        f"not a whole safetensors file: {path}", at=user_source(), given=reason,
        fix="use another copy of the file, or write it anew with graphrt.save_checkpoint",
    )  # fmt: skip
