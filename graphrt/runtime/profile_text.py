"""A profile as a table: one line per kernel in execution order, totals and ceilings at the end.

In: a Profile. Out: text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .profile import ENOUGH_COVERAGE

if TYPE_CHECKING:
    from .profile import KernelProfile, Profile

DISTURBED = 1.15  # a median this far above the fastest run means that the machine is busy


def profile_text(profile: Profile) -> str:
    """Times in microseconds per step; `work` and `wait` have a column per thread."""
    threads = range(profile.threads)
    header = ["kernel", "of step", *(f"work {t}" for t in threads), *(f"wait {t}" for t in threads)]
    header += ["kFLOP", "kB", "GFLOP/s", "FLOP/B", "fits", "% of ceiling", "from"]
    rows = [_row(profile, kernel) for kernel in profile.kernels]
    rows.append(
        [
            "between steps",
            _share(profile, max(profile.between_us)),
            *_blank(threads),
            *_us(profile.between_us),
        ]
    )
    total = max(profile.work_us)
    least = sum(kernel.least_us for kernel in profile.kernels)
    rows.append(
        [
            "all kernels", _share(profile, total), *_us(profile.work_us), *_us(profile.wait_us),
            f"{profile.flops / 1e3:.0f}", f"{profile.bytes / 1e3:.0f}",
            f"{profile.flops / profile.wall_us / 1e3:.1f}", f"{profile.flops / max(1, profile.bytes):.1f}",
            "", f"{100 * least / profile.wall_us:.0f}",
        ]
    )  # fmt: skip
    lines = [
        f"{profile.name}: {profile.steps} steps on {profile.threads} thread(s), {profile.wall_us:.2f} us per step "
        f"(median of the runs: {profile.median_wall_us:.2f} us)"
    ]
    lines += _table(header, rows)
    lines.append(_ceiling_line(profile))
    lines.append(
        f"rows explain {100 * profile.coverage:.1f} % of the wall clock; kernels and waits add up to "
        f"{100 * profile.accounted:.1f} % of the steps"
    )
    if (
        profile.median_wall_us > DISTURBED * profile.wall_us
        or profile.gflops * 1e9 > 1.05 * profile.ceilings.flops
    ):
        lines.append(
            "the runs differ, or the ceilings are too low: other programs use the CPUs, so do not trust single numbers"
        )
    if profile.coverage < ENOUGH_COVERAGE:
        lines.append(
            f"less than {100 * ENOUGH_COVERAGE:.0f} %: the run is too short, or other programs use the CPUs; use more steps"
        )
    return "\n".join(lines) + "\n"


def _row(profile: Profile, kernel: KernelProfile) -> list[str]:
    return [
        kernel.name, _share(profile, kernel.time_us), *_us(kernel.work_us), *_us(kernel.wait_us),
        f"{kernel.work.flops / 1e3:.0f}", f"{kernel.work.bytes / 1e3:.0f}",
        f"{kernel.gflops:.1f}", f"{kernel.intensity:.1f}", kernel.memory, f"{kernel.percent:.0f}",
        f"{kernel.cell}  {_short(kernel.line)}".strip(),
    ]  # fmt: skip


def _short(line: str) -> str:
    """Without folders: the Cell says which of two files of one name it is."""
    return line.rpartition("/")[2]


def _share(profile: Profile, microseconds: float) -> str:
    return f"{100 * microseconds / profile.wall_us:.1f}%"


def _us(values: Sequence[float]) -> list[str]:
    return [f"{value:.2f}" for value in values]


def _blank(threads: Sequence[int]) -> list[str]:
    return [""] * len(threads)


def _ceiling_line(profile: Profile) -> str:
    ceilings = profile.ceilings
    memory = ", ".join(f"{level.name} {level.bandwidth / 1e9:.0f}" for level in ceilings.levels)
    return (
        f"ceilings of {ceilings.threads} thread(s): {ceilings.flops / 1e9:.0f} GFLOP/s; GB/s read: {memory}"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their content; the first and the last column are text, the others are numbers."""
    full = [[*row, *[""] * (len(header) - len(row))] for row in (header, *rows)]
    widths = [max(len(row[k]) for row in full) for k in range(len(header))]
    lines = []
    for row in full:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1])]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    lines.insert(len(lines) - 2, lines[1])
    return lines
