"""Learning rates as lists, one value per step, that change from epoch to epoch.

In: rates, `total_step` (the length of the list), `step_per_epoch`, and over how many epochs the rate changes. Out: a
list of floats for an optimizer's `learning_rate`. In the formulas, epoch = floor(step / step_per_epoch).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..errors import ArgumentError
from .dense import here, positive_int
from .learning_rate_schedule import check_cosine, check_polynomial
from .optim.optimizer import check_number


def piecewise_constant_lr(milestone: Sequence[int], learning_rates: Sequence[float]) -> list[float]:
    """learning_rates[k] for the steps from milestone[k - 1] up to (not including) milestone[k]."""
    if len(milestone) != len(learning_rates) or not milestone:
        raise ArgumentError(
            "piecewise_constant_lr: one learning rate per milestone is needed", **here(),
            given=f"{len(milestone)} milestones, {len(learning_rates)} rates",
        )  # fmt: skip
    result: list[float] = []
    for end, rate in zip(milestone, learning_rates):
        positive_int("piecewise_constant_lr", milestone=end)
        check_number("piecewise_constant_lr", "learning_rates", rate, minimum=0.0)
        if end < len(result):
            raise ArgumentError(
                "piecewise_constant_lr: the milestones must increase", **here(), given=list(milestone)
            )
        result += [float(rate)] * (end - len(result))
    return result


def _by_epoch(total_step: int, step_per_epoch: int, rate: Callable[[int], float]) -> list[float]:
    return [rate(step // step_per_epoch) for step in range(total_step)]


def _check_decay(
    kind: str, learning_rate: float, decay_rate: float, total_step: int, step_per_epoch: int, decay_epoch: int
) -> None:
    check_number(kind, "learning_rate", learning_rate, minimum=0.0, exclusive=True)
    check_number(kind, "decay_rate", decay_rate, minimum=0.0, exclusive=True)
    positive_int(kind, total_step=total_step, step_per_epoch=step_per_epoch, decay_epoch=decay_epoch)


def exponential_decay_lr(
    learning_rate: float,
    decay_rate: float,
    total_step: int,
    step_per_epoch: int,
    decay_epoch: int,
    is_stair: bool = False,
) -> list[float]:
    """learning_rate * decay_rate^p with p = epoch / decay_epoch (rounded down if `is_stair`)."""
    _check_decay("exponential_decay_lr", learning_rate, decay_rate, total_step, step_per_epoch, decay_epoch)

    def rate(epoch: int) -> float:
        return learning_rate * decay_rate ** (epoch // decay_epoch if is_stair else epoch / decay_epoch)

    return _by_epoch(total_step, step_per_epoch, rate)


def natural_exp_decay_lr(
    learning_rate: float,
    decay_rate: float,
    total_step: int,
    step_per_epoch: int,
    decay_epoch: int,
    is_stair: bool = False,
) -> list[float]:
    """learning_rate * exp(-decay_rate * epoch); with `is_stair` epoch is rounded down to a multiple of decay_epoch."""
    _check_decay("natural_exp_decay_lr", learning_rate, decay_rate, total_step, step_per_epoch, decay_epoch)

    def rate(epoch: int) -> float:
        return learning_rate * math.exp(
            -decay_rate * (epoch // decay_epoch * decay_epoch if is_stair else epoch)
        )

    return _by_epoch(total_step, step_per_epoch, rate)


def inverse_decay_lr(
    learning_rate: float,
    decay_rate: float,
    total_step: int,
    step_per_epoch: int,
    decay_epoch: int,
    is_stair: bool = False,
) -> list[float]:
    """learning_rate / (1 + decay_rate * p) with p = epoch / decay_epoch (rounded down if `is_stair`)."""
    _check_decay("inverse_decay_lr", learning_rate, decay_rate, total_step, step_per_epoch, decay_epoch)

    def rate(epoch: int) -> float:
        return learning_rate / (1 + decay_rate * (epoch // decay_epoch if is_stair else epoch / decay_epoch))

    return _by_epoch(total_step, step_per_epoch, rate)


def cosine_decay_lr(
    min_lr: float, max_lr: float, total_step: int, step_per_epoch: int, decay_epoch: int
) -> list[float]:
    """min_lr + (max_lr - min_lr) / 2 * (1 + cos(pi p)) with p = min(epoch, decay_epoch) / decay_epoch."""
    check_cosine("cosine_decay_lr", min_lr, max_lr)
    positive_int(
        "cosine_decay_lr", total_step=total_step, step_per_epoch=step_per_epoch, decay_epoch=decay_epoch
    )

    def rate(epoch: int) -> float:
        return min_lr + 0.5 * (max_lr - min_lr) * (
            1 + math.cos(math.pi * min(epoch, decay_epoch) / decay_epoch)
        )

    return _by_epoch(total_step, step_per_epoch, rate)


def polynomial_decay_lr(
    learning_rate: float,
    end_learning_rate: float,
    total_step: int,
    step_per_epoch: int,
    decay_epoch: int,
    power: float,
    update_decay_epoch: bool = False,
) -> list[float]:
    """(learning_rate - end_learning_rate) * (1 - p)^power + end_learning_rate with p = min(epoch, decay_epoch) /
    decay_epoch; with `update_decay_epoch` p = epoch / (decay_epoch * max(1, ceil(epoch / decay_epoch)))."""
    kind = "polynomial_decay_lr"
    check_polynomial(kind, learning_rate, end_learning_rate, power)
    positive_int(kind, total_step=total_step, step_per_epoch=step_per_epoch, decay_epoch=decay_epoch)

    def rate(epoch: int) -> float:
        span = decay_epoch * max(1, -(-epoch // decay_epoch)) if update_decay_epoch else decay_epoch
        return (learning_rate - end_learning_rate) * (
            1 - min(epoch, span) / span
        ) ** power + end_learning_rate

    return _by_epoch(total_step, step_per_epoch, rate)


def warmup_lr(learning_rate: float, total_step: int, step_per_epoch: int, warmup_epoch: int) -> list[float]:
    """learning_rate * min(epoch, warmup_epoch) / warmup_epoch."""
    check_number("warmup_lr", "learning_rate", learning_rate, minimum=0.0)
    positive_int("warmup_lr", total_step=total_step, step_per_epoch=step_per_epoch, warmup_epoch=warmup_epoch)
    return _by_epoch(
        total_step, step_per_epoch, lambda epoch: learning_rate * min(epoch, warmup_epoch) / warmup_epoch
    )
