"""What a sink reports when it returns, and where it stands in the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SinkResult:
    """`losses`: float32[done], one per finished step. `status`: "finished", "interrupted" (Ctrl-C, at a step
    boundary) or "non_finite" (the last loss is NaN or infinite; the loop stopped there)."""

    losses: np.ndarray
    done: int
    status: str


@dataclass
class Position:
    """Where a sink stands: total steps run, passes over the data completed, next sample of the current pass."""

    step: int = 0
    epoch: int = 0
    cursor: int = 0

    def as_dict(self) -> dict[str, int]:
        return {"step": self.step, "epoch": self.epoch, "cursor": self.cursor}
