"""What the compiler hands to the runtime, and the loaded native program made from it.

In: one or two `LoweredStep`s. Out: a `Program`, immutable: its native entry, and what must be bound to run it. Executable
and sink own the memory a program runs in; several of them may share one program.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..codegen import driver, jit
from ..codegen.target import Target, target
from ..errors import CompileError
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
    between kernels. `%bindings` is an array of pointers in the order of `bindings`. Data bindings come in the order of
    the graph's data inputs, used or not, outputs in the order of its outputs. `declarations` are whole "declare ..."
    lines. Two steps may define functions of the same names, but not numbered metadata or attribute groups.
    """

    name: str
    text: str
    declarations: frozenset[str]
    bindings: tuple[Binding, ...]
    arena_bytes: int
    parallel: bool
    updates: tuple[str, ...]

    def positions(self, kind: BindingKind) -> list[tuple[int, Binding]]:
        """The bindings of one kind with their positions."""
        return [(k, binding) for k, binding in enumerate(self.bindings) if binding.kind == kind]


class Program:
    """Loaded native code and its manifest. `entry(frame address, thread number)` runs it (and releases the GIL).

    The code is freed with this object; `entry` belongs to it and must not outlive it.
    """

    def __init__(self, steps: tuple[LoweredStep, ...], text: str, symbol: str, chosen: Target):
        if not chosen.is_host_compatible:
            raise CompileError(
                "this machine cannot run code generated for another processor",
                expected=target("host").cpu,
                given=chosen.cpu,
                fix="unset GRAPHRT_TARGET; inspect the code of other targets with graphrt-dump",
            )
        self.steps, self.text, self.target = steps, text, chosen
        self._loaded = jit.load(jit.compile_text(text, chosen).object_code, [symbol])
        prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
        self.entry = prototype(self._loaded.address(symbol))


def once_program(step: LoweredStep, chosen: Target | None = None) -> Program:
    """The program that runs `step` one time per call."""
    chosen = chosen or target()
    return Program((step,), once_text(step, chosen), "run_once", chosen)


def sink_program(steps: Sequence[LoweredStep], chosen: Target | None = None) -> Program:
    """The program that loops over training steps: full batches, and optionally the ragged last one of a pass."""
    chosen = chosen or target()
    return Program(tuple(steps), sink_text(steps, chosen), "run_sink", chosen)


def once_text(step: LoweredStep, chosen: Target) -> str:
    """The LLVM IR of `once_program`."""
    return _module_text([step], driver.run_once_text(driver.Variant(step.name, step.parallel)), chosen)


def sink_text(steps: Sequence[LoweredStep], chosen: Target) -> str:
    """The LLVM IR of `sink_program`.

    Raises CompileError if a step lacks the "indices" input or a scalar float32 loss as its first output.
    """
    steps = _with_distinct_names(steps)
    variants = tuple(
        driver.Variant(step.name, step.parallel, _loss_position(step), indices_position(step))
        for step in steps
    )
    return _module_text(steps, driver.run_sink_text(variants), chosen)


def indices_position(step: LoweredStep) -> int:
    """Where a training step binds the sample indices: an int32 vector labelled "indices"."""
    for k, binding in step.positions("data"):
        if binding.label == "indices" and binding.type.rank == 1 and binding.type.dtype.name == "int32":
            return k
    given = ", ".join(f"{b.label}: {b.type.describe()}" for _, b in step.positions("data"))
    raise CompileError(
        "a training step in a sink needs the sample indices",
        expected='int32[batch] "indices"',
        given=given or "no data",
    )


def _loss_position(step: LoweredStep) -> int:
    outputs = step.positions("output")
    if outputs and outputs[0][1].type.size == 1 and outputs[0][1].type.dtype.name == "float32":
        return outputs[0][0]
    given = outputs[0][1].type.describe() if outputs else "no output"
    raise CompileError("the first output of a training step is its loss", expected="float32[]", given=given)


_DEFINITION = re.compile(r'^(?:define\b[^@\n]*@|@)("[^"]*"|[-\w.$]+)', re.MULTILINE)
_GLOBAL = re.compile(r'@("[^"]*"|[-\w.$]+)')


def _with_distinct_names(steps: Sequence[LoweredStep]) -> list[LoweredStep]:
    """The steps, those after the first with their own functions and constants renamed where names would clash."""
    taken: set[str] = set()
    result = []
    for step in steps:
        defined = set(_DEFINITION.findall(step.text))
        clashes = defined & taken
        renamed = {}
        for name in clashes:
            bare, number = name.strip('"'), 1
            while f'"{bare}.{number}"' in taken or f"{bare}.{number}" in taken | defined:
                number += 1
            renamed[name] = f'"{bare}.{number}"' if name.startswith('"') else f"{bare}.{number}"
        if renamed:
            text = _GLOBAL.sub(lambda found, new=renamed: "@" + new.get(found[1], found[1]), step.text)
            step = LoweredStep(
                renamed.get(step.name, step.name), text, step.declarations, step.bindings, step.arena_bytes,
                step.parallel, step.updates,
            )  # fmt: skip
        taken |= (defined - clashes) | set(renamed.values())
        result.append(step)
    return result


def _module_text(steps: Sequence[LoweredStep], entry: str, chosen: Target) -> str:
    declarations = {line for step in steps for line in step.declarations if "@graphrt_barrier" not in line}
    barrier = driver.barrier_text(chosen.is_x86, chosen.is_aarch64)
    declarations -= {line for line in barrier.splitlines() if line.startswith("declare")}
    parts = [*sorted(declarations), barrier, *(step.text for step in steps), entry]
    return "\n".join(parts)
