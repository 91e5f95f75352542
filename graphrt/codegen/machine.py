"""What this machine can do at most, measured once: arithmetic, memory at every distance, and waiting for each other.

In: nothing. Out: `machine()`, a `Machine` that measured speeds are compared with and plans are chosen by. The numbers
are kept in the compile cache as JSON, for this kind of processor and number of CPUs.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from . import cache
from .probes import FmaProbe, ReadProbe, barrier_seconds
from .target import target

_METHOD = "1"  # another one makes kept numbers unreachable
_DEFAULT_SIZES = {1: 32 * 2**10, 2: 2**20, 3: 16 * 2**20}  # bytes, where the system does not say
_LARGEST = 256 * 2**20  # working set for main memory

_lock = threading.Lock()
_machine: Machine | None = None


@dataclass(frozen=True)
class Machine:
    """Ceilings of this machine. Rates are for one thread unless they say otherwise.

    `fma`: float32 operations per second (an FMA is two). `l1` ... `memory`: bytes read per second from there;
    `memory_all`: by `threads` threads together. `barrier`: seconds for one barrier between `threads` threads that
    arrive together (0 for one). `l1_bytes` ... `l3_bytes`: sizes of the caches one CPU reaches.
    """

    cpu: str
    threads: int
    fma: float
    l1: float
    l2: float
    l3: float
    memory: float
    memory_all: float
    barrier: float
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int


def machine(refresh: bool = False) -> Machine:
    """This machine, measured in about half a second the first time and never again.

    `refresh`: measure anew (if the first time was on a busy machine) and keep the better of both numbers.
    """
    global _machine
    with _lock:
        if _machine is None or refresh:
            name = _key()
            known = _machine or _decode(cache.read(name))
            if known is None or refresh:
                known = _better(measure(), known)
                cache.write(name, json.dumps(asdict(known), indent=1).encode())
            _machine = known
        return _machine


def measure() -> Machine:
    """All ceilings, measured now."""
    threads, sizes = _cpus(), cache_sizes()
    read = ReadProbe()
    # Working sets well inside one cache and well outside the one before it.
    l3_set = min(max(4 * sizes[2], sizes[3] // 4), max(sizes[3] // 2, 2 * sizes[2]))
    large = np.ones(min(max(4 * sizes[3], 64 * 2**20), _LARGEST) // 4, np.float32)

    def rate(size: int) -> float:
        return read.measure(large[: max(size, read.grain) // 4])

    return Machine(
        cpu=_cpu_name(),
        threads=threads,
        fma=FmaProbe().measure(seconds=0.005),
        l1=rate(sizes[1] // 2),
        l2=rate(sizes[2] // 2),
        l3=rate(l3_set),
        memory=rate(large.nbytes),
        memory_all=read.measure(large, threads),
        barrier=barrier_seconds(threads),
        l1_bytes=sizes[1],
        l2_bytes=sizes[2],
        l3_bytes=sizes[3],
    )


def fma_peak(threads: int = 1) -> float:
    """float32 operations per second of this machine's FMA units with `threads` threads, measured now."""
    return FmaProbe().measure(threads)


def cache_sizes(root: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> dict[int, int]:
    """Bytes of the data caches by level, 1 to 3. `root` exists for the tests."""
    sizes = dict(_DEFAULT_SIZES)
    for place in sorted(root.glob("index*")):
        with suppress(OSError, ValueError):
            level = int((place / "level").read_text())
            kind = (place / "type").read_text().strip()
            found = re.fullmatch(r"(\d+)([KMG]?)", (place / "size").read_text().strip())
            if found and kind != "Instruction" and level in sizes:
                sizes[level] = int(found[1]) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[found[2]]
    sizes[2] = max(sizes[2], 2 * sizes[1])
    sizes[3] = max(sizes[3], 2 * sizes[2])  # also where there is no third level
    return sizes


def _cpus() -> int:
    with suppress(AttributeError):  # only Linux knows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_name() -> str:
    """The model's name, or what comes nearest to it."""
    with suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or target("host").cpu


def _key() -> str:
    host = target("host")
    sizes = repr(cache_sizes())
    return cache.key("machine", _METHOD, host.cpu, host.features, _cpu_name(), sizes, str(_cpus()))


def _decode(data: bytes | None) -> Machine | None:
    """The machine written in `data`; None if that is anything else."""
    if data is None:
        return None
    try:
        values = json.loads(data)
        result = Machine(**values)
    except (ValueError, TypeError):
        return None
    for field in fields(Machine):
        value, is_text = getattr(result, field.name), field.name == "cpu"
        if is_text != isinstance(value, str):
            return None
        if not is_text and not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
            return None
    return result


def _better(new: Machine, old: Machine | None) -> Machine:
    """The higher rates and the shorter barrier of two measurements."""
    if old is None:
        return new
    rates = ("fma", "l1", "l2", "l3", "memory", "memory_all")
    best: dict[str, float] = {name: max(getattr(new, name), getattr(old, name)) for name in rates}
    best["barrier"] = min(new.barrier, old.barrier)
    return Machine(**{**asdict(new), **best})
