"""The base of all built-in transforms: one definition for a sample, for a batch, and for the native training step.

In: one sample (`transform(array)`), a NumPy batch (`batch`) or a traced batch (`symbolic`). Out: the same, transformed.
A transform defines `batch` and `symbolic`; a sample is a batch of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..frontend.tensor import Tensor


class Transform:
    """A deterministic function of one column. Subclasses are frozen dataclasses, so that `repr` tells all about them.

    `batch(array)` maps a NumPy array whose axis 0 counts samples; `symbolic(tensor)` adds the same computation to the
    graph being traced; both must agree.
    """

    def __call__(self, sample: Any) -> np.ndarray:
        """The transformed sample (without batch axis), as an array."""
        return self.batch(np.asarray(sample)[None])[0]

    def batch(self, array: np.ndarray) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} has no batch rule")

    def symbolic(self, tensor: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no symbolic rule")

    def describe(self) -> str:
        """Name and arguments; two transforms with one description compute the same."""
        return repr(self)
