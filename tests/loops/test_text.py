"""Every kind of scalar has a text, and no line grows without bound."""

from __future__ import annotations

from graphrt.dtypes import bool_, float32, float64, int32, int64, uint8
from graphrt.loops import math as loop_math
from graphrt.loops.index import Computed, Var, as_index
from graphrt.loops.ir import (
    Assign,
    Binary,
    Bitcast,
    Buffer,
    Cast,
    Constant,
    IndexValue,
    InRange,
    Kernel,
    Load,
    Loop,
    Read,
    Register,
    Scalar,
    Select,
    Store,
    Unary,
)
from graphrt.loops.text import kernel_text

IMAGE, ROWS, OUT = Buffer("image", uint8, 784), Buffer("rows", int32, 8), Buffer("out", float32, 784)


def test_every_scalar_and_address():
    i, lane = Var("i", 49), Var("lane", 16)
    position = as_index(i) * 16 + as_index(lane)
    inside = InRange(position // 28 - 1, 0, 26)
    pixel = Load(IMAGE, position // 28 * 28 + position % 7, inside)
    row = Computed(Binary("max", Load(ROWS, as_index(i) % 8), Constant(0, int32)), 28)
    body = [
        Assign(
            Register("scaled", float32, True), Binary("div", Cast(pixel, float32), Constant(255.0, float32))
        ),
        Store(
            OUT,
            as_index(row) * 28,
            Select(
                Unary("not", inside),
                Bitcast(Constant(1065353216, int32), float32),
                Cast(IndexValue(position, int64), float32),
            ),
        ),
    ]
    kernel = Kernel("pick", (IMAGE, ROWS, OUT), [Loop(i, [Loop(lane, body, "vector")])], 16)
    assert kernel_text(kernel) == (
        "kernel pick(image: u8[784], rows: i32[8], out: f32[784] written), 16 lanes\n"
        "  serial i in 49:\n"
        "    vector lane in 16:\n"
        "      %1 = (0 <= ((16*i + lane) // 28) + -1 < 26)\n"
        "      scaled = (f32(image[28*((16*i + lane) // 28) + ((16*i + lane) % 7) if %1]) / 255.0)\n"
        "      %1 = not((0 <= ((16*i + lane) // 28) + -1 < 26))\n"
        "      out[28*[max(rows[((i) % 8)], 0)]] = select(%1, f32.bits(1065353216), f32(i64(16*i + lane)))\n"
    )


def functions_kernel(dtype, name: str) -> Kernel:
    x, y = Buffer("x", dtype, 64), Buffer("y", dtype, 64)
    block, lane = Var("block", 4), Var("lane", 16)
    address = as_index(block) * 16 + as_index(lane)
    store = Store(y, address, loop_math.expand(name, Load(x, address)))
    return Kernel(name, (x, y), [Loop(block, [Loop(lane, [store], "vector")], "parallel")], 16)


def test_long_expressions_are_broken_into_named_parts():
    for dtype in (float32, float64):
        for name in loop_math.UNARY_FUNCTIONS:
            lines = kernel_text(functions_kernel(dtype, name)).splitlines()
            assert max(map(len, lines)) <= 110, name


def test_names_are_defined_once_and_before_use():
    lines = kernel_text(functions_kernel(float32, "erf")).splitlines()[3:]
    defined = set()
    for line in lines:
        target, _, expression = line.strip().partition(" = ")
        used = {
            word.strip("(),")
            for word in expression.replace("(", " ").split()
            if word.strip("(),").startswith("%")
        }
        assert used <= defined, line
        assert target not in defined
        defined.add(target)
    assert len(defined) == len(lines)


def test_text_is_the_same_every_time():
    assert kernel_text(functions_kernel(float32, "tanh")) == kernel_text(functions_kernel(float32, "tanh"))


def test_a_long_chain_prints_without_recursion():
    value: Scalar = Read(Register("x", float32, False))
    for _ in range(5000):
        value = Unary("neg", value)
    kernel = Kernel("chain", (OUT,), [Store(OUT, as_index(0), value, Constant(True, bool_))], 1)
    lines = kernel_text(kernel).splitlines()
    assert max(map(len, lines)) <= 110
    assert sum(line.count("neg(") for line in lines) == 5000
