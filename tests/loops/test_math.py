"""Expanded functions against wider arithmetic, in units in the last place."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from graphrt import dtypes
from graphrt.errors import CompileError
from graphrt.loops import ir
from graphrt.loops import math as loop_math

from . import numpy_scalars

# name: (exact function, bound for float32, bound for float64); the bounds stand in the docstring of loops/math.py
FUNCTIONS = {
    "exp": (np.exp, 1.0, 1.0),
    "exp2": (np.exp2, 1.0, 1.0),
    "expm1": (np.expm1, 1.5, 2.0),
    "log": (np.log, 1.0, 1.0),
    "log1p": (np.log1p, 1.5, 1.6),
    "tanh": (np.tanh, 1.5, 1.5),
    "sigmoid": (lambda x: np.where(x > 0, 1 / (1 + np.exp(-x)), np.exp(x) / (1 + np.exp(x))), 2.0, 2.1),
    "erf": (np.vectorize(math.erf, otypes=[float]), 1.5, 3.0),  # math.erf itself may be one float64 unit off
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1.6, 1.6),
    "sin": (np.sin, 1.5, 1.6),
    "cos": (np.cos, 1.5, 1.6),
}
# exact functions whose errors have bounds of another kind, see test_normal_distribution
NORMAL = {
    "normal_density": lambda x: np.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    "normal_cdf": np.vectorize(lambda x: 0.5 * math.erfc(-x * math.sqrt(0.5)), otypes=[float]),
}
EXACT = {name: function for name, (function, *_) in FUNCTIONS.items()} | NORMAL
WIDE = {np.float32: np.float64, np.float64: np.longdouble}
SPECIAL = [
    0.0,
    -0.0,
    math.inf,
    -math.inf,
    math.nan,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    -2.0,
    3.0,
    -3.0,
    1e-30,
    -1e-30,
]

needs_longdouble = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="no type wider than float64 to compare with"
)
formats = pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=needs_longdouble)])


def run(name: str, *arrays: np.ndarray) -> np.ndarray:
    """The expansion of `name` on arrays."""
    registers = [ir.Register("x", dtypes.as_dtype(a.dtype), True) for a in arrays]
    expand = loop_math.expand if len(arrays) == 1 else loop_math.expand_binary
    tree = expand(name, *map(ir.Read, registers))
    return numpy_scalars.evaluate(tree, dict(zip(registers, arrays)))


def units_off(result: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|result - exact| in units in the last place of the exact value; infinite where only one is NaN.

    Beyond the largest number both count as the next power of two.
    """
    info = np.finfo(result.dtype)
    wide = exact.dtype.type
    limit = np.ldexp(wide(1), info.maxexp)
    with np.errstate(all="ignore"):
        exponent = np.frexp(exact)[1] - 1
        unit = np.ldexp(wide(1), np.maximum(exponent - info.nmant, info.minexp - info.nmant).astype(np.int32))
        clipped = [np.clip(v.astype(wide), -limit, limit) for v in (result, exact)]
        off = np.abs(clipped[0] - clipped[1]) / unit
    off = np.where(clipped[0] == clipped[1], 0, off)
    return np.where(
        np.isnan(exact) | np.isnan(result), np.where(np.isnan(exact) & np.isnan(result), 0, np.inf), off
    )


def bit_patterns(dtype: type, count: int, seed: int) -> np.ndarray:
    """Random bit patterns: all exponents alike, denormals, infinities and NaN among them."""
    raw = np.random.default_rng(seed).bytes(count * np.dtype(dtype).itemsize)
    return np.frombuffer(raw, dtype)


