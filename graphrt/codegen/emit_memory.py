"""Loads and stores: addresses from the kernel's pointer arguments, and whole vectors, masked ones, gathers, scatters.

In: a buffer, an index and perhaps a condition. Out: a value in registers, or an instruction that stores one. The index
decides the access: lanes that share an element, neighbours in memory, or anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..dtypes import DType, bool_
from ..loops import ir
from ..loops.index import Computed, Index
from .emit_index import IndexEmitter
from .emit_text import I1, I8, I32, POINTER, Type, Value
from .target import Instructions

MOST_STRIDE = 4  # between lanes up to which loading everything in between beats a gather
_LOOKUPS = {16: "llvm.x86.avx512.permvar.sf.512", 8: "llvm.x86.avx2.permps"}  # by float32 lanes
Access = Literal["uniform", "contiguous", "varying"]


class MemoryEmitter(IndexEmitter):
    """Reads and writes the buffers, which are the function's arguments in order."""

    def __init__(self, lanes: int, buffers: Sequence[ir.Buffer], instructions: Instructions):
        super().__init__(lanes)
        self.instructions = instructions
        self.pointers = {buffer: f"%b{k}" for k, buffer in enumerate(buffers)}
        self.written: set[ir.Buffer] = (
            set()
        )  # those the function stores to: what was read from them may be outdated

    # ---- loads

    def load(self, buffer: ir.Buffer, address: Index, predicate: Value | None) -> Value:
        """buffer[address] where `predicate` holds, else zero. A uniform load under a uniform predicate gives
        any element where it does not hold: whoever reads it selects."""
        access, start = self._access(address)
        element = Type(buffer.dtype.llvm)
        if access == "uniform" and (predicate is None or not predicate.lanes):
            pointer = self._pointer(buffer, start)
            if predicate is not None:
                pointer = self.instruction(f"select {predicate}, ptr {pointer}, ptr {self.pointers[buffer]}")
            value = self.value(f"load {element}, ptr {pointer}, align {buffer.dtype.size}", element)
            return self._from_memory(value, buffer.dtype)
        mask = self.mask(predicate)
        vector = self.vector(element.element)
        picked = self._picked_load(buffer, address, predicate, mask) if access == "varying" else None
        if picked is not None:
            value = picked
        elif access != "contiguous" or (mask is not None and self._is_wide(buffer.dtype.size)):
            value = self._gather(buffer, address, mask)
        else:
            pointer = self._pointer(buffer, start)
            if mask is None:
                value = self.value(f"load {vector}, ptr {pointer}, align {buffer.dtype.size}", vector)
            else:
                value = self._masked_load(vector, pointer, mask, buffer.dtype.size)
        return self._from_memory(value, buffer.dtype)

    def _masked_load(self, vector: Type, pointer: str, mask: Value, align: int) -> Value:
        name = f"llvm.masked.load.{vector.suffix}.p0"
        arguments = (Value(pointer, POINTER), _alignment(align), mask, Value(vector.zero, vector))
        return self.value(self._masked_call(str(vector), name, *arguments), vector)

    def _picked_load(
        self, buffer: ir.Buffer, address: Index, predicate: Value | None, mask: Value | None
    ) -> Value | None:
        """Elements that lie so close together that loading everything around them beats a gather."""
        if mask is None:
            row = self._row_lookup(buffer, address)
            return row if row is not None else self._strided_load(buffer, address)
        whole = predicate is None or not predicate.lanes
        return self._row_lookup(buffer, address) if whole else None

    def _row_lookup(self, buffer: ir.Buffer, address: Index) -> Value | None:
        """Every lane's own element of one row as long as a vector register; None where that would leave the buffer."""
        varying = [(atom, factor) for atom, factor in address.terms if self.is_varying(Index({atom: 1}))]
        if not self.instructions.lookups or len(varying) != 1 or buffer.dtype.llvm != "float":
            return None
        ((atom, factor),) = varying
        start = address - Index({atom: 1})
        inside = start.low >= 0 and start.high + self.lanes <= buffer.elements
        if not isinstance(atom, Computed) or factor != 1 or atom.extent > self.lanes or not inside:
            return None
        name = _LOOKUPS.get(self.lanes)
        if name is None:
            return None
        vector = self.vector("float")
        key = ("row", buffer, start)
        row = self.recall(key)
        if row is None:
            row = self.value(f"load {vector}, ptr {self._pointer(buffer, start)}, align 4", vector)
            if buffer not in self.written:
                self.remember(key, row)
        return self.call(vector, name, row, self.varying_index(Index({atom: 1}), "i32"))

    def _strided_load(self, buffer: ir.Buffer, address: Index) -> Value | None:
        """Every second (to fourth) element by whole loads and shuffles; None where that would leave the buffer. Loads
        begin at a multiple of the stride, so that neighbours such as the halves of pairs share them."""
        assert self.vector_variable is not None
        stride = address.coefficient(self.vector_variable)
        rest = address - Index({self.vector_variable: stride})
        if not 2 <= stride <= MOST_STRIDE or self.is_varying(rest):
            return None
        phase = rest.constant % stride
        start = rest - phase
        if start.low < 0 or start.high + stride * self.lanes > buffer.elements:
            return None
        vector = self.vector(buffer.dtype.llvm)
        loads = []
        for k in range(stride):
            key = ("strided", buffer, start, k)
            loaded = self.recall(key)
            if loaded is None:
                pointer = self._pointer(buffer, start + k * self.lanes)
                loaded = self.value(f"load {vector}, ptr {pointer}, align {buffer.dtype.size}", vector)
                if buffer not in self.written:
                    self.remember(key, loaded)
            loads.append(loaded)
        picked, count = loads[0], self.lanes
        for k in range(1, stride):  # vectors side by side in one twice (thrice) as long
            both = Type(vector.element, count + self.lanes)
            wide = self._widened(loads[k], count) if count > self.lanes else loads[k]
            order = [*range(count), *range(count, count + self.lanes)]
            picked = self._shuffle(picked, wide, order, both)
            count += self.lanes
        order = [phase + stride * lane for lane in range(self.lanes)]
        return self._shuffle(picked, picked, order, vector)

    def _widened(self, x: Value, count: int) -> Value:
        """x in the first lanes of a vector of `count` lanes."""
        order = [min(k, self.lanes) for k in range(count)]
        return self._shuffle(x, x, order, Type(x.type.element, count))

    def _shuffle(self, x: Value, y: Value, order: Sequence[int], type_: Type) -> Value:
        mask = ", ".join(f"i32 {k}" for k in order)
        return self.value(f"shufflevector {x}, {y}, <{len(order)} x i32> <{mask}>", type_)

    def _gather(self, buffer: ir.Buffer, address: Index, mask: Value | None) -> Value:
        pointers = self._lane_pointers(buffer, address)
        vector = self.vector(buffer.dtype.llvm)
        name = f"llvm.masked.gather.{vector.suffix}.{pointers.type.suffix}"
        arguments = (
            pointers,
            _alignment(buffer.dtype.size),
            mask or self._all_lanes(),
            Value(vector.zero, vector),
        )
        return self.value(self._masked_call(str(vector), name, *arguments), vector)

    # ---- stores

    def store(self, buffer: ir.Buffer, address: Index, value: Value, predicate: Value | None) -> None:
        """buffer[address] = value where `predicate` holds. Stores to one address by all lanes have no predicate."""
        access, start = self._access(address)
        align = buffer.dtype.size
        if access == "uniform":
            if value.lanes:
                raise AssertionError(f"a vector value stored to one address of {buffer.name}")
            value = self._to_memory(value, buffer.dtype)
            self.perform(f"store {value}, ptr {self._pointer(buffer, start)}, align {align}")
            return
        value = self._to_memory(self.splat(value), buffer.dtype)
        mask = self.mask(predicate)
        if access != "contiguous" or (mask is not None and self._is_wide(align)):
            self._scatter(buffer, address, value, mask)
            return
        pointer = self._pointer(buffer, start)
        if mask is None:
            self.perform(f"store {value}, ptr {pointer}, align {align}")
        else:
            self._masked_store(value, pointer, mask, align)

    def _masked_store(self, value: Value, pointer: str, mask: Value, align: int) -> None:
        name = f"llvm.masked.store.{value.type.suffix}.p0"
        self.perform(self._masked_call("void", name, value, Value(pointer, POINTER), _alignment(align), mask))

    def _scatter(self, buffer: ir.Buffer, address: Index, value: Value, mask: Value | None) -> None:
        pointers = self._lane_pointers(buffer, address)
        name = f"llvm.masked.scatter.{value.type.suffix}.{pointers.type.suffix}"
        arguments = (value, pointers, _alignment(buffer.dtype.size), mask or self._all_lanes())
        self.perform(self._masked_call("void", name, *arguments))

    # ---- hints

    def prefetch(self, buffer: ir.Buffer, address: Index, write: bool, near: bool) -> None:
        """A hint to bring the cache line of buffer[address] (of lane 0) close: into every cache level if `near`, else into
        L2. The address may lie outside the buffer."""
        _, start = self._access(address)
        offset = self.uniform_index(start)
        pointer = self.instruction(
            f"getelementptr {buffer.dtype.llvm}, ptr {self.pointers[buffer]}, i64 {offset}"
        )
        name, flag = "llvm.prefetch.p0", "i32 immarg"
        self.declare("void", name, "ptr", flag, flag, flag)
        self.perform(f"call void @{name}(ptr {pointer}, i32 {int(write)}, i32 {3 if near else 2}, i32 1)")

    # ---- addresses

    def _access(self, address: Index) -> tuple[Access, Index]:
        """How the lanes of the vector loop touch memory, and the address: of lane 0 if they are neighbours."""
        vector = self.vector_variable
        if vector is None or not self.is_varying(address):
            return "uniform", address
        factor = address.coefficient(vector)
        rest = address - Index({vector: factor})
        if factor != 1 or self.is_varying(rest):
            return "varying", address
        return "contiguous", rest

    def _pointer(self, buffer: ir.Buffer, index: Index) -> str:
        """The address of a uniform element: a shared base plus a constant offset the instruction can encode."""
        base_key = ("pointer", buffer, index.terms)
        base = self.recall(base_key)
        if base is None:
            base = self.pointers[buffer]
            if index.terms:
                offset = self.uniform_terms(index.terms)
                base = self.instruction(
                    f"getelementptr inbounds {buffer.dtype.llvm}, ptr {base}, i64 {offset}"
                )
            self.remember(base_key, base)
        if not index.constant:
            return base
        return self.instruction(
            f"getelementptr inbounds {buffer.dtype.llvm}, ptr {base}, i64 {index.constant}"
        )

    def _lane_pointers(self, buffer: ir.Buffer, address: Index) -> Value:
        """An address per lane."""
        index = self.varying_index(address, "i32" if buffer.elements < 2**31 else "i64")
        base = self.pointers[buffer]
        return self.value(
            f"getelementptr inbounds {buffer.dtype.llvm}, ptr {base}, {index}", self.vector("ptr")
        )

    # ---- masks

    def mask(self, predicate: Value | None) -> Value | None:
        """The lanes in which memory may be touched: active ones where the predicate holds. None for all."""
        if self.active is None:
            return self.splat(predicate) if predicate is not None else None
        active = self._first_lanes(self.active)
        if predicate is None:
            return active
        return self.value(f"and {self.splat(predicate)}, {active.text}", active.type)

    def _first_lanes(self, count: int) -> Value:
        bits = ", ".join(f"i1 {'true' if lane < count else 'false'}" for lane in range(self.lanes))
        return Value(f"<{bits}>", self.vector(I1.element))

    def _all_lanes(self) -> Value:
        return self._first_lanes(self.lanes)

    def _masked_call(self, result: str, name: str, *arguments: Value) -> str:
        """A call of a masked intrinsic, declared; its only i32 is the alignment, which must be a constant."""
        types = ["i32 immarg" if argument.type == I32 else str(argument.type) for argument in arguments]
        self.declare(result, name, *types)
        return f"call {result} @{name}({', '.join(map(str, arguments))})"

    def _is_wide(self, element_bytes: int) -> bool:
        """Whether masked accesses must go lane by lane: vectors of two AVX2 registers with 64-bit elements.

        LLVM 22 selects an unmasked load (or fails an assertion, which ends the process) for <4 x double> on AVX and AVX2
        if it finds only during selection that the mask is all false, as it does for the upper half of a short tail
        (test: test_masks_of_two_registers). Gathers and scatters are right.
        """
        return self.lanes == 8 and element_bytes == 8

    # ---- values in memory

    def _from_memory(self, value: Value, dtype: DType) -> Value:
        if dtype != bool_:
            return value
        return self.value(f"icmp ne {value}, {value.type.zero}", value.type.of(I1.element))

    def _to_memory(self, value: Value, dtype: DType) -> Value:
        if dtype != bool_:
            return value
        byte = value.type.of(I8.element)
        return self.value(f"zext {value} to {byte}", byte)


def _alignment(size: int) -> Value:
    """Buffers may begin at any element, so no vector access assumes more than the alignment of an element."""
    return Value(str(size), I32)
