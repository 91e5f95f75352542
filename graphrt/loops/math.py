"""Elementary functions as straight-line loop IR: range reduction and polynomials, no libm, no tables, no branches.

In: a function's name and its operand scalars. Out: one Scalar tree of Fma, Binary, Unary (abs, neg, sqrt, floor,
trunc), Select, Cast, Bitcast and Constant, of the operand's element type.

Largest error, in units in the last place of the exact value (asserted by tests/loops/test_math.py):

    function        float32  float64
    exp, exp2, log      1.0      1.0
    log1p               1.5      1.6
    expm1               1.5      2.0
    tanh                1.5      1.5
    sigmoid             2.0      2.1
    erf                 1.5      3.0
    rsqrt               1.6      1.6
    sin, cos            1.5      1.6
    normal_density      relative: (1 + x^2) times 1.6 half units
    normal_cdf          absolute: 1 unit of 1.0; relative for x > -5: (1 + x^2) times 4 half units
    pow                 0.6      1.5
    rem                 exact    exact
    floor_div           0.5      0.5     of the exact quotient's floor, while |x / y| < 2^53

float16 and bfloat16 are computed in float32 and rounded once.

Conventions
- NaN in gives NaN out; infinities, zeros (and their signs), overflow and domain errors are as in NumPy, without
  warnings.
- Denormal inputs and results are within the bounds above, except that `sigmoid` is 0 where it would be below 2^-128
  in float32 (x < -88.72) or 2^-1024 in float64 (x < -709.78).
- `sin` and `cos` reduce their argument with 2/pi to 107 (float32) or 160 bits (float64). The bounds hold for
  |x| < 2^50 (float32) and |x| < 2^30 (float64). Above, accuracy fades, and from 2^50 on the argument counts as 0.
- `rem` is exact for float32. For float64 it is exact while |x / y| < 2^200 and NaN where it cannot be.

Polynomials were fitted by tools/fit_polynomials.py. The reductions are textbook ones: Cody and Waite, "Software Manual
for the Elementary Functions" (1980); log(1 + f) through s = f / (2 + f) as in Muller, "Elementary Functions".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .. import dtypes
from ..dtypes import DType
from ..errors import CompileError
from . import math_tables as tables
from .ir import Cast, Constant, Scalar, Unary
from .scalars import (
    absolute,
    add,
    at_least,
    at_most,
    bit_and,
    bit_or,
    bit_xor,
    bitcast,
    div,
    equal,
    fma,
    greater,
    less,
    less_equal,
    mul,
    neg,
    not_equal,
    polynomial,
    select,
    shift_left,
    shift_right,
    sub,
)

NAN, INFINITY = math.nan, math.inf


@dataclass(frozen=True)
class Format:
    """A binary floating-point format with the constants the reductions need.

    `rounder` is 1.5 * 2^mantissa: x + rounder has round(x) in its low bits. `ln2` and `ln2_low` sum to log(2) beyond
    twice the precision; `ln2_short` has few enough bits that exponent * ln2_short is exact, `ln2_rest` is what is missing.
    """

    dtype: DType
    bits: DType
    mantissa: int
    bias: int
    rounder: float
    log2e: float
    ln2: float
    ln2_low: float
    ln2_short: float
    ln2_rest: float
    root_half_bits: int
    exp: Sequence[float]
    expm1: Sequence[float]
    exp2: Sequence[float]
    sin: Sequence[float]
    cos: Sequence[float]
    tanh: Sequence[float]
    erf: Sequence[float]
    erf_bound: float
    erfc: Sequence[float]
    erfc_center: float
    erfc_limit: float
    exp_low: float  # exp(x) is 0 below
    exp_high: float  # exp(x) is infinite above
    expm1_low: float  # expm1(x) is -1 below
    tanh_limit: float  # tanh(x) is 1 above
    exp2_low: float
    exp2_high: float
    sine_is_identity: float  # sin(x) rounds to x below

    @property
    def sign_bit(self) -> int:
        return -(1 << (self.bits.size * 8 - 1))

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    @property
    def one_bits(self) -> int:
        """The exponent field of 1.0, in place."""
        return self.bias << self.mantissa


F32 = Format(
    dtype=dtypes.float32, bits=dtypes.int32, mantissa=23, bias=127, rounder=1.5 * 2.0**23,
    log2e=1.4426950216293335, ln2=0.6931471824645996, ln2_low=-1.9046542121259336e-09,
    ln2_short=0.693145751953125, ln2_rest=1.428606765330187e-06, root_half_bits=0x3F3504F3,
    exp=tables.EXP_F32, expm1=tables.EXPM1_F32, exp2=tables.EXP2_F32, sin=tables.SIN_F32, cos=tables.COS_F32,
    tanh=tables.TANH_F32, erf=tables.ERF_F32, erf_bound=tables.ERF_BOUND_F32, erfc=tables.ERFC_F32, erfc_center=0.0, erfc_limit=3.9375,
    exp_low=-104.0, exp_high=89.0, expm1_low=-18.0, tanh_limit=10.0, exp2_low=-151.0, exp2_high=129.0,
    sine_is_identity=2.0**-12,
)  # fmt: skip
F64 = Format(
    dtype=dtypes.float64, bits=dtypes.int64, mantissa=52, bias=1023, rounder=1.5 * 2.0**52,
    log2e=1.4426950408889634, ln2=0.6931471805599453, ln2_low=2.3190468138462996e-17,
    ln2_short=0.6931471805598903, ln2_rest=5.497923018708371e-14, root_half_bits=0x3FE6A09E667F3BCD,
    exp=tables.EXP_F64, expm1=tables.EXPM1_F64, exp2=tables.EXP2_F64, sin=tables.SIN_F64, cos=tables.COS_F64,
    tanh=tables.TANH_F64, erf=tables.ERF_F64, erf_bound=tables.ERF_BOUND_F64, erfc=tables.ERFC_F64, erfc_center=3.0, erfc_limit=6.0,
    exp_low=-746.0, exp_high=710.0, expm1_low=-38.0, tanh_limit=20.0, exp2_low=-1076.0, exp2_high=1025.0,
    sine_is_identity=2.0**-27,
)  # fmt: skip

# pi/2 as a sum of three float64
HALF_PI, HALF_PI_LOW, HALF_PI_LOWEST = 1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33
LARGEST_ANGLE = 2.0**50


# ---------------------------------------------------------------------------------------------- exponentials


def power_of_two(form: Format, rounded: Scalar, offset: int = 0, negative: bool = False) -> Scalar:
    """2^(n + offset), or its negative, for n in the low bits of `rounded` (bits of a sum with `form.rounder`, whose
    other bits leave at the top). The exponent must be a normal number's."""
    base = (form.bias + offset) << form.mantissa
    if negative:
        base += form.sign_bit
    return bitcast(add(shift_left(rounded, form.mantissa), base), form.dtype)


