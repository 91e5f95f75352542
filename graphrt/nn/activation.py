"""Activation layers, and the names they go by.

In: tensors of any shape. Out: tensors of that shape.
"""

from __future__ import annotations

from ..errors import ArgumentError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.tensor import Tensor


class ReLU(Cell):
    """max(x, 0)."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class Tanh(Cell):
    """tanh(x)."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


class Sigmoid(Cell):
    """1 / (1 + exp(-x))."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


class Softmax(Cell):
    """exp(x) / sum(exp(x)) along `axis`."""

    def __init__(self, axis: int = -1):
        super().__init__()
        self.axis = axis

    def construct(self, x: Tensor) -> Tensor:
        return ops.softmax(x, self.axis)

    def extend_repr(self) -> str:
        return f"axis={self.axis}"


class LogSoftmax(Softmax):
    """log(softmax(x)) along `axis`."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.log_softmax(x, self.axis)


class Identity(Cell):
    """x."""

    def construct(self, x: Tensor) -> Tensor:
        return x


_BY_NAME: dict[str, type[Cell]] = {
    "relu": ReLU, "tanh": Tanh, "sigmoid": Sigmoid, "softmax": Softmax, "logsoftmax": LogSoftmax,
}  # fmt: skip


def get_activation(name: object) -> Cell | None:
    """The activation Cell meant by a name, a Cell, a Cell class, or None."""
    if name is None or isinstance(name, Cell):
        return name
    if isinstance(name, type) and issubclass(name, Cell):
        return name()
    if isinstance(name, str) and name.lower() in _BY_NAME:
        return _BY_NAME[name.lower()]()
    raise ArgumentError(
        "unknown activation", expected=", ".join(_BY_NAME) + ", a Cell or None", given=repr(name)
    )
