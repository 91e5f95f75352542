"""Which Cells compute in which precision.

In: a network and a level, or lists of Cell classes. Out: the same network, whose Cells now convert what they compute with;
its Parameters stay float32, and so do its outputs, so that losses and metrics see float32.

| level | computed in the low precision | outputs |
|---|---|---|
| O0 | nothing | as they are |
| O1 | matrix products and convolutions, each result converted back to float32 | float32 |
| O2 | everything but the Cells of the black list (batch and layer normalization) | float32 |
| O3 | everything | float32 |
| auto | products, and what follows them until an operation needs digits (softmax, exp, sums of squares, losses, ...) | float32 |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..dtypes import DType, as_dtype, bfloat16, float16, float32
from ..errors import ArgumentError
from ..frontend.location import user_source
from ..frontend.precision import Precision

LEVELS = ("O0", "O1", "O2", "O3", "auto")
_WHITE: tuple[type[nn.Cell], ...] = (
    nn.Conv1d, nn.Conv2d, nn.Conv2dTranspose, nn.Dense, nn.LSTMCell, nn.RNNCell, nn.GRUCell,
)  # fmt: skip
_BLACK: tuple[type[nn.Cell], ...] = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm,
)  # fmt: skip


def get_white_list() -> list[type[nn.Cell]]:
    """A copy of the list of Cells that gain from low precision, for `custom_mixed_precision`."""
    return list(_WHITE)


def get_black_list() -> list[type[nn.Cell]]:
    """A copy of the list of Cells that level O2 keeps in float32."""
    return list(_BLACK)


def check_level(name: str, level: Any) -> str:
    """The level, in its usual spelling; raises ArgumentError for an unknown one."""
    known = {known.lower(): known for known in LEVELS}
    if not isinstance(level, str) or level.lower() not in known:
        raise ArgumentError(
            f"{name}: unknown amp_level", at=user_source(), expected=" or ".join(map(repr, LEVELS)), given=repr(level)
        )  # fmt: skip
    return known[level.lower()]


def check_low_type(name: str, dtype: Any) -> DType:
    """bfloat16 or float16; raises ArgumentError for another type."""
    low = as_dtype(dtype)
    if low not in (bfloat16, float16):
        raise ArgumentError(
            f"{name}: not a type of low precision",
            at=user_source(),
            expected="bfloat16 or float16",
            given=low.name,
        )
    return low


def _check_network(name: str, network: Any) -> None:
    if not isinstance(network, nn.Cell):
        raise ArgumentError(
            f"{name}: the network must be a Cell", at=user_source(), given=type(network).__name__
        )


def auto_mixed_precision(network: Any, amp_level: str = "O0", dtype: Any = bfloat16) -> Any:
    """Set the precision of a network by a level, see the table at the top of this module; returns the network.

    `dtype`: bfloat16 (the range of float32, hence no loss scaling) or float16. Raises ArgumentError for another level or
    type. `amp_level`: "O0" to "O3" or "auto".
    """
    _check_network("auto_mixed_precision", network)
    level = check_level("auto_mixed_precision", amp_level)
    low = check_low_type("auto_mixed_precision", dtype)
    _clear(network)
    if level == "O1":
        network._precision = Precision(low, "products", float32)
    elif level == "auto":
        network._precision = Precision(low, "auto", float32)
    elif level in ("O2", "O3"):
        _lower(network, low, _BLACK if level == "O2" else ())
    return network


def custom_mixed_precision(
    network: Any, *, white_list: Sequence[Any] | None = None, black_list: Sequence[Any] | None = None,
    dtype: Any = bfloat16,
) -> Any:  # fmt: skip
    """Set the precision of a network by classes of Cells: those of `white_list` compute in `dtype`, or all but those of
    `black_list`. Give one of the lists. Returns the network."""
    _check_network("custom_mixed_precision", network)
    low = check_low_type("custom_mixed_precision", dtype)
    if (white_list is None) == (black_list is None):
        raise ArgumentError(
            "custom_mixed_precision: give white_list or black_list", at=user_source(), expected="one of them",
            fix="start from amp.get_white_list()",
        )  # fmt: skip
    chosen = tuple(white_list if white_list is not None else black_list or ())
    for kind in chosen:
        if not isinstance(kind, type) or not issubclass(kind, nn.Cell):
            raise ArgumentError(
                "custom_mixed_precision: the list must hold Cell classes", at=user_source(), given=repr(kind)
            )
    _clear(network)
    if white_list is None:
        _lower(network, low, chosen)
        return network
    for _, cell in network.cells_and_names():
        if isinstance(cell, chosen):
            cell._precision = Precision(low, "all", float32)
    return network


def _clear(network: nn.Cell) -> None:
    for _, cell in network.cells_and_names():
        if cell.__dict__.get("_precision") is not None:
            cell._precision = None


def _lower(network: nn.Cell, low: DType, kept: tuple[type, ...]) -> None:
    """Everything in `low` but the Cells of the classes `kept`, which take and give it."""
    for _, cell in network.cells_and_names():
        if isinstance(cell, kept):
            cell._precision = Precision(float32, "all", low)
    whole = isinstance(network, kept)
    network._precision = Precision(float32 if whole else low, "all", float32)
