"""Limits a container puts on this process, read from Linux control groups, version 1 or 2.

Out: CPUs it may use at a time, bytes of memory it may still use; None where nothing is limited or nothing is known.
`root` exists for the tests.
"""

from __future__ import annotations

from pathlib import Path


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPUs of time per second, the least over this group and its parents."""
    limits = []
    for version, folder in _folders("cpu", root):
        if version == 2:
            words = (_read(folder / "cpu.max") or "max").split()
            quota, period = words[0], words[1] if len(words) > 1 else "100000"
        else:
            quota, period = (
                _read(folder / "cpu.cfs_quota_us") or "-1",
                _read(folder / "cpu.cfs_period_us") or "100000",
            )
        if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that may still be allocated, the least over this group and its parents."""
    limits = []
    for version, folder in _folders("memory", root):
        names = ("memory.max", "memory.current")
        if version == 1:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        limit, used = (_read(folder / name) or "" for name in names)
        if (
            limit.isdigit() and used.isdigit() and int(limit) < 1 << 60
        ):  # version 1 spells "no limit" as 2^63 - 4096
            limits.append(max(0, int(limit) - int(used)))
    return min(limits, default=None)


def _folders(controller: str, root: Path) -> list[tuple[int, Path]]:
    """(version, folder) of the groups of `controller` that contain this process, innermost first."""
    memberships = {}
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):  # version 2 lists no controllers: its name here is ""
            memberships[name] = path
    result = []
    for line in (_read(root / "proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.partition(" ")
        fields = left.split()
        if kind == "cgroup2" and "" in memberships:
            version, path = 2, memberships[""]
        elif kind == "cgroup" and controller in options.split()[-1].split(",") and controller in memberships:
            version, path = 1, memberships[controller]
        else:
            continue
        mounted, place = fields[3], root / fields[4].lstrip("/")
        # Inside a container the path may be spelled from the host's root, of which only `mounted` is visible here.
        inside = Path(path)
        relative = inside.relative_to(mounted) if inside.is_relative_to(mounted) else Path()
        folder = place / relative
        while True:
            result.append((version, folder))
            if folder == place or place not in folder.parents:
                break
            folder = folder.parent
    return result


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
