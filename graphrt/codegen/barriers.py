"""Where threads must wait for each other: between kernels whose data crosses threads, and nowhere else.

In: kernels in execution order with the memory of their buffers. Out: for each kernel whether a barrier precedes it.

Every thread walks the same contiguous chunk of a parallel loop of a given extent, so two kernels that both cut a
buffer into equal chunks along loops of equal extent touch it thread by thread: no barrier is needed between them. The
test is made on addresses: within one iteration all addresses must lie inside one chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..loops import ir
from ..loops.index import Var


@dataclass(frozen=True)
class Region:
    """Memory a buffer occupies: a name space ("arena" or a binding) and a byte range in it."""

    space: str
    start: int
    stop: int

    def overlaps(self, other: Region) -> bool:
        return self.space == other.space and self.start < other.stop and other.start < self.stop


@dataclass(frozen=True)
class Use:
    """One kernel's reads or writes of one of its buffers. `owner` says which thread touches what: ("serial",), ("chunks", loop extent,
    bytes per iteration), or ("any",) when threads may touch each other's parts."""

    buffer: ir.Buffer
    writes: bool
    owner: tuple


@dataclass(frozen=True)
class Access:
    """A `Use` of the memory the buffer is bound to."""

    region: Region
    writes: bool
    owner: tuple


def kernel_uses(kernel: ir.Kernel) -> list[Use]:
    """How `kernel` uses each of its buffers."""
    owners: dict[tuple[ir.Buffer, bool], set[tuple]] = {}
    for buffer, writes, address, parallel in _touches(kernel.body, None):
        if buffer in kernel.scratch:  # no other thread's business
            continue
        if kernel.serial:
            owner: tuple = ("serial",)
        else:
            owner = _owner(buffer, address, parallel)
        owners.setdefault((buffer, writes), set()).add(owner)
    return [
        Use(buffer, writes, found.copy().pop() if len(found) == 1 else ("any",))
        for (buffer, writes), found in owners.items()
    ]


def _owner(buffer: ir.Buffer, address, parallel: Var | None) -> tuple:
    if parallel is None:
        return ("any",)
    step = address.coefficient(parallel)
    rest = address - step * _index(parallel)
    if step <= 0 or parallel in rest.vars() or rest.low < 0 or rest.high >= step:
        return ("any",)
    return ("chunks", parallel.extent, step * buffer.dtype.size)


def _index(var: Var):
    from ..loops.index import as_index

    return as_index(var)


def _touches(body: Sequence[ir.Statement], parallel: Var | None) -> Iterator[tuple]:
    """(buffer, writes, address, enclosing parallel variable) of every memory access."""
    seen: set[int] = set()
    for statement in body:
        if isinstance(statement, ir.Loop):
            yield from _touches(statement.body, statement.var if statement.kind == "parallel" else parallel)
        elif isinstance(statement, ir.Store):
            yield statement.buffer, True, statement.address, parallel
            yield from _loads([statement.value], parallel, seen)
        elif isinstance(statement, ir.Assign):
            yield from _loads([statement.value], parallel, seen)


def _loads(roots: list[ir.Scalar], parallel: Var | None, seen: set[int]) -> Iterator[tuple]:
    stack = list(roots)
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, ir.Load):
            yield node.buffer, False, node.address, parallel
        stack.extend(ir.children(node))


def accesses(kernel: ir.Kernel, regions: Sequence[Region], uses: Sequence[Use] | None = None) -> list[Access]:
    """What `kernel` touches; `regions` in the order of its buffers, `uses` if they are already known."""
    region_of = dict(zip(kernel.buffers, regions))
    uses = kernel_uses(kernel) if uses is None else uses
    return [Access(region_of[use.buffer], use.writes, use.owner) for use in uses]


def barriers(kernels: Sequence[ir.Kernel], regions: Sequence[Sequence[Region]]) -> list[bool]:
    """For each kernel, whether all threads must have finished the kernels before it."""
    result = []
    pending: list[Access] = []
    uses: dict[ir.Kernel, list[Use]] = {}
    for kernel, places in zip(kernels, regions):
        if kernel not in uses:
            uses[kernel] = kernel_uses(kernel)
        new = accesses(kernel, places, uses[kernel])
        wait = any(_conflict(old, access) for access in new for old in pending)
        if wait:
            pending = []
        pending += new
        result.append(wait)
    return result


def _conflict(a: Access, b: Access) -> bool:
    if not (a.writes or b.writes) or not a.region.overlaps(b.region):
        return False
    return a.owner == ("any",) or a.owner != b.owner or a.region.start != b.region.start
