"""The text form of loop IR, for the dump and for golden tests.

In: a Kernel. Out: one line per statement, loops as indented blocks:

    kernel k0_mul(x: f32[320], t5: f32[320] written), 16 lanes
      parallel i0 in 20:
        vector i1 in 16:
          %1 = x[16*i0 + i1]
          t5[16*i0 + i1] = (%1 * %1)

Values used more than once in a statement are named `%n` on lines of their own, so that shared expressions stay as
short as they are in memory. So are the longest parts of an expression that would not fit a line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from .index import Computed, Index, Quotient, Remainder
from .ir import (
    Assign,
    Binary,
    Bitcast,
    Cast,
    Constant,
    Fma,
    FoldLanes,
    IndexValue,
    InRange,
    Kernel,
    LaneReduce,
    Load,
    Loop,
    PairDot,
    Prefetch,
    Read,
    Scalar,
    Select,
    Statement,
    TransposeLanes,
    Unary,
)  # fmt: skip

WIDTH = 80  # of an expression, in characters
SHORT = 24  # parts up to here are not worth a name

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "and": "&", "or": "|", "xor": "^", "shl": "<<", "shr": ">>",
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip


def kernel_text(kernel: Kernel) -> str:
    """The whole kernel; deterministic."""
    written = kernel.written()
    parameters = [
        f"{b.name}: {b.dtype.short}[{b.elements}]{' written' if b in written else ''}" for b in kernel.buffers
    ]
    parameters += [f"{b.name}: {b.dtype.short}[{b.elements}] scratch" for b in kernel.scratch]
    serial = ", one thread" if kernel.serial else ""
    lines = [f"kernel {kernel.name}({', '.join(parameters)}), {kernel.lanes} lanes{serial}"]
    # a stack instead of recursion: (statements left, depth)
    stack: list[tuple[Iterator[Statement], int]] = [(iter(kernel.body), 1)]
    while stack:
        block, depth = stack[-1]
        statement = next(block, None)
        if statement is None:
            stack.pop()
            continue
        lines += ["  " * depth + line for line in _statement(statement)]
        if isinstance(statement, Loop):
            stack.append((iter(statement.body), depth + 1))
    return "\n".join(lines) + "\n"


def _statement(statement: Statement) -> list[str]:
    if isinstance(statement, FoldLanes):
        folded = ", ".join(register.name for register in statement.registers)
        return [f"{statement.total.name} = fold.{statement.combine}({folded})"]
    if isinstance(statement, TransposeLanes):
        return [f"transpose {', '.join(register.name for register in statement.registers)}"]
    if isinstance(statement, Loop):
        active = "" if statement.active in (None, statement.var.extent) else f" ({statement.active} active)"
        bounds = "".join(f" from {bound}" for bound in statement.low)
        bounds += "".join(f" below {bound}" for bound in statement.high)
        order = " backwards" if statement.backwards else ""
        return [f"{statement.kind} {statement.var.name} in {statement.var.extent}{active}{order}{bounds}:"]
    if isinstance(statement, Prefetch):
        printer = _Printer(_in_index(statement.address))
        purpose = (" to write" if statement.write else "") + ("" if statement.near else " into L2")
        return [
            *printer.lines,
            f"prefetch {statement.buffer.name}[{printer.index(statement.address)}]{purpose}",
        ]
    if isinstance(statement, Assign):
        printer = _Printer([statement.value])
        return [*printer.lines, f"{statement.register.name} = {printer.text(statement.value)}"]
    roots = [*_in_index(statement.address), statement.value]
    roots += [statement.predicate] if statement.predicate is not None else []
    printer = _Printer(roots)
    target = f"{statement.buffer.name}[{printer.index(statement.address)}]"
    guard = f" if {printer.text(statement.predicate)}" if statement.predicate is not None else ""
    return [*printer.lines, f"{target} = {printer.text(statement.value)}{guard}"]


class _Printer:
    """The texts of one statement's scalars; `lines` holds the definitions of those used more than once."""

    def __init__(self, roots: Sequence[Scalar]):
        self.lines: list[str] = []
        self._texts: dict[int, str] = {}
        order, uses = _postorder(roots)
        for scalar in order:
            text = self._expression(scalar)
            for part in sorted(_parts(scalar), key=lambda part: -len(self.text(part))):
                if len(text) > WIDTH and len(self.text(part)) > SHORT:
                    self._name(part)
                    text = self._expression(scalar)
            self._texts[id(scalar)] = text
            if uses[id(scalar)] > 1 and not isinstance(scalar, (Constant, Read)):
                self._name(scalar)

    def _name(self, scalar: Scalar) -> None:
        self.lines.append(f"%{len(self.lines) + 1} = {self.text(scalar)}")
        self._texts[id(scalar)] = f"%{len(self.lines)}"

    def text(self, scalar: Scalar) -> str:
        return self._texts[id(scalar)]

    def index(self, index: Index) -> str:
        """An affine address; numbers the kernel computes appear as [value]."""
        parts = [
            self._atom(atom) if factor == 1 else f"{factor}*{self._atom(atom)}"
            for atom, factor in index.terms
        ]
        if index.constant or not parts:
            parts.append(str(index.constant))
        return " + ".join(parts)

    def _atom(self, atom: object) -> str:
        if isinstance(atom, Computed):
            return f"[{self.text(atom.scalar)}]"
        if isinstance(atom, Quotient):
            return f"(({self.index(atom.index)}) // {atom.divisor})"
        if isinstance(atom, Remainder):
            return f"(({self.index(atom.index)}) % {atom.divisor})"
        return str(atom)

    def _expression(self, scalar: Scalar) -> str:
        parts = [self.text(part) for part in _parts(scalar)]
        match scalar:
            case Constant():
                return repr(scalar.value)
            case Read():
                return scalar.register.name
            case Load():
                guard = f" if {self.text(scalar.predicate)}" if scalar.predicate is not None else ""
                return f"{scalar.buffer.name}[{self.index(scalar.address)}{guard}]"
            case Binary() if scalar.op in _INFIX:
                return f"({parts[0]} {_INFIX[scalar.op]} {parts[1]})"
            case Unary() | Binary():
                return f"{scalar.op}({', '.join(parts)})"
            case PairDot():
                return f"dot({', '.join(parts)})"
            case Fma():
                return f"fma({', '.join(parts)})"
            case Select():
                return f"select({', '.join(parts)})"
            case Cast():
                return f"{scalar.dtype.short}({parts[0]})"
            case Bitcast():
                return f"{scalar.dtype.short}.bits({parts[0]})"
            case IndexValue():
                return f"{scalar.dtype.short}({self.index(scalar.index)})"
            case InRange():
                return f"({scalar.low} <= {self.index(scalar.index)} < {scalar.high})"
            case LaneReduce():
                return f"lanes.{scalar.combine}({parts[0]})"
        return f"{type(scalar).__name__.lower()}({', '.join(parts)})"


