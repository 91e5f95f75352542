"""A warning for networks that are trained while they are in inference mode.

In: the Cells that ran in a trace whose gradient is taken. Out: one warning per Cell, at the user's line.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .location import warn_user

if TYPE_CHECKING:
    from .cell import Cell

_told: weakref.WeakSet[Cell] = weakref.WeakSet()


def _acts_differently(cell: Cell) -> bool:
    settings = vars(cell)
    fixed = settings.get("use_batch_statistics") is not None or settings.get("p") == 0.0
    return cell.differs_in_training and not fixed


def warn_of_inference_mode(cells: Iterable[Cell]) -> None:
    """Warn if a Cell that acts differently in training (dropout, batch normalization) ran in inference mode, and no
    Cell ran in training mode. Some in training mode and some not is taken for a choice: a frozen part."""
    ran = list(cells)
    if any(cell.training for cell in ran):
        return
    concerned = [cell for cell in ran if _acts_differently(cell) and cell not in _told]
    if not concerned:
        return
    _told.update(concerned)
    kinds = ", ".join(sorted({type(cell).__name__ for cell in concerned}))
    warn_user(
        f"gradients are taken of {type(ran[0]).__name__}, which is in inference mode, but {kinds} would act "
        "otherwise in training. Call set_train() on the network before training it, and set_train(False) before evaluating it."
    )
