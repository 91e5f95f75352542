"""What code generation hands to the runtime: a step as LLVM IR text, with a list of the arrays it is bound to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..ir import TensorType

BindingKind = Literal["data", "state", "output", "constant"]


@dataclass(frozen=True, eq=False)
class Binding:
    """One array a step reads or writes. `value` is the array of a constant, None for the other kinds.

    Constants, outputs and data of at most 4 KB per call start at multiples of 64 bytes. Other data, dataset columns and
    states live in memory of the caller: generated code may assume no more than the alignment of their element type.
    """

    kind: BindingKind
    label: str
    type: TensorType
    value: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class LoweredStep:
    """A graph as LLVM IR text with a list of what it binds.

    `text` defines internal kernel functions and

        define internal void @<name>(ptr noalias %arena, ptr %bindings, i64 %tid, i64 %nth, ptr %barrier)

    which every thread enters with its number `tid` of `nth`; it calls `@graphrt_barrier(ptr %barrier, i64 %nth)`
    between kernels. Kernel functions may use attribute group #0, which the module defines. `%bindings` is an array of pointers in the order of `bindings`. Data bindings come in the order of
    the graph's data inputs, used or not, outputs in the order of its outputs. `declarations` are whole "declare ..."
    lines. `%arena` points to `arena_bytes` of memory shared by the threads, followed by `scratch_bytes` for every thread.
    `threads`: with how many threads a parallel step may run, besides one alone (0: with any number). `early`: when
    thread 0 returns, all threads have read their bindings and the first output is final, whatever others still compute.
    `tentative`: so small that one thread may be the faster choice, wherever CPUs are far apart or busy.
    `kernels`: their names in the order they run; those of equal layers have the name of the first one.
    Two steps may define functions of the same names, but neither may define numbered metadata or attribute groups.
    """

    name: str
    text: str
    declarations: frozenset[str]
    bindings: tuple[Binding, ...]
    arena_bytes: int
    parallel: bool
    updates: tuple[str, ...]
    scratch_bytes: int = 0
    threads: int = 0
    early: bool = False
    tentative: bool = False
    kernels: tuple[str, ...] = ()

    def positions(self, kind: BindingKind) -> list[tuple[int, Binding]]:
        """The bindings of one kind with their positions."""
        return [(k, binding) for k, binding in enumerate(self.bindings) if binding.kind == kind]
