"""Build functions of activations: elementwise formulas over floats, in x's shape and type."""

from __future__ import annotations

from ..ir import Node, apply
from . import activations
from .build_elementwise import (
    add,
    clip,
    div,
    exp,
    expm1,
    greater,
    log1p,
    minimum,
    mul,
    neg,
    sigmoid,
    tanh,
    where,
)
from .operands import Operand, promoted


def gelu(x: Operand, approximate: str = "none") -> Node:
    """x times the standard normal distribution function of x; `approximate`: "none" (with erf) or "tanh"."""
    return apply(activations.Gelu(approximate), *promoted(x, floating=True))


def normal_cdf(x: Operand) -> Node:
    """The distribution function of the standard normal distribution."""
    return apply(activations.NormalCdf(), *promoted(x, floating=True))


def normal_density(x: Operand) -> Node:
    """The density of the standard normal distribution: exp(-x^2 / 2) / sqrt(2 pi)."""
    return apply(activations.NormalDensity(), *promoted(x, floating=True))


def silu(x: Operand) -> Node:
    """x * sigmoid(x)."""
    (x,) = promoted(x, floating=True)
    return mul(x, sigmoid(x))


def leaky_relu(x: Operand, alpha: float = 0.2) -> Node:
    """x where x > 0, else alpha * x."""
    (x,) = promoted(x, floating=True)
    return where(greater(x, 0.0), x, mul(x, alpha))


def elu(x: Operand, alpha: float = 1.0) -> Node:
    """x where x > 0, else alpha * (exp(x) - 1)."""
    (x,) = promoted(x, floating=True)
    # the operand of the exponential is cut off, so that the branch not taken does not overflow
    return where(greater(x, 0.0), x, mul(expm1(minimum(x, 0.0)), alpha))


def softplus(x: Operand, beta: float = 1.0, threshold: float = 20.0) -> Node:
    """log(1 + exp(beta x)) / beta, without overflow; x itself where beta x > threshold."""
    (x,) = promoted(x, floating=True)
    scaled = x if beta == 1.0 else mul(x, beta)
    positive = greater(scaled, 0.0)
    rest = log1p(exp(where(positive, neg(scaled), scaled)))
    smooth = add(where(positive, scaled, 0.0), rest)
    return where(greater(scaled, threshold), x, smooth if beta == 1.0 else div(smooth, beta))


def mish(x: Operand) -> Node:
    """x * tanh(softplus(x))."""
    (x,) = promoted(x, floating=True)
    return mul(x, tanh(softplus(x)))


def relu6(x: Operand) -> Node:
    """x limited to 0..6."""
    (x,) = promoted(x, floating=True)
    return clip(x, 0.0, 6.0)


def hard_sigmoid(x: Operand) -> Node:
    """(x + 3) / 6 limited to 0..1."""
    (x,) = promoted(x, floating=True)
    return div(relu6(add(x, 3.0)), 6.0)


def hard_swish(x: Operand) -> Node:
    """x * hard_sigmoid(x)."""
    (x,) = promoted(x, floating=True)
    return mul(x, hard_sigmoid(x))
