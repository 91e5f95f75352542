"""The loaded native program made from lowered steps.

In: one or two `LoweredStep`s (codegen/lowered.py). Out: a `Program`, immutable: its native entry, and what must be bound to run it. Executable
and sink own the memory a program runs in; several of them may share one program.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import replace

from ..codegen import driver, jit, meeting, units
from ..codegen.lowered import LoweredStep
from ..codegen.target import Target, target
from ..errors import CompileError


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
        self._loaded = jit.load(units.objects(text, chosen), [symbol])
        prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
        self.address = self._loaded.address(symbol)  # of the entry
        self.entry = prototype(self.address)


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
        driver.Variant(step.name, step.parallel, _loss_position(step), indices_position(step), step.early)
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
    """The steps, fit for one module: where the definitions of a later step clash with those of an earlier one they get
    new names. Kernels that are equal all the same are compiled once, see codegen/units.py."""
    taken: set[str] = set()
    result = []
    for step in steps:
        defined = set(_DEFINITION.findall(step.text))
        renamed: dict[str, str] = {}
        for name in sorted(defined & taken):
            renamed[name] = _free_name(name, taken | defined)
            taken.add(renamed[name])
        if renamed:
            text = _GLOBAL.sub(lambda found, new=renamed: "@" + new.get(found[1], found[1]), step.text)  # type: ignore[misc]
            step = replace(step, name=renamed.get(step.name, step.name), text=text)
        taken |= defined
        result.append(step)
    return result


def _free_name(name: str, taken: set[str]) -> str:
    bare, quote = name.strip('"'), '"' if name.startswith('"') else ""
    number = 1
    while f"{quote}{bare}.{number}{quote}" in taken:
        number += 1
    return f"{quote}{bare}.{number}{quote}"


def _module_text(steps: Sequence[LoweredStep], entry: str, chosen: Target) -> str:
    declarations = {line for step in steps for line in step.declarations if "@graphrt_barrier" not in line}
    barrier = meeting.barrier_text(chosen)
    declarations -= {line for line in barrier.splitlines() if line.startswith("declare")}
    kernels = units.attributes(chosen)
    return "\n".join([*sorted(declarations), barrier, *(step.text for step in steps), entry, kernels])
