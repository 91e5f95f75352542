"""Descriptions of a loss scale, for `Model` and `build_train_network`.

In: the factor and how it moves. Out: the Cell that moves it inside the training step.
"""

from __future__ import annotations

from ..nn.loss_scale import DynamicLossScaleUpdateCell, FixedLossScaleUpdateCell


class LossScaleManager:
    """Base class."""

    def get_loss_scale(self) -> float:
        """The factor at the start."""
        return self.get_cell().get_loss_scale()

    def get_cell(self) -> FixedLossScaleUpdateCell:
        """A new Cell that moves the factor."""
        raise NotImplementedError(f"{type(self).__name__} has no get_cell method")

    def get_update_cell(self) -> FixedLossScaleUpdateCell | None:
        """A new Cell that moves the factor, or None if overflows are not looked for."""
        return self.get_cell()

    def get_drop_overflow_update(self) -> bool:
        """Whether steps with overflow change no parameters."""
        return True

    def update_loss_scale(self, overflow: bool) -> None:
        """The factor moves inside the training step; present for compatibility."""


class FixedLossScaleManager(LossScaleManager):
    """The factor stays `loss_scale`. `drop_overflow_update=False`: overflows are not looked for, and the gradients reach
    the optimizer scaled: give it the same `loss_scale`."""

    def __init__(self, loss_scale: float = 128.0, drop_overflow_update: bool = True):
        self._loss_scale, self._drop = (
            float(FixedLossScaleUpdateCell(loss_scale).get_loss_scale()),
            bool(drop_overflow_update),
        )

    def get_cell(self) -> FixedLossScaleUpdateCell:
        return FixedLossScaleUpdateCell(self._loss_scale)

    def get_update_cell(self) -> FixedLossScaleUpdateCell | None:
        return self.get_cell() if self._drop else None

    def get_drop_overflow_update(self) -> bool:
        return self._drop


class DynamicLossScaleManager(LossScaleManager):
    """The factor starts at `init_loss_scale`, is divided by `scale_factor` after an overflow and multiplied by it after
    `scale_window` steps without."""

    def __init__(self, init_loss_scale: float = 2**24, scale_factor: float = 2, scale_window: int = 2000):
        self._settings = init_loss_scale, scale_factor, scale_window
        self.get_cell()  # checks them

    def get_cell(self) -> DynamicLossScaleUpdateCell:
        return DynamicLossScaleUpdateCell(*self._settings)
