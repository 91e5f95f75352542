"""The base of all built-in transforms: one definition for a sample, for a batch, and for the native training step.

In: one sample (`transform(array)`), a NumPy batch (`batch`) or a traced batch (`symbolic`). Out: the same, transformed.
A transform defines `batch` and `symbolic`; a sample is a batch of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ArgumentError
from ..frontend.location import user_source

if TYPE_CHECKING:
    from ..frontend.tensor import Tensor


class Transform:
    """A function of one column, deterministic but for `RandomTransform`. Subclasses are frozen dataclasses, so that
    `repr` tells all about them.

    `batch(array)` maps a NumPy array whose axis 0 counts samples; `symbolic(tensor)` adds the same computation to the
    graph being traced; both must agree.
    """

    is_random: ClassVar[bool] = False

    def __call__(self, sample: Any) -> np.ndarray:
        """The transformed sample (without batch axis), as an array."""
        return self.batch(np.asarray(sample)[None])[0]

    def batch(self, array: np.ndarray) -> np.ndarray:
        """The transformed samples of a NumPy array (N, ...)."""
        raise NotImplementedError(f"{type(self).__name__} has no batch rule")

    def symbolic(self, tensor: Tensor) -> Tensor:
        """The same as operations on a traced Tensor (N, ...)."""
        raise NotImplementedError(f"{type(self).__name__} has no symbolic rule")

    def describe(self) -> str:
        """Name and arguments; two transforms with one description compute the same."""
        return repr(self)


class RandomTransform(Transform):
    """A transform that draws random numbers, for every batch anew. Subclasses call `_begin_stream` when they are made.

    The numbers come from a stream that `set_seed` fixes, the next one for each transform made. Its key (stream, number
    of batches drawn) is a Parameter that native steps advance in place, so it does not matter how steps are cut into
    sinks. Python iteration advances the same key: a pass read from Python and a pass of training draw the same.
    """

    is_random = True

    def _begin_stream(self) -> None:
        from ..frontend.parameter import Parameter
        from ..frontend.random import new_key

        key = Parameter(new_key(), name=f"{type(self).__name__}.key", requires_grad=False)
        object.__setattr__(self, "_key", key)

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        """Random uint32 words for the next batch; in a trace, for the batch of each step."""
        from .. import ops
        from ..frontend.random import advance

        return ops.random_bits(advance(self._key), shape)  # type: ignore[attr-defined]

    def draw_array(self, shape: tuple[int, ...]) -> np.ndarray:
        """The same words as an array."""
        return self.draw(shape).asnumpy()

    def describe(self) -> str:
        """With the number of the stream: a compiled step is bound to the key of one transform."""
        return f"{self!r} of stream {int(self._key.asnumpy()[0])}"  # type: ignore[attr-defined]


def probability_threshold(name: str, prob: object) -> int:
    """A probability as a number of 2**24 cases: 24 random bits below it have that probability, 0 and 1 included.

    ArgumentError for what is no probability."""
    number = isinstance(prob, (int, float)) and not isinstance(prob, bool)
    if not number or not 0.0 <= prob <= 1.0:  # type: ignore[operator]
        raise ArgumentError(
            f"{name}: prob is a probability", at=user_source(), expected="0 <= prob <= 1", given=repr(prob)
        )
    return round(prob * 2**24)  # type: ignore[operator]
