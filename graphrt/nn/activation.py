"""Activation layers, and the names they go by.

In: tensors of any shape. Out: tensors of that shape.
"""

from __future__ import annotations

from ..dtypes import as_dtype
from ..errors import ArgumentError, ShapeError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.location import cell_path
from ..frontend.parameter import Parameter
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


class CELU(Cell):
    """max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))."""

    def __init__(self, alpha: float = 1.0):
        super().__init__()
        if not alpha:
            raise ArgumentError("CELU: alpha must not be zero", given="alpha=0")
        self.alpha = float(alpha)

    def construct(self, x: Tensor) -> Tensor:
        below = ops.expm1(ops.minimum(x, 0.0) * (1.0 / self.alpha)) * self.alpha
        return ops.relu(x) + ops.minimum(below, 0.0)


class SeLU(Cell):
    """scale * (x where x > 0, else alpha * (exp(x) - 1)) with the constants of Klambauer and others 2017."""

    scale, alpha = 1.0507009873554805, 1.6732632423543772

    def construct(self, x: Tensor) -> Tensor:
        return ops.elu(x, self.alpha) * self.scale


class LogSigmoid(Cell):
    """log(sigmoid(x))."""

    def construct(self, x: Tensor) -> Tensor:
        return -ops.softplus(-x)


class Softsign(Cell):
    """x / (1 + |x|)."""

    def construct(self, x: Tensor) -> Tensor:
        return x / (ops.abs(x) + 1.0)


class Tanhshrink(Cell):
    """x - tanh(x)."""

    def construct(self, x: Tensor) -> Tensor:
        return x - ops.tanh(x)


class _Shrink(Cell):
    def __init__(self, lambd: float = 0.5):
        super().__init__()
        self.lambd = float(lambd)

    def extend_repr(self) -> str:
        return f"lambd={self.lambd}"


class HShrink(_Shrink):
    """x where |x| > lambd, else 0."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.where(ops.abs(x) > self.lambd, x, 0.0)


class SoftShrink(_Shrink):
    """x moved towards 0 by lambd, 0 where |x| <= lambd."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.relu(x - self.lambd) - ops.relu(-x - self.lambd)


class Hardtanh(Cell):
    """x limited to min_val..max_val."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0):
        super().__init__()
        if not min_val < max_val:
            raise ArgumentError(
                "Hardtanh: min_val must be smaller than max_val",
                given=f"min_val={min_val}, max_val={max_val}",
            )
        self.min_val, self.max_val = float(min_val), float(max_val)

    def construct(self, x: Tensor) -> Tensor:
        return ops.clip(x, self.min_val, self.max_val)


class Threshold(Cell):
    """x where x > threshold, else value."""

    def __init__(self, threshold: float, value: float):
        super().__init__()
        self.threshold, self.value = float(threshold), float(value)

    def construct(self, x: Tensor) -> Tensor:
        return ops.where(x > self.threshold, x, self.value)


class Softmin(Softmax):
    """softmax(-x) along `axis`."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.softmax(-x, self.axis)


class GLU(Cell):
    """a * sigmoid(b), a and b being the halves of x along `axis`. Raises ShapeError for an odd extent."""

    def __init__(self, axis: int = -1):
        super().__init__()
        self.axis = int(axis)

    def construct(self, x: Tensor) -> Tensor:
        extent = x.shape[self.axis]
        if extent % 2:
            raise ShapeError(
                "GLU: the axis must have an even extent", cell=cell_path(), expected="2 n elements along the axis",
                given=x.type.describe(),
            )  # fmt: skip
        a, b = ops.split(x, extent // 2, self.axis)
        return a * ops.sigmoid(b)


class PReLU(Cell):
    """x where x > 0, else w * x, with a trainable slope `w` per channel (axis 1), or one for all (`channel=1`).

    `w`: the initial slope, a number or an array (channel,). The parameter is called "a", as in MindSpore.
    """

    def __init__(self, channel: int = 1, w: object = 0.25, dtype: object = "float32"):
        super().__init__()
        from ..common.initializer import initializer

        if isinstance(channel, bool) or not isinstance(channel, int) or channel < 1:
            raise ArgumentError("PReLU: channel must be a positive int", given=f"channel={channel!r}")
        self.channel = channel
        init = Tensor(w) if isinstance(w, (list, tuple)) else w
        self.w = Parameter(initializer(init, (channel,), as_dtype(dtype)), name="a")

    def construct(self, x: Tensor) -> Tensor:
        slope: Tensor = self.w
        if self.channel > 1:
            if x.ndim < 2 or x.shape[1] != self.channel:
                raise ShapeError(
                    "PReLU: the input has another number of channels", cell=cell_path(),
                    expected=f"float32[N, {self.channel}, ...]", given=x.type.describe(),
                    fix=f"write nn.PReLU({x.shape[1] if x.ndim > 1 else 1})",
                )  # fmt: skip
            slope = ops.reshape(slope, (self.channel, *(1,) * (x.ndim - 2)))
        return ops.where(x > 0.0, x, x * slope)

    def extend_repr(self) -> str:
        return f"channel={self.channel}"


class Identity(Cell):
    """x."""

    def construct(self, x: Tensor) -> Tensor:
        return x


_BY_NAME: dict[str, type[Cell]] = {
    "relu": ReLU, "tanh": Tanh, "sigmoid": Sigmoid, "softmax": Softmax, "logsoftmax": LogSoftmax,
    "gelu": GELU, "silu": SiLU, "leakyrelu": LeakyReLU, "elu": ELU, "softplus": Softplus, "mish": Mish, "relu6": ReLU6,
    "hsigmoid": HSigmoid, "hswish": HSwish, "celu": CELU, "selu": SeLU, "logsigmoid": LogSigmoid, "softsign": Softsign,
    "tanhshrink": Tanhshrink, "hshrink": HShrink, "softshrink": SoftShrink, "hardtanh": Hardtanh, "softmin": Softmin,
    "glu": GLU, "prelu": PReLU,
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
