"""How the texts of steps become one module."""

from dataclasses import replace

import pytest

from graphrt.codegen import jit
from graphrt.codegen.lowered import LoweredStep
from graphrt.codegen.target import target
from graphrt.errors import CompileError
from graphrt.runtime import program

from . import handwritten


def test_a_later_step_gets_names_of_its_own():
    full, ragged = handwritten.step(13, 4), handwritten.step(13, 1)
    text = program.sink_text([full, ragged], target("host"))
    for name in ("mean", "loss", "update", "step"):
        assert text.count(f"@{name}(") == text.count(f"@{name}.1(") == 2
    assert "@graphrt_barrier.1" not in text
    jit.compile_text(text, target("host"))


def test_renamed_functions_call_what_was_renamed_with_them():
    """Equal text is not an equal function if what it calls differs."""

    def step(number):
        text = (
            f"@c = internal constant i64 {number}\n"
            f"define internal i64 @inner() {{\n  %r = add i64 {number}, 1\n  ret i64 %r\n}}\n"
            "define internal i64 @outer() {\n  %r = call i64 @inner()\n  ret i64 %r\n}\n"
            "define internal i64 @read() {\n  %r = load i64, ptr @c\n  ret i64 %r\n}\n"
        )
        return replace(handwritten.step(13, 4), name="outer", text=text)

    first, second = program._with_distinct_names([step(1), step(2)])
    assert first.text == step(1).text and second.name == "outer.1"
    assert "call i64 @inner.1()" in second.text and "ptr @c.1" in second.text and "@read.1()" in second.text


def test_quoted_names_and_constants_are_renamed_too():
    text = '@"a table" = internal constant i64 7\n@plain = internal constant i64 8\n'
    user = 'define internal void @s() {\n  %x = load i64, ptr @"a table"\n  %y = load i64, ptr @plain\n  ret void\n}\n'
    base = handwritten.step(13, 4)
    steps = [LoweredStep("s", text + user, frozenset(), base.bindings, 0, False, ()) for _ in range(3)]
    renamed = program._with_distinct_names(steps)
    assert renamed[0].text == text + user
    assert renamed[1].text == (text + user).replace("a table", "a table.1").replace(
        "plain", "plain.1"
    ).replace("@s(", "@s.1(")
    assert renamed[2].name == "s.2" and "@plain.2" in renamed[2].text
    jit.compile_text("".join(step.text for step in renamed), target("host"))


def test_declarations_appear_once_and_never_beside_their_definition():
    declarations = frozenset(
        {
            "declare float @llvm.fabs.f32(float)",
            "declare void @graphrt_barrier(ptr, i64)",
            "declare i64 @syscall(i64, ...)",
        }
    )
    base = handwritten.step(13, 4)
    step = LoweredStep("step", base.text, declarations, base.bindings, 64, False, ("w",))
    text = program.sink_text([step, step], target("host"))
    assert text.count("llvm.fabs.f32") == 1 and "declare void @graphrt_barrier" not in text
    assert text.count("declare i64 @syscall(i64, ...)") == 1
    jit.compile_text(text, target("host"))


@pytest.mark.parametrize(
    "label, message",
    [("indices", "needs the sample indices"), ("loss", "first output of a training step is its loss")],
)
def test_a_step_that_is_not_one_of_a_sink(label, message):
    base = handwritten.step(13, 4)
    bindings = tuple(binding for binding in base.bindings if binding.label != label)
    step = LoweredStep("step", base.text, frozenset(), bindings, 64, False, ("w",))
    with pytest.raises(CompileError, match=message):
        program.sink_text([step], target("host"))
