"""Fits the polynomial coefficients of graphrt/loops/math_tables.py.

In: nothing, or the names of some polynomials. Out: on standard output that module's text (of the named polynomials
only): coefficients from the lowest power up, each exactly representable in the format it is meant for, with the
largest weighted error the polynomial has.

Method: weighted least squares towards the minimax error in decimal arithmetic (standard library alone), then the
coefficients are rounded to the format one by one from the lowest power, refitting the remaining ones each time, so
that rounding costs little.

Run: python tools/fit_polynomials.py > graphrt/loops/math_tables.py
"""

from __future__ import annotations

import decimal
import math
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

Function = Callable[[Decimal], Decimal]
decimal.getcontext().prec = 60
ONE, TWO = Decimal(1), Decimal(2)
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")

MILLS_POLE = Decimal("0.3125")


# ------------------------------------------------------------------------------------------- exact functions


def _series(first: Decimal, ratio: Callable[[int], Decimal]) -> Decimal:
    """first * (1 + ratio(1) * (1 + ratio(2) * ...)) until terms vanish."""
    total, term, k = first, first, 0
    while term and abs(term) > Decimal("1e-75"):
        k += 1
        term *= ratio(k)
        total += term
    return total


def exponential_tail(r: Decimal) -> Decimal:
    """(e^r - 1 - r) / r^2."""
    return _series(ONE / TWO, lambda k: r / (k + 2))


def exponential_minus_one(r: Decimal) -> Decimal:
    return r + r * r * exponential_tail(r)


def exp2_slope(r: Decimal) -> Decimal:
    """(2^r - 1) / r."""
    x = r * TWO.ln()
    return TWO.ln() * (1 + x * exponential_tail(x))


def logarithm_tail(f: Decimal) -> Decimal:
    """(log(1 + f) - f) / f^2."""
    if abs(f) < Decimal("1e-12"):
        return -ONE / 2 + f / 3 - f * f / 4 + f * f * f / 5
    return ((1 + f).ln() - f) / (f * f)


def inverse_tanh_tail(z: Decimal) -> Decimal:
    """(2 atanh(s) - 2 s) / s^3 at z = s^2."""
    total, power, k = Decimal(0), ONE, 3
    while power > Decimal("1e-70"):
        total += 2 * power / k
        power *= z
        k += 2
        if not z:
            break
    return total


def inverse_tanh_second_tail(z: Decimal) -> Decimal:
    """(2 atanh(s) - 2 s - 2/3 s^3) / s^5 at z = s^2."""
    if z < Decimal("1e-20"):
        return TWO / 5 + z * 2 / 7
    return (inverse_tanh_tail(z) - TWO / 3) / z


def sine_tail(z: Decimal) -> Decimal:
    """(sin r - r) / r^3 at z = r^2."""
    return _series(-ONE / 6, lambda k: -z / ((2 * k + 2) * (2 * k + 3)))


def cosine_tail(z: Decimal) -> Decimal:
    """(cos r - 1 + r^2 / 2) / r^4 at z = r^2."""
    return _series(ONE / 24, lambda k: -z / ((2 * k + 3) * (2 * k + 4)))


def tanh_tail(z: Decimal) -> Decimal:
    """(tanh x - x) / x^3 at z = x^2."""
    if z < Decimal("1e-12"):
        return -ONE / 3 + z * 2 / 15
    x = z.sqrt()
    double = exponential_minus_one(2 * x)
    return (double / (double + 2) / x - 1) / z


@cache
def erf_slope(z: Decimal) -> Decimal:
    """erf(x) / x - 1 at z = x^2."""
    term, total, k = ONE, ONE, 0
    with decimal.localcontext() as context:
        context.prec = 110
        while abs(term) > Decimal("1e-105") and z:
            k += 1
            term *= -z / k
            total += term / (2 * k + 1)
        return 2 / PI.sqrt() * total - 1


