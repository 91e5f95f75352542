"""A program compiled in units: every kernel an object of its own, the steps and the driver that call them another one.

In: the text of a module whose kernels are the functions with attribute group #0. Out: the objects it is linked from.

A kernel's unit depends on nothing but what the kernel does: its symbol is a digest of its text. So programs share the
kernels they have in common (the step for full batches and the one for the rest, training and evaluation, a network and
its next version: on disk as well), and LLVM can work on a kernel while the next one is still being lowered: `begin`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from . import jit
from .background import Background
from .target import Target, target

_KERNEL = re.compile(
    r"^define internal void @([-\w.$]+)\(([^\n]*)\) #0 \{\n.*?^\}\n", re.MULTILINE | re.DOTALL
)
_CALLED = re.compile(r"@([-\w.$]+)\(")
_REMEMBERED = 1024  # units of this process: some 10 KB each

_background = Background(_REMEMBERED)


@dataclass(frozen=True)
class Unit:
    """One kernel as a module of its own, and how other modules declare it."""

    symbol: str
    declaration: str
    text: str


def attributes(chosen: Target) -> str:
    """Attribute group #0, of the kernels.

    They stay functions of their own: inlined into one body they cost LLVM quadratic time and spill registers. No
    builtins: LLVM would make calls of memcpy and memset out of loops.
    """
    return (
        f'attributes #0 = {{ noinline nounwind "no-builtins" "prefer-vector-width"="{32 * chosen.lanes}" }}\n'
    )


def load() -> None:
    """Load LLVM, while the caller does something else."""
    _background.begin("target", target)


def begin(function: str, declarations: Iterable[str], chosen: Target) -> None:
    """Start to compile a kernel, given as the text of its function, for a program that will be linked later."""
    found = _KERNEL.fullmatch(function)
    assert found is not None, function[:200]
    _begin(_unit(found, declarations, chosen), chosen)


def objects(text: str, chosen: Target) -> list[bytes]:
    """The object code of all units of a module. Raises CompileError as `jit.compile_text` does."""
    main, units = split(text, chosen)
    kernels = [_begin(unit, chosen) for unit in units]
    return [jit.compile_text(main, chosen).object_code, *(kernel.result() for kernel in kernels)]


def _begin(unit: Unit, chosen: Target) -> Future[bytes]:
    return _background.begin((unit.symbol, chosen), lambda: jit.compile_text(unit.text, chosen).object_code)


def split(text: str, chosen: Target) -> tuple[str, list[Unit]]:
    """The module without its kernels, which it declares instead, and the unit of each different kernel."""
    declarations = [line for line in text.splitlines() if line.startswith("declare ")]
    units: dict[str, Unit] = {}
    symbols: dict[str, str] = {}
    for found in _KERNEL.finditer(text):
        unit = _unit(found, declarations, chosen)
        units[unit.symbol] = unit
        symbols[found[1]] = unit.symbol
    rest = _KERNEL.sub("", text)
    rest = _CALLED.sub(lambda found: f"@{symbols.get(found[1], found[1])}(", rest)
    return "\n".join([*(unit.declaration for unit in units.values()), rest]), list(units.values())


def _unit(found: re.Match[str], declarations: Iterable[str], chosen: Target) -> Unit:
    name, parameters = found[1], found[2]
    body = found[0].replace("define internal void", "define void", 1)
    symbol = "kernel_" + hashlib.sha256(body.replace(f"@{name}(", "@(", 1).encode()).hexdigest()[:32]
    types = ", ".join(parameter.split(" ", 1)[0] for parameter in parameters.split(", "))
    called = set(_CALLED.findall(body)) - {name}
    needed = [line for line in sorted(set(declarations)) if _CALLED.search(line)[1] in called]  # type: ignore[index]
    body = body.replace(f"@{name}(", f"@{symbol}(", 1)
    return Unit(symbol, f"declare void @{symbol}({types})", "\n".join([*needed, body, attributes(chosen)]))
