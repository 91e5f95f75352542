"""A module and the objects it is linked from: the same functions, each kernel on its own."""

import ctypes
import re

import pytest

from graphrt import compiler, ir
from graphrt.codegen import jit, units
from graphrt.codegen.target import target
from graphrt.dtypes import as_dtype
from graphrt.errors import CompileError
from graphrt.ops import build
from graphrt.runtime import program

HEAD = "declare i64 @llvm.smax.i64(i64, i64)\ndeclare i64 @llvm.smin.i64(i64, i64)\n"


def kernel(name: str, operation: str) -> str:
    return (
        f"define internal void @{name}(ptr noalias %b0, i64 %tid, i64 %nth) #0 {{\n"
        "  %x = load i64, ptr %b0, align 8\n"
        f"  %y = {operation}\n"
        "  store i64 %y, ptr %b0, align 8\n  ret void\n}\n"
    )


def module(*names: str) -> str:
    calls = "".join(f"  call void @{name}(ptr %b, i64 0, i64 1)\n" for name in names)
    return f"define void @run(ptr %b) {{\n{calls}  ret void\n}}\n" + units.attributes(target("host"))


def tensor(*shape: int, dtype: str = "float32") -> ir.TensorType:
    return ir.TensorType(shape, as_dtype(dtype))


ADD, LARGER = "add i64 %x, 3", "call i64 @llvm.smax.i64(i64 %x, i64 10)"


def test_the_linked_program_does_what_the_module_says():
    text = HEAD + kernel("k0_add", ADD) + kernel("k1_max", LARGER) + module("k0_add", "k1_max", "k0_add")
    objects = units.objects(text, target("host"))
    assert len(objects) == 3
    loaded = jit.load(objects, ["run"])
    number = ctypes.c_int64(1)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(loaded.address("run"))(ctypes.addressof(number))
    assert number.value == 13


def test_a_kernel_is_known_by_what_it_does():
    text = HEAD + kernel("k0_add", ADD) + kernel("k7_sum", ADD) + kernel("k8_max", LARGER) + module("k7_sum")
    main, kernels = units.split(text, target("host"))
    assert len(kernels) == 2 and len({unit.symbol for unit in kernels}) == 2
    assert "k7_sum" not in main and f"call void @{kernels[0].symbol}(ptr %b, i64 0, i64 1)" in main
    assert f"declare void @{kernels[1].symbol}(ptr, i64, i64)" in main
    other = units.split(HEAD + kernel("another_name", ADD) + module(), target("host"))[1]
    assert other == kernels[:1]


def test_a_unit_declares_what_it_calls_and_no_more():
    text = HEAD + kernel("k0_add", ADD) + kernel("k1_max", LARGER) + module()
    add, larger = units.split(text, target("host"))[1]
    assert (
        "declare" not in add.text and larger.text.count("declare") == 1 and "@llvm.smax.i64(" in larger.text
    )


def test_a_kernel_begun_early_is_the_one_that_is_linked(monkeypatch):
    compiled = []
    original = jit.compile_text

    def watched(text, chosen):
        compiled.append(text)
        return original(text, chosen)

    monkeypatch.setattr(jit, "compile_text", watched)
    function = kernel("k3_begun_early", "xor i64 %x, 8151")
    units.begin(function, set(HEAD.splitlines()), target("host"))
    objects = units.objects(HEAD + function.replace("k3", "k5") + module("k5_begun_early"), target("host"))
    assert len(objects) == len(compiled) == 2 and sum("8151" in text for text in compiled) == 1


def test_an_error_names_the_line_of_the_kernel():
    text = kernel("k0_bad", "add i64 %nothing, 1") + module("k0_bad")
    for _ in range(2):  # asked again, it says so again
        with pytest.raises(CompileError, match="LLVM rejects the generated code") as error:
            units.objects(text, target("host"))
        assert "%nothing" in str(error.value)


def test_full_and_ragged_batches_share_what_does_not_depend_on_the_batch():
    x = ir.input_node("x", tensor(40, 8))
    w = ir.input_node("w", tensor(64), "state")

    def step(batch):
        rows = ir.input_node("indices", tensor(batch, dtype="int32"))
        loss = build.reduce_sum(build.gather(x, rows))
        return compiler.lower(ir.Graph((x, rows, w), (loss,), {w: build.mul(w, 0.5)}, "step"), threads=1)

    text = program.sink_text([step(16), step(5)], target("host"))
    names = {found[1] for found in re.finditer(r"define internal void @([\w.]+)\([^\n]*#0", text)}
    assert len(units.split(text, target("host"))[1]) < len(names)
