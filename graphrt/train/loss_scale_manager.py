"""Where early releases kept loss scale managers; they are `graphrt.amp`'s."""

from ..amp.manager import DynamicLossScaleManager, FixedLossScaleManager, LossScaleManager

__all__ = ["DynamicLossScaleManager", "FixedLossScaleManager", "LossScaleManager"]
