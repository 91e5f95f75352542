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


class GELU(Cell):
    """x times the standard normal distribution function of x: in the tanh form if `approximate`, else with erf."""

    def __init__(self, approximate: bool = True):
        super().__init__()
        self.approximate = bool(approximate)

    def construct(self, x: Tensor) -> Tensor:
        return ops.gelu(x, "tanh" if self.approximate else "none")

    def extend_repr(self) -> str:
        return f"approximate={self.approximate}"


class SiLU(Cell):
    """x * sigmoid(x)."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.silu(x)


class LeakyReLU(Cell):
    """x where x > 0, else alpha * x."""

    def __init__(self, alpha: float = 0.2):
        super().__init__()
        self.alpha = float(alpha)

    def construct(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.alpha)

    def extend_repr(self) -> str:
        return f"alpha={self.alpha}"


class ELU(Cell):
    """x where x > 0, else alpha * (exp(x) - 1)."""

    def __init__(self, alpha: float = 1.0):
        super().__init__()
        self.alpha = float(alpha)

    def construct(self, x: Tensor) -> Tensor:
        return ops.elu(x, self.alpha)

    def extend_repr(self) -> str:
        return f"alpha={self.alpha}"


class Softplus(Cell):
    """log(1 + exp(x))."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.softplus(x)


class Mish(Cell):
    """x * tanh(softplus(x))."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.mish(x)


class ReLU6(Cell):
    """x limited to 0..6."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.relu6(x)


class HSigmoid(Cell):
    """(x + 3) / 6 limited to 0..1."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.hardsigmoid(x)


class HSwish(Cell):
    """x * hsigmoid(x)."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.hardswish(x)


class Identity(Cell):
    """x."""

    def construct(self, x: Tensor) -> Tensor:
        return x


_BY_NAME: dict[str, type[Cell]] = {
    "relu": ReLU, "tanh": Tanh, "sigmoid": Sigmoid, "softmax": Softmax, "logsoftmax": LogSoftmax,
    "gelu": GELU, "silu": SiLU, "leakyrelu": LeakyReLU, "elu": ELU, "softplus": Softplus, "mish": Mish, "relu6": ReLU6,
    "hsigmoid": HSigmoid, "hswish": HSwish,
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
