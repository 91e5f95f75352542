"""Loop IR to LLVM IR text: one function per kernel, vectors explicit, addresses by GEP from pointer arguments.

In: a `loops.ir.Kernel`. Out: the text of an internal function `void @name(ptr..., i64 tid, i64 nth)` (pointers to the
kernel's buffers, then to its scratch buffers) and the intrinsics it needs declared.

Each layer adds one idea to the one before:

    emit_text.Writer            instructions, their names, what was computed already
    emit_index.IndexEmitter     indices to integers
    emit_memory.MemoryEmitter   addresses, loads, stores, masks
    emit_scalars.ScalarEmitter  scalar expressions (operations on values: emit_arithmetic, narrow)
    emit.FunctionEmitter        statements, loops, registers: the function
"""

from __future__ import annotations

from ..dtypes import DType
from ..loops import ir
from ..loops.index import Index
from . import emit_arithmetic as arithmetic
from .emit_scalars import ScalarEmitter
from .emit_text import I64, Value
from .target import PORTABLE, Instructions


def emit(kernel: ir.Kernel, instructions: Instructions = PORTABLE) -> tuple[str, set[str]]:
    """The function's text and the declarations it needs, for a processor that has these instructions."""
    emitter = FunctionEmitter(kernel, instructions)
    return emitter.function(), emitter.declarations


class FunctionEmitter(ScalarEmitter):
    """Emits one kernel."""

    def __init__(self, kernel: ir.Kernel, instructions: Instructions):
        super().__init__(kernel.lanes, (*kernel.buffers, *kernel.scratch), instructions)
        self.kernel = kernel
        self._loops = 0

    def function(self) -> str:
        """The text of the whole function."""
        written = self.written = self.kernel.written()
        arguments = []
        for buffer, name in self.pointers.items():
            access = "" if buffer in written else " readonly"
            arguments.append(f"ptr noalias{access} {name}")
        arguments += ["i64 %tid", "i64 %nth"]
        self._block(self.kernel.body)
        slots = [
            f"  {slot} = alloca {self.register_type(register)}, align 64"
            for register, slot in self.slots.items()
        ]
        body = "\n".join(["entry:", *slots, "  br label %start", "start:", *self.lines, "  ret void"])
        return f"define internal void @{self.kernel.name}({', '.join(arguments)}) #0 {{\n{body}\n}}\n"

    # ---- statements

    def _block(self, body: list[ir.Statement]) -> None:
        stores: list[ir.Store] = []
        for statement in body:
            if isinstance(statement, ir.Store):
                if _is_next_element(stores, statement):
                    self._store_all(stores)
                    stores = []
                stores.append(statement)
                continue
            self._store_all(stores)
            stores = []
            if isinstance(statement, ir.Assign):
                self._assign(statement)
            elif isinstance(statement, ir.Loop):
                self._loop(statement)
            elif isinstance(statement, ir.Prefetch):
                self.prefetch(statement.buffer, statement.address, statement.write, statement.near)
            elif isinstance(statement, ir.FoldLanes):
                self._fold(statement)
            elif isinstance(statement, ir.TransposeLanes):
                self._transpose(statement)
        self._store_all(stores)

    def _store_all(self, stores: list[ir.Store]) -> None:
        """Every value is computed before the first store: in-place updates read only old values."""
        values = [self.scalar(store.value) for store in stores]
        for store, value in zip(stores, values):
            predicate = self.scalar(store.predicate) if store.predicate is not None else None
            self.store(store.buffer, store.address, value, predicate)

    def _assign(self, statement: ir.Assign) -> None:
        slot = self.slot(statement.register)
        value = self.scalar(statement.value)
        if statement.register.lanes:
            value = self.splat(value)
        self.perform(f"store {value}, ptr {slot}")

    def _fold(self, statement: ir.FoldLanes) -> None:
        """Rounds that combine pairs of vectors into one, each with half as many lanes per register left to combine."""
        dtype, type_ = statement.total.dtype, self.register_type(statement.total)
        values: list[Value | None] = []
        for register in statement.registers:
            value = self.value(f"load {type_}, ptr {self.slot(register)}", type_)
            values.append(self.only_active(value, statement.combine, dtype))
        values += [None] * (self.lanes - len(values))
        for low, high in fold_rounds(self.lanes):
            values = [
                self._combined(statement.combine, dtype, a, b, low, high)
                for a, b in zip(values[::2], values[1::2])
            ]
        self.perform(f"store {values[0]}, ptr {self.slot(statement.total)}")

    def _combined(
        self, combine: str, dtype: DType, a: Value | None, b: Value | None, low: list[int], high: list[int]
    ) -> Value | None:
        """Two shuffles of a and b, combined; None stands for registers that do not exist."""
        if a is None:
            return None
        second = b or Value("poison", a.type)
        halves = []
        for pattern in (low, high):
            mask = ", ".join(f"i32 {k}" for k in pattern)
            halves.append(self.value(f"shufflevector {a}, {second}, <{self.lanes} x i32> <{mask}>", a.type))
        return arithmetic.binary(self, combine, dtype, *halves)

    def _transpose(self, statement: ir.TransposeLanes) -> None:
        """A butterfly: at distance d, every pair of registers (i, i + d) exchanges the lanes where bit d differs from
        the register's own. log2(lanes) rounds of two-operand shuffles."""
        lanes = self.lanes
        slots = [self.slot(register) for register in statement.registers]
        type_ = self.register_type(statement.registers[0])
        values = [self.value(f"load {type_}, ptr {slot}", type_) for slot in slots]
        distance = 1
        while distance < lanes:
            low = [k if not k & distance else lanes + k - distance for k in range(lanes)]
            high = [k + distance if not k & distance else lanes + k for k in range(lanes)]
            for first in range(lanes):
                if first & distance:
                    continue
                second = first + distance
                pair = f"{values[first]}, {values[second]}"
                for position, pattern in ((first, low), (second, high)):
                    mask = ", ".join(f"i32 {k}" for k in pattern)
                    values[position] = self.value(f"shufflevector {pair}, <{lanes} x i32> <{mask}>", type_)
            distance *= 2
        for slot, value in zip(slots, values):
            self.perform(f"store {value}, ptr {slot}")

    # ---- loops

    def _loop(self, loop: ir.Loop) -> None:
        if loop.kind == "vector":
            self._vector_loop(loop)
            return
        low, high = self._bounds(loop)
        narrowed = bool(loop.low or loop.high)
        self._loops += 1
        if loop.kind == "serial" and loop.var.extent == 1 and not narrowed:
            self.variables[loop.var] = "0"
            with self.scope():
                self._block(loop.body)
        else:
            self._counted_loop(loop, low, high, may_be_empty=narrowed or loop.kind == "parallel")

    def _vector_loop(self, loop: ir.Loop) -> None:
        """All lanes at once: the body is written once."""
        outer = self.vector_variable, self.active
        self.vector_variable = loop.var
        self.active = loop.active if loop.active != self.lanes else None
        with self.scope():
            self._block(loop.body)
        self.vector_variable, self.active = outer

    def _bounds(self, loop: ir.Loop) -> tuple[str, str]:
        """The first value of the variable, and the first that it no longer takes (`spans.share`)."""
        if loop.kind == "parallel" and loop.var.extent == 1:
            low, high = self.call(I64, "llvm.umin.i64", Value("%tid", I64), Value("1", I64)).text, "1"
        elif loop.kind == "parallel":
            low = self._chunk(loop.var.extent, "%tid")
            high = self._chunk(loop.var.extent, self.instruction("add i64 %tid, 1"))
        else:
            low, high = "0", str(loop.var.extent)
        for bound in loop.low:
            low = self._bounded("smax", low, bound)
        for bound in loop.high:
            high = self._bounded("smin", high, bound)
        return low, high

    def _chunk(self, extent: int, thread: str) -> str:
        """Where the share of a thread begins."""
        return self.instruction(f"udiv i64 {self.instruction(f'mul i64 {thread}, {extent}')}, %nth")

    def _bounded(self, operation: str, value: str, bound: Index) -> str:
        operands = Value(value, I64), Value(self.uniform_index(bound), I64)
        return self.call(I64, f"llvm.{operation}.i64", *operands).text

    def _counted_loop(self, loop: ir.Loop, low: str, high: str, may_be_empty: bool) -> None:
        """low <= var < high, in blocks guard, head, latch and exit. Tested at its end; before it, if it may be empty."""
        k = self._loops
        variable = f"%i{k}"
        self.perform(f"br label %g{k}")
        self.label(f"g{k}")
        if may_be_empty:
            empty = self.instruction(f"icmp sge i64 {low}, {high}")
            self.perform(f"br i1 {empty}, label %x{k}, label %h{k}")
        else:
            self.perform(f"br label %h{k}")
        self.label(f"h{k}")
        self.perform(f"{variable} = phi i64 [ {low}, %g{k} ], [ {variable}n, %l{k} ]")
        self.variables[loop.var] = variable
        if loop.backwards:
            last = self.instruction(f"add i64 {high}, -1")
            ends = self.instruction(f"add i64 {low}, {last}")
            self.variables[loop.var] = self.instruction(f"sub i64 {ends}, {variable}")
        with self.scope():
            self._block(loop.body)
        self.perform(f"br label %l{k}")
        self.label(f"l{k}")
        self.perform(f"{variable}n = add nuw nsw i64 {variable}, 1")
        self.perform(f"%c{k} = icmp slt i64 {variable}n, {high}")
        self.perform(f"br i1 %c{k}, label %h{k}, label %x{k}")
        self.label(f"x{k}")


