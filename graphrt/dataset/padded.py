"""`padded_batch`: batches of samples that differ in shape, filled up at the end of their axes.

In: the samples of a batch. Out: one array per column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError
from ..frontend.location import user_source

Padding = tuple[tuple[int | None, ...] | None, float]  # shape (None: that of the longest sample), fill value


class PadToOneShape:
    """A `per_batch_map` that pads every column named in `padding`, each axis to the given length or the longest of the
    batch, and stacks it. Samples longer than a given length are cut."""

    def __init__(self, columns: Sequence[str], padding: Mapping[str, Padding]):
        self._columns, self._padding = tuple(columns), dict(padding)

    def __call__(self, *columns_and_info: Any) -> tuple[np.ndarray, ...]:
        return tuple(self._batch(name, values) for name, values in zip(self._columns, columns_and_info))

    def _batch(self, name: str, samples: list[np.ndarray]) -> np.ndarray:
        wanted, value = self._padding.get(name, (None, 0))
        rank = samples[0].ndim
        types = {sample.dtype for sample in samples}
        if any(sample.ndim != rank for sample in samples) or len(types) > 1:
            raise DataError(
                f"padded_batch: the samples of column {name!r} differ in element type or number of axes",
                at=user_source(), expected=f"{samples[0].dtype} with {rank} axes",
                given=", ".join(sorted({f"{s.dtype} with {s.ndim}" for s in samples})),
            )  # fmt: skip
        if name not in self._padding and len({sample.shape for sample in samples}) > 1:
            raise DataError(
                f"padded_batch: the samples of column {name!r} differ in shape", at=user_source(),
                expected=f"one shape, such as {list(samples[0].shape)}",
                given=", ".join(sorted({str(list(s.shape)) for s in samples})),
                fix=f"add it to pad_info: {{{name!r}: (None, 0)}}",
            )  # fmt: skip
        if wanted is not None and len(wanted) != rank:
            raise DataError(
                f"padded_batch: pad_info of column {name!r} has another number of axes than its samples",
                at=user_source(), expected=f"{rank} lengths", given=str(list(wanted)),
            )  # fmt: skip
        longest = np.max([sample.shape for sample in samples], axis=0, initial=0)
        shape = [
            int(longest[axis]) if wanted is None or (length := wanted[axis]) is None else length
            for axis in range(rank)
        ]
        batch = np.full((len(samples), *shape), value, samples[0].dtype)
        for padded, sample in zip(
            batch.reshape(len(samples), *shape, 1), samples
        ):  # an axis, so that all are arrays
            window = tuple(slice(min(length, given)) for length, given in zip(shape, sample.shape))
            padded[window] = sample[window][..., None]
        return batch


def checked_padding(pad_info: Any, columns: Sequence[str]) -> dict[str, Padding]:
    """The user's `pad_info` (None: all columns to their longest sample, with zeros); else ArgumentError."""
    if pad_info is None:
        return {name: (None, 0) for name in columns}
    padding: dict[str, Padding] = {}
    for name, entry in dict(pad_info).items():
        shape, value = entry if isinstance(entry, (tuple, list)) and len(entry) == 2 else (entry, 0)
        lengths = tuple(None if n == -1 else n for n in shape) if isinstance(shape, (tuple, list)) else None
        good = (shape is None) == (lengths is None) and all(
            n is None or (type(n) is int and n > 0) for n in lengths or ()
        )
        if name not in columns or not good:
            raise ArgumentError(
                "padded_batch: unusable pad_info", at=user_source(),
                expected=f"column ({', '.join(columns)}) -> (shape or None, fill value)", given=f"{name!r}: {entry!r}",
                fix="None for the shape, or for a length in it, stands for that of the longest sample",
            )  # fmt: skip
        padding[name] = lengths, 0 if value is None else value
    return padding
