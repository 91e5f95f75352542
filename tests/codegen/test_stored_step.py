"""Lowered steps on disk: complete, used when nothing changed, and only then."""

import dataclasses
import functools
import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

import graphrt
from graphrt import compiler, ir
from graphrt.codegen import stored_step
from graphrt.codegen.lowered import Binding, LoweredStep
from graphrt.codegen.target import target
from graphrt.dtypes import as_dtype
from graphrt.ops import build


@pytest.fixture(autouse=True)
def source_as_imported(monkeypatch):
    """The source may be edited while the tests run; then nothing would be kept, see the test of that below."""
    monkeypatch.setattr(stored_step, "source_digest", functools.cache(lambda: "this compiler"))


def tensor(shape, dtype="float32"):
    return ir.TensorType(shape, as_dtype(dtype))


def graph(scale=2.0, width=40):
    x = ir.Node(ir.Input("x", "data"), (), tensor((3, width)))
    table = np.arange(3 * width, dtype=np.float32).reshape(3, width)
    return ir.Graph((x,), (build.add(build.mul(x, scale), table),), {}, "g")


SOURCE_DIGEST = stored_step.source_digest.__wrapped__

STEP = LoweredStep(
    name="step",
    text='define void @step() {\n  ret void ; "é"\n}\n',
    declarations=frozenset({"declare void @a()", "declare void @b()"}),
    bindings=(
        Binding("data", "x", tensor((2, 3))),
        Binding(
            "constant", "c0", tensor((2, 2), "bfloat16"), np.array([[1, 2], [3, -4]], ml_dtypes.bfloat16)
        ),
        Binding("constant", "c1", tensor((), "int64"), np.array(-(2**40))),
        Binding("constant", "c2", tensor((3,), "bool"), np.array([True, False, True])),
        Binding(
            "constant", "c3", tensor((2, 3)), np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
        ),
        Binding("output", "output0", tensor((0, 4))),
    ),
    arena_bytes=4096,
    parallel=True,
    updates=("w", "b"),
    scratch_bytes=192,
    kernels=("k0_add", "k1_mat_mul"),
    threads=2,
    early=True,
    tentative=True,
)


def test_a_step_comes_back_whole():
    back = stored_step.decode(stored_step.encode(STEP))
    for field in dataclasses.fields(LoweredStep):
        if field.name != "bindings":
            assert getattr(back, field.name) == getattr(STEP, field.name), field.name
    assert len(back.bindings) == len(STEP.bindings)
    for a, b in zip(back.bindings, STEP.bindings):
        assert (a.kind, a.label, a.type) == (b.kind, b.label, b.type)
        assert (a.value is None) == (b.value is None)
        if a.value is not None:
            assert a.value.dtype == b.value.dtype
            np.testing.assert_array_equal(a.value, b.value)


def test_the_fields_of_a_step_are_the_ones_that_are_kept():
    """A field that `encode` does not know would be lost."""
    known = {
        "name", "text", "declarations", "bindings", "arena_bytes", "parallel", "updates", "scratch_bytes",
            "threads", "early", "tentative", "kernels",
    }  # fmt: skip
    assert {f.name for f in dataclasses.fields(LoweredStep)} == known
    assert {f.name for f in dataclasses.fields(Binding)} == {"kind", "label", "type", "value"}


@pytest.mark.parametrize("data", [b"", b"{}", b"null\n", b"[1]\n", b"\xff\n", stored_step.encode(STEP)[:-1]])
def test_other_bytes_are_no_step(data):
    assert stored_step.decode(data) is None


def test_a_graph_is_lowered_once(cache_folder, monkeypatch):
    x = np.ones((3, 40), np.float32)
    expected = compiler.compile_graph(graph())(x)[0]
    np.testing.assert_array_equal(expected, 2 + np.arange(120, dtype=np.float32).reshape(3, 40))
    assert sorted(name.split("-")[0] for name in os.listdir(cache_folder)) == [
        "object",
        "object",
        "step",
    ]  # the driver and the kernel
    monkeypatch.setattr(compiler, "lower", None)  # lowering would fail
    np.testing.assert_array_equal(compiler.compile_graph(graph())(x)[0], expected)
    with pytest.raises(TypeError):
        compiler.compile_graph(graph(scale=3.0))
    with graphrt.set_context(cache=False), pytest.raises(TypeError):
        compiler.compile_graph(graph())


def test_a_step_that_cannot_be_read_is_made_again(cache_folder):
    x = np.ones((3, 40), np.float32)
    expected = compiler.compile_graph(graph())(x)[0]
    (name,) = (n for n in os.listdir(cache_folder) if n.startswith("step"))
    from graphrt.codegen import cache

    for bad in (b"", b"nothing of that kind\n"):  # a good entry, of what is no step
        assert cache.write(name, bad)
        np.testing.assert_array_equal(compiler.compile_graph(graph())(x)[0], expected)
        assert cache.read(name) != bad


def test_whoever_records_stages_sees_them_all():
    compiler.compile_graph(graph())
    seen: list[str] = []
    compiler.compile_graph(graph(), record=lambda stage, _: seen.append(stage))
    assert {"fused", "loops", "llvm"} <= set(seen)


def test_the_key_depends_on_everything_that_decides_the_code(monkeypatch):
    host = target("host")
    keys = {
        stored_step.step_key(graph(), host, 1),
        stored_step.step_key(graph(), host, 2),
        stored_step.step_key(graph(), host, 1, ("winograd",)),
        stored_step.step_key(graph(), host, 1, ("direct", "tuned")),
        stored_step.step_key(graph(scale=2.5), host, 1),
        stored_step.step_key(graph(width=41), host, 1),
        stored_step.step_key(graph(), target("haswell"), 1),
    }
    monkeypatch.setattr(stored_step, "source_digest", lambda: "another compiler")
    keys.add(stored_step.step_key(graph(), host, 1))
    assert None not in keys and len(keys) == 8
    monkeypatch.setattr(stored_step, "source_digest", lambda: None)
    assert stored_step.step_key(graph(), host, 1) is None


def test_a_process_older_than_the_source_keeps_nothing(monkeypatch):
    """It runs what the files said before they were edited."""
    monkeypatch.setattr(graphrt, "_imported_at", 2**62)
    assert len(SOURCE_DIGEST()) == 64 and SOURCE_DIGEST() == SOURCE_DIGEST()
    monkeypatch.setattr(graphrt, "_imported_at", 1)
    assert SOURCE_DIGEST() is None


def test_the_second_process_starts_from_the_cache(cache_folder):
    code = """
import numpy as np, sys
sys.path.insert(0, {tests!r})
from test_stored_step import graph
from graphrt import compiler
from graphrt.codegen import jit
if {warm}:
    compiler.lower = jit._optimised = None
print(compiler.compile_graph(graph())(np.ones((3, 40), np.float32))[0].sum())
"""
    outputs = []
    for warm in (False, True):
        text = code.format(tests=os.path.dirname(__file__), warm=warm)
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
