"""Results of compilation kept on disk, so that a program that was compiled once starts at once.

In: a name (made by `key` from everything the content depends on) and bytes. Out: the same bytes in a later process, or
None: a cache never raises, and whoever asks must be able to do without.

Object code from here is executed, so nothing is taken that another user could have put there: the directory must
belong to this user with mode 0700, entries must be plain files of this user closed to everybody else, and symbolic
links are not followed. Every entry carries its name, length and SHA-256; one that is damaged is ignored and replaced.
Entries are written to a temporary file and renamed, so processes and threads may share the directory.

    GRAPHRT_CACHE=0            no cache (also `set_context(cache=False)`)
    GRAPHRT_CACHE_DIR=...      the directory; else graphrt/ in $XDG_CACHE_HOME, ~/.cache or ~/Library/Caches
    GRAPHRT_CACHE_MB=512       the size it is kept below: what was not used for longest goes first
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..context import get_context

MAGIC = b"graphrt cache 1\n"
DEFAULT_MEGABYTES = 512
_HEADER_BYTES = 4096  # more than any header needs
# Nothing but files of these names is ever deleted: the directory named by the user may hold other things.
_ENTRY = re.compile(r"[a-z]+-[0-9a-f]{64}\.graphrt")
_TEMPORARY = re.compile(r"\.graphrt-\d+-[0-9a-f]{16}")
_PRUNE_AFTER = 1 / 64  # of the limit: looking at every file on every write would take longer than compiling
_ABANDONED = 3600.0  # seconds after which a temporary file is from a process that died

_warned: set[str] = set()
_lock = threading.Lock()
_unpruned = float("inf")  # bytes written since this process pruned: its first write does


def key(kind: str, *parts: str | bytes) -> str:
    """The name of an entry, determined by `kind` (lower case letters) and all of `parts`, in order; parts do not run
    into each other."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return f"{kind}-{digest.hexdigest()}.graphrt"


def product_version() -> str:
    """The version of graphrt, for keys (a stage may not import the package that holds it)."""
    return sys.modules[__name__.partition(".")[0]].__version__


def directory() -> Path | None:
    """Where entries are kept, whether it exists yet or not; None if the cache is off or has no place."""
    if os.environ.get("GRAPHRT_CACHE") == "0" or not get_context("cache") or not hasattr(os, "geteuid"):
        return None
    chosen = os.environ.get("GRAPHRT_CACHE_DIR")
    if chosen:
        return Path(chosen)
    shared = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if shared.is_absolute():
        return shared / "graphrt"
    with suppress(RuntimeError):  # this user has no home
        home = Path.home()
        return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "graphrt"
    return None


def read(name: str) -> bytes | None:
    """The content of the entry `name`, or None if there is none that can be trusted."""
    try:
        with _folder(create=False) as folder:
            return None if folder is None else _read(folder, name)
    except OSError:
        return None


def write(name: str, content: bytes) -> bool:
    """Keep `content` as the entry `name`, in place of what is there; whether that worked.

    A full or read-only disk is no reason to stop: the program then runs without its cache.
    """
    global _unpruned
    limit = _limit()
    if len(content) + _HEADER_BYTES > limit:
        return False
    try:
        with _folder(create=True) as folder:
            if folder is None:
                return False
            _write(folder, name, content)
            _unpruned += len(content) + _HEADER_BYTES
            if _unpruned > limit * _PRUNE_AFTER:
                _prune(folder, limit)
                _unpruned = 0
            return True
    except OSError:
        return False


@contextmanager
def _folder(create: bool) -> Iterator[int | None]:
    """A descriptor of the directory, checked; None if there is none or it is not safe to use.

    Everything else goes through this descriptor: what was checked stays what is used, whatever happens to the path.
    """
    path = directory()
    if path is None:
        yield None
        return
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            _warn_once(path, "it is not a directory, or a symbolic link", "remove it, or name a directory")
        yield None
        return
    try:
        found = os.fstat(folder)
        if found.st_uid != os.geteuid():
            _warn_once(path, "it belongs to another user", "set GRAPHRT_CACHE_DIR to a directory of your own")
            yield None
        elif stat.S_IMODE(found.st_mode) & 0o077:
            _warn_once(path, "other users may enter it", f"chmod 700 {path}")
            yield None
        else:
            yield folder
    finally:
        os.close(folder)


def _warn_once(path: Path, reason: str, fix: str) -> None:
    with _lock:
        if str(path) in _warned:
            return
        _warned.add(str(path))
    warnings.warn(
        f"graphrt compiles without its cache {path}: {reason} (fix: {fix})", RuntimeWarning, stacklevel=5
    )


def _read(folder: int, name: str) -> bytes | None:
    # Not blocking: opening a named pipe would otherwise wait for somebody to write to it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
        found = os.fstat(file.fileno())
        if (
            not stat.S_ISREG(found.st_mode)
            or found.st_uid != os.geteuid()
            or stat.S_IMODE(found.st_mode) & 0o077
        ):
            return None
        if file.read(len(MAGIC)) != MAGIC:
            return None
        header = file.readline(_HEADER_BYTES)
        content = file.read(found.st_size)
        if header != _header(name, content):
            return None
        with suppress(OSError):
            os.utime(file.fileno())  # used just now: `_prune` takes it last
        return content


def _header(name: str, content: bytes) -> bytes:
    facts: dict[str, Any] = {
        "name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    return json.dumps(facts).encode() + b"\n"


def _write(folder: int, name: str, content: bytes) -> None:
    temporary = f".graphrt-{os.getpid()}-{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # a umask may have taken even the owner's rights
            file.write(MAGIC + _header(name, content))
            file.write(content)
        # No fsync: what a power failure leaves behind fails its checksum and is compiled again.
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


def _limit() -> int:
    """The largest size of all entries together, in bytes."""
    try:
        megabytes = float(os.environ.get("GRAPHRT_CACHE_MB") or DEFAULT_MEGABYTES)
    except ValueError:
        megabytes = DEFAULT_MEGABYTES
    return int(max(megabytes, 0.0) * 2**20)


def _prune(folder: int, limit: int) -> None:
    """Delete what was not used for longest until the rest fits, and what dead processes left behind."""
    entries: list[tuple[int, int, str]] = []
    now = time.time()
    with os.scandir(folder) as found:
        for entry in found:
            with suppress(OSError):  # another process was faster
                facts = entry.stat(follow_symlinks=False)
                if _TEMPORARY.fullmatch(entry.name) and now - facts.st_mtime > _ABANDONED:
                    os.unlink(entry.name, dir_fd=folder)
                elif _ENTRY.fullmatch(entry.name):
                    entries.append((facts.st_mtime_ns, facts.st_size, entry.name))
    total = sum(size for _, size, _ in entries)
    for _, size, name in sorted(entries):
        if total <= limit:
            return
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
        total -= size
