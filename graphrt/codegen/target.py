"""Which processor code is generated for.

In: nothing (the host), or the environment variable GRAPHRT_TARGET naming a processor. Out: a `Target`, which knows
its vector width, whether this machine can run it, and makes LLVM target machines.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..errors import ArgumentError

_X86 = "x86_64-unknown-linux-gnu"
_ARM = "aarch64-unknown-linux-gnu"

_AVX2 = ("avx2", "fma", "bmi", "bmi2", "f16c", "lzcnt", "movbe")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_ICELAKE = (
    *_AVX512, "avx512ifma", "avx512vbmi", "avx512vbmi2", "avx512vnni", "avx512bitalg", "avx512vpopcntdq", "gfni", "vaes",
)  # fmt: skip
_ZEN4 = (*_ICELAKE, "avx512bf16")

# Processors that can be named: triple, and the features a host must have to run their code. LLVM knows the rest (its
# own list is far longer, but it takes an unknown name with no more than a warning on stderr, so names are listed here).
PROCESSORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "x86-64": (_X86, ()),
    "x86-64-v3": (_X86, _AVX2),
    "x86-64-v4": (_X86, _AVX512),
    "haswell": (_X86, _AVX2),
    "skylake": (_X86, (*_AVX2, "adx", "rdseed", "clflushopt")),
    "skylake-avx512": (_X86, _AVX512),
    "icelake-server": (_X86, _ICELAKE),
    "sapphirerapids": (_X86, (*_ZEN4, "avx512fp16", "avxvnni", "movdiri", "movdir64b", "amx-tile")),
    "znver2": (_X86, (*_AVX2, "sse4a", "sha", "clzero")),
    "znver3": (_X86, (*_AVX2, "sse4a", "sha", "clzero", "vaes", "vpclmulqdq")),
    "znver4": (_X86, (*_ZEN4, "sse4a", "sha", "clzero", "vpclmulqdq")),
    "znver5": (
        _X86,
        (*_ZEN4, "sse4a", "sha", "clzero", "vpclmulqdq", "avxvnni", "avx512vp2intersect", "movdiri"),
    ),
    "cortex-a72": (_ARM, ("neon",)),
    "neoverse-n1": (_ARM, ("neon", "lse", "dotprod", "fullfp16")),
    "neoverse-v1": (_ARM, ("neon", "lse", "dotprod", "fullfp16", "sve", "bf16", "i8mm")),
    "neoverse-v2": (_ARM, ("neon", "lse", "dotprod", "fullfp16", "sve2", "bf16", "i8mm")),
}


@dataclass(frozen=True)
class Instructions:
    """What a processor has single instructions for, where LLVM IR alone would become many."""

    dot_pairs: bool = False  # AVX512-BF16: sums of products of bfloat16 pairs
    lookups: bool = False  # AVX2, AVX-512: any lane of a vector register for every lane


PORTABLE = Instructions()  # what LLVM IR alone can say


@dataclass(frozen=True)
class Target:
    """A processor to generate code for. Hashable: with the IR text it determines the object code.

    `lanes` is the number of float32 in one vector register; `features` is LLVM's feature string, on top of `cpu`.
    """

    cpu: str
    features: str
    triple: str
    lanes: int
    is_host_compatible: bool
    instructions: Instructions = PORTABLE

    @property
    def is_x86(self) -> bool:
        return self.triple.startswith("x86_64")

    @property
    def is_linux(self) -> bool:
        return "-linux" in self.triple

    @property
    def is_aarch64(self) -> bool:
        return self.triple.startswith(("aarch64", "arm64"))

    def machine(self) -> Any:
        """A new LLVM target machine. Never hand one to two owners: engines that take it also free it."""
        from .jit import initialise, llvm

        initialise(native_only=self.is_host_compatible)
        return (
            llvm()
            .Target.from_triple(self.triple)
            .create_target_machine(
                cpu=self.cpu, features=self.features, opt=1, reloc="pic", codemodel="small"
            )
        )


def target(name: str | None = None) -> Target:
    """The target called `name`; without one, that of the environment variable GRAPHRT_TARGET, or else the host.

    Raises ArgumentError for a name that is not in PROCESSORS.
    """
    return _target(name or os.environ.get("GRAPHRT_TARGET", "") or "host")


@cache
def _target(name: str) -> Target:
    host_features = _host_features()
    if name == "host":
        from .jit import llvm

        binding = llvm()
        triple = binding.get_process_triple()
        flags = ",".join(f"{'+' if on else '-'}{feature}" for feature, on in sorted(host_features.items()))
        present = frozenset(feature for feature, on in host_features.items() if on)
        return Target(
            binding.get_host_cpu_name(),
            _whole_registers(triple, flags),
            triple,
            _lanes(triple, present),
            True,
            _instructions(triple, present),
        )
    if name not in PROCESSORS:
        raise ArgumentError(
            f"unknown target processor {name!r}",
            expected="host, " + ", ".join(PROCESSORS),
            given=name,
            fix="set GRAPHRT_TARGET to one of these, or leave it unset for this machine",
        )
    triple, needs = PROCESSORS[name]
    same_machine = platform.machine().lower() in (
        ("x86_64", "amd64") if triple == _X86 else ("aarch64", "arm64")
    )
    compatible = same_machine and all(host_features.get(feature, False) for feature in needs)
    present = frozenset(needs)
    instructions = _instructions(triple, present)
    return Target(
        name, _whole_registers(triple, ""), triple, _lanes(triple, present), compatible, instructions
    )


def _host_features() -> dict[str, bool]:
    from .jit import llvm

    try:
        return dict(llvm().get_host_cpu_features())
    except RuntimeError:  # LLVM cannot read them on this system: the processor's name alone decides
        return {}


def _whole_registers(triple: str, features: str) -> str:
    """Keep <16 x float> in one register: LLVM's tuning for some AVX-512 processors prefers two of half the width."""
    if not triple.startswith("x86_64"):
        return features
    return f"{features},-prefer-256-bit" if features else "-prefer-256-bit"


def _instructions(triple: str, features: frozenset[str]) -> Instructions:
    return Instructions("avx512bf16" in features, _lanes(triple, features) > 4)


def _lanes(triple: str, features: frozenset[str]) -> int:
    if not triple.startswith("x86_64"):
        return 4
    return 16 if "avx512f" in features else 8 if "avx2" in features else 4