def sample(name: str, dtype: type, count: int) -> np.ndarray:
    """Arguments everywhere, dense where the function is interesting and around its boundaries."""
    rng = np.random.default_rng(7)
    span = 110 if dtype is np.float32 else 760
    interesting = [
        rng.normal(size=count) * 2,
        rng.uniform(-span, span, count),
        np.exp(rng.uniform(-1, 1, count)),
    ]
    edges = [
        0.59375,
        0.875,
        1.0,
        3.9375,
        6.0,
        10.0,
        18.0,
        20.0,
        38.0,
        87.3365,
        88.0,
        88.3763,
        88.7228,
        103.28,
        103.97,
    ]
    edges += [
        126.0,
        127.0,
        128.0,
        149.0,
        150.0,
        708.39,
        709.78,
        745.13,
        1022.0,
        1024.0,
        1074.0,
        math.sqrt(2),
        math.sqrt(0.5),
    ]
    centers = np.array([s * e for e in edges for s in (1, -1)], dtype)
    near = [centers]
    for direction in (np.inf, -np.inf):
        step = centers
        for _ in range(20):
            step = np.nextafter(step, dtype(direction))
            near.append(step)
    parts = [
        bit_patterns(dtype, count, 3),
        *(p.astype(dtype) for p in interesting),
        *near,
        np.array(SPECIAL, dtype),
    ]
    x = np.concatenate(parts)
    if name in ("sin", "cos"):
        limit = 2.0**50 if dtype is np.float32 else 2.0**30
        x = x[~(np.abs(x) >= limit) | np.isinf(x)]
    if name == "sigmoid":  # below, the documented flush to zero
        x = x[~(x < (-88.72 if dtype is np.float32 else -709.78)) | np.isinf(x)]
    return x


def test_fma_of_the_oracle_rounds_once():
    rng = np.random.default_rng(0)
    for dtype, digits in ((np.float32, 24), (np.float64, 53)):
        x, y = rng.normal(size=(2, 500)).astype(dtype)
        z = np.where(rng.random(500) < 0.5, -x * y, rng.normal(size=500)).astype(dtype)
        registers = [ir.Register(n, dtypes.as_dtype(dtype), True) for n in "xyz"]
        got = numpy_scalars.evaluate(ir.Fma(*map(ir.Read, registers)), dict(zip(registers, (x, y, z))))
        for a, b, c, value in zip(x, y, z, got):
            exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
            assert abs(Fraction(float(value)) - exact) <= abs(exact) / 2**digits


@pytest.mark.parametrize("name", FUNCTIONS)
@formats
def test_error_in_units_in_the_last_place(name, dtype):
    exact_function, *bounds = FUNCTIONS[name]
    x = sample(name, dtype, 300_000 if dtype is np.float32 else 40_000)
    with np.errstate(all="ignore"):
        exact = np.asarray(exact_function(x.astype(WIDE[dtype])), WIDE[dtype])
    off = units_off(run(name, x), exact)
    worst = int(np.argmax(off))
    bound = bounds[0 if dtype is np.float32 else 1]
    assert off[worst] <= bound, f"{name}({x[worst]!r}): {off[worst]} units off {exact[worst]!r}"


@formats
def test_normal_distribution(dtype):
    """The relative error grows with x^2, as that of x^2 in the exponent; see the docstring of loops/math.py."""
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.normal(size=20_000) * 2, rng.uniform(-12, 12, 20_000)]).astype(dtype)
    wide, unit = (
        x.astype(WIDE[dtype]),
        float(np.finfo(dtype).eps / 2),
    )  # math.erfc takes a float64 in any case
    for name, tolerance in (("normal_density", 1.6), ("normal_cdf", 4.0)):
        exact = NORMAL[name](wide)
        relative = np.abs(run(name, x) - exact) / exact / unit
        near = wide > -5 if name == "normal_cdf" else np.full(x.shape, True)
        bound = tolerance * (1 + wide * wide)
        assert (relative <= bound)[near].all(), (name, x[near][np.argmax((relative / bound)[near])])
    absolute = np.abs(run("normal_cdf", x) - NORMAL["normal_cdf"](wide))
    assert absolute.max() <= 2.0 * unit


@formats
def test_the_tails_of_the_normal_distribution_vanish(dtype):
    info = np.finfo(dtype)
    far = np.array([-40, -1e4, -1e10, -float(info.max) / 2, info.min, -np.inf], dtype)
    np.testing.assert_array_equal(run("normal_density", far), 0)
    np.testing.assert_array_equal(run("normal_density", -far), 0)
    np.testing.assert_array_equal(run("normal_cdf", far), 0)
    np.testing.assert_array_equal(run("normal_cdf", -far), 1)


@pytest.mark.parametrize("name", EXACT)
@formats
def test_signs_of_zeros_and_special_values(name, dtype):
    x = np.array([0.0, -0.0, math.inf, -math.inf, math.nan], dtype)
    with np.errstate(all="ignore"):
        expected = np.asarray(EXACT[name](x)).astype(dtype)
    exact = name not in NORMAL  # of these only the limits are
    np.testing.assert_allclose(run(name, x), expected, rtol=0 if exact else 4 * np.finfo(dtype).eps)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(run(name, x))[number], np.signbit(expected)[number])


