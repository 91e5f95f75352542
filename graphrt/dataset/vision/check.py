"""The checks image transforms share.

In: shapes of one sample, user arguments. Out: nothing, or an error that says what was expected.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ArgumentError, ShapeError
from ...frontend.location import user_source


def check_image(name: str, sample_shape: Sequence[int], ranks: tuple[int, ...] = (2, 3)) -> None:
    """Raise ShapeError unless one sample has one of the ranks an image can have."""
    if len(sample_shape) not in ranks:
        expected = " or ".join({2: "an image (H, W)", 3: "an image (H, W, C)"}[rank] for rank in ranks)
        raise ShapeError(
            f"{name} needs images",
            at=user_source(),
            expected=expected,
            given=f"a sample of shape {list(sample_shape)}",
        )


def integers(name: str, value: object, count: tuple[int, ...], smallest: int) -> tuple[int, ...]:
    """`value` (an int or a sequence of ints) as a tuple whose length is in `count`; else ArgumentError."""
    items = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    good = len(items) in count and all(type(item) is int and item >= smallest for item in items)
    if not good:
        counts = " or ".join(map(str, count))
        raise ArgumentError(f"{name}: unusable value", at=user_source(), expected=f"{counts} int(s) >= {smallest}", given=repr(value))  # fmt: skip
    return items
