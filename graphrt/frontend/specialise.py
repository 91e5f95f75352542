"""One compiled graph per kind of call: shapes, dtypes, Python arguments, flags and globals select the version.

In: a function or Cell and its arguments. Out: the function's result, computed by the matching executable, which is
traced and compiled when there is none yet. `specialisations` lists the versions with the reason each was made.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..context import compilation_settings, get_context
from ..ir import TensorType
from .cell import Cell
from .guards import Guard, Guards, collect, freeze, thaw
from .tensor import Tensor
from .trace import Traced, array_of, split_arguments, trace, type_of
from .tree import Slot

_TENSORS = frozenset((Tensor,))
MANY = 16  # versions of one function after which a warning says that something changes at every call


class Specialisation:
    """One compiled version. `reason`: why it was made; `calls`: how often it ran."""

    def __init__(
        self, reason: str, signature: tuple[Any, ...], traced: Traced, guards: list[Guard], executable: Any
    ):
        self.reason, self.signature, self.traced, self.guards = reason, signature, traced, guards
        self.calls = 0
        self._guards = Guards(guards)
        self._executable = executable
        self._state = traced.state

    @property
    def graph(self) -> Any:
        return self.traced.graph

    def holds(self) -> bool:
        """Whether everything the trace relied on is still so."""
        return self._guards.hold()

    def run(self, arrays: list[np.ndarray]) -> Any:
        """The function's result; parameters are updated in place."""
        self.calls += 1
        return self.traced.restore(self._executable(*arrays, state=self._state))

    def __repr__(self) -> str:
        inputs = ", ".join(f"{n.op.label}: {n.type.describe()}" for n in self.graph.data_inputs)  # type: ignore[attr-defined]
        return f"<{self.graph.name}({inputs}): {self.reason}; {self.calls} calls>"


class Specialiser:
    """The compiled versions of one function or Cell. `reads`: the user's function, if `function` wraps it. `tune`: see
    `graphrt.compile`."""

    def __init__(self, function: Callable[..., Any], name: str, reads: Any = None, tune: bool = False):
        self.function, self.name, self._tune = function, name, tune
        self._reads = function if reads is None else reads
        self.specialisations: list[Specialisation] = []
        self._by_signature: dict[Any, list[Specialisation]] = {}
        self._plain: dict[int, tuple[Any, Any]] = {}
        self._latest: tuple[Any, Specialisation | None] = (
            (),
            None,
        )  # what ran last, by `_kind` of its arguments

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if kwargs or not _TENSORS.issuperset(map(type, args)):
            return self._run(args, kwargs, None)
        arrays = list(
            map(array_of, args)
        )  # the usual call, in a loop like the last one: nothing to look into
        kind = _kind(arrays)
        known, version = self._latest
        if version is None or known != kind or not version.holds():
            return self._run(args, kwargs, kind)
        return version.run(arrays)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any], kind: Any) -> Any:
        """The call by the version that fits, found by a full look at the arguments, or by a new one."""
        if kind is not None:
            leaves: list[Any] = list(args)
            structure, frozen = self._plain_structure(len(args))
        else:
            leaves, structure = split_arguments(args, kwargs)
            frozen = freeze(structure)
        types = tuple(type_of(leaf) for leaf in leaves)
        signature = (types, frozen, tuple(compilation_settings().items()))
        versions = self._by_signature.setdefault(signature, [])
        # newest first: after a rebound global or a flipped flag the latest version is the likeliest
        version = next((version for version in reversed(versions) if version.holds()), None)
        if version is None:
            version = self._specialise(args, kwargs, signature, structure)
            versions.append(version)
        self._latest = kind, (version if kind is not None else None)
        return version.run([array_of(leaf) for leaf in leaves])

    def _plain_structure(self, count: int) -> tuple[Any, Any]:
        """The structure of a call with `count` Tensors, and the same frozen."""
        found = self._plain.get(count)
        if found is None:
            structure: Any = (tuple(map(Slot, range(count))), {})
            found = self._plain[count] = structure, freeze(structure)
        return found

    def _specialise(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], signature: tuple[Any, ...], structure: Any
    ) -> Specialisation:
        from ..compiler import compile_graph

        reason = self._reason(signature)
        target = _Construct(self.function) if isinstance(self.function, Cell) else self.function
        traced = trace(target, args, kwargs, name=self.name if self.name.isidentifier() else "graph")
        guards = collect(self._reads, traced.cells, structure, traced.captured)
        tune = self._tune or traced.is_tuned
        executable = compile_graph(traced.graph, threads=get_context("threads"), tune=tune)
        version = Specialisation(reason, signature, traced, guards, executable)
        self.specialisations.append(version)
        if len(self.specialisations) == MANY:
            warnings.warn(
                f"{self.name} was compiled {MANY} times; the last reason: {reason}. Pass values that change at every "
                "call as Tensors, and keep shapes the same where possible.",
                stacklevel=4,
            )
        return version

    def _reason(self, signature: tuple[Any, ...]) -> str:
        """What is new compared with the version made last for these argument types, or made last at all."""
        if not self.specialisations:
            return "first call"
        known = self._by_signature.get(signature)
        if known:
            changes = [guard.change() for guard in known[-1].guards if not guard.holds()]
            return changes[0] if changes else "something the function reads changed"
        return _difference(self.specialisations[-1].signature, signature)


def _kind(arrays: list[np.ndarray]) -> Any:
    """What the version for these arrays depends on, cheap to make and to compare."""
    return [*[(array.shape, array.dtype) for array in arrays], *compilation_settings().values()]


class _Construct:
    """A Cell's `construct`, entered through the Cell's own scope but not through its compiled calls."""

    def __init__(self, cell: Cell):
        self.construct = cell.construct
        self._cell = cell

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._cell._run_construct(args, kwargs)


def _difference(old: tuple[Any, ...], new: tuple[Any, ...]) -> str:
    old_types, old_static, old_settings = old
    types, static, settings = new
    if len(old_types) != len(types):
        return f"number of tensor arguments changed from {len(old_types)} to {len(types)}"
    for position, (before, after) in enumerate(zip(old_types, types)):
        if before != after:
            return f"tensor argument {position} changed from {_text(before)} to {_text(after)}"
    if old_static != static:
        return f"Python arguments changed from {_call(old_static)} to {_call(static)}"
    changed = [
        f"{name} changed from {before!r} to {after!r}"
        for (name, before), (_, after) in zip(old_settings, settings)
        if before != after
    ]
    return ", ".join(changed)


def _call(structure: tuple[Any, ...]) -> str:
    """The frozen (args, kwargs) of a call as they would be written."""
    _, (_, *args), (_, *kwargs) = structure
    return f"({', '.join([*map(thaw, args), *(f'{name[1]}={thaw(value)}' for name, value in kwargs)])})"


def _text(type: TensorType) -> str:
    return type.describe()
