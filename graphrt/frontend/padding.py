"""Padding of two-dimensional windows: from a mode and numbers to (top, bottom, left, right).

In: "same", "valid" or "pad", image and window sizes. Out: four ints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError
from .location import user_source

Four = tuple[int, int, int, int]


def same_padding(
    size: Sequence[int], window: Sequence[int], stride: Sequence[int], dilation: Sequence[int] = (1, 1)
) -> Four:
    """(top, bottom, left, right) for which the output is ceil(size / stride); the odd row or column goes last."""
    sides: list[int] = []
    for extent, k, s, d in zip(size, window, stride, dilation):
        total = max((math.ceil(extent / s) - 1) * s + (k - 1) * d + 1 - extent, 0)
        sides += [total // 2, total - total // 2]
    return sides[0], sides[1], sides[2], sides[3]


def four_sides(name: str, padding: Any) -> Four:
    """`padding` (an int or top, bottom, left, right) as four ints."""
    sides = (
        (padding,) * 4
        if isinstance(padding, int)
        else tuple(padding)
        if isinstance(padding, Sequence)
        else ()
    )
    if len(sides) != 4 or any(isinstance(s, bool) or not isinstance(s, int) or s < 0 for s in sides):
        raise ArgumentError(
            f"{name}: padding must be an int >= 0 or 4 of them", at=user_source(),
            expected="top, bottom, left, right", given=repr(padding),
        )  # fmt: skip
    return sides[0], sides[1], sides[2], sides[3]


def check_pad_mode(name: str, pad_mode: Any, padding: Four, allowed: Sequence[str]) -> str:
    """`pad_mode` in lower case, if allowed and in agreement with `padding`."""
    if not isinstance(pad_mode, str) or pad_mode.lower() not in allowed:
        raise ArgumentError(
            f"{name}: unknown pad_mode", at=user_source(), expected=" or ".join(map(repr, allowed)),
            given=repr(pad_mode),
        )  # fmt: skip
    if pad_mode.lower() != "pad" and any(padding):
        raise ArgumentError(
            f"{name}: padding needs pad_mode='pad'", at=user_source(),
            given=f"pad_mode={pad_mode!r}, padding={padding!r}", fix="write pad_mode='pad', or leave padding out",
        )  # fmt: skip
    return pad_mode.lower()


def window_padding(
    name: str,
    pad_mode: Any,
    padding: Any,
    size: Sequence[int],
    window: Sequence[int],
    stride: Any,
    dilation: Any = 1,
) -> Four:
    """(top, bottom, left, right) of a window function called with these arguments."""
    sides = four_sides(name, padding)
    if check_pad_mode(name, pad_mode, sides, ("valid", "same", "pad")) != "same":
        return sides
    strides = (stride, stride) if isinstance(stride, int) else stride
    dilations = (dilation, dilation) if isinstance(dilation, int) else dilation
    return same_padding(size, window, strides, dilations)
