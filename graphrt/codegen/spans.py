"""Which bytes of its buffers each thread of a kernel touches.

In: a kernel, how many threads run it. Out: for every buffer, apart for reads and writes, the `Spans` of each thread: byte
ranges in ascending order that together hold every byte the thread may touch. They may hold more (where bounds of loops,
masks or positions depend on data, and where there would be too many ranges), never less.

A parallel loop gives thread t of n the iterations extent * t // n up to extent * (t + 1) // n, so that the last threads
have the larger shares; a single iteration, such as the rest behind whole tiles, is thread 0's. Addresses are sums of
multiples of loop variables, so the bytes of one access are a range per combination of the outer variables:

    [4][64][16] floats, second axis split over 2 threads     thread 0: 0..2047, 4096..6143, 8192..10239, ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..loops import ir
from ..loops.index import Atom, Index, Var, as_index, replace

Spans = tuple[tuple[int, int], ...]
Terms = tuple[tuple[Atom, int], ...]

RANGES = 256  # per access and thread: beyond, neighbouring ranges become one


class KernelSpans:
    """The bytes one kernel touches, computed for a buffer when they are asked for."""

    def __init__(self, kernel: ir.Kernel):
        self._addresses: dict[tuple[ir.Buffer, bool], dict[Var | None, dict[Terms, set[int]]]] = {}
        self._active: dict[Var, int] = {}
        self._known: dict[tuple[ir.Buffer, bool, int], tuple[Spans, ...]] = {}
        for buffer, writes, address, parallel in _touches(kernel.body, None, self._active):
            if buffer not in kernel.scratch:  # no other thread's business
                found = self._addresses.setdefault((buffer, writes), {}).setdefault(parallel, {})
                found.setdefault(address.terms, set()).add(address.constant)

    @property
    def uses(self) -> list[tuple[ir.Buffer, bool]]:
        """The buffers the kernel reads (buffer, False) and writes (buffer, True)."""
        return list(self._addresses)

    def of(self, buffer: ir.Buffer, writes: bool, threads: int) -> tuple[Spans, ...]:
        """The bytes of `buffer` each of `threads` threads may read, or write."""
        key = buffer, writes, threads
        if key not in self._known:
            parts: list[list[tuple[int, int]]] = [[] for _ in range(threads)]
            for parallel, addresses in self._addresses[buffer, writes].items():
                for terms, constants in addresses.items():
                    spans = _by_thread(terms, constants, buffer, parallel, self._active, threads)
                    for part, found in zip(parts, spans):
                        part += found
            self._known[key] = tuple(merged(part) for part in parts)
        return self._known[key]


def share(extent: int, thread: int, threads: int) -> tuple[int, int]:
    """The iterations of a parallel loop that one of the threads runs: the first, and the one behind the last."""
    if extent == 1:
        return (0, 1) if thread == 0 else (1, 1)
    return extent * thread // threads, extent * (thread + 1) // threads


def _by_thread(
    terms: Terms,
    constants: set[int],
    buffer: ir.Buffer,
    parallel: Var | None,
    active: dict[Var, int],
    threads: int,
) -> Iterator[Spans]:
    """The bytes of each thread for addresses that differ in a constant only."""
    size = buffer.dtype.size
    limit = buffer.elements * size
    whole = None
    for thread in range(threads):
        if parallel is None:
            whole = whole or _bytes(terms, constants, size, limit, active)
            yield whole
            continue
        first, end = share(parallel.extent, thread, threads)
        if first == end:
            yield ()
            continue
        own = Var("own", end - first)
        mine = replace(Index(terms), {parallel: as_index(own) + first})
        yield _bytes(mine.terms, {c + mine.constant for c in constants}, size, limit, active)


def _bytes(terms: Terms, constants: Iterable[int], size: int, limit: int, active: dict[Var, int]) -> Spans:
    """The bytes, within 0 .. limit - 1, of elements of `size` bytes at the positions `terms` + one of `constants`."""
    start = 0
    steps: list[tuple[int, int]] = []  # (bytes, count) of every term, bytes > 0
    for atom, factor in terms:
        low, high = atom.low, atom.high
        if isinstance(atom, Var) and atom in active:
            high = min(high, active[atom] - 1)
        start += factor * (low if factor > 0 else high) * size
        if high > low:
            steps.append((abs(factor) * size, high - low + 1))
    spans: list[tuple[int, int]] = [(0, size)]
    for step, count in sorted(steps):
        begin, stop = spans[0][0], spans[-1][1]
        if (len(spans) == 1 and step <= stop - begin) or len(spans) * count > RANGES:
            spans = [(begin, stop + step * (count - 1))]
        else:
            spans = list(merged((a + step * k, b + step * k) for k in range(count) for a, b in spans))
    ordered = sorted(constants)
    if len(spans) * len(ordered) > 16 * RANGES:
        spans = [(spans[0][0], spans[-1][1])]
    moved = merged((a + start + c * size, b + start + c * size) for c in ordered for a, b in spans)
    inside = tuple((max(a, 0), min(b, limit)) for a, b in moved if a < limit and b > 0)
    return inside if len(inside) <= RANGES else ((inside[0][0], inside[-1][1]),)


def merged(spans: Iterable[tuple[int, int]]) -> Spans:
    """The same bytes as ranges in ascending order that neither overlap nor touch."""
    result: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if result and start <= result[-1][1]:
            if stop > result[-1][1]:
                result[-1] = (result[-1][0], stop)
        else:
            result.append((start, stop))
    return tuple(result)


def meet(a: Spans, b: Spans, shift: int = 0) -> bool:
    """Whether the ranges around `a` and around `b`, the latter moved by `shift` bytes, have a byte in common."""
    return bool(a and b) and a[0][0] < b[-1][1] + shift and b[0][0] + shift < a[-1][1]


def _touches(
    body: Sequence[ir.Statement], parallel: Var | None, active: dict[Var, int]
) -> Iterator[tuple[ir.Buffer, bool, Index, Var | None]]:
    """(buffer, writes, address, enclosing parallel variable) of every memory access. `active` learns how many lanes of
    vector variables count, where all loops over the variable agree."""
    seen: set[int] = set()
    for statement in body:
        if isinstance(statement, ir.Loop):
            if statement.kind == "vector":
                lanes = statement.var.extent if statement.active is None else statement.active
                active[statement.var] = max(active.get(statement.var, 0), lanes)
            yield from _touches(
                statement.body, statement.var if statement.kind == "parallel" else parallel, active
            )
        elif isinstance(statement, ir.Store):
            yield statement.buffer, True, statement.address, parallel
            roots = (
                [statement.value] if statement.predicate is None else [statement.value, statement.predicate]
            )
            roots += ir.computed(statement.address)
            yield from _loads(roots, parallel, seen)
        elif isinstance(statement, ir.Assign):
            yield from _loads([statement.value], parallel, seen)


def _loads(
    roots: list[ir.Scalar], parallel: Var | None, seen: set[int]
) -> Iterator[tuple[ir.Buffer, bool, Index, Var | None]]:
    stack = list(roots)
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, ir.Load):
            yield node.buffer, False, node.address, parallel
        stack.extend(ir.children(node))
