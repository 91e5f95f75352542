"""`equal` and `not_equal` for users: elementwise, with a word where predictions and one-hot labels are mixed up.

In: Tensors, arrays, numbers. Out: a bool Tensor of the broadcast shape.
"""

from __future__ import annotations

from typing import Any

from ..dtypes import as_dtype
from ..errors import ShapeError
from ..ops import build
from .lift import lift
from .location import user_source, warn_user
from .tensor import Tensor

_equal = lift(build.equal)
_not_equal = lift(build.not_equal)


def equal(input: Any, other: Any) -> Tensor:
    """input == other.

    Class indices (N,) compared with N rows of labels (N, C) broadcast to a matrix where they can, or fail: a warning,
    or the error, then says how to compare sample by sample.
    """
    _look_for_labels("equal", input, other)
    return _equal(input, other)


def not_equal(input: Any, other: Any) -> Tensor:
    """input != other; see `equal`."""
    _look_for_labels("not_equal", input, other)
    return _not_equal(input, other)


def _look_for_labels(name: str, x: Any, y: Any) -> None:
    """Warn, or raise ShapeError, if one operand is N class indices and the other a matrix of N rows."""
    first, second = getattr(x, "shape", None), getattr(y, "shape", None)
    if first is None or second is None or {len(first), len(second)} != {1, 2}:
        return
    indices, rows = (x, y) if len(first) == 1 else (y, x)
    samples, classes = rows.shape
    if samples < 2 or tuple(indices.shape) != (samples,) or not as_dtype(indices.dtype).is_integer:
        return
    if classes == 1:
        cause, fix = "labels in a column", "labels.squeeze(1)"
    else:
        cause, fix = "one-hot labels", "labels.argmax(1)"
    if classes not in (1, samples):
        raise ShapeError(
            f"{name}: shapes do not broadcast", at=user_source(),
            expected="equal extents, or 1, on every axis from the right",
            given=f"{list(indices.shape)} and {list(rows.shape)}", fix=f"these look like {cause}: compare with {fix}",
        )  # fmt: skip
    warn_user(
        f"{name}: {list(indices.shape)} and {list(rows.shape)} are compared as a [{samples}, {samples}] matrix, every "
        f"element with every row. If these are predictions and {cause}, compare with {fix}; if all pairs are meant, "
        "say so with expand_dims(0)."
    )
