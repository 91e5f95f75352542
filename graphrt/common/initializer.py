"""Initialisers: how the elements of a new parameter are chosen.

In: an Initializer (object, class, name or number), a shape and an element type. Out: `initializer(...)` gives a Tensor.
Random ones draw from a stream of their own (Philox, keyed by the global seed and a running number), so the same
program with the same `set_seed` gets the same values.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ..context import next_stream
from ..dtypes import as_dtype
from ..errors import ArgumentError, ShapeError
from ..frontend.tensor import Tensor

_BY_NAME: dict[str, type[Initializer]] = {}


class Initializer:
    """Base class. Subclasses define `fill(shape, random)`, or `_initialize(arr)`, which fills a float32 array in place;
    keyword `names` lists what strings mean them."""

    names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, names: Sequence[str] = (), **kwargs: object):
        super().__init_subclass__(**kwargs)
        for name in (cls.__name__, *names):
            _BY_NAME.setdefault(_key(name), cls)

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        """The initial elements, as an array of this shape."""
        in_place = getattr(self, "_initialize", None)
        if in_place is None:
            raise NotImplementedError(f"{type(self).__name__} has no fill method")
        values = np.zeros(shape, np.float32)
        in_place(values)
        return values

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in vars(self).items())})"


def _key(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "")


class Normal(Initializer):
    """N(mean, sigma^2)."""

    def __init__(self, sigma: float = 0.01, mean: float = 0.0):
        self.sigma, self.mean = sigma, mean

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        return random.normal(self.mean, self.sigma, shape)


class TruncatedNormal(Initializer, names=["trunc_normal"]):
    """N(mean, sigma^2) with values further than [a, b] standard deviations from the mean drawn again."""

    def __init__(self, sigma: float = 0.01, mean: float = 0.0, a: float = -2.0, b: float = 2.0):
        if not a < b or a > 8 or b < -8:
            raise ArgumentError("TruncatedNormal: no probability between a and b", given=f"a={a}, b={b}")
        self.sigma, self.mean, self.a, self.b = sigma, mean, a, b

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        values = random.standard_normal(math.prod(shape))
        while True:
            outside = (values < self.a) | (values > self.b)
            count = int(outside.sum())
            if not count:
                return (values * self.sigma + self.mean).reshape(shape)
            values[outside] = random.standard_normal(count)


class Uniform(Initializer):
    """U(-scale, scale)."""

    def __init__(self, scale: float = 0.07):
        self.scale = scale

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        return random.uniform(-self.scale, self.scale, shape)


class _He(Initializer):
    def __init__(self, negative_slope: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"):
        if mode not in ("fan_in", "fan_out"):
            raise ArgumentError(
                f"{type(self).__name__}: unknown mode", expected="fan_in or fan_out", given=repr(mode)
            )
        self.negative_slope, self.mode, self.nonlinearity = negative_slope, mode, nonlinearity

    def deviation(self, shape: tuple[int, ...]) -> float:
        """The standard deviation (He et al. 2015): gain / sqrt(fan)."""
        fan_in, fan_out = fans(shape)
        return _gain(self.nonlinearity, self.negative_slope) / math.sqrt(
            fan_in if self.mode == "fan_in" else fan_out
        )


class HeUniform(_He):
    """U(-bound, bound) with bound = gain sqrt(3 / fan); HeUniform(sqrt(5)) is U(+-1/sqrt(fan_in)). `mode`,
    `nonlinearity` and `negative_slope` as for `HeNormal`."""

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        bound = math.sqrt(3.0) * self.deviation(shape)
        return random.uniform(-bound, bound, shape)


class HeNormal(_He):
    """N(0, gain^2 / fan). `mode`: "fan_in" or "fan_out". gain = sqrt(2 / (1 + negative_slope^2)) for
    `nonlinearity` "leaky_relu", whose slope is `negative_slope`, and sqrt(2) for "relu"."""

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        return random.normal(0.0, self.deviation(shape), shape)


class XavierUniform(Initializer):
    """U(-bound, bound) with bound = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""

    def __init__(self, gain: float = 1):
        self.gain = gain

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        bound = self.gain * math.sqrt(6.0 / sum(fans(shape)))
        return random.uniform(-bound, bound, shape)


