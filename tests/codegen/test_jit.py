"""Targets, object code, loading, and the module text around steps."""

import ctypes
import re
import subprocess
import sys

import pytest

import graphrt
from graphrt.codegen import driver, jit, meeting
from graphrt.codegen.target import PROCESSORS, target
from graphrt.errors import ArgumentError, CompileError

SQUARE = """
define void @square(ptr %x, i64 %count) nounwind {
  %v = load <16 x float>, ptr %x, align 4
  %w = call <16 x float> @llvm.fma.v16f32(<16 x float> %v, <16 x float> %v, <16 x float> %v)
  store <16 x float> %w, ptr %x, align 4
  ret void
}
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
"""


def test_the_host_runs_what_is_compiled_for_it():
    compiled = jit.compile_text(SQUARE, target("host"))
    assert isinstance(compiled.object_code, bytes) and compiled.target.is_host_compatible
    loaded = jit.load([compiled.object_code], ["square"])
    values = (ctypes.c_float * 16)(*range(16))
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(loaded.address("square"))(
        ctypes.addressof(values), 16
    )
    assert list(values) == [k * k + k for k in range(16)]


def test_object_code_depends_on_text_and_target_alone():
    assert jit.compile_text(SQUARE, target("host")) == jit.compile_text(SQUARE, target("host"))


@pytest.mark.parametrize(
    "name, lanes, register, fma_count",
    [
        ("x86-64-v3", 8, "ymm", 2),
        ("haswell", 8, "ymm", 2),
        ("znver2", 8, "ymm", 2),
        ("x86-64-v4", 16, "zmm", 1),
        ("skylake-avx512", 16, "zmm", 1),
        ("icelake-server", 16, "zmm", 1),
        ("sapphirerapids", 16, "zmm", 1),
        ("znver4", 16, "zmm", 1),
        ("znver5", 16, "zmm", 1),
        ("neoverse-n1", 4, "v", 4),
        ("neoverse-v2", 4, "v", 4),
    ],
)
def test_vectors_fill_whole_registers_on_every_target(name, lanes, register, fma_count):
    chosen = target(name)
    text = jit.assembly(SQUARE, chosen)
    assert chosen.lanes == lanes
    multiplications = [line for line in text.splitlines() if re.search(r"\bvfmadd|\bfmla", line)]
    assert len(multiplications) == fma_count and all(f"{register}" in line for line in multiplications)


@pytest.mark.parametrize("name", sorted(PROCESSORS))
def test_driver_code_is_accepted_for_every_target(name):
    chosen = target(name)
    variants = (driver.Variant("full", True, 3, 1), driver.Variant("ragged", False, 2, 0))
    steps = "".join(
        f"define internal void @{v.name}(ptr noalias %a, ptr %b, i64 %t, i64 %n, ptr %barrier) noinline nounwind {{\n"
        "  call void @graphrt_barrier(ptr %barrier, i64 %n)\n  ret void\n}\n"
        for v in variants
    )
    barrier = meeting.barrier_text(chosen)
    text = barrier + steps + driver.run_once_text(variants[0]) + driver.run_sink_text(variants)
    assert "inttoptr" not in text and "ptrtoint" not in text
    assembly = jit.assembly(text, chosen)
    assert "run_sink:" in assembly and "syscall" in assembly
    assert re.search(r"\bpause\b|\byield\b", assembly)


def test_unknown_processors_are_refused():
    with pytest.raises(ArgumentError, match="unknown target processor 'pentium'") as error:
        target("pentium")
    assert "haswell" in str(error.value)


def test_the_environment_names_the_target(monkeypatch):
    monkeypatch.setenv("GRAPHRT_TARGET", "haswell")
    assert target().cpu == "haswell" and target("znver4").cpu == "znver4"
    monkeypatch.setenv("GRAPHRT_TARGET", "")
    assert target() == target("host")


def test_bad_text_names_the_line():
    with pytest.raises(CompileError, match=r"line 2 of the LLVM IR: %a = add i64 %b, 1"):
        jit.compile_text("define void @f() {\n  %a = add i64 %b, 1\n  ret void\n}\n", target("host"))
    with pytest.raises(CompileError, match="LLVM rejects"):
        jit.compile_text("define void @f() {\n  %a = phi i64 [ 0, %x ]\nx:\n  ret void\n}\n", target("host"))


def test_damaged_objects_and_missing_symbols_are_errors():
    code = jit.compile_text(SQUARE, target("host")).object_code
    with pytest.raises(CompileError, match="cannot be loaded"):
        jit.load([code], ["cube"])
    with pytest.raises(CompileError, match="cannot be loaded"):
        jit.load([b"not an object"], ["square"])


def test_the_text_is_optimised_but_not_unrolled_or_vectorised():
    loop = """
define void @add(ptr %x, i64 %count) nounwind {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %at = getelementptr float, ptr %x, i64 %i
  %value = load float, ptr %at, align 4
  %zero = fmul float %value, 1.0
  %sum = fadd float %zero, 2.0
  store float %sum, ptr %at, align 4
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, 1024
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""
    text = jit.optimised_text(loop, target("host"))
    assert text.count("fadd") == 1 and "fmul" not in text and "x float>" not in text


def test_a_process_ends_cleanly_with_code_still_loaded():
    code = """
from graphrt.codegen import jit
from graphrt.codegen.target import target
TEXT = "define void @f() {\\n  ret void\\n}\\n"
kept = jit.load([jit.compile_text(TEXT, target("host")).object_code], ["f"])
class Cycle: pass
cycle = Cycle(); cycle.me = cycle
cycle.loaded = jit.load([jit.compile_text(TEXT, target("host")).object_code], ["f"])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_importing_the_stage_does_not_import_llvm():
    code = "import sys, graphrt.codegen.driver, graphrt.codegen.target, graphrt.codegen.jit; print('llvmlite' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_the_frame_layout():
    """All fields are 8 bytes, and the stop flag has its own cache lines."""
    sizes = {name: getattr(driver.Frame, name).size for name, _ in driver.Frame._fields_}
    assert set(sizes.values()) == {8, meeting.LINE}
    assert driver.Frame.stop.offset - driver.Frame.variant.offset > meeting.LINE
    assert all(getattr(driver.Frame, name).offset % 8 == 0 for name in sizes)


def test_every_module_has_a_pass_builder_of_its_own(monkeypatch):
    """One that is used again becomes slower with every module: after 2000, compiling a small one takes six times as long."""
    binding, made = jit.llvm(), []
    original = binding.create_pass_builder
    monkeypatch.setattr(binding, "create_pass_builder", lambda *a: made.append(original(*a)) or made[-1])
    with graphrt.set_context(cache=False):
        for k in range(3):
            jit.compile_text(f"define float @f{k}(float %x) {{\n  ret float %x\n}}\n", target("host"))
    assert len({id(builder) for builder in made}) == 3
