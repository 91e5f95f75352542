"""One native call of a compiled graph: NumPy arrays in, NumPy arrays out, states updated in place.

In: a `LoweredStep`. Out: an `Executable`. A call of a small network costs a few microseconds, so what can be prepared
is prepared once: the frame, the binding pointers, and for arrays of at most one page a persistent aligned copy, which
is cheaper to fill than asking NumPy for an address.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..codegen import driver
from ..codegen.lowered import Binding, LoweredStep
from ..codegen.target import Target
from ..errors import ArgumentError
from . import memory
from .handover import CREW
from .program import once_program
from .workers import POOL, ForkSafeLock, interrupts_deferred
from .workspace import Workspace, checked

STAGED_BYTES = 4096  # arrays up to this size are copied into and out of persistent memory


class Executable:
    """A compiled graph, callable. Safe to call from several Python threads: calls take turns."""

    def __init__(self, step: LoweredStep, *, target: Target | None = None, threads: int | None = None):
        """`threads`: how many to use if the step is parallel (None: what this process may use).

        Raises OutOfMemoryError if the temporaries cannot fit, CompileError if the code does not compile.
        """
        self.program = once_program(step, target)
        self.step = step
        self._workspace = Workspace(self.program, threads)
        self._lock = ForkSafeLock()
        self._pointers = self._workspace.pointers[0]
        self._data = [
            (k, binding, binding.type.shape, binding.type.dtype.numpy, self._staged(k, binding))
            for k, binding in step.positions("data")
        ]
        self._outputs = [(k, binding, self._staged(k, binding)) for k, binding in step.positions("output")]
        self._has_states = bool(step.positions("state"))
        self._entry, self._frame = self.program.entry, self._workspace.address

    @property
    def threads(self) -> int:
        """How many threads a call uses."""
        return self._workspace.threads

    def _staged(self, k: int, binding: Binding) -> np.ndarray | None:
        if binding.type.bytes > STAGED_BYTES:
            return None
        array = memory.aligned_empty(binding.type)
        self._pointers[k] = memory.address(array)
        return array

    def __call__(self, *data: np.ndarray, state: Mapping[str, np.ndarray] | None = None) -> list[np.ndarray]:
        """Run once. `data` in the order of the graph's data inputs, of exactly their shapes and element types (strided
        arrays are copied); `state` by label, C-contiguous, updated in place. Returns the outputs in fresh memory.

        Raises ArgumentError, ShapeError or DTypeError, naming the input, if an array does not fit.
        """
        if len(data) != len(self._data):
            raise ArgumentError(
                "wrong number of inputs",
                expected=f"{len(self._data)}: " + ", ".join(row[1].label for row in self._data),
                given=len(data),
            )
        with self._lock:
            if self._has_states:
                self._workspace.bind_states(state or {})
            large = []  # keeps converted copies alive during the run
            for array, (k, binding, shape, dtype, staged) in zip(data, self._data):
                if type(array) is not np.ndarray or array.dtype is not dtype or array.shape != shape:
                    array = checked(binding, array)
                if staged is not None:
                    staged[...] = array
                else:
                    large.append(self._bind_large(k, array))
            results = []
            for k, binding, staged in self._outputs:
                if staged is None:
                    staged = memory.aligned_empty(binding.type)
                    self._pointers[k] = memory.address(staged)
                results.append(staged)
            if self._workspace.threads == 1:
                self._entry(self._frame, 0)
            else:
                self._run_in_parallel()
            return [
                row[2].copy() if row[2] is not None else array for array, row in zip(results, self._outputs)
            ]

    def _bind_large(self, k: int, array: np.ndarray) -> np.ndarray:
        if not (array.flags.c_contiguous and array.flags.aligned):
            array = np.array(array, order="C")
        start = memory.address(array)
        if self._workspace.is_updated(start, array.nbytes):
            array = array.copy()  # all reads must see the value from before the update
            start = memory.address(array)
        self._pointers[k] = start
        return array

    def _run_in_parallel(self) -> None:
        workspace = self._workspace
        workspace.reset_barrier()
        if CREW.run(self.program.address, self._frame, workspace.threads):
            return
        workspace.frame.status = driver.RUNNING
        with interrupts_deferred() as interruption:
            crew = POOL.reserve(workspace.threads - 1)
            try:
                crew.start(lambda thread: self._entry(self._frame, thread), first=1)
                self._entry(self._frame, 0)
            finally:
                if crew.launched and workspace.frame.status == driver.RUNNING:
                    self._entry(self._frame, 0)  # an exception struck before: the others wait for thread 0
                crew.join()
        if interruption.requested:
            raise KeyboardInterrupt