@cache
def erfc(x: Decimal) -> Decimal:
    """Complementary error function for x >= 0; 110 digits lose 16 to cancellation at x = 6 and 32 by e^36 twice."""
    with decimal.localcontext() as context:
        context.prec = 110
        return 1 - x * (1 + erf_slope(x * x))


@cache
def mills_ratio(x: Decimal) -> Decimal:
    """(1 - cdf(x)) / density(x) of the standard normal distribution, for x >= 0: by erfc where that is accurate, above
    by Laplace's continued fraction 1 / (x + 1 / (x + 2 / (x + 3 / ...)))."""
    if x < 6:
        return (PI / 2).sqrt() * erfc(x / TWO.sqrt()) * (x * x / 2).exp()
    total = x
    for k in range(400, 0, -1):
        total = x + k / total
    return ONE / total


def normal_density(x: Decimal) -> Decimal:
    """exp(-x^2 / 2) / sqrt(2 pi)."""
    return (-x * x / 2).exp() / (2 * PI).sqrt()


# --------------------------------------------------------------------------------------------------- fitting


def _solve(rows: list[list[Decimal]]) -> list[Decimal]:
    """The solution of a linear system given as rows of the augmented matrix (Gaussian elimination)."""
    size = len(rows)
    for column in range(size):
        pivot = max(range(column, size), key=lambda r: abs(rows[r][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(column + 1, size):
            factor = rows[row][column] / rows[column][column]
            if factor:
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[column])]
    solution = [Decimal(0)] * size
    for row in reversed(range(size)):
        known = sum((rows[row][k] * solution[k] for k in range(row + 1, size)), Decimal(0))
        solution[row] = (rows[row][size] - known) / rows[row][row]
    return solution


def polynomial(coefficients: Sequence[Decimal], x: Decimal) -> Decimal:
    result = Decimal(0)
    for c in reversed(coefficients):
        result = result * x + c
    return result


def minimax(
    function: Function, weight: Function, powers: range, low: Decimal, high: Decimal
) -> tuple[list[Decimal], float]:
    """The combination of x^p, p in powers, with nearly the least maximum of |weight * (function - combination)|, and
    that maximum.

    Weighted least squares on Chebyshev points is within a small factor of the minimax error; Lawson's iteration
    (each point's weight grows with its error) closes most of the gap.
    """
    middle, half = (low + high) / 2, (high - low) / 2
    count = 8 * len(powers) + 9
    points = [middle - half * Decimal(math.cos(math.pi * (k + 0.5) / count)) for k in range(count)]
    table = [[x**p if p else ONE for p in powers] for x in points]
    values, weights = [function(x) for x in points], [weight(x) for x in points]
    emphasis = [ONE] * count
    best: tuple[list[Decimal], float] = ([], math.inf)
    for _ in range(25 if len(powers) < 10 else 6):
        squares = [e * w * w for e, w in zip(emphasis, weights)]
        rows = []
        for i in range(len(powers)):
            weighted = [s * row[i] for s, row in zip(squares, table)]
            columns = [[row[j] for row in table] for j in range(len(powers))] + [values]
            rows.append([sum(map(lambda a, b: a * b, weighted, column), Decimal(0)) for column in columns])
        coefficients = _solve(rows)
        errors = [
            abs(w * (f - sum(map(lambda a, b: a * b, coefficients, row), Decimal(0))))
            for w, f, row in zip(weights, values, table)
        ]
        largest = max(errors)
        if float(largest) < best[1]:
            best = coefficients, float(largest)
        if not largest:
            break
        emphasis = [e * (error / largest + Decimal("1e-6")) for e, error in zip(emphasis, errors)]
        total = sum(emphasis)
        emphasis = [e / total for e in emphasis]
    return best


def round_to(value: Decimal, bits: int) -> float:
    """The nearest float32 (24 bits) or float64 (53 bits)."""
    number = float(value)
    return struct.unpack("f", struct.pack("f", number))[0] if bits == 24 else number


@dataclass(frozen=True)
class Fit:
    """One polynomial: approximates `function` on [low, high] with `terms` coefficients from power `first` up; `weight`
    turns its error into the relative error of the final result."""

    name: str
    bits: int
    function: Function
    weight: Function
    low: Decimal
    high: Decimal
    terms: int


def fit(task: Fit) -> tuple[list[float], float]:
    """Coefficients in the target format and the largest weighted error."""
    fixed: list[float] = []
    error = 0.0
    while len(fixed) < task.terms:
        known = [Decimal(c) for c in fixed]
        rest, error = minimax(
            lambda x, known=known: task.function(x) - polynomial(known, x),
            task.weight, range(len(fixed), task.terms), task.low, task.high,
        )  # fmt: skip
        fixed.append(round_to(rest[0], task.bits))
    exact = [Decimal(c) for c in fixed]
    points = [task.low + (task.high - task.low) * k / 500 for k in range(501)]
    error = max(float(abs(task.weight(x) * (task.function(x) - polynomial(exact, x)))) for x in points)
    return fixed, error


def _tasks() -> list[Fit]:
    half_log = TWO.ln() / 2 * Decimal("1.0001")
    root_low, root_high = 1 / TWO.sqrt() - 1, TWO.sqrt() - 1
    quarter = (PI / 4) ** 2 * Decimal("1.0001")
    widest = ((TWO.sqrt() - 1) / (TWO.sqrt() + 1)) ** 2 * Decimal("1.001")

    def exp_weight(r: Decimal) -> Decimal:
        return r * r / (1 + exponential_minus_one(r))

    def expm1_weight(r: Decimal) -> Decimal:
        return abs(r) / (1 + r * exponential_tail(r))

    def log_weight(f: Decimal) -> Decimal:
        return abs(f / (1 + f * logarithm_tail(f)))

    def erf_weight(z: Decimal) -> Decimal:
        return 1 / (1 + erf_slope(z))

    def erfc_exponent(center: Decimal) -> Function:
        return lambda u: erfc(u + center).ln() / TWO.ln()

    def erfc_weight(center: Decimal) -> Function:
        return lambda u: erfc(u + center) * TWO.ln()

    def mills_argument(t: Decimal) -> Decimal:
        return t / (1 - MILLS_POLE * t)

    def mills_weight(t: Decimal) -> Decimal:
        # between that of the absolute error of the distribution function (density), which alone would leave the tail
        # without a correct digit, and that of the relative one, which would take four more terms
        x = mills_argument(t)
        return normal_density(x) ** Decimal("0.25") / mills_ratio(x) ** Decimal("0.75")

    half = Decimal("0.5001")
    zero = Decimal(0)
    tasks = []
    for bits, exp, expm1, exp2, sin, cos, tanh, erf in (
        (24, 5, 6, 6, 3, 3, 5, 6),
        (53, 10, 11, 11, 6, 6, 12, 14),
    ):
        f = f"F{32 if bits == 24 else 64}"
        tasks += [
            Fit(f"EXP_{f}", bits, exponential_tail, exp_weight, -half_log, half_log, exp),
            Fit(f"EXPM1_{f}", bits, exponential_tail, expm1_weight, -half_log, half_log, expm1),
            Fit(f"EXP2_{f}", bits, exp2_slope, abs, -half, half, exp2),
            Fit(f"SIN_{f}", bits, sine_tail, lambda z: z / (1 + z * sine_tail(z)), zero, quarter, sin),
            Fit(f"COS_{f}", bits, cosine_tail, lambda z: z * z / (1 - z / 2), zero, quarter, cos),
        ]
        edge = Decimal("0.6") ** 2
        tasks.append(
            Fit(f"TANH_{f}", bits, tanh_tail, lambda z: z / (1 + z * tanh_tail(z)), zero, edge, tanh)
        )
        edge = Decimal(14 if bits == 24 else 39)
        edge /= 1 + MILLS_POLE * edge
        mills, density = (8, 7) if bits == 24 else (26, 12)
        tasks.append(
            Fit(f"MILLS_{f}", bits, lambda t: mills_ratio(mills_argument(t)), mills_weight, zero, edge, mills)
        )
        tasks.append(
            Fit(f"DENSITY_{f}", bits, lambda r: TWO**r / (2 * PI).sqrt(), lambda r: ONE, -half, half, density)
        )
        bound = Decimal("0.875") if bits == 24 else ONE
        tasks.append(Fit(f"ERF_{f}", bits, erf_slope, erf_weight, zero, bound * bound, erf))
    tasks += [
        Fit("LOG_F32", 24, logarithm_tail, log_weight, root_low, root_high, 9),
        Fit("LOG_F64", 53, inverse_tanh_tail, lambda z: z / 2, zero, widest, 7),
        Fit("LOG_SECOND_F64", 53, inverse_tanh_second_tail, lambda z: z * z / 2, zero, widest, 8),
        Fit("ERFC_F32", 24, erfc_exponent(Decimal(0)), erfc_weight(Decimal(0)), Decimal("0.874"), Decimal("3.95"), 7),
        Fit("ERFC_F64", 53, erfc_exponent(Decimal(3)), erfc_weight(Decimal(3)), Decimal(-2), Decimal(3), 20),
    ]  # fmt: skip
    return tasks


MEANINGS = {
    "MILLS": "(1 - cdf x) / density x = p(t), t = x / (1 + MILLS_POLE x), for the normal distribution",
    "DENSITY": "2^r / sqrt(2 pi) = p(r), |r| <= 1/2",
    "EXPM1": "the same with one more term, for the error relative to e^r - 1",
    "EXP2": "2^r = 1 + r p(r), |r| <= 1/2",
    "EXP": "e^r = 1 + r + r^2 p(r), |r| <= log(2)/2",
    "SIN": "sin r = r + r^3 p(r^2), |r| <= pi/4",
    "COS": "cos r = 1 - r^2/2 + r^4 p(r^2), |r| <= pi/4",
    "TANH": "tanh x = x + x^3 p(x^2), |x| <= TANH_BOUND",
    "ERFC_F32": "log2(erfc x) = p(x), 0.875 <= x <= 3.95",
    "ERFC_F64": "log2(erfc x) = p(x - 3), 1 <= x <= 6",
    "ERF": "erf x = x + x p(x^2), |x| <= ERF_BOUND",
    "LOG_F32": "log(1 + f) = f + f^2 p(f), sqrt(1/2) <= 1 + f <= sqrt(2)",
    "LOG_F64": "2 atanh s = 2 s + s^3 p(s^2), s = f / (2 + f)",
    "LOG_SECOND": "2 atanh s = 2 s + 2/3 s^3 + s^5 p(s^2), for the double-double logarithm of pow",
}
HEADER = '''"""Coefficients and split constants of the functions in math.py. Written by tools/fit_polynomials.py; see there.

Every tuple lists coefficients from the lowest power up, each exact in its format. "error" is the largest relative
error the polynomial itself contributes to the function's value, rounding of the evaluation excluded.
"""

from __future__ import annotations

# where tanh changes from the polynomial in x^2 to 1 - 2 / (1 + e^2x)
TANH_BOUND = 0.59375
# Mills' ratio of the normal distribution is a polynomial in x / (1 + MILLS_POLE x)
MILLS_POLE = 0.3125
# where erf changes from the polynomial in x^2 to 1 - erfc
ERF_BOUND_F32 = 0.875
ERF_BOUND_F64 = 1.0
'''


def main(names: Sequence[str]) -> None:
    if not names:
        print(HEADER)
    for task in _tasks():
        if names and task.name not in names:
            continue
        coefficients, error = fit(task)
        meaning = next(text for name, text in MEANINGS.items() if task.name.startswith(name))
        print(f"# {meaning} (error 2^{math.log2(error):.1f})")
        print(f"{task.name} = (")
        for k in range(0, len(coefficients), 4):
            print("    " + ", ".join(repr(c) for c in coefficients[k : k + 4]) + ",")
        print(")  # fmt: skip", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
