"""The memory a program runs in, and the checks every array passes before native code may touch it.

In: a `Program`, the caller's arrays. Out: a filled frame with binding pointers, or an error naming the array.
"""

from __future__ import annotations

import bisect
import ctypes
import operator
from collections.abc import Mapping, Sequence

import numpy as np

from ..codegen import driver, meeting
from ..codegen.lowered import Binding, LoweredStep
from ..dtypes import as_dtype
from ..errors import ArgumentError, DTypeError, GraphrtError, ShapeError
from . import memory
from .program import Program
from .workers import default_threads


class Workspace:
    """The memory a program runs in: frame, barrier, arena, constants, and the binding pointers of each step."""

    def __init__(self, program: Program, threads: int | None):
        self.program = program
        self.threads = _thread_count(program.steps, max(1, threads or default_threads()))
        self._arena = memory.arena(
            max(step.arena_bytes + step.scratch_bytes * self.threads for step in program.steps)
        )
        self._barrier = memory.aligned_bytes(meeting.BARRIER_BYTES, meeting.LINE)
        self._frame_memory = memory.aligned_bytes(ctypes.sizeof(driver.Frame), meeting.LINE)
        self._frame_memory[:] = 0
        self.frame = driver.Frame.from_buffer(self._frame_memory.data)
        self.address = ctypes.addressof(self.frame)
        self.frame.arena = memory.address(self._arena)
        self.frame.barrier = memory.address(self._barrier)
        self.frame.threads = self.threads
        # Spinning only pays while every thread has a CPU; otherwise it keeps the others from arriving.
        self._spins = meeting.PATIENCE if self.threads <= default_threads() else 0
        self.states: dict[str, np.ndarray] = {}  # the bound arrays of the caller
        self._updated = {label for step in program.steps for label in step.updates}
        self._state_labels = sorted(
            {binding.label for step in program.steps for _, binding in step.positions("state")}
        )
        self._bound_states: list[object] = [_UNBOUND] * len(self._state_labels)
        self._updated_starts: list[int] = []
        self._updated_ends: list[int] = []
        self._constants: list[np.ndarray] = []
        self.pointers = []
        for number, step in enumerate(program.steps):
            pointers = (ctypes.c_uint64 * max(1, len(step.bindings)))()
            for k, binding in step.positions("constant"):
                pointers[k] = memory.address(self._constant(binding))
            setattr(self.frame, f"bindings{number}", ctypes.addressof(pointers))
            self.pointers.append(pointers)

    def _constant(self, binding: Binding) -> np.ndarray:
        value = memory.aligned_empty(binding.type)
        value[...] = binding.value
        self._constants.append(value)
        return value

    def own_outputs(self, step: LoweredStep, pointers: ctypes.Array) -> list[np.ndarray]:
        """Persistent arrays for the outputs of a step, bound for good."""
        arrays = []
        for k, binding in step.positions("output"):
            arrays.append(memory.aligned_empty(binding.type))
            pointers[k] = memory.address(arrays[-1])
        return arrays

    @property
    def updated(self) -> list[np.ndarray]:
        """The bound arrays that a run updates."""
        return [array for label, array in self.states.items() if label in self._updated]

    def is_updated(self, start: int, size: int) -> bool:
        """Whether a run updates one of the `size` bytes from address `start` on."""
        place = bisect.bisect_left(self._updated_ends, start + 1)
        return place < len(self._updated_starts) and self._updated_starts[place] < start + size

    def reset_barrier(self) -> None:
        """Bring the barrier into its first state (a forked child may inherit it from the middle of a run)."""
        words = self._barrier.view(np.int64)
        words[:] = 0
        words[meeting.SPINS // 8] = self._spins

    def bind_states(self, state: Mapping[str, np.ndarray]) -> bool:
        """Point the state bindings at the caller's arrays; whether they are others than before.

        Raises ArgumentError, ShapeError or DTypeError if one is unusable; the bindings then stay as they were.
        """
        given: list[object] = list(map(state.get, self._state_labels))
        if all(map(operator.is_, given, self._bound_states)):
            return False
        fresh: dict[str, np.ndarray] = {}
        for step in self.program.steps:
            for _, binding in step.positions("state"):
                fresh[binding.label] = checked_state(binding, state, binding.label in self._updated)
        check_disjoint(fresh, self._updated)
        for step, pointers in zip(self.program.steps, self.pointers):
            for k, binding in step.positions("state"):
                pointers[k] = memory.address(fresh[binding.label])
        self.states, self._bound_states = fresh, given
        spans = sorted((memory.address(array), array.nbytes) for array in self.updated)
        self._updated_starts = [start for start, _ in spans]
        self._updated_ends = [
            start + size for start, size in spans
        ]  # they are disjoint, so these are sorted too
        return True


_UNBOUND = object()


def _thread_count(steps: Sequence[LoweredStep], available: int) -> int:
    """How many threads run the steps: as many as the parallel ones are planned for. Their barriers are only right for
    that number, or for one."""
    planned = {step.threads for step in steps if step.parallel}
    if not planned:
        return 1
    if planned == {0}:
        return available
    count = planned.pop()
    return count if not planned and count <= available else 1


def checked(binding: Binding, array: object) -> np.ndarray:
    """`array` as an ndarray of exactly the shape and element type of `binding`.

    Raises ShapeError or DTypeError with the binding's label.
    """
    result = np.asarray(array)
    if result.dtype != binding.type.dtype.numpy:
        raise DTypeError(
            f"{_noun(binding)} {binding.label!r} has the wrong element type",
            expected=binding.type.describe(),
            given=_describe(result),
            fix=f"convert it with .astype({str(binding.type.dtype)!r})",
        )
    if result.shape != binding.type.shape:
        raise ShapeError(
            f"{_noun(binding)} {binding.label!r} has the wrong shape",
            expected=binding.type.describe(),
            given=_describe(result),
        )
    return result


def checked_state(binding: Binding, state: Mapping[str, np.ndarray], written: bool) -> np.ndarray:
    """The array of a state, which native code uses in place.

    Raises ArgumentError if it is missing, not an array, not C-contiguous or (where `written`) read-only.
    """
    array = state.get(binding.label)
    if not isinstance(array, np.ndarray):
        raise ArgumentError(
            f"state {binding.label!r} is missing"
            if array is None
            else f"state {binding.label!r} is not an array",
            expected=binding.type.describe(),
            given="nothing" if array is None else type(array).__name__,
            fix="pass state={label: array} with every state of the graph",
        )
    checked(binding, array)
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ArgumentError(
            f"state {binding.label!r} cannot be updated in place",
            expected="a C-contiguous, aligned array",
            given=f"{_describe(array)} with strides {array.strides}",
            fix="pass numpy.ascontiguousarray of it and keep that array as the state",
        )
    if written and not array.flags.writeable:
        raise ArgumentError(
            f"state {binding.label!r} cannot be updated in place",
            expected="a writable array",
            given=f"read-only {_describe(array)}",
            fix="pass a copy of it and keep that array as the state",
        )
    return array


def check_disjoint(arrays: Mapping[str, np.ndarray], written: set[str]) -> None:
    """Raise ArgumentError if a state that is updated shares memory with another state."""
    starts = ((memory.address(array), array.nbytes, label) for label, array in arrays.items())
    spans = sorted((start, start + count, label) for start, count, label in starts if count)
    reach, reaching, any_written = 0, "", False
    for start, end, label in spans:
        if start < reach and (any_written or label in written):
            raise ArgumentError(
                f"states {reaching!r} and {label!r} share memory",
                expected="separate arrays for states that are updated",
                fix="pass a copy for one of them",
            )
        if start >= reach:
            any_written = False
        any_written = any_written or label in written
        if end > reach:
            reach, reaching = end, label


def checked_column(binding: Binding, column: object, written: Sequence[np.ndarray]) -> np.ndarray:
    """A dataset column that native code reads in place while it updates `written`.

    Raises ShapeError, DTypeError, or ArgumentError if it is not C-contiguous or shares memory with an updated state.
    """
    array = checked(binding, column)
    if not (isinstance(column, np.ndarray) and array.flags.c_contiguous and array.flags.aligned):
        raise ArgumentError(
            f"column {binding.label!r} cannot be read in place",
            expected="a C-contiguous, aligned NumPy array",
            given=f"{type(column).__name__} {_describe(array)} with strides {array.strides}",
            fix="pass numpy.ascontiguousarray of it",
        )
    if any(np.may_share_memory(array, other) for other in written):
        raise ArgumentError(
            f"column {binding.label!r} shares memory with a state that is updated",
            fix="pass a copy of the column",
        )
    return array


def _noun(binding: Binding) -> str:
    return "state" if binding.kind == "state" else "input"


def _describe(array: np.ndarray) -> str:
    try:
        name = as_dtype(array.dtype).name if array.dtype.isnative else str(array.dtype)
    except GraphrtError:
        name = str(array.dtype)
    return f"{name}{list(array.shape)}"
