"""Loop IR prints one line per statement, and shared values once."""

from graphrt.dtypes import bool_, float32
from graphrt.loops.index import Computed, Index, Var, as_index
from graphrt.loops.ir import (
    Assign,
    Binary,
    Buffer,
    Constant,
    Fma,
    FoldLanes,
    Kernel,
    LaneReduce,
    Load,
    Loop,
    Read,
    Register,
    Store,
    Unary,
)  # fmt: skip

X, Y = Buffer("x", float32, 320), Buffer("y", float32, 320)


def test_loops_shared_values_and_guards():
    row, lane = Var("i0", 20), Var("i1", 16)
    address = as_index(row) * 16 + as_index(lane)
    value = Load(X, address)
    guard = Binary("lt", value, Constant(2.0, float32))
    store = Store(Y, address, Binary("mul", value, value), guard)
    kernel = Kernel("k0_mul", (X, Y), [Loop(row, [Loop(lane, [store], "vector", 14)], "parallel")], 16)
    assert str(kernel) == (
        "kernel k0_mul(x: f32[320], y: f32[320] written), 16 lanes\n"
        "  parallel i0 in 20:\n"
        "    vector i1 in 16 (14 active):\n"
        "      %1 = x[16*i0 + i1]\n"
        "      y[16*i0 + i1] = (%1 * %1) if (%1 < 2.0)\n"
    )


def test_registers_functions_and_computed_rows():
    total = Register("sum0", float32, False)
    row = Computed(Load(X, as_index(3)), 20)
    picked = Load(Y, Index({row: 16}, 1))
    body = [
        Assign(total, Fma(picked, Constant(0.5, float32), Read(total))),
        Store(Y, as_index(0), LaneReduce("add", Unary("abs", Read(total)))),
    ]
    assert str(Kernel("k1", (X, Y), body, 8, serial=True)) == (
        "kernel k1(x: f32[320], y: f32[320] written), 8 lanes, one thread\n"
        "  sum0 = fma(y[16*[x[3]] + 1], 0.5, sum0)\n"
        "  y[0] = lanes.add(abs(sum0))\n"
    )


def test_text_grows_with_the_values_not_with_the_paths_to_them():
    value = Load(X, as_index(0))
    for _ in range(200):
        value = Binary("add", value, value)
    text = str(Kernel("k2", (X, Y), [Store(Y, as_index(0), value)], 8))
    assert len(text.splitlines()) == 202
    assert value.dtype != bool_


def test_registers_folded_together():
    lane = Var("i0", 16)
    terms = [Register(f"acc{k}", float32, True) for k in range(2)]
    total = Register("total", float32, True)
    body = [
        *(Assign(r, Load(X, as_index(lane) + 16 * k)) for k, r in enumerate(terms)),
        FoldLanes("add", tuple(terms), total),
        Store(Y, as_index(lane), Read(total, lane)),
    ]
    assert str(Kernel("k", (X, Y), [Loop(lane, body, "vector")], 16)) == (
        "kernel k(x: f32[320], y: f32[320] written), 16 lanes\n"
        "  vector i0 in 16:\n"
        "    acc0 = x[i0]\n"
        "    acc1 = x[i0 + 16]\n"
        "    total = fold.add(acc0, acc1)\n"
        "    y[i0] = total\n"
    )
