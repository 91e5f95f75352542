"""Writing files so that a crash, a full disk or a power failure leaves the old content or the new, never a mixture.

In: names and contents. Out: files in place. Everything is written beside its place, brought to disk, then renamed; the
only module of the package that writes files of training state.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_PARTIAL = re.compile(r"\..+\.(\d+)-[0-9a-f]{8}\.partial")


def replace_file(path: Path, content: bytes) -> None:
    """Write one file. Raises OSError; the file is then as it was."""
    publish(path.parent, [(path.name, content)])


def publish(folder: Path, files: Sequence[tuple[str, bytes]]) -> None:
    """Write several files that belong together; the last one is the seal that makes the others count.

    All are written to a temporary folder inside `folder` and brought to disk, then the seal of an earlier group of the
    same names is removed, then they are renamed in order, then `folder` itself is brought to disk. Raises OSError;
    files of other names are never touched.
    """
    seal = files[-1][0]
    temporary = folder / f".{files[0][0]}.{os.getpid()}-{secrets.token_hex(4)}.partial"
    os.mkdir(temporary)
    try:
        for name, content in files:
            _write(temporary / name, content)
        if len(files) > 1:
            with suppress(FileNotFoundError):
                os.unlink(folder / seal)
        for name, _ in files:
            os.replace(temporary / name, folder / name)
        _sync_folder(folder)
    finally:
        _remove(temporary)


def remove(paths: Sequence[Path]) -> None:
    """Delete files in order, those that exist. Raises OSError."""
    for path in paths:
        with suppress(FileNotFoundError):
            os.unlink(path)


def clear_abandoned(folder: Path) -> None:
    """Delete the temporary folders of processes that were killed while they wrote."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            match = _PARTIAL.fullmatch(entry.name)
            if match and entry.is_dir(follow_symlinks=False) and not _alive(int(match[1])):
                _remove(Path(entry.path))


def _alive(process: int) -> bool:
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk (where the system can: Windows cannot open a folder)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(temporary: Path) -> None:
    with suppress(OSError):
        for entry in list(os.scandir(temporary)):
            os.unlink(entry.path)
        os.rmdir(temporary)