@formats
def test_nan_payloads_stay_nan(dtype):
    integers = {np.float32: np.uint32, np.float64: np.uint64}[dtype]
    width = np.dtype(dtype).itemsize * 8
    mantissa = np.finfo(dtype).nmant
    payloads = np.random.default_rng(1).integers(1, 2**mantissa, 1000, dtype=integers)
    exponent = integers(np.array(np.inf, dtype).view(integers))
    x = np.concatenate([(payloads | exponent), (payloads | exponent | integers(1 << (width - 1)))]).view(
        dtype
    )
    assert np.isnan(x).all()
    for name in EXACT:
        assert np.isnan(run(name, x)).all(), name


@formats
def test_angles_near_zeros_of_sine_and_cosine(dtype):
    multiples = np.random.default_rng(2).integers(1, 2**20, 20_000)
    if np.finfo(np.longdouble).nmant < 63 and dtype is np.float64:
        pytest.skip("no wider type")
    x = (multiples * (np.pi / 2)).astype(dtype)
    for name, function in (("sin", np.sin), ("cos", np.cos)):
        # glibc reduces float64 and long double arguments exactly
        off = units_off(run(name, x), function(x.astype(WIDE[dtype])))
        assert off.max() <= 1.6, (name, x[np.argmax(off)])


def test_angles_too_large_to_reduce_count_as_zero():
    x = np.array([2.0**51, -1e30, 3e38], np.float32)
    np.testing.assert_array_equal(run("sin", x), [0, 0, 0])
    np.testing.assert_array_equal(run("cos", x), [1, 1, 1])


def test_sigmoid_far_below_is_zero_not_small():
    x = np.array([-88.8, -100, -1000, -math.inf], np.float32)
    np.testing.assert_array_equal(run("sigmoid", x), np.zeros(4, np.float32))
    y = np.array([-710.0, -1e4], np.float64)
    np.testing.assert_array_equal(run("sigmoid", y), np.zeros(2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.int32, np.int64, np.uint8])
def test_sign(dtype):
    x = np.array([0, 1, 2, 100], dtype)
    if dtype is not np.uint8:
        x = np.concatenate([x, -x])
    np.testing.assert_array_equal(run("sign", x), np.sign(x))
    assert run("sign", x).dtype == dtype


def test_half_types_are_computed_in_float32_and_rounded_once():
    for dtype in (dtypes.float16, dtypes.bfloat16):
        x = np.linspace(-4, 4, 1001).astype(dtype.numpy)
        expected = run("tanh", x.astype(np.float32)).astype(dtype.numpy)
        np.testing.assert_array_equal(run("tanh", x), expected)
        expected = run("pow", np.abs(x.astype(np.float32)), x.astype(np.float32)).astype(dtype.numpy)
        np.testing.assert_array_equal(run("pow", np.abs(x), x), expected)


# -------------------------------------------------------------------------------------------- two operands


def pairs(dtype: type, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    specials = [*SPECIAL, 1e30, 7.5, -7.5, 1e-42, 2.0**24, 2.0**24 + 2, 65536.0]
    grid = np.array(np.meshgrid(specials, specials)).reshape(2, -1).astype(dtype)
    positive = np.exp(rng.normal(size=count) * 3).astype(dtype)
    signed = (rng.normal(size=count) * 10).astype(dtype)
    multiple = (positive * rng.integers(1, 100, count)).astype(dtype)
    x = [bit_patterns(dtype, count, 8), positive, signed, signed, grid[0], multiple]
    y = [bit_patterns(dtype, count, 9), signed, positive, np.round(signed[::-1]), grid[1], positive]
    return np.concatenate(x), np.concatenate(y)


@formats
def test_pow(dtype):
    x, y = pairs(dtype, 100_000 if dtype is np.float32 else 30_000)
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(WIDE[dtype]), y.astype(WIDE[dtype]))
    got = run("pow", x, y)
    off = units_off(got, exact)
    worst = int(np.argmax(off))
    assert off[worst] <= (0.6 if dtype is np.float32 else 1.5), (x[worst], y[worst], got[worst], exact[worst])
    zero = got == 0
    np.testing.assert_array_equal(np.signbit(got)[zero], np.signbit(exact)[zero])