def _parts(scalar: Scalar) -> list[Scalar]:
    """The scalars an expression is made of, those inside its addresses included."""
    match scalar:
        case Load():
            return _in_index(scalar.address) + ([scalar.predicate] if scalar.predicate is not None else [])
        case IndexValue() | InRange():
            return _in_index(scalar.index)
        case Binary():
            return [scalar.x, scalar.y]
        case Fma() | PairDot():
            return [scalar.x, scalar.y, scalar.z]
        case Select():
            return [scalar.condition, scalar.x, scalar.y]
        case Unary() | Cast() | Bitcast() | LaneReduce():
            return [scalar.x]
    return []


def _in_index(index: Index) -> list[Scalar]:
    found: list[Scalar] = []
    for atom, _ in index.terms:
        if isinstance(atom, Computed):
            found.append(atom.scalar)
        elif isinstance(atom, (Quotient, Remainder)):
            found += _in_index(atom.index)
    return found


def _postorder(roots: Sequence[Scalar]) -> tuple[list[Scalar], Counter[int]]:
    """Every scalar below `roots` once, parts first, and how often each is used."""
    order: list[Scalar] = []
    uses: Counter[int] = Counter(id(root) for root in roots)
    seen: set[int] = set()
    stack: list[tuple[Scalar, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        scalar, is_done = stack.pop()
        if is_done:
            order.append(scalar)
        elif id(scalar) not in seen:
            seen.add(id(scalar))
            parts = _parts(scalar)
            uses.update(id(part) for part in parts)
            stack.append((scalar, True))
            stack.extend((part, False) for part in reversed(parts))
    return order, uses
