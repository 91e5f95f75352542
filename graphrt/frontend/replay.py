"""Calls of Cells that a trace has seen, so that the gradient of a forward that already ran does not run it again.

In: every call of a Cell inside a trace. Out: for the calls that assigned Parameters (moving statistics, random keys),
what they met and what they left, and `replaying`, a scope in which such a call starts from what it met the first time.

    loss = self.network(data, label)                            # draws a dropout mask, moves batch statistics
    grads = self.grad(self.network, weights)(data, label, sens) # the same forward, in MindSpore's spelling

The second line traces the network once more. Inside `replaying` the call finds every Parameter as the first call found
it, so it adds the very nodes that are there already (`merge_duplicates` makes one of each pair), and its assignments,
which repeat those of the first call, are dropped: one mask, one update, one forward at run time. Rewinding state
instead of reusing the recorded result keeps the arguments and weights of the gradient call nodes of their own, which
is what separates them from other uses of the same tensors. A plain second call outside a gradient is a second forward,
as written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..ir import Node
from .tensor import Tensor
from .tree import flatten

if TYPE_CHECKING:
    from .cell import Cell
    from .trace import Trace


@dataclass(frozen=True, eq=False)
class RecordedCall:
    """One call that assigned Parameters. `reads`: id(parameter) -> the value it met; `writes`: id(parameter) -> the
    values before and after; `arguments`: keeps alive what the call's key names by identity."""

    reads: dict[int, Node]
    writes: dict[int, tuple[Node, Node]]
    arguments: Any


class Calls:
    """The recorded calls of one trace."""

    def __init__(self) -> None:
        self._records: dict[Any, list[RecordedCall]] = {}
        self._running: list[dict[int, Node]] = []  # per running call: what it read first
        self._replaying = False
        self._originals: dict[Node, Node] = {}

    def read(self, parameter: int, value: Node) -> None:
        """Every running call reads this value of a Parameter, named by its id."""
        for reads in self._running:
            reads.setdefault(parameter, value)

    def copied(self, copy: Node, original: Node) -> None:
        """`copy` stands for the same value as `original`; see `GradientFunction._own_arguments`."""
        self._originals[copy] = original

    def _original(self, node: Node) -> Node:
        while node in self._originals:
            node = self._originals[node]
        return node

    @contextmanager
    def replaying(self, active: bool = True) -> Iterator[None]:
        """Calls inside start from the state the recorded call with the same arguments started from."""
        before, self._replaying = self._replaying, active
        try:
            yield
        finally:
            self._replaying = before

    def run(self, trace: Trace, cell: Cell, args: Any, kwargs: Any, construct: Callable[[], Any]) -> Any:
        """The result of `construct`, the call cell(*args, **kwargs)."""
        if self._replaying:
            known = self._records.get(self._key(cell, args, kwargs), [])
            found = self._untouched(trace, known)
            if found is not None:
                return self._replay(trace, found, construct)
            # a call whose Parameters were assigned meanwhile is a new forward, with all the Cells inside it
            with self.replaying(not known):
                return self._recorded(trace, cell, args, kwargs, construct)
        return self._recorded(trace, cell, args, kwargs, construct)

    def _recorded(
        self, trace: Trace, cell: Cell, args: Any, kwargs: Any, construct: Callable[[], Any]
    ) -> Any:
        before = dict(trace.latest)
        reads: dict[int, Node] = {}
        self._running.append(reads)
        try:
            result = construct()
        finally:
            self._running.pop()
        writes = {}
        for parameter, after in trace.latest.items():
            met = before.get(parameter, trace.states[parameter][1])
            if after is not met:
                writes[parameter] = (met, after)
        if writes:
            record = RecordedCall(reads, writes, (cell, args, kwargs))
            self._records.setdefault(self._key(cell, args, kwargs), []).append(record)
        return result

    def _key(self, cell: Cell, args: Any, kwargs: Any) -> Any:
        from .guards import freeze

        leaves, structure = flatten((args, kwargs), lambda value: isinstance(value, Tensor))
        names = [id(t) if t._node is None else id(self._original(t._node)) for t in leaves]
        return id(cell), tuple(names), freeze(structure)

    def _untouched(self, trace: Trace, calls: list[RecordedCall]) -> RecordedCall | None:
        """The latest of `calls` after which nobody assigned what it read or wrote."""

        def untouched(call: RecordedCall) -> bool:
            versions = call.reads | {p: after for p, (_, after) in call.writes.items()}
            return all(
                self._original(trace.latest[p]) is self._original(value) for p, value in versions.items()
            )

        return next((call for call in reversed(calls) if untouched(call)), None)

    def _replay(self, trace: Trace, call: RecordedCall, construct: Callable[[], Any]) -> Any:
        trace.latest.update({p: before for p, (before, _) in call.writes.items()})
        try:
            with self.replaying(False):  # Cells inside are part of the rewound call
                return construct()
        finally:
            trace.latest.update({p: after for p, (_, after) in call.writes.items()})