def reduce_exponent(form: Format, x: Scalar) -> tuple[Scalar, Scalar]:
    """x = n log(2) + r with |r| <= log(2)/2: the bits that hold n, and r."""
    sum_ = fma(x, form.log2e, form.rounder)
    n = sub(sum_, form.rounder)
    r = fma(n, -form.ln2_low, fma(n, -form.ln2, x))
    return bitcast(sum_, form.bits), r


def scale(form: Format, p: Scalar, rounded: Scalar) -> Scalar:
    """p * 2^n rounded once, for p near 1 and any n that `exp_low .. exp_high` allows: two factors, because 2^n itself
    may overflow or be denormal."""
    half = shift_right(rounded, 1)
    first = power_of_two(form, half)
    second = power_of_two(form, sub(rounded, half))
    return mul(mul(p, first), second)


def exp(form: Format, x: Scalar) -> Scalar:
    """e^x."""
    x = at_least(at_most(x, form.exp_high), form.exp_low)
    rounded, r = reduce_exponent(form, x)
    p = polynomial(r, (1.0, 1.0, *form.exp))
    return scale(form, p, rounded)


def exp2(form: Format, x: Scalar) -> Scalar:
    """2^x."""
    x = at_least(at_most(x, form.exp2_high), form.exp2_low)
    sum_ = add(x, form.rounder)
    r = sub(x, sub(sum_, form.rounder))
    return scale(form, polynomial(r, (1.0, *form.exp2)), bitcast(sum_, form.bits))


