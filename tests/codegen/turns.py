"""Steps run without threads: cut at their barriers, the shares of the threads one after the other between two of them.

Threads that race give wrong results only now and then. In ascending and in descending order, whatever depends on another
thread's share without a barrier in between comes out wrong every time.
"""

from __future__ import annotations

import ctypes
import re

import numpy as np

from graphrt.codegen import jit
from graphrt.codegen.lowered import LoweredStep
from graphrt.codegen.target import target

BARRIER = "  call void @graphrt_barrier(ptr %barrier, i64 %nth)"
WORK = re.compile(r"  (call void @|br i1 %first)")  # the first line behind the loading of pointers


def segments(step: LoweredStep) -> tuple[str, int]:
    """The step's text with one exported function per stretch between barriers, and how many there are."""
    start = step.text.index(f"define internal void @{step.name}(")
    kernels, lines = step.text[:start], step.text[start:].rstrip().splitlines()
    first = next((k for k, line in enumerate(lines) if WORK.match(line)), len(lines) - 2)
    head, body = lines[1:first], lines[first:-2]
    assert lines[-2:] == ["  ret void", "}"]
    parts: list[list[str]] = [[]]
    for line in body:
        if line == BARRIER:
            parts.append([])
        else:
            parts[-1].append(line)
    signature = "(ptr noalias %arena, ptr %bindings, i64 %tid, i64 %nth, ptr %barrier)"
    functions = [
        "\n".join([f"define void @part{k}{signature} {{", *head, *part, "  ret void", "}"])
        for k, part in enumerate(parts)
    ]
    attributes = "attributes #0 = { noinline nounwind }"
    return "\n".join([*sorted(step.declarations), kernels, *functions, attributes]), len(parts)


def run_in_turns(
    step: LoweredStep, values: dict[str, np.ndarray], threads: int, descending: bool
) -> dict[str, np.ndarray]:
    """Outputs and updated states when the threads' shares run one after the other between barriers."""
    text, count = segments(step)
    names = [f"part{k}" for k in range(count)]
    loaded = jit.load([jit.compile_text(text, target()).object_code], names)
    arena = np.full(step.arena_bytes + step.scratch_bytes * threads + 128, 0xFF, np.uint8)
    arena_at = arena.ctypes.data + (-arena.ctypes.data) % 64
    arrays: list[np.ndarray] = []
    for binding in step.bindings:
        given = binding.value if binding.kind == "constant" else values.get(binding.label)
        memory = np.zeros(binding.type.bytes + 64, np.uint8)
        start = -memory.ctypes.data % 64
        array = (
            memory[start : start + binding.type.bytes]
            .view(binding.type.dtype.numpy)
            .reshape(binding.type.shape)
        )
        if given is not None:
            array[...] = given
        arrays.append(array)
    pointers = (ctypes.c_uint64 * len(arrays))(*(a.ctypes.data for a in arrays))
    prototype = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
    )
    for name in names:
        entry = prototype(loaded.address(name))
        order = range(threads)
        for thread in reversed(order) if descending else order:
            entry(arena_at, ctypes.addressof(pointers), thread, threads, None)
    outputs = [a for a, b in zip(arrays, step.bindings) if b.kind == "output"]
    states = {b.label: a for a, b in zip(arrays, step.bindings) if b.kind == "state"}
    # Passes drop states that keep their value: those are what they were.
    return {**values, **states, **{f"output {k}": a for k, a in enumerate(outputs)}}
