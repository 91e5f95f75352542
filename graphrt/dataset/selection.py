"""Which samples of a source a pipeline visits: samplers, shards, `num_samples`.

In: the arguments every source shares. Out: `Selection`: the chosen sample numbers and whether each pass shuffles them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError
from ..frontend.location import user_source
from .seed import dataset_seed


@dataclass(frozen=True)
class Draw:
    """`count` samples out of `size`, chosen anew by `sampler` for every pass, repeatable with `graphrt.set_seed`."""

    sampler: Sampler
    size: int
    count: int

    def order(self, epoch: int) -> np.ndarray:
        """int64[count]: the sample numbers of pass `epoch`. DataError for numbers out of range, or fewer of them."""
        numbers = _drawn(self.sampler, self.size, epoch)[: self.count]
        if len(numbers) < self.count:
            raise DataError(
                f"{type(self.sampler).__name__}: the sampler gave fewer samples than in the first pass",
                at=user_source(), expected=self.count, given=len(numbers),
            )  # fmt: skip
        return numbers


def _drawn(sampler: Sampler, size: int, epoch: int) -> np.ndarray:
    numbers = sampler.drawn(size, np.random.default_rng([dataset_seed(), epoch]))
    return checked_numbers(sampler, numbers, size)


@dataclass(frozen=True)
class Selection:
    """`indices`: int64 sample numbers in order, None for all. `shuffle`: visit them in another order each pass.
    `draw`: choose others each pass instead."""

    indices: np.ndarray | None
    shuffle: bool
    draw: Draw | None = None

    @property
    def varies(self) -> bool:
        """Whether the n-th sample of a pass is another one each pass."""
        return self.shuffle or self.draw is not None

    def size(self, total: int) -> int:
        """Samples in a pass over a source that has `total`."""
        if self.draw is not None:
            return self.draw.count
        return total if self.indices is None else len(self.indices)

    def apply(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The chosen samples of whole columns; a view where they are the first ones."""
        if self.indices is None:
            return columns
        count = len(self.indices)
        if np.array_equal(self.indices, np.arange(count)):
            return {name: array[:count] for name, array in columns.items()}
        return {name: array[self.indices] for name, array in columns.items()}


class Sampler:
    """Chooses samples by their numbers. Subclasses define `indices` and may set `shuffle`; those that choose anew for
    every pass define `__iter__` (sample numbers) or `drawn` instead."""

    shuffle = False  # whether every pass visits the samples in another random order
    num_samples: int | None = None

    @property
    def draws(self) -> bool:
        """Whether every pass visits other samples."""
        return hasattr(self, "__iter__")

    def drawn(self, size: int, random: np.random.Generator) -> np.ndarray:
        """Numbers of the samples of one pass out of 0 .. size - 1, for samplers that `draws`."""
        return np.asarray(list(self))  # type: ignore[call-overload]

    def indices(self, size: int) -> np.ndarray:
        """int64 numbers of the samples to visit out of 0 .. size - 1."""
        raise NotImplementedError(f"{type(self).__name__} does not say which samples it chooses")


@dataclass(frozen=True)
class SequentialSampler(Sampler):
    """Samples in order, from `start_index` on, at most `num_samples`."""

    start_index: int | None = None
    num_samples: int | None = None

    def indices(self, size: int) -> np.ndarray:
        start = self.start_index or 0
        return np.arange(start, size)[: self.num_samples]


@dataclass(frozen=True)
class RandomSampler(Sampler):
    """All samples, in another random order each pass. `num_samples`: only so many of them, others each pass.
    `replacement`: every sample of a pass is drawn out of all (as many as there are, or `num_samples`)."""

    replacement: bool = False
    num_samples: int | None = None

    shuffle = True

    def __post_init__(self) -> None:
        sample_count("RandomSampler", self.num_samples)

    @property
    def draws(self) -> bool:
        return self.replacement or self.num_samples is not None

    def drawn(self, size: int, random: np.random.Generator) -> np.ndarray:
        count = size if self.num_samples is None else self.num_samples
        return random.integers(size, size=count) if self.replacement else random.permutation(size)[:count]

    def indices(self, size: int) -> np.ndarray:
        return np.arange(size)


class WeightedRandomSampler(Sampler):
    """Samples drawn with probabilities proportional to `weights`, one number >= 0 per sample; others each pass.

    `num_samples`: how many make a pass, default as many as there are weights. `replacement=False`: none twice in a pass;
    there must be `num_samples` positive weights. ArgumentError for unusable weights, DataError where the dataset has
    another number of samples.
    """

    draws = True  # type: ignore[assignment]

    def __init__(self, weights: Sequence[float], num_samples: int | None = None, replacement: bool = True):
        self.weights = np.asarray(weights, np.float64)
        self.num_samples = sample_count("WeightedRandomSampler", num_samples) or self.weights.size
        self.replacement = bool(replacement)
        good = self.weights.ndim == 1 and np.isfinite(self.weights).all() and (self.weights >= 0).all()
        positive = int(np.count_nonzero(self.weights)) if good else 0
        if not positive or not (self.replacement or positive >= self.num_samples):
            raise ArgumentError(
                "WeightedRandomSampler: the weights cannot be drawn from", at=user_source(),
                expected="numbers >= 0, one per sample, of which "
                + ("some" if self.replacement else f"at least {self.num_samples}") + " are positive",
                given=f"{positive} positive ones" if good else f"shape {list(self.weights.shape)}, {self.weights}",
                fix=None if self.replacement or not good else "replacement=True, or a smaller num_samples",
            )  # fmt: skip
        self._shares = self.weights / self.weights.sum()

    def drawn(self, size: int, random: np.random.Generator) -> np.ndarray:
        if len(self._shares) != size:
            raise DataError(
                "WeightedRandomSampler: the dataset has another number of samples", at=user_source(),
                expected=f"{size} weights", given=len(self._shares),
            )  # fmt: skip
        return random.choice(size, self.num_samples, self.replacement, self._shares)


