"""Learning rates computed from the step number, inside the training step.

In: `global_step`, int32 0-d: the number of steps done so far. Out: the learning rate of this step, float32 0-d. Any
Cell with that interface can be an optimizer's `learning_rate`; `LearningRateSchedule` is the base class for own ones.
"""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.tensor import Tensor
from .dense import here, positive_int
from .optim.optimizer import check_number


class LearningRateSchedule(Cell):
    """Base class: subclasses define `construct(self, global_step)`, which returns the learning rate (0-d)."""

    def construct(self, global_step: Tensor) -> Tensor:
        raise NotImplementedError(
            f"{type(self).__name__} has no construct method: define construct(self, global_step)"
        )

    def extend_repr(self) -> str:
        settings = {
            k: v
            for k, v in vars(self).items()
            if not k.startswith("_") and k not in ("training", "requires_grad")
        }
        return ", ".join(f"{name}={value}" for name, value in settings.items())


class _Decay(LearningRateSchedule):
    """Settings that the decays by a rate share."""

    def __init__(self, learning_rate: float, decay_rate: float, decay_steps: int, is_stair: bool = False):
        super().__init__()
        kind = type(self).__name__
        check_number(kind, "learning_rate", learning_rate, minimum=0.0, exclusive=True)
        check_number(kind, "decay_rate", decay_rate, minimum=0.0, exclusive=True)
        positive_int(kind, decay_steps=decay_steps)
        self.learning_rate, self.decay_rate = float(learning_rate), float(decay_rate)
        self.decay_steps, self.is_stair = int(decay_steps), bool(is_stair)

    def _periods(self, global_step: Tensor) -> Tensor:
        """global_step / decay_steps, rounded down if `is_stair`."""
        periods = ops.div(global_step, self.decay_steps)
        return ops.floor(periods) if self.is_stair else periods


class ExponentialDecayLR(_Decay):
    """learning_rate * decay_rate^p with p = global_step / decay_steps (rounded down if `is_stair`)."""

    def construct(self, global_step: Tensor) -> Tensor:
        return ops.pow(self.decay_rate, self._periods(global_step)) * self.learning_rate


class NaturalExpDecayLR(_Decay):
    """learning_rate * exp(-decay_rate * global_step); with `is_stair` the step number is rounded down to a multiple of
    decay_steps, which otherwise has no influence (as in MindSpore)."""

    def construct(self, global_step: Tensor) -> Tensor:
        if self.is_stair:
            global_step = ops.floor_div(global_step, self.decay_steps) * self.decay_steps
        return ops.exp(ops.cast(global_step, "float32") * -self.decay_rate) * self.learning_rate


class InverseDecayLR(_Decay):
    """learning_rate / (1 + decay_rate * p) with p = global_step / decay_steps (rounded down if `is_stair`)."""

    def construct(self, global_step: Tensor) -> Tensor:
        return self.learning_rate / (self._periods(global_step) * self.decay_rate + 1.0)


class CosineDecayLR(LearningRateSchedule):
    """min_lr + (max_lr - min_lr) / 2 * (1 + cos(pi p)) with p = min(global_step, decay_steps) / decay_steps."""

    def __init__(self, min_lr: float, max_lr: float, decay_steps: int):
        super().__init__()
        check_cosine("CosineDecayLR", min_lr, max_lr)
        positive_int("CosineDecayLR", decay_steps=decay_steps)
        self.min_lr, self.max_lr, self.decay_steps = float(min_lr), float(max_lr), int(decay_steps)

    def construct(self, global_step: Tensor) -> Tensor:
        p = ops.div(ops.minimum(global_step, self.decay_steps), self.decay_steps)
        return (ops.cos(p * math.pi) + 1.0) * (0.5 * (self.max_lr - self.min_lr)) + self.min_lr


class PolynomialDecayLR(LearningRateSchedule):
    """(learning_rate - end_learning_rate) * (1 - step / steps)^power + end_learning_rate.

    step = min(global_step, decay_steps), steps = decay_steps. With `update_decay_steps` the decay starts over: step =
    global_step, steps = decay_steps * max(1, ceil(global_step / decay_steps)).
    """

    def __init__(
        self,
        learning_rate: float,
        end_learning_rate: float,
        decay_steps: int,
        power: float,
        update_decay_steps: bool = False,
    ):
        super().__init__()
        check_polynomial("PolynomialDecayLR", learning_rate, end_learning_rate, power)
        positive_int("PolynomialDecayLR", decay_steps=decay_steps)
        self.learning_rate, self.end_learning_rate = float(learning_rate), float(end_learning_rate)
        self.decay_steps, self.power = int(decay_steps), float(power)
        self.update_decay_steps = bool(update_decay_steps)

    def construct(self, global_step: Tensor) -> Tensor:
        if self.update_decay_steps:
            # the rounded-up quotient in integers: exact for every step number
            rounds = ops.maximum(ops.floor_div(global_step + (self.decay_steps - 1), self.decay_steps), 1)
            p = ops.div(global_step, rounds * self.decay_steps)
        else:
            p = ops.div(ops.minimum(global_step, self.decay_steps), self.decay_steps)
        span = self.learning_rate - self.end_learning_rate
        return ops.pow(1.0 - p, self.power) * span + self.end_learning_rate


class WarmUpLR(LearningRateSchedule):
    """learning_rate * min(global_step, warmup_steps) / warmup_steps."""

    def __init__(self, learning_rate: float, warmup_steps: int):
        super().__init__()
        check_number("WarmUpLR", "learning_rate", learning_rate, minimum=0.0)
        positive_int("WarmUpLR", warmup_steps=warmup_steps)
        self.learning_rate, self.warmup_steps = float(learning_rate), int(warmup_steps)

    def construct(self, global_step: Tensor) -> Tensor:
        return ops.div(ops.minimum(global_step, self.warmup_steps), self.warmup_steps) * self.learning_rate


def check_cosine(kind: str, min_lr: Any, max_lr: Any) -> None:
    """Raise ArgumentError unless 0 <= min_lr < max_lr."""
    check_number(kind, "min_lr", min_lr, minimum=0.0)
    check_number(kind, "max_lr", max_lr, minimum=0.0, exclusive=True)
    if min_lr >= max_lr:
        raise ArgumentError(
            f"{kind}: max_lr must be larger than min_lr", **here(), given=f"min_lr={min_lr}, max_lr={max_lr}"
        )


def check_polynomial(kind: str, learning_rate: Any, end_learning_rate: Any, power: Any) -> None:
    """Raise ArgumentError unless learning_rate > 0, end_learning_rate >= 0 and power > 0."""
    check_number(kind, "learning_rate", learning_rate, minimum=0.0, exclusive=True)
    check_number(kind, "end_learning_rate", end_learning_rate, minimum=0.0)
    check_number(kind, "power", power, minimum=0.0, exclusive=True)
