"""Reads assembly as LLVM prints it for x86-64 (AT&T syntax) and AArch64: functions, innermost loops, what they refer to.

In: assembly text. Out: facts for the static checks; nothing here knows what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FUNCTION = re.compile(r"^([A-Za-z_][\w.$]*):")
_LABEL = re.compile(r"^(\.L\w+):")
_END = re.compile(r"^\.Lfunc_end\d+:")
_COMMENT = re.compile(r"\s*(//|##|#\s).*$")  # not the immediates of AArch64: #16
_JUMP = re.compile(r"^(?:j\w+|b(?:\.\w+)?|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#\d+,)\s+(\.L\w+)$")
_CALL = re.compile(r"^(?:callq?|bl|blr|jmpq?|b|br)\s+(?!\.L)(\S+)$")
_THROUGH_TABLE = re.compile(r"([\w.$]+)@GOTPCREL|:got(?:_lo12)?:([\w.$]+)")
_FMA = re.compile(r"^(vfn?m(?:add|sub)\w+[ps][sd]|fml[as]|fmadd)\s")


_VECTOR_STORE = re.compile(r"^(vmov[au]ps\s+%[xyz]mm\d+,\s*[^%]|st(?:p|r|ur|1)\s+[{]?\s*[qv])")


@dataclass(frozen=True)
class Function:
    """Instructions in order, without comments and directives, and the position each label stands at."""

    name: str
    instructions: tuple[str, ...]
    labels: dict[str, int]

    @property
    def frame_registers(self) -> tuple[str, ...]:
        """The registers that point into the stack: the stack pointer, and the frame pointer if there is one."""
        has_frame = any(
            re.match(r"(movq?\s+%rsp, %rbp|mov\s+x29, sp|add\s+x29, sp,)", i) for i in self.instructions
        )
        return ("%rsp", "sp", "wsp") + (("%rbp", "x29") if has_frame else ())

    def loops(self) -> list[tuple[str, ...]]:
        """The instructions of every innermost loop: from the target of a backward jump to the jump, where no other
        such stretch lies within."""
        stretches = set()
        for position, instruction in enumerate(self.instructions):
            jump = _JUMP.match(instruction)
            if jump and self.labels.get(jump[1], position + 1) <= position:
                stretches.add((self.labels[jump[1]], position))
        innermost = [
            (first, last)
            for first, last in sorted(stretches)
            if not any(first <= a and b <= last and (a, b) != (first, last) for a, b in stretches)
        ]
        return [self.instructions[first : last + 1] for first, last in innermost]

    def vector_stores(self, instructions: tuple[str, ...]) -> list[str]:
        """Those of `instructions` that write vectors to memory other than the stack."""
        spills = set(self.stack_references(instructions))
        return [i for i in instructions if _VECTOR_STORE.match(i) and i not in spills]

    def stack_references(self, instructions: tuple[str, ...]) -> list[str]:
        """Those of `instructions` that touch the stack."""
        names = "|".join(re.escape(name) for name in self.frame_registers)
        return [i for i in instructions if re.search(rf"(?<![\w%])(?:{names})\b", i)]


def functions(text: str) -> list[Function]:
    """Every function of an assembly file."""
    found: list[Function] = []
    name, instructions, labels = "", [], {}  # type: ignore[var-annotated]
    for line in text.splitlines():
        line = _COMMENT.sub("", line)
        if _END.match(line):
            found.append(Function(name, tuple(instructions), labels))
            name = ""
        elif label := _LABEL.match(line):
            labels[label[1]] = len(instructions)
        elif start := _FUNCTION.match(line):
            name, instructions, labels = start[1], [], {}
        elif name and line.startswith("\t") and not line.strip().startswith("."):
            instructions.append(" ".join(line.split()))
    return found


def fused_multiplications(instructions: tuple[str, ...]) -> int:
    """How many of `instructions` are fused multiply-adds."""
    return sum(bool(_FMA.match(instruction)) for instruction in instructions)


def external_symbols(text: str) -> set[str]:
    """What the code needs from outside: symbols called or addressed that it does not define. An indirect call, whose
    target nobody knows, counts as the register it goes through."""
    parts = functions(text)
    defined = {part.name for part in parts}
    return {name for part in parts for name in _symbols(part)} - defined


def _symbols(part: Function) -> Iterator[str]:
    for instruction in part.instructions:
        if call := _CALL.match(instruction):
            yield call[1].removesuffix("@PLT")
        for table in _THROUGH_TABLE.finditer(instruction):
            yield table[1] or table[2]