class SubsetSampler(Sampler):
    """The samples with these numbers, in this order, at most `num_samples`."""

    def __init__(self, indices: Iterable[int], num_samples: int | None = None):
        self._indices = np.asarray(list(indices))
        if self._indices.ndim != 1 or not np.issubdtype(self._indices.dtype, np.integer):
            raise ArgumentError(
                f"{type(self).__name__}: indices must be sample numbers", at=user_source(),
                expected="a sequence of ints", given=f"{self._indices.dtype}{list(self._indices.shape)}",
            )  # fmt: skip
        self._indices = self._indices[:num_samples]

    def indices(self, size: int) -> np.ndarray:
        return checked_numbers(self, self._indices, size)


class SubsetRandomSampler(SubsetSampler):
    """The samples with these numbers, in another random order each pass."""

    shuffle = True


class DistributedSampler(Sampler):
    """Shard `shard_id` of `num_shards`: samples shard_id, shard_id + num_shards, ... All shards are equally long: the
    last samples of some are taken from the beginning again. `shuffle`: each pass in another order."""

    def __init__(self, num_shards: int, shard_id: int, shuffle: bool = True, num_samples: int | None = None):
        good = type(num_shards) is int and type(shard_id) is int and 0 <= shard_id < num_shards
        if not good:
            raise ArgumentError(
                "a shard needs its number and how many there are", at=user_source(),
                expected="0 <= shard_id < num_shards", given=f"num_shards={num_shards!r}, shard_id={shard_id!r}",
            )  # fmt: skip
        self.num_shards, self.shard_id, self.num_samples = num_shards, shard_id, num_samples
        self.shuffle = bool(shuffle)

    def indices(self, size: int) -> np.ndarray:
        length = -(-size // self.num_shards)
        return ((np.arange(length) * self.num_shards + self.shard_id) % size)[: self.num_samples]


def checked_numbers(sampler: Sampler, numbers: np.ndarray, size: int) -> np.ndarray:
    """`numbers` as int64[n]. DataError for what is no number of a sample."""
    if numbers.ndim != 1 or (numbers.size and not np.issubdtype(numbers.dtype, np.integer)):
        raise DataError(
            f"{type(sampler).__name__}: a sampler gives sample numbers", at=user_source(),
            expected="ints", given=f"{numbers.dtype}{list(numbers.shape)}",
        )  # fmt: skip
    outside = numbers[(numbers < 0) | (numbers >= size)]
    if outside.size:
        raise DataError(
            f"{type(sampler).__name__}: a sample number is out of range", at=user_source(),
            expected=f"0 <= number < {size}", given=int(outside[0]),
        )  # fmt: skip
    return numbers.astype(np.int64)


def select(
    dataset: str,
    size: int,
    *,
    num_samples: int | None = None,
    shuffle: bool | None = None,
    sampler: Any = None,
    num_shards: int | None = None,
    shard_id: int | None = None,
    cache: object = None,
) -> Selection:
    """What a source of `size` samples visits; ArgumentError for arguments that contradict each other.

    `shuffle=None` means True. `sampler`: a Sampler or an iterable of sample numbers. `num_samples` counts after shards.
    """
    if cache is not None:
        raise ArgumentError(
            f"{dataset}: cache is not supported", at=user_source(), expected="cache=None", given=repr(cache),
            fix="leave it out: data in memory is read in place",
        )  # fmt: skip
    count = sample_count(dataset, num_samples)
    if (num_shards is None) != (shard_id is None) or (sampler is not None and num_shards is not None):
        raise ArgumentError(
            f"{dataset}: num_shards goes together with shard_id, without a sampler", at=user_source(),
            given=f"num_shards={num_shards!r}, shard_id={shard_id!r}, sampler={sampler!r}",
        )  # fmt: skip
    if sampler is not None and shuffle is not None:
        raise ArgumentError(
            f"{dataset}: a sampler says itself whether to shuffle", at=user_source(),
            expected="sampler or shuffle", given=f"both, shuffle={shuffle!r}",
        )  # fmt: skip
    if num_shards is not None and shard_id is not None:
        sampler = DistributedSampler(num_shards, shard_id, shuffle is not False)
    elif sampler is None:
        return Selection(None if count is None else np.arange(min(count, size)), shuffle is not False)
    elif not isinstance(sampler, Sampler):
        if not hasattr(sampler, "__iter__"):
            raise ArgumentError(
                f"{dataset}: unknown sampler", at=user_source(),
                expected="a sampler of graphrt.dataset, or sample numbers", given=repr(sampler),
            )  # fmt: skip
        sampler = SubsetSampler(sampler)
    indices = (_drawn(sampler, size, 0) if sampler.draws else sampler.indices(size))[:count]
    if not len(indices):
        raise DataError(
            f"{dataset}: no samples are chosen",
            at=user_source(),
            expected="at least one",
            given=repr(sampler),
        )
    if sampler.draws:
        return Selection(None, False, Draw(sampler, size, len(indices)))
    return Selection(indices, bool(sampler.shuffle))


def sample_count(dataset: str, value: int | None) -> int | None:
    """The user's num_samples, checked."""
    if value is not None and (
        isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 1
    ):
        raise ArgumentError(
            f"{dataset}: num_samples must be a positive int or None", at=user_source(), given=repr(value)
        )
    return None if value is None else value.__index__()
