"""How the native loop reads a dataset: whole columns in memory plus transforms inside the step.

In: a pipeline. Out: `ResidentPlan`, or None where rows must come from Python batch by batch (see train/feed.py).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from .operations import MapStep, RenameStep, SelectStep
from .pipeline import Dataset
from .seed import dataset_seed
from .stages import BatchDataset, RepeatDataset
from .table import Table
from .transform import Transform

_CHUNK = 1024  # samples transformed at once when columns are prepared


@dataclass(frozen=True)
class ResidentPlan:
    """`columns`: name -> C-contiguous array in its raw element type, axis 0 = samples. `transforms`: name -> what the
    step applies to a gathered batch of it, in order. One pass visits every sample once, in `shuffle`d order or in
    order, `batch_size` at a time; the last, shorter batch is dropped with `drop_remainder`. `repeat`: passes per
    epoch (1 for endless pipelines). `size`: how many samples there are. `seed`: of the random order."""

    columns: dict[str, np.ndarray]
    transforms: dict[str, tuple[Transform, ...]]
    shuffle: bool
    size: int
    batch_size: int
    drop_remainder: bool
    repeat: int
    seed: int = field(default_factory=dataset_seed)

    @property
    def steps_per_pass(self) -> int:
        """Batches in one pass over the samples."""
        return self.size // self.batch_size + (self.ragged_size > 0)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch: of all its passes."""
        return self.steps_per_pass * self.repeat

    @property
    def ragged_size(self) -> int:
        """Samples in the shorter last batch of a pass; 0 if there is none."""
        return 0 if self.drop_remainder else self.size % self.batch_size

    def signature(self) -> Hashable:
        """Two plans with one signature can use one compiled step."""
        columns = tuple(
            (name, array.shape, str(array.dtype), tuple(t.describe() for t in self.transforms[name]))
            for name, array in self.columns.items()
        )
        return columns, self.shuffle, self.seed, self.batch_size, self.drop_remainder


def resident_plan(dataset: Dataset) -> ResidentPlan | None:
    """The plan of a pipeline whose source is in memory and whose steps can all run inside the native step."""
    repeat, stage = 1, dataset
    while isinstance(stage, RepeatDataset):
        repeat *= max(stage.count, 1)
        stage = stage._parent
    if not isinstance(stage, BatchDataset) or stage.per_batch_map is not None:
        return None
    table = stage._parent._table()
    if table is None or not table.is_symbolic or table.draw is not None or table.size == 0:
        return None
    if stage._prepared is None:
        stage._prepared = _prepare(table)
    columns, transforms = stage._prepared
    batch_size = stage.batch_size if stage.drop_remainder else min(stage.batch_size, table.size)
    return ResidentPlan(
        columns, transforms, table.shuffle, table.size, batch_size, stage.drop_remainder, repeat
    )


def _prepare(table: Table) -> tuple[dict[str, np.ndarray], dict[str, tuple[Transform, ...]]]:
    """Columns and their transforms by final name, with leading transforms already applied where that is cheap."""
    parts: dict[str, tuple[np.ndarray, tuple[Transform, ...]]] = {
        n: (a, ()) for n, a in table.columns.items()
    }
    for step in table.steps:
        if isinstance(step, MapStep):
            array, transforms = parts[step.inputs[0]]
            new = (array, transforms + cast("tuple[Transform, ...]", step.operations))
            parts = {
                name: new if name in step.outputs else parts[name] for name in step.column_names(tuple(parts))
            }
        elif isinstance(step, SelectStep):
            parts = {name: parts[name] for name in step.names}
        else:
            assert isinstance(step, RenameStep)
            parts = dict(zip(step.column_names(tuple(parts)), parts.values()))
    folded = {name: fold_leading(array, transforms) for name, (array, transforms) in parts.items()}
    return {n: a for n, (a, _) in folded.items()}, {n: t for n, (_, t) in folded.items()}


def fold_leading(
    array: np.ndarray, transforms: tuple[Transform, ...]
) -> tuple[np.ndarray, tuple[Transform, ...]]:
    """Apply the first transforms to the whole column once, as long as it stays small (at most twice its bytes).

    Resizing or reordering uint8 images is then paid once instead of in every step; what widens them to float32
    stays in the step, which reads a quarter of the memory that way. Random transforms are never done once for all.
    """
    limit = 2 * array.nbytes
    while transforms and not transforms[0].is_random:
        first = transforms[0].batch(array[:1])
        if first.nbytes * len(array) > limit:
            break
        result = np.empty((len(array), *first.shape[1:]), first.dtype)
        for start in range(0, len(array), _CHUNK):
            result[start : start + _CHUNK] = transforms[0].batch(array[start : start + _CHUNK])
        array, transforms = result, transforms[1:]
    return np.ascontiguousarray(array), transforms