def expm1(form: Format, x: Scalar) -> Scalar:
    """e^x - 1 = 2^n (e^r - 1) + (2^n - 1), accurate near 0."""
    limited = at_least(at_most(x, form.exp_high), form.expm1_low)  # -1 from there on
    rounded, r = reduce_exponent(form, limited)
    q = fma(mul(r, r), polynomial(r, form.expm1), r)  # e^r - 1
    half = power_of_two(form, rounded, offset=-1)  # 2^n itself overflows just below the largest result
    return copy_sign(form, mul(fma(half, q, sub(half, 0.5)), 2.0), x)


def tanh(form: Format, x: Scalar) -> Scalar:
    """Hyperbolic tangent: a polynomial in x^2 near 0, else 1 - 2 / (1 + e^2x), for |x|."""
    size = absolute(x)
    z = mul(size, size)
    near = fma(mul(z, size), polynomial(z, form.tanh), size)
    limited = at_most(size, form.tanh_limit)  # 1 from there on
    rounded, r = reduce_exponent(form, add(limited, limited))
    denominator = fma(polynomial(r, (1.0, 1.0, *form.exp)), power_of_two(form, rounded), 1.0)
    far = sub(1.0, div(2.0, denominator))
    return copy_sign(form, select(less_equal(size, tables.TANH_BOUND), near, far), x)


def sigmoid(form: Format, x: Scalar) -> Scalar:
    """1 / (1 + e^-x), with e^-x = 2^n (1 + q) so that only the sum rounds.

    The reduction works on -r, which saves negating x: only the odd coefficients change sign.
    """
    x = at_least(at_most(x, form.exp_high - 2), -form.exp_high)
    sum_ = fma(x, -form.log2e, form.rounder)
    n = sub(sum_, form.rounder)
    minus_r = fma(n, form.ln2_low, fma(n, form.ln2, x))
    tail = polynomial(minus_r, [c if k % 2 == 0 else -c for k, c in enumerate(form.exp)])
    q = fma(mul(minus_r, minus_r), tail, neg(minus_r))
    half = power_of_two(form, bitcast(sum_, form.bits), offset=-1)  # 2^n itself may overflow
    return div(1.0, mul(add(half, fma(half, q, 0.5)), 2.0))


# ----------------------------------------------------------------------------------------------- logarithms


