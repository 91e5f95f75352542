"""The op-case table: one row per behaviour of every op, checked row by row in test_cases.py.

A row is an op with its operands. An operand is a shape, an element type ("T" stands for each type of the
row's `types`) and a domain from which its values are drawn.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from graphrt import dtypes
from graphrt.dtypes import as_dtype
from graphrt.ir import Literal, TensorType
from graphrt.ops import (
    activations,
    attention,
    build,  # noqa: F401  (loads every op)
    gradient_control,
    losses,
    normalization,
    pairs,
    patches,
    random,
    scatter,
    taps,
    views,
    windows,
    winograd,
)
from graphrt.ops import contractions as c
from graphrt.ops import elementwise as e
from graphrt.ops import reductions as r
from graphrt.ops.copy import Copy
from graphrt.ops.lane_sums import Conv2dBackwardWeightLanes


@dataclass(frozen=True)
class Operand:
    shape: tuple[int, ...]
    dtype: str = "T"
    domain: str = "any"

    def type(self, dtype: str) -> TensorType:
        return TensorType(self.shape, as_dtype(dtype if self.dtype == "T" else self.dtype))

    def draw(self, dtype: str, rng: np.random.Generator) -> np.ndarray:
        """Values of the domain, far enough from kinks and ties for finite differences."""
        target = self.type(dtype).dtype
        size = int(np.prod(self.shape, dtype=int))
        values: np.ndarray
        if target.kind == "bool":
            values = rng.integers(0, 2, size)
        elif self.domain.startswith("["):  # "[low, high)": integers
            low, high = self.domain[1:-1].split(",")
            values = rng.integers(int(low), int(high), size)
        elif self.domain == "bits":
            values = rng.integers(0, 2**32, size, dtype=np.uint64) & np.uint64(2 ** (8 * target.size) - 1)
        elif self.domain == "pairs":  # two bfloat16 of ordinary size in each word
            halves = rng.uniform(-2, 2, (2, size)).astype(np.float32).view(np.uint32) >> np.uint32(16)
            values = halves[0] | halves[1] << np.uint32(16)
        elif not target.is_float:
            values = rng.integers(-9 if target.kind == "int" else 0, 10, size)
        elif self.domain == "any":
            values = rng.uniform(-2, 2, size)
        elif self.domain == "positive":
            values = rng.uniform(0.3, 2.5, size)
        elif self.domain == "nonzero":
            values = rng.uniform(0.3, 2, size) * rng.choice([-1.0, 1.0], size)
        elif self.domain == "apart":  # no two closer than 0.1 / size, none near zero
            values = (rng.permutation(size) - size // 2 + 0.5) / max(size, 1) * 4
        elif self.domain == "halves":  # multiples of 1/2 and of 1/4: ties of rounding, no finite differences
            values = rng.integers(-9, 10, size) / 4
        elif self.domain == "special":
            values = np.resize([0.0, -0.0, 1.5, -3.0, np.inf, -np.inf, np.nan], size)
        elif self.domain == "probability":
            values = rng.dirichlet(np.ones(self.shape[-1]), size // self.shape[-1]).reshape(-1)
        else:
            raise ValueError(self.domain)
        return values.reshape(self.shape).astype(target.numpy)


@dataclass(frozen=True)
class Case:
    name: str
    op: object
    operands: tuple[Operand, ...]
    types: tuple[str, ...] = ("float32", "float64")
    gradient: bool = True  # finite differences apply (smooth at the drawn values)
    exact: bool = False  # the result must be equal bit for bit

    def draw(self, dtype: str) -> list[np.ndarray]:
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return [operand.draw(dtype, rng) for operand in self.operands]

    def operand_types(self, dtype: str) -> list[TensorType]:
        return [operand.type(dtype) for operand in self.operands]


CASES: list[Case] = []
FLOATS = ("float32", "float64")
NUMBERS = ("float32", "float64", "int32")
HALVES = ("float16", "bfloat16")


def case(op, *operands: Operand, note: str = "", **flags) -> None:
    CASES.append(Case(f"{op.name}{'-' + note if note else ''}-{len(CASES)}", op, operands, **flags))


def over(*shapes: tuple[int, ...], domain: str = "any", dtype: str = "T") -> list[tuple[Operand, ...]]:
    """Rows of one operand each."""
    return [(Operand(shape, dtype, domain),) for shape in shapes]


# ---- elementwise
SHAPES = ((), (1,), (7,), (3, 5))
for shape in SHAPES:
    x, nonzero, positive = Operand(shape), Operand(shape, domain="nonzero"), Operand(shape, domain="positive")
    for op in (e.Add(), e.Sub(), e.Mul()):
        case(op, x, x, types=NUMBERS)
    case(e.Div(), x, nonzero)
    case(e.Pow(), positive, x)
for op in (e.Minimum(), e.Maximum()):
    case(op, Operand((13,)), Operand((13,)), types=NUMBERS)
    case(op, Operand((13,), domain="special"), Operand((13,)), gradient=False, note="special")
    case(op, Operand((13,), domain="[-2,3)"), Operand((13,), domain="[-2,3)"), gradient=False, note="ties")
case(e.Pow(), Operand((9,), domain="[-3,4)"), Operand((9,), domain="[0,4)"), gradient=False, note="whole")
for op in (e.FloorDiv(), e.Remainder()):
    smooth = op == e.Remainder()
    case(op, Operand((11,)), Operand((11,), domain="nonzero"), types=FLOATS, gradient=smooth)
    case(
        op, Operand((41,)), Operand((41,), domain="[-2,3)"), types=("int32", "int8", "int64"), gradient=False
    )
    case(op, Operand((23,)), Operand((23,), domain="[0,3)"), types=("uint8", "uint32"), gradient=False)
for op, domain in (
    (e.Neg(), "any"), (e.Abs(), "nonzero"), (e.Exp(), "any"), (e.Log(), "positive"), (e.Log1p(), "positive"),
    (e.Expm1(), "any"), (e.Sqrt(), "positive"), (e.Rsqrt(), "positive"), (e.Tanh(), "any"), (e.Sigmoid(), "any"),
    (e.Erf(), "any"), (e.Sin(), "any"), (e.Cos(), "any"), (e.Relu(), "nonzero"), (e.Sign(), "nonzero"),
):  # fmt: skip
    for operand in over((), (17,), domain=domain):
        case(op, *operand)
    case(op, Operand((3, 2), domain=domain), types=HALVES, gradient=False, note="half")
for op in (e.Neg(), e.Abs(), e.Sign(), e.Relu()):
    case(op, Operand((19,)), types=("int32", "int64", "int8"), gradient=False, note="int")
for op in (e.Relu(), e.Sign(), e.Abs()):
    case(op, Operand((7,), domain="special"), gradient=False, note="special")
for op in (e.Floor(), e.Ceil(), e.Round()):
    case(op, Operand((17,), domain="halves"), gradient=False, exact=True)
for op in (e.Equal(), e.NotEqual(), e.Less(), e.LessEqual(), e.Greater(), e.GreaterEqual()):
    case(
        op,
        Operand((23,), domain="[-2,3)"),
        Operand((23,), domain="[-2,3)"),
        types=NUMBERS,
        gradient=False,
        exact=True,
    )
    case(op, Operand((7,), domain="special"), Operand((7,)), gradient=False, exact=True, note="nan")
case(
    e.Less(),
    Operand((23,), domain="bits"),
    Operand((23,), domain="bits"),
    types=("uint32", "uint8"),
    gradient=False,
)
case(e.Equal(), Operand((9,)), Operand((9,)), types=("bool",), gradient=False)
for op in (e.LogicalAnd(), e.LogicalOr(), e.LogicalXor()):
    case(op, Operand((9,)), Operand((9,)), types=("bool",), gradient=False)
case(e.LogicalNot(), Operand((9,)), types=("bool",), gradient=False)
for op in (e.BitwiseAnd(), e.BitwiseOr(), e.BitwiseXor()):
    case(op, Operand((9,)), Operand((9,)), types=("int32", "int64", "bool"), gradient=False)
    case(
        op,
        Operand((9,), domain="bits"),
        Operand((9,), domain="bits"),
        types=("uint8", "uint32"),
        gradient=False,
    )
for op in (e.ShiftLeft(), e.ShiftRight()):
    case(op, Operand((9,)), Operand((9,), domain="[0,8)"), types=("int32", "int64"), gradient=False)
    case(
        op,
        Operand((9,), domain="bits"),
        Operand((9,), domain="[0,8)"),
        types=("uint8", "uint32"),
        gradient=False,
    )
bits = Operand((9,), domain="bits")
case(e.MultiplyHigh(), bits, bits, types=("uint32", "uint64", "uint16"), gradient=False)
for shape in SHAPES:
    case(e.Select(), Operand(shape, "bool"), Operand(shape), Operand(shape), types=NUMBERS)
case(e.Select(), Operand((4,), "bool"), Operand((4,)), Operand((4,)), types=("bool", "uint8"), gradient=False)
for dtype in (dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64, dtypes.bool_):
    case(
        e.Cast(dtype),
        Operand((11,), domain="nonzero"),
        types=(*NUMBERS, "bool", "int8"),
        gradient=dtype == dtypes.float64,
    )
case(e.Cast(dtypes.float32), Operand((11,), domain="bits"), types=("uint8", "uint32"), gradient=False)
case(e.Cast(dtypes.uint8), Operand((11,), domain="[0,200)"), types=(*NUMBERS, "uint32"), gradient=False)
case(e.Cast(dtypes.bfloat16), Operand((11,)), types=("float32",), gradient=False)
case(e.Cast(dtypes.float16), Operand((11,)), types=("float32",), gradient=False)
case(e.IsFinite(), Operand((14,), domain="special"), gradient=False, exact=True)
case(e.IsFinite(), Operand((3,)), types=HALVES, gradient=False)
case(Copy(), Operand((3, 5)), types=NUMBERS, exact=True)
case(gradient_control.StopGradient(), Operand((3, 5)), types=(*NUMBERS, "bool"), gradient=False, exact=True)

# ---- views
MOVES = ("float32", "float64", "int32", "uint8")
for op, shape in (
    (views.Broadcast((), ()), ()), (views.Broadcast((3,), ()), ()), (views.Broadcast((2, 3, 4), (1,)), (3,)),
    (views.Broadcast((2, 3, 4), (0, 2)), (1, 4)), (views.Broadcast((5, 1), (0, 1)), (1, 1)),
    (views.Reshape((6,)), (2, 3)), (views.Reshape((2, 3)), (6,)), (views.Reshape(()), (1, 1)),
    (views.Reshape((1, 1)), ()), (views.Reshape((4, 3)), (3, 4)), (views.Reshape((2, 1, 6)), (3, 1, 4)),
    (views.Reshape((0, 5)), (3, 0)), (views.Transpose(()), ()), (views.Transpose((1, 0)), (3, 5)),
    (views.Transpose((2, 0, 1)), (2, 3, 4)), (views.Transpose((0, 2, 1)), (2, 1, 3)),
    (views.Slice((), (), ()), ()), (views.Slice((1, 0), (3, 5), (1, 1)), (4, 5)),
    (views.Slice((1,), (7,), (2,)), (7,)), (views.Slice((0, 2), (3, 2), (1, 1)), (3, 4)),
    (views.Slice((2,), (11,), (4,)), (13,)), (views.Pad((), (), ()), ()), (views.Pad((2,), (1,), (0,)), (3,)),
    (views.Pad((0, 1), (2, 0), (1, 2), 1), (2, 3)), (views.Pad((0,), (0,), (3,), 7), (5,)),
    (views.Pad((1,), (1,), (1,)), (1,)), (views.Pad((2,), (1,), (1,), 3), (0,)),
    (views.Reverse((0,)), (5,)), (views.Reverse((0, 2)), (2, 3, 4)), (views.Reverse((1,)), (3, 1)),
):  # fmt: skip
    case(op, Operand(shape), types=MOVES, exact=True)
case(views.Pad((1,), (0,), (0,), float("-inf")), Operand((3,)), gradient=False, exact=True)
for axis, shapes in (
    (0, [(3,)]),
    (0, [(2,), (3,), (1,)]),
    (1, [(2, 3), (2, 1)]),
    (2, [(1, 2, 2), (1, 2, 0), (1, 2, 5)]),
):
    case(views.Concat(axis), *(Operand(shape) for shape in shapes), types=MOVES, exact=True)
for op in (
    views.Iota((5,), 0, dtypes.int32), views.Iota((2, 3), 1, dtypes.float32), views.Iota((2, 3), 0, dtypes.uint32),
    views.Constant(Literal(np.float32(2.5))), views.Constant(Literal(np.full((2, 3), 7, np.int32))),
    views.Constant(Literal(np.array(True))), views.Constant(Literal(np.arange(6.0).reshape(2, 3))),
):  # fmt: skip
    case(op, gradient=False, exact=True, types=("float32",))
for axis, shape, indices in (
    (0, (5,), ()),
    (0, (5, 2), (3,)),
    (1, (3, 4), (2, 2)),
    (2, (2, 3, 7), (1,)),
    (0, (3,), (0,)),
):
    case(views.Gather(axis), Operand(shape), Operand(indices, "int32", "[0,3)"), types=MOVES, exact=True)
case(views.Gather(0), Operand((3, 2)), Operand((9,), "int32", "[-4,8)"), note="clamped")
case(views.Gather(1), Operand((2, 3)), Operand((9,), "uint8", "[0,200)"), note="unsigned")
case(views.Gather(0), Operand((3, 2)), Operand((4,), "int64", "[0,3)"), note="wide")

# ---- scatter
case(scatter.ScatterAdd(4), Operand((7,), "int32", "[0,4)"), Operand((7,)), types=NUMBERS)
case(scatter.ScatterAdd(3), Operand((2, 3), "int32", "[-2,5)"), Operand((2, 3, 2)), note="clamped")
case(scatter.ScatterAdd(3), Operand((), "int64", "[0,3)"), Operand((2,)))
case(scatter.ScatterAdd(3), Operand((5,), "uint8", "[0,200)"), Operand((5,)), note="unsigned")
case(scatter.ScatterAdd(5), Operand((3, 2), "int32", "[0,5)"), Operand((3, 2, 37)), note="lanes and a tail")
case(scatter.ScatterAdd(4), Operand((9,), "int32", "[0,4)"), Operand((9, 3, 16)), types=NUMBERS)
case(scatter.ScatterAdd(70), Operand((40,), "int32", "[0,70)"), Operand((40, 200)), note="large")
case(scatter.ScatterAdd(2), Operand((0,), "int32", "[0,2)"), Operand((0, 3)), note="empty")
case(scatter.ScatterAdd(2), Operand((3,), "int32", "[0,2)"), Operand((3, 0)), note="no columns")

# ---- reductions
for axes, shape in (
    ((), (3,)),
    ((0,), (7,)),
    ((1,), (3, 5)),
    ((0, 2), (2, 3, 4)),
    ((0, 1, 2), (2, 1, 3)),
    ((0,), (1,)),
):
    for keepdims in (False, True):
        case(r.ReduceSum(axes, keepdims), Operand(shape), types=NUMBERS)
        case(r.ReduceMax(axes, keepdims), Operand(shape, domain="apart"), types=NUMBERS)
        case(r.ReduceMin(axes, keepdims), Operand(shape, domain="apart"), types=NUMBERS)
        case(r.ReduceProd(axes, keepdims), Operand(shape, domain="nonzero"), types=NUMBERS)
        case(r.ReduceMean(axes, keepdims), Operand(shape))
case(r.ReduceSum((0,)), Operand((0, 2)), note="empty")
case(r.ReduceProd((0,)), Operand((0, 2)), note="empty")
case(r.ReduceSum((1,)), Operand((2, 257)), types=HALVES, gradient=False, note="half")
case(r.ReduceProd((0,)), Operand((5,), domain="[-1,2)"), types=("int32",), gradient=False)
for op in (r.ArgMax, r.ArgMin):
    for axis, shape in ((0, (7,)), (1, (3, 5)), (0, (1, 4)), (1, (2, 3, 4))):
        case(op(axis), Operand(shape, domain="apart"), types=NUMBERS, gradient=False, exact=True)
    case(op(1), Operand((4, 9), domain="[-1,2)"), types=NUMBERS, gradient=False, exact=True, note="ties")

# ---- contractions
for left, right in (
    ((3, 4), (4, 5)), ((1, 1), (1, 1)), ((7, 11), (11, 3)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 2), (2, 1, 2, 1)),
    ((5, 1), (1, 6)), ((1, 13), (13, 1)), ((2, 0), (0, 3)),
):  # fmt: skip
    case(c.MatMul(), Operand(left), Operand(right), types=NUMBERS)
case(c.MatMul(), Operand((3, 4)), Operand((4, 5)), types=HALVES, gradient=False)
for axis, shape in ((0, (4, 3)), (1, (3, 5)), (1, (2, 1, 3)), (0, (0, 2))):
    case(pairs.PackPairs(axis), Operand(shape), types=("bfloat16",), gradient=False, exact=True)
for left, right in (((3, 4), (4, 5)), ((2, 3, 17), (2, 17, 33)), ((1, 0), (0, 2))):
    words = [Operand(shape, "uint32", "pairs") for shape in (left, right)]
    case(pairs.MatMulPairs(), *words, types=("uint32",), gradient=False)
for image, weight, settings in (
    ((2, 2, 5, 4), (3, 2, 3, 2), {}),
    ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    ((2, 3, 5, 5), (2, 3, 3, 3), {"padding": (1, 1, 1, 1)}),
    ((1, 2, 6, 7), (3, 2, 3, 2), {"stride": (2, 3), "padding": (1, 0, 2, 1)}),
    ((1, 2, 7, 6), (2, 2, 2, 3), {"dilation": (2, 2), "padding": (0, 1, 1, 0)}),
    ((2, 4, 4, 5), (6, 2, 2, 2), {"groups": 2}),
    ((1, 3, 5, 4), (3, 1, 3, 3), {"groups": 3, "padding": (1, 1, 1, 1), "stride": (2, 1)}),
    ((1, 1, 8, 5), (2, 1, 2, 1), {"stride": (3, 2), "dilation": (3, 1)}),
    ((2, 2, 4, 4), (1, 2, 4, 4), {}),
):
    conv = c.Conv2d(**settings)
    x, w = Operand(image), Operand(weight)
    y = Operand(conv.infer(x.type("float32"), w.type("float32")).shape)
    case(conv, x, w)
    case(c.Conv2dBackwardInput(image, **settings), y, w)
    case(c.Conv2dBackwardWeight(weight, **settings), x, y)
    for lanes in (1, 2):
        if image[0] % lanes == 0:
            case(Conv2dBackwardWeightLanes(lanes, weight, **settings), x, y, gradient=False)
for image, outputs in (((2, 3, 7, 12), 2), ((17, 2, 3, 5), 3), ((18, 4, 12, 6), 5)):
    size = tuple(extent - 2 for extent in image[2:])
    x, dy = Operand(image), Operand((image[0], outputs, *size))
    case(winograd.WinogradConv2d(), x, Operand((outputs, image[1], 3, 3)), types=("float32",))
    for images in (1, 5, 16):
        case(winograd.WinogradWeightProducts(images), x, dy, types=("float32",))
case(
    c.Conv2d(),
    Operand((1, 1, 3, 3)),
    Operand((1, 1, 2, 2)),
    types=("int32", *HALVES),
    gradient=False,
)

# ---- windows
for image, settings in (
    ((2, 2, 4, 6), ((2, 2), (2, 2))),
    ((1, 1, 5, 5), ((3, 2), (1, 1))),
    ((1, 2, 7, 5), ((3, 3), (2, 2), (1, 1, 1, 0))),
    ((1, 1, 7, 4), ((2, 1), (3, 2))),
    ((2, 1, 3, 3), ((3, 3), (3, 3))),
    ((1, 1, 1, 1), ((1, 1), (1, 1))),
):
    x = Operand(image, domain="apart")
    window = windows.WindowSum(*settings)
    outputs = window.output_shape(image)
    positions = Operand(outputs, "int32", f"[0,{settings[0][0] * settings[0][1]})")
    case(windows.WindowArgMax(*settings), x, types=NUMBERS, gradient=False, exact=True)
    case(windows.WindowGather(*settings), x, positions, types=NUMBERS)
    case(windows.WindowScatter(image, *settings), Operand(outputs), positions, types=NUMBERS)
    case(window, x, types=NUMBERS)
    case(windows.WindowSpread(image, *settings), Operand(outputs), types=NUMBERS)
    case(windows.MaxPool2d(*settings), x, types=NUMBERS)
    for count_include_pad in (True, False):
        padding = settings[2] if len(settings) > 2 else (0, 0, 0, 0)
        case(windows.AvgPool2d(settings[0], settings[1], padding, count_include_pad), x)
for image, settings in (
    ((2, 3, 7, 9), ((2, 2), (2, 2), (3, 2))),
    ((1, 2, 8, 7), ((3, 3), (2, 2), (1, 3))),
    ((2, 1, 9, 9), ((1, 4), (3, 2), (2, 2))),
    ((1, 1, 4, 3), ((2, 1), (1, 1), (3, 3))),
):
    (a, b), strides, (kh, kw) = settings
    outputs = tuple(
        (e - size) // step + 1 for e, size, step in zip(image[2:], (a + kh - 1, b + kw - 1), strides)
    )
    positions = Operand((image[0], 5, *outputs), "int32", f"[0,{a * b})")
    patched = patches.WindowPatches(*settings)
    case(patched, Operand(image), positions, types=NUMBERS, gradient=False, exact=True)
    shape = (image[0], 5, image[1], kh, kw, *outputs)
    case(
        patches.WindowPatchSum(),
        Operand(shape),
        Operand((*shape[:2], *outputs)),
        types=NUMBERS,
        gradient=False,
    )
    chosen = taps.ChosenTaps((a, b), strides, (kh, kw))
    width, weight = a * chosen.section + 3, Operand((5, image[1], kh, kw))
    rows = taps.TapRows((a, b), chosen.patch[0], chosen.section, width)
    case(rows, weight, types=NUMBERS, gradient=False, exact=True)
    case(taps.TapStarts(b, chosen.section), positions, gradient=False, exact=True)
    starts = Operand(positions.shape, "int32", f"[0,{(a - 1) * chosen.section + b})")
    table = Operand((5, image[1], chosen.patch[0], width))
    case(chosen, table, starts, types=NUMBERS, gradient=False, exact=True)
    case(
        taps.ChosenTapSum(strides),
        Operand((image[0], 5, image[1], *outputs, *chosen.patch)),
        Operand((image[0], 5, *outputs)),
        types=NUMBERS,
        gradient=False,
    )
case(
    windows.WindowArgMax((2, 2), (1, 1)),
    Operand((1, 4, 4), domain="[0,2)"),
    gradient=False,
    exact=True,
    note="ties",
)
case(
    windows.WindowArgMax((2, 2), (1, 1)),
    Operand((7, 7), domain="special"),
    gradient=False,
    note="nan",
)

# ---- softmax and losses
for axis, shape in ((0, (5,)), (1, (3, 7)), (0, (4, 1)), (1, (2, 3, 2))):
    case(losses.Softmax(axis), Operand(shape))
    case(losses.LogSoftmax(axis), Operand(shape))
for ignore, domain in ((None, "[0,5)"), (-100, "[0,5)"), (2, "[0,5)"), (-1, "[-1,5)")):
    op = losses.SoftmaxCrossEntropySparse(ignore)
    case(op, Operand((6, 5)), Operand((6,), "int32", domain))
    case(op, Operand((6, 5)), Operand((6,), "int64", domain))
case(losses.SoftmaxCrossEntropySparse(), Operand((6, 5)), Operand((6,), "uint8", "[0,5)"))
case(
    losses.SoftmaxCrossEntropySparse(),
    Operand((9, 5)),
    Operand((9,), "int32", "[-3,8)"),
    gradient=False,
    note="outside",
)
case(losses.SoftmaxCrossEntropySparse(-100), Operand((1, 1)), Operand((1,), "uint32", "[0,1)"))
case(losses.SoftmaxCrossEntropyDense(), Operand((4, 5)), Operand((4, 5), domain="probability"))
case(losses.SoftmaxCrossEntropyDense(), Operand((2, 3)), Operand((2, 3), domain="positive"), note="any mass")

# ---- normalization, activations, attention
for shape in ((6, 3), (4, 2, 5), (2, 3, 4, 3), (2, 2, 2, 3, 2), (5, 1), (1, 2, 7)):
    channels = shape[1:2]
    x, gamma, beta = Operand(shape), Operand(channels, domain="nonzero"), Operand(channels)
    case(normalization.BatchNormTraining(1e-2), x, gamma, beta)
    statistics = Operand(channels), Operand(channels, domain="positive")
    case(normalization.BatchNormInference(1e-3), x, gamma, beta, *statistics)
for axis, shape in ((1, (3, 7)), (2, (2, 3, 19)), (1, (2, 3, 4)), (0, (6,)), (2, (2, 2, 1, 5))):
    gamma, beta = Operand(shape[axis:], domain="nonzero"), Operand(shape[axis:])
    case(normalization.LayerNorm(axis, 1e-2), Operand(shape), gamma, beta)
    case(normalization.LayerNorm(axis, 1e-2), Operand(shape), gamma, note="no shift")
for op in (activations.NormalCdf(), activations.NormalDensity()):
    for operand in over((), (17,)):
        case(op, *operand)
    case(op, Operand((3, 2)), types=HALVES, gradient=False, note="half")
for approximate in ("none", "tanh"):
    for operand in over((), (37,), (3, 4)):
        case(activations.Gelu(approximate), *operand)
    case(activations.Gelu(approximate), Operand((19,)), types=HALVES, gradient=False, note="half")
for query, key, value in (
    ((2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4)),
    ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1)),
    ((2, 3, 4), (2, 6, 4), (2, 6, 5)),
    ((7, 2), (3, 2), (3, 1)),
    ((2, 1, 17, 8), (2, 1, 17, 8), (2, 1, 17, 8)),
):
    for causal in (False, True):
        op = attention.ScaledDotProductAttention(causal, 0.7)
        case(op, Operand(query), Operand(key), Operand(value))

# ---- random
for shape in ((), (1,), (5,), (3, 4), (2, 3, 3), (0, 2)):
    case(
        random.RandomBits(shape),
        Operand((2,), "uint32", "bits"),
        types=("float32",),
        gradient=False,
        exact=True,
    )
