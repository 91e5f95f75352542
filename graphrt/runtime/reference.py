"""The interpreter engine: the same interface as native executables and sinks, run op by op in NumPy.

It is the oracle of the tests and the debug mode (`set_context(engine="interpreter")`); it is never chosen silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..ir import Graph
from ..ir.interpret import interpret
from .result import Position, SinkResult
from .shuffle import permutation


class ReferenceExecutable:
    """Calls a graph through the interpreter."""

    def __init__(self, graph: Graph):
        self.graph = graph

    def __call__(self, *data: np.ndarray, state: Mapping[str, np.ndarray] | None = None) -> list[np.ndarray]:
        state = state or {}
        values = dict(state)
        values |= {n.op.label: a for n, a in zip(self.graph.data_inputs, data)}  # type: ignore[attr-defined]
        outputs, updates = interpret(self.graph, values)
        outputs = [
            np.array(a) for a in outputs
        ]  # a result may be a state's own memory, which is overwritten next
        for label, value in {label: np.array(value) for label, value in updates.items()}.items():
            state[label][...] = value
        return outputs


class ReferenceSink:
    """Runs training steps in a Python loop over the interpreter."""

    def __init__(
        self, step: Graph, ragged: Graph | None, *, size: int, batch_size: int, shuffle: bool, seed: int
    ):
        self._step, self._ragged = ReferenceExecutable(step), ReferenceExecutable(ragged) if ragged else None
        self._size, self._batch, self._shuffle, self._seed = size, batch_size, shuffle, seed
        self._position = Position()
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def position(self) -> dict[str, int]:
        return self._position.as_dict()

    @position.setter
    def position(self, value: Mapping[str, int]) -> None:
        self._position = Position(**value)

    def _indices(self, count: int) -> np.ndarray:
        place = self._position
        if self._order is None or self._order[0] != place.epoch:
            order = (
                permutation(self._size, self._seed, place.epoch)
                if self._shuffle
                else np.arange(self._size, dtype=np.int32)
            )
            self._order = (place.epoch, order)
        return self._order[1][place.cursor : place.cursor + count]

    def run(
        self,
        steps: int,
        columns: Sequence[np.ndarray],
        state: Mapping[str, np.ndarray],
        progress: Callable[[int, np.ndarray], None] | None = None,
    ) -> SinkResult:
        losses = np.zeros(steps, np.float32)
        place, status, done = self._position, "finished", 0
        try:
            while done < steps:
                left = self._size - place.cursor
                full = left >= self._batch
                count = self._batch if full else left
                executable = self._step if full else self._ragged
                assert executable is not None
                loss = executable(*columns, self._indices(count), state=state)[0]
                losses[done] = loss
                done += 1
                place.step += 1
                place.cursor += count
                left -= count
                if left == 0 or (left < self._batch and self._ragged is None):
                    place.epoch, place.cursor = place.epoch + 1, 0
                if progress is not None:
                    progress(done, losses[:done])
                if not np.isfinite(loss):
                    status = "non_finite"
                    break
        except KeyboardInterrupt:
            status = "interrupted"
        return SinkResult(losses[:done], done, status)

    def stop(self) -> None:
        """Nothing to do: a run asks `progress` after every step."""
