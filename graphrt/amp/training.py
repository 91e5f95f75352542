"""Training steps in mixed precision.

In: network, loss, optimizer, level, loss scale. Out: a Cell that does one training step; for `Model` the two parts of it
that it needs.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..dtypes import bfloat16, float16
from ..errors import ArgumentError
from ..frontend.location import user_source
from ..nn.loss_scale import LossScale
from .manager import DynamicLossScaleManager, LossScaleManager
from .mixed_precision import auto_mixed_precision, check_level, check_low_type


def prepare(network: Any, level: str, manager: Any = "auto", dtype: Any = bfloat16) -> LossScale | None:
    """Set the network's precision. Returns the Cell that scales the loss, or None if nothing scales it.

    `manager` "auto": O2 and O3 in float16 scale the loss dynamically; bfloat16 has the range of float32 and needs none.
    """
    level = check_level("amp", level)
    low = check_low_type("amp", dtype)
    if isinstance(manager, str) and manager == "auto":
        manager = DynamicLossScaleManager() if low == float16 and level in ("O2", "O3") else None
    if manager is not None and not isinstance(manager, LossScaleManager):
        raise ArgumentError(
            "amp: loss_scale_manager must be a LossScaleManager", at=user_source(),
            expected="amp.FixedLossScaleManager(...) or amp.DynamicLossScaleManager(...)",
            given=type(manager).__name__,
        )  # fmt: skip
    if level != "O0":
        auto_mixed_precision(network, level, low)
    return None if manager is None else LossScale(manager.get_cell(), manager.get_drop_overflow_update())


def build_train_network(
    network: Any,
    optimizer: Any,
    loss_fn: Any = None,
    level: str = "O0",
    boost_level: str = "O0",
    *,
    loss_scale_manager: Any = "auto",
    dtype: Any = bfloat16,
) -> nn.Cell:
    """A Cell that does one training step on (data, label), or on the network's own inputs without `loss_fn`.

    `level`: see `auto_mixed_precision`. `loss_scale_manager`: a LossScaleManager or None; "auto" gives float16 at O2 and
    O3 a dynamic one. The Cell returns the loss, or (loss, overflow, factor) where overflows are looked for.
    Raises ArgumentError for unknown levels and types. `dtype`: bfloat16 or float16, what O1 to O3 compute in.
    `boost_level` must be "O0".
    """
    if boost_level != "O0":
        raise ArgumentError(
            "build_train_network: boost_level is not supported", at=user_source(), expected="'O0'",
            given=repr(boost_level),
        )  # fmt: skip
    scale = prepare(network, level, loss_scale_manager, dtype)
    whole = network if loss_fn is None else nn.WithLossCell(network, loss_fn)
    if scale is None or not scale.drops_overflow:
        return nn.TrainOneStepCell(
            whole, optimizer, 1.0 if scale is None else scale.update_cell.get_loss_scale()
        )
    return nn.TrainOneStepWithLossScaleCell(whole, optimizer, scale.update_cell)