def split_exponent(form: Format, x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """x = m 2^e with sqrt(1/2) <= m < sqrt(2), for positive normal x: m, the integer e, and e in the exponent field."""
    bits = bitcast(x, form.bits)
    e = shift_right(sub(bits, form.root_half_bits), form.mantissa)
    field = shift_left(e, form.mantissa)
    return bitcast(sub(bits, field), form.dtype), e, field


def normalise(form: Format, x: Scalar) -> tuple[Scalar, Scalar]:
    """Denormal x scaled up to a normal number, and the float to add to its exponent."""
    denormal = less(x, form.smallest_normal)
    shift = form.mantissa + 1
    scaled = select(denormal, mul(x, 2.0**shift), x)
    return scaled, select(denormal, Constant(-float(shift), form.dtype), 0.0)


def _logarithm(form: Format, f: Scalar, e: Scalar) -> Scalar:
    """log(1 + f) + e log(2) for sqrt(1/2) <= 1 + f < sqrt(2) and e an integer as float."""
    high = fma(e, form.ln2_short, f)
    lost = sub(f, fma(e, -form.ln2_short, high))  # by rounding `high`
    low = fma(e, form.ln2_rest, lost)
    if form is F32:
        return add(high, fma(mul(f, f), polynomial(f, tables.LOG_F32), low))
    s = div(f, add(f, 2.0))
    z = mul(s, s)
    bend = sub(f, mul(z, polynomial(z, tables.LOG_F64)))  # log(1 + f) = f - s bend
    return add(high, sub(low, mul(s, bend)))


def _with_log_limits(form: Format, x: Scalar, lowest: float, result: Scalar) -> Scalar:
    """-infinity at `lowest`, NaN below, infinity at infinity, NaN for NaN."""
    outside = select(equal(x, lowest), Constant(-INFINITY, form.dtype), NAN)
    return select(greater(x, lowest), select(less(x, INFINITY), result, x), outside)


def log(form: Format, x: Scalar) -> Scalar:
    """Natural logarithm."""
    normal, shift = normalise(form, x)
    m, e, _ = split_exponent(form, normal)
    result = _logarithm(form, sub(m, 1.0), add(Cast(e, form.dtype), shift))
    return _with_log_limits(form, x, 0.0, result)


def log1p(form: Format, x: Scalar) -> Scalar:
    """log(1 + x), accurate near 0: what the rounding of 1 + x lost is added to the reduced argument."""
    one_plus = add(x, 1.0)
    back = sub(one_plus, 1.0)
    lost = add(sub(1.0, sub(one_plus, back)), sub(x, back))
    m, e, field = split_exponent(form, one_plus)
    # 2^-e is no number for the largest e; the exponent is limited because `lost` no longer matters there
    field = at_most(field, (form.bias - 1) << form.mantissa)
    inverse = bitcast(sub(form.one_bits, field), form.dtype)
    f = fma(lost, inverse, sub(m, 1.0))
    result = _with_log_limits(form, x, -1.0, _logarithm(form, f, Cast(e, form.dtype)))
    return copy_sign(form, result, x)


# ------------------------------------------------------------------------------------------------------- erf


def erf(form: Format, x: Scalar) -> Scalar:
    """Error function: a polynomial in x^2 near 0, else 1 - erfc(|x|), where log2(erfc) is a polynomial."""
    size = absolute(x)
    z = mul(size, size)
    near = fma(size, polynomial(z, form.erf), size)
    limited = at_most(size, form.erfc_limit)
    centered = sub(limited, form.erfc_center) if form.erfc_center else limited
    exponent = polynomial(centered, form.erfc)
    sum_ = add(exponent, form.rounder)
    r = sub(exponent, sub(sum_, form.rounder))
    minus_power = power_of_two(form, bitcast(sum_, form.bits), negative=True)
    far = fma(polynomial(r, (1.0, *form.exp2)), minus_power, 1.0)
    return copy_sign(form, select(less_equal(size, form.erf_bound), near, far), x)


# ------------------------------------------------------------------------------------------ sine and cosine


def _quarter_turns(form: Format, x: Scalar) -> tuple[Scalar, Scalar]:
    """x = n pi/2 + r with |r| <= pi/4: n mod 4 as `form.bits`, and r. Reduced in float64 for both formats."""
    wide = x if form is F64 else Cast(x, dtypes.float64)
    # Too large to reduce: 0. Infinity and NaN: NaN.
    wide = select(less(absolute(wide), LARGEST_ANGLE), wide, mul(wide, 0.0))
    sum_ = fma(wide, 2 / math.pi, F64.rounder)
    n = sub(sum_, F64.rounder)
    r = fma(n, -HALF_PI_LOW, fma(n, -HALF_PI, wide))
    quarter = bit_and(bitcast(sum_, dtypes.int64), 3)
    if form is F64:
        return quarter, fma(n, -HALF_PI_LOWEST, r)
    return Cast(quarter, form.bits), Cast(r, form.dtype)


def _sine(form: Format, quarter: Scalar, r: Scalar) -> Scalar:
    """sin(quarter pi/2 + r)."""
    z = mul(r, r)
    sine = fma(mul(z, r), polynomial(z, form.sin), r)
    cosine = fma(z, fma(z, polynomial(z, form.cos), -0.5), 1.0)
    value = select(not_equal(bit_and(quarter, 1), 0), cosine, sine)
    sign = shift_left(bit_and(quarter, 2), form.bits.size * 8 - 2)
    return bitcast(bit_xor(bitcast(value, form.bits), sign), form.dtype)


def sin(form: Format, x: Scalar) -> Scalar:
    quarter, r = _quarter_turns(form, x)
    return select(less(absolute(x), form.sine_is_identity), x, _sine(form, quarter, r))


def cos(form: Format, x: Scalar) -> Scalar:
    quarter, r = _quarter_turns(form, x)
    return _sine(form, add(quarter, 1), r)


# ------------------------------------------------------------------------------------------------ small ones


def copy_sign(form: Format, magnitude: Scalar, x: Scalar) -> Scalar:
    """`magnitude`, which is not positive where x is negative, with the sign of x put on zeros and positive numbers."""
    sign = bit_and(bitcast(x, form.bits), form.sign_bit)
    return bitcast(bit_or(bitcast(magnitude, form.bits), sign), form.dtype)


def rsqrt(form: Format, x: Scalar) -> Scalar:
    """1 / sqrt(x)."""
    return div(Constant(1.0, form.dtype), Unary("sqrt", x))


def _sign(x: Scalar) -> Scalar:
    """1, 0, -1 or NaN, for every numeric type."""
    negative = x if x.dtype.kind == "uint" else select(less(x, 0), -1, x)
    return select(greater(x, 0), 1, negative)


# -------------------------------------------------------------------------------------------------- dispatch

_UNARY: dict[str, Callable[[Format, Scalar], Scalar]] = {
    "exp": exp, "exp2": exp2, "expm1": expm1, "log": log, "log1p": log1p, "tanh": tanh, "sigmoid": sigmoid,
    "erf": erf, "rsqrt": rsqrt, "sin": sin, "cos": cos,
}  # fmt: skip

_NORMAL = {"normal_cdf": "cdf", "normal_density": "density"}  # functions of math_normal.py

UNARY_FUNCTIONS = (*_UNARY, *_NORMAL, "sign")
BINARY_FUNCTIONS = ("pow", "rem", "floor_div")


def expand(name: str, x: Scalar) -> Scalar:
    """The function `name` of one operand (see UNARY_FUNCTIONS) in loop IR primitives, of the type of x.

    `sign` takes every numeric type, the others floats. Raises CompileError for other names and types.
    """
    if name == "sign":
        return _sign(x)
    function = _UNARY.get(name)
    if name in _NORMAL:
        from . import math_normal  # it builds on the functions of this module

        function = getattr(math_normal, _NORMAL[name])
    if function is None:
        raise CompileError(
            f"no native code for the function {name!r}", expected=", ".join(UNARY_FUNCTIONS), given=name
        )
    if x.dtype in (dtypes.float16, dtypes.bfloat16):
        return Cast(function(F32, Cast(x, dtypes.float32)), x.dtype)
    return function(format_of(name, x.dtype), x)


def expand_binary(name: str, x: Scalar, y: Scalar) -> Scalar:
    """The function `name` of two float operands of one type (see BINARY_FUNCTIONS) in loop IR primitives.

    `rem` has the sign of y and `floor_div` rounds down, as in NumPy. Raises CompileError for other names and types.
    """
    from . import math_binary  # it builds on the functions of this module

    if name not in BINARY_FUNCTIONS:
        raise CompileError(
            f"no native code for the function {name!r}", expected=", ".join(BINARY_FUNCTIONS), given=name
        )
    if x.dtype in (dtypes.float16, dtypes.bfloat16):
        return Cast(expand_binary(name, Cast(x, dtypes.float32), Cast(y, dtypes.float32)), x.dtype)
    form = format_of(name, x.dtype)
    return {"pow": math_binary.power, "rem": math_binary.remainder, "floor_div": math_binary.floor_division}[
        name
    ](form, x, y)


def format_of(name: str, dtype: DType) -> Format:
    """The format of float32 or float64; CompileError for another type."""
    for form in (F32, F64):
        if form.dtype == dtype:
            return form
    raise CompileError(f"{name}: element type not accepted", expected="a float type", given=dtype.name)