class XavierNormal(Initializer):
    """N(0, 2 gain^2 / (fan_in + fan_out))."""

    def __init__(self, gain: float = 1):
        self.gain = gain

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        return random.normal(0.0, self.gain * math.sqrt(2.0 / sum(fans(shape))), shape)


class VarianceScaling(Initializer):
    """Mean 0 and variance scale / fan, the fan by `mode`: "fan_in", "fan_out" or "fan_avg".

    `distribution`: "truncated_normal" (at two standard deviations of the normal distribution, whose own is enlarged so that
    the variance is right), "untruncated_normal" or "uniform".
    """

    def __init__(self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal"):
        modes, distributions = (
            ("fan_in", "fan_out", "fan_avg"),
            ("truncated_normal", "untruncated_normal", "uniform"),
        )
        if not scale > 0 or mode not in modes or distribution not in distributions:
            raise ArgumentError(
                "VarianceScaling: unknown settings", expected=f"scale > 0, {modes}, {distributions}",
                given=f"scale={scale}, mode={mode!r}, distribution={distribution!r}",
            )  # fmt: skip
        self.scale, self.mode, self.distribution = scale, mode, distribution

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        deviation = math.sqrt(self.scale / fan)
        if self.distribution == "uniform":
            return random.uniform(-math.sqrt(3) * deviation, math.sqrt(3) * deviation, shape)
        if self.distribution == "untruncated_normal":
            return random.normal(0.0, deviation, shape)
        return TruncatedNormal(deviation / _DEVIATION_WITHIN_TWO).fill(shape, random)


_DEVIATION_WITHIN_TWO = 0.87962566103423978  # of the standard normal distribution cut at -2 and 2


class Orthogonal(Initializer):
    """A matrix (first axis, all others) with orthogonal rows or columns of length `gain` (Saxe and others 2014)."""

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        if len(shape) < 2:
            raise ShapeError(
                "Orthogonal: at least 2 axes are needed", expected="[out, in, ...]", given=list(shape)
            )
        rows, columns = shape[0], math.prod(shape[1:])
        q, r = np.linalg.qr(random.standard_normal((max(rows, columns), min(rows, columns))))
        q = q * np.sign(np.diag(r))  # signs that make the distribution uniform
        return (self.gain * (q if rows >= columns else q.T)).reshape(shape)


class Identity(Initializer):
    """Ones on the diagonal of a matrix, zeros elsewhere."""

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        if len(shape) != 2:
            raise ShapeError("Identity: 2 axes are needed", expected="[rows, columns]", given=list(shape))
        return np.eye(*shape)


class Dirac(Initializer):
    """Convolution weights (out, in, ...) that hand the channels of each of `groups` groups through: 1 in the middle of
    the window from channel k to channel k, zeros elsewhere."""

    def __init__(self, groups: int = 1):
        self.groups = groups

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        if not 3 <= len(shape) <= 5 or shape[0] % self.groups:
            raise ShapeError(
                "Dirac: not the weights of a convolution",
                expected="[groups * n, in, window...]",
                given=list(shape),
            )
        values = np.zeros(shape)
        each = shape[0] // self.groups
        middle = tuple(extent // 2 for extent in shape[2:])
        for group in range(self.groups):
            for channel in range(min(each, shape[1])):
                place = (group * each + channel, channel, *middle)
                values[place] = 1.0
        return values


class Sparse(Initializer):
    """N(0, sigma^2), with the part `sparsity` of each column of a matrix set to zero (Martens 2010)."""

    def __init__(self, sparsity: float, sigma: float = 0.01):
        if not 0 <= sparsity <= 1:
            raise ArgumentError("Sparse: sparsity out of range", expected="0 to 1", given=sparsity)
        self.sparsity, self.sigma = sparsity, sigma

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        if len(shape) != 2:
            raise ShapeError("Sparse: 2 axes are needed", expected="[rows, columns]", given=list(shape))
        values = random.normal(0.0, self.sigma, shape)
        count = math.ceil(self.sparsity * shape[0])
        for column in range(shape[1]):
            values[random.permutation(shape[0])[:count], column] = 0.0
        return values


class Constant(Initializer):
    """One value everywhere (or an array that broadcasts to the shape)."""

    def __init__(self, value: object):
        self.value = value

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        return np.broadcast_to(np.asarray(self.value), shape)


class Zero(Initializer, names=["zeros"]):
    """Zeros."""

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        return np.zeros(shape)


class One(Initializer, names=["ones"]):
    """Ones."""

    def fill(self, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
        return np.ones(shape)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight: (out, in) of Dense, (out, in, height, width) of Conv2d."""
    if len(shape) < 2:
        raise ShapeError(
            "fan_in and fan_out need at least 2 axes", expected="[out, in, ...]", given=list(shape)
        )
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def _gain(nonlinearity: str, negative_slope: float) -> float:
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0)}
    gains["leaky_relu"] = math.sqrt(2.0 / (1.0 + negative_slope**2))
    if nonlinearity not in gains:
        raise ArgumentError("unknown nonlinearity", expected=", ".join(gains), given=repr(nonlinearity))
    return gains[nonlinearity]


def stream_generator() -> np.random.Generator:
    """A generator on the next random stream; see `context.next_stream`."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(next_stream())))


def initializer(init: object, shape: Sequence[int] | int | None = None, dtype: object = "float32") -> Tensor:
    """A new Tensor of `shape` and `dtype`.

    `init`: an Initializer (or its class), its name in any case ("normal", "he_uniform", "zeros"), a number (Constant),
    or a Tensor or array, which is taken as it is. Raises ShapeError if that has another shape.
    """
    if isinstance(shape, int):
        shape = (shape,)
    if isinstance(init, (Tensor, np.ndarray)):
        given = tuple(init.shape)
        if shape is not None and given != tuple(shape):
            raise ShapeError(
                "initializer: the given tensor has another shape", expected=list(shape), given=list(given)
            )
        return init if isinstance(init, Tensor) else Tensor(init)
    if shape is None:
        raise ArgumentError("initializer: a shape is needed", given="shape=None")
    if any(extent < 0 for extent in shape):
        raise ShapeError("initializer: extents must not be negative", given=list(shape))
    element_type = as_dtype(dtype)
    values = np.asarray(_resolve(init).fill(tuple(shape), stream_generator()))
    return Tensor._wrap(np.array(values, element_type.numpy, order="C"))


def _resolve(init: object) -> Initializer:
    if isinstance(init, Initializer):
        return init
    if isinstance(init, type) and issubclass(init, Initializer):
        return init()
    if isinstance(init, (int, float, np.number)):
        return Constant(init)
    if isinstance(init, str) and _key(init) in _BY_NAME:
        cls = _BY_NAME[_key(init)]
        if all(p.default is not p.empty for p in list(inspect.signature(cls).parameters.values())):
            return cls()
    known = "an Initializer, a number, a Tensor, or one of " + ", ".join(sorted(_BY_NAME))
    raise ArgumentError("initializer: unknown initialiser", expected=known, given=repr(init))


__all__ = [
    "Constant", "Dirac", "HeNormal", "HeUniform", "Identity", "Initializer", "Normal", "One", "Orthogonal", "Sparse",
    "TruncatedNormal", "Uniform", "VarianceScaling", "XavierNormal", "XavierUniform", "Zero", "initializer",
]  # fmt: skip
