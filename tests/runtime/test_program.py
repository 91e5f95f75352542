"""How the texts of steps become one module."""

import pytest

from graphrt.codegen import jit
from graphrt.codegen.target import target
from graphrt.errors import CompileError
from graphrt.runtime import program

from . import handwritten


def test_steps_with_equal_function_names_share_a_module():
    full, ragged = handwritten.step(13, 4), handwritten.step(13, 1)
    text = program.sink_text([full, ragged], target("host"))
    for name in ("mean", "loss", "update", "step"):
        assert text.count(f"@{name}(") == text.count(f"@{name}.1(") >= 1
    assert "@graphrt_barrier.1" not in text
    jit.compile_text(text, target("host"))


def test_quoted_names_and_constants_are_renamed_too():
    text = '@"a table" = internal constant i64 7\n@plain = internal constant i64 8\n'
    user = 'define internal void @s() {\n  %x = load i64, ptr @"a table"\n  %y = load i64, ptr @plain\n  ret void\n}\n'
    base = handwritten.step(13, 4)
    steps = [
        program.LoweredStep("s", text + user, frozenset(), base.bindings, 0, False, ()) for _ in range(3)
    ]
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
            "declare i32 @sched_yield()",
        }
    )
    base = handwritten.step(13, 4)
    step = program.LoweredStep("step", base.text, declarations, base.bindings, 64, False, ("w",))
    text = program.sink_text([step, step], target("host"))
    assert text.count("llvm.fabs.f32") == 1 and "declare void @graphrt_barrier" not in text
    assert text.count("declare i32 @sched_yield()") == 1
    jit.compile_text(text, target("host"))


@pytest.mark.parametrize(
    "label, message",
    [("indices", "needs the sample indices"), ("loss", "first output of a training step is its loss")],
)
def test_a_step_that_is_not_one_of_a_sink(label, message):
    base = handwritten.step(13, 4)
    bindings = tuple(binding for binding in base.bindings if binding.label != label)
    step = program.LoweredStep("step", base.text, frozenset(), bindings, 64, False, ("w",))
    with pytest.raises(CompileError, match=message):
        program.sink_text([step], target("host"))
