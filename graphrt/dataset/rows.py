"""Turning what users hand over into NumPy columns, and samples into batches.

In: arrays, Tensors, numbers, lists. Out: NumPy arrays of element types graphrt knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import as_dtype
from ..errors import DataError, DTypeError
from ..frontend.location import user_source

Row = tuple[np.ndarray, ...]  # one array per column


def to_column_value(value: Any, column: str) -> np.ndarray:
    """`value` as an array (no copy where it already is one).

    Python floats become float32; Python ints int64; NumPy arrays, Tensors and torch tensors keep their element type.
    Raises DataError for ragged nested lists, DTypeError for element types graphrt has not.
    """
    if hasattr(value, "asnumpy"):
        value = value.asnumpy()
    elif hasattr(value, "detach") and hasattr(value, "numpy"):  # a torch tensor
        value = value.detach().cpu().numpy()
    made_here = not isinstance(value, (np.ndarray, np.generic))
    try:
        array = np.asarray(value)
    except ValueError:
        raise DataError(
            f"column {column!r}: the values do not have one shape", at=user_source(),
            expected="samples of one shape", fix="pad or crop them to one shape first",
        ) from None  # fmt: skip
    if made_here and array.dtype == np.float64:
        array = array.astype(np.float32)
    try:
        element_type = as_dtype(array.dtype)
    except DTypeError:
        raise DTypeError(
            f"column {column!r}: element type not supported", at=user_source(),
            expected="numbers or bools", given=str(array.dtype),
        ) from None  # fmt: skip
    return array.astype(element_type.numpy, copy=False)  # also brings foreign byte orders to the native one


def to_row(value: Any, columns: Sequence[str], origin: str) -> Row:
    """One sample as a source or a user function gives it: a dict by column name, a tuple (or list) of columns, or the
    only column itself."""
    if isinstance(value, dict):
        missing = [name for name in columns if name not in value]
        if missing:
            raise DataError(
                f"{origin} gave no column {missing[0]!r}", at=user_source(),
                expected=", ".join(columns), given=", ".join(map(str, value)) or "an empty dict",
            )  # fmt: skip
        value = tuple(value[name] for name in columns)
    several = isinstance(value, tuple) or (isinstance(value, list) and len(columns) > 1)
    values = tuple(value) if several else (value,)
    if len(values) != len(columns):
        raise DataError(
            f"{origin} gave another number of columns", at=user_source(),
            expected=f"{len(columns)} ({', '.join(columns)})",
            given=str(len(values)) if several else f"one value of type {type(value).__name__}",
        )  # fmt: skip
    return tuple(to_column_value(v, name) for v, name in zip(values, columns))


def stack(rows: Sequence[Row], columns: Sequence[str], first_row: int = 0) -> Row:
    """A batch: the rows' arrays stacked along a new axis 0. `first_row`: number in the pass of the first one.

    Raises DataError where shapes or types differ."""
    batch = []
    for k, name in enumerate(columns):
        first = rows[0][k]
        for number, row in enumerate(rows):
            if row[k].shape != first.shape or row[k].dtype != first.dtype:
                raise DataError(
                    f"batch: the samples of column {name!r} differ", at=user_source(),
                    expected=f"{first.dtype}{list(first.shape)} as in row {first_row} of the pass",
                    given=f"{row[k].dtype}{list(row[k].shape)} in row {first_row + number}",
                    fix="bring all samples to one shape and element type with map() before batch()",
                )  # fmt: skip
        batch.append(np.stack([row[k] for row in rows]))
    return tuple(batch)
