"""Folders of dataset files: the checks and messages that readers share.

In: a folder path from the user. Out: what it holds, or DataError.
"""

from __future__ import annotations

import os

from ..errors import ArgumentError, DataError
from ..frontend.location import user_source


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