def _is_next_element(stores: list[ir.Store], store: ir.Store) -> bool:
    """Whether `store` begins the results of another element than `stores`. Elements with several results are finished
    one by one, or there would be more values than registers; who reads other elements of what is updated in place goes
    through a copy (see `schedule.plan`). Single results stay together: their reads wait for memory at the same time."""
    buffers = {earlier.buffer for earlier in stores}
    return len(buffers) > 1 and store.buffer in buffers


def fold_rounds(lanes: int) -> list[tuple[list[int], list[int]]]:
    """The shuffles of every round of a fold: (lanes of a then b) for the two vectors that are combined.

    Inside a group of four lanes (one 128-bit register of float32) both rounds are unpack instructions, between groups
    every second one is picked; the order comes out right: lane j of the last vector belongs to register j.
    """
    rounds: list[tuple[list[int], list[int]]] = []
    groups = range(0, lanes, 4)
    for low in ((0, lanes, 1, lanes + 1), (0, 1, lanes, lanes + 1)):
        rounds.append(([g + k for g in groups for k in low], [g + k + 2 for g in groups for k in low]))
    for _ in range((lanes // 4).bit_length() - 1):
        even = [g + k for start in (0, lanes) for g in range(start, start + lanes, 8) for k in range(4)]
        rounds.append((even, [k + 4 for k in even]))
    return rounds