@formats
def test_remainder_is_numpys_to_the_bit(dtype):
    x, y = pairs(dtype, 100_000 if dtype is np.float32 else 30_000)
    with np.errstate(all="ignore"):
        if dtype is np.float64:
            usual = ~(np.abs(x / y) >= 2.0**200) | np.isinf(x) | (y == 0)
            x, y = x[usual], y[usual]
        expected = np.remainder(x, y)
    got = run("rem", x, y)
    np.testing.assert_array_equal(got, expected)
    number = ~np.isnan(got)
    np.testing.assert_array_equal(np.signbit(got)[number], np.signbit(expected)[number])


def test_float64_remainder_is_nan_rather_than_wrong():
    assert np.isnan(run("rem", np.array([1e300]), np.array([3e-10])))


@formats
def test_floor_division_is_the_exact_quotient_rounded(dtype):
    x, y = pairs(dtype, 20_000)
    got = run("floor_div", x, y)
    with np.errstate(all="ignore"):
        numpy, quotient = np.floor_divide(x, y), np.abs(x / y)
    unusual = ~np.isfinite(x) | ~np.isfinite(y) | (y == 0)
    np.testing.assert_array_equal(got[unusual], numpy[unusual])
    checked = np.flatnonzero(~unusual & (quotient < 2.0**53))
    # NumPy rounds before it floors, so it may be one off where the exact quotient is not
    for k in checked[got[checked] != numpy[checked]]:
        assert got[k] == dtype(math.floor(Fraction(float(x[k])) / Fraction(float(y[k])))), (x[k], y[k])
    zero = (got == 0) & (numpy == 0)
    np.testing.assert_array_equal(np.signbit(got)[zero], np.signbit(numpy)[zero])


# ------------------------------------------------------------------------------------------------ the trees

PRIMITIVES = {"neg", "abs", "sqrt", "floor", "ceil", "round", "trunc"}
PLAIN = {"add", "sub", "mul", "div", "and", "or", "xor", "shl", "shr", "eq", "ne", "lt", "le", "gt", "ge"}


def nodes(root: ir.Scalar) -> list[ir.Scalar]:
    seen: dict[int, ir.Scalar] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen[id(node)] = node
            stack.extend(numpy_scalars.children(node))
    return list(seen.values())


@pytest.mark.parametrize("name", [*loop_math.UNARY_FUNCTIONS, *loop_math.BINARY_FUNCTIONS])
@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64, dtypes.float16])
def test_only_primitives_and_the_operands_type(name, dtype):
    x, y = (ir.Read(ir.Register(n, dtype, True)) for n in "xy")
    binary = name in loop_math.BINARY_FUNCTIONS
    tree = loop_math.expand_binary(name, x, y) if binary else loop_math.expand(name, x)
    assert tree.dtype == dtype
    for node in nodes(tree):
        if isinstance(node, ir.Unary):
            assert node.op in PRIMITIVES
        if isinstance(node, ir.Binary):
            assert node.op in PLAIN
            assert node.x.dtype == node.y.dtype


@pytest.mark.parametrize(
    ("name", "divisions", "operations"),
    [
        ("exp", 0, 25),
        ("log", 0, 34),
        ("tanh", 1, 35),
        ("sigmoid", 1, 23),
        ("erf", 0, 37),
        ("normal_cdf", 1, 40),
    ],
)
def test_hot_functions_stay_short(name, divisions, operations):
    tree = loop_math.expand(name, ir.Read(ir.Register("x", dtypes.float32, True)))
    assert numpy_scalars.count(tree) <= operations
    assert sum(isinstance(n, ir.Binary) and n.op == "div" for n in nodes(tree)) == divisions
    assert all(
        n.dtype in (dtypes.float32, dtypes.int32, dtypes.bool_) for n in nodes(tree)
    )  # full lanes throughout


def test_unknown_names_and_types():
    x = ir.Read(ir.Register("x", dtypes.float32, True))
    n = ir.Read(ir.Register("n", dtypes.int32, True))
    with pytest.raises(CompileError, match="no native code for the function 'gamma'"):
        loop_math.expand("gamma", x)
    with pytest.raises(CompileError, match="no native code for the function 'hypot'"):
        loop_math.expand_binary("hypot", x, x)
    with pytest.raises(CompileError, match="exp: element type not accepted"):
        loop_math.expand("exp", n)
