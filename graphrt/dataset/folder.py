"""Folders of dataset files, and the files in them: the checks and messages that readers share.

In: a path from the user, which may hold anything. Out: what it holds, or DataError.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import ArgumentError, DataError
from ..frontend.location import user_source

T = TypeVar("T")


def check_usage(dataset: str, usage: str | None) -> None:
    """Raise ArgumentError unless `usage` names a part of the data, or is None."""
    if usage not in (None, "train", "test", "all"):
        raise ArgumentError(
            f"{dataset}: unknown usage",
            at=user_source(),
            expected="'train', 'test', 'all' or None",
            given=repr(usage),
        )


def check_folder(dataset: str, folder: str, expected: str) -> None:
    """Raise DataError unless `folder` is one; `expected`: the files it should hold."""
    if not os.path.isdir(folder):
        raise DataError(
            f"{dataset}: there is no folder {folder!r}", at=user_source(), expected=f"a folder with {expected}",
            given="a file" if os.path.exists(folder) else "a path that does not exist",
            fix=f"check the path; it was looked up from {os.getcwd()}" if not os.path.isabs(folder) else "check the path",
        )  # fmt: skip


def listing(folder: str) -> str:
    """The first names in `folder`, for an error message."""
    names = sorted(os.listdir(folder))
    if not names:
        return "an empty folder"
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def read_file(kind: str, path: str, read: Callable[[Any], T]) -> T:
    """`read(file)` of the opened file (gzip if its name ends with .gz); DataError where that is damaged. `kind`: for the
    message."""
    try:
        with gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as file:
            return read(file)
    except EOFError:
        raise damaged_file(
            kind, path, "is truncated", "gzip data with its checksum", "gzip data that ends before it"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise damaged_file(kind, path, "is not a valid gzip file", "gzip data", str(error)) from None
    except OSError as error:
        given = error.strerror or str(error)
        raise damaged_file(kind, path, "cannot be read", "a readable file", given) from None


def damaged_file(kind: str, path: str, what: str, expected: str, given: str) -> DataError:
    """The error for a file that is not what its name says."""
    return DataError(
        f"the {kind} file {path} {what}", at=user_source(), expected=expected, given=given, fix="download the file again"
    )  # fmt: skip
