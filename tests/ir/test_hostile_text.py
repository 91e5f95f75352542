"""Text from anywhere: every mistake is a ParseError that names the line, whatever it tries to allocate or to run."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph

from graphrt.errors import ParseError
from graphrt.ir.text import parse, to_text

HEAD = 'graphrt ir 1\ngraph "g"\n%0 = input(label="x", kind="data") : f32[4]\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%1 = no_such_op(%0) : f32[4]", "unknown op no_such_op"),
        ("%1 = tanh(%7) : f32[4]", "%7 is used before it is defined"),
        ("%0 = tanh(%0) : f32[4]", "%0 is defined twice"),
        ("%1 = tanh(%1) : f32[4]", "%1 is used before it is defined"),
        ("%1 = tanh(%0) : f32[5]", "shape rule\n  expected: float32[4]\n  given:    float32[5]"),
        ("%1 = tanh(%0) : f64[4]", "type differs from the op's shape rule"),
        ("%1 = tanh(%0) : f33[4]", "unknown element type"),
        ("%1 = tanh(%0) : f32[-1]", "not a size"),
        ("%1 = tanh(%0) : f32[1.5]", "not a size"),
        ("%1 = tanh(%0) : f32[" + "9" * 50 + "]", "not a size"),
        ("%1 = tanh(%0) : f32[" + "9" * 30 + "]", "tensor is too large"),
        ("%1 = tanh(%0) : f32[0," + "9" * 30 + "]", "tensor is too large"),
        ("%1 = tanh(%0) : f32[" + "1," * 100 + "]", "tensor has too many axes"),
        ("%1 = tanh(%0", "expected: )"),
        ("%1 = tanh(%0) f32[4]", "expected: :"),
        ("%1 = tanh(%0) : f32[4] f32", "expected: end of line"),
        ("%1 = tanh(%0) : f32[4] @ model.py:1", "expected: string"),
        ('%1 = tanh(%0) : f32[4] @ "model.py":-1', "not a size"),
        ("%1 = tanh(%0, %0) : f32[4]", "wrong number of operands"),
        ("%1 = tanh() : f32[4]", "tanh"),
        ("%1 = tanh(%0, speed=3) : f32[4]", "tanh: unknown attribute speed"),
        ("%1 = reduce_sum(%0) : f32[]", "reduce_sum"),
        ("%1 = reduce_sum(%0, axes=(9,)) : f32[]", "reduce_sum"),
        ("%1 = reduce_sum(%0, axes=(0,), axes=(0,)) : f32[]", "axes is given twice"),
        ("%1 = reduce_sum(%0, axes=0) : f32[]", "attribute axes has a value of another type"),
        ("%1 = reduce_sum(%0, axes=(True,)) : f32[]", "attribute axes has a value of another type"),
        (
            "%1 = reduce_sum(%0, axes=(0,), keepdims=1) : f32[1]",
            "attribute keepdims has a value of another type",
        ),
        ("%1 = reduce_sum(%0, axes=(0, %0)) : f32[]", "expected: a value"),
        ("%1 = reduce_sum(%0, axes=" + "(" * 100 + ")" * 100 + ") : f32[]", "nested too deeply"),
        ("%1 = reduce_sum(%0, axes=(" + "0," * 5000 + ")) : f32[]", "tuple is too long"),
        ("%1 = pad(%0, low=(0,), high=(" + "9" * 39 + ",), interior=(0,)) : f32[4]", "pad"),
        (
            '%1 = pad(%0, low=(0,), high=(0,), interior=(0,), value=__import__("os")) : f32[4]',
            "expected: a value",
        ),
        ("%1 = constant(value=f32[2](1.0)) : f32[2]", "expected: 2 numbers"),
        ("%1 = constant(value=f32[1](f32[1](1.0))) : f32[1]", "unexpected text"),
        ("%1 = constant(value=" + "f32[1](" * 5000 + ") : f32[1]", "unexpected text"),
        ("%1 = constant(value=i32[1](1.5)) : i32[1]", "not an element of i32[1]"),
        ("%1 = constant(value=i8[1](300)) : i8[1]", "does not fit into int8"),
        ("%1 = constant(value=i1[1](1)) : i1[1]", "not an element of i1[1]"),
        (
            '%1 = constant(value=f32[1000000000000](base64="AAAA")) : f32[1000000000000]',
            "array data of another size",
        ),
        ('%1 = constant(value=f32[1](base64="AAAAAAA*")) : f32[1]', "array data is not base64"),
        ('%1 = constant(value=f32[1](base64="AAAAAAAA")) : f32[1]', "array data of another size"),
        ('%1 = constant(value="text") : f32[1]', "attribute value has a value of another type"),
        ('%1 = input(label="x", kind="data") : f32[4]', "two inputs are labelled 'x'"),
        ('%1 = input(label="y", kind="secret") : f32[4]', "unknown kind"),
        ('%1 = input(%0, label="y") : f32[4]', "input: takes no operands"),
        ('%1 = input(label="\\q") : f32[4]', "unknown escape"),
        ('%1 = input(label="open) : f32[4]', "unreadable text"),
        ("nonsense", "expected: a node"),
        ("update %0 = %0", "expected: a node"),
        ("%1 ? 3", "unreadable text"),
        ("%1 = \x00", "unreadable text"),
        ("%\N{ARABIC-INDIC DIGIT ONE} = tanh(%0) : f32[4]", "unreadable text"),
    ],
    ids=lambda value: value[:60],
)
def test_a_bad_line_is_named(line: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(f"{HEAD}{line}\nreturn %0\n")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000
    if "labelled" not in message and "kind" not in message:
        assert "graph text, line 4: " in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: not a graph of this version"),
        ("graphrt ir 2\n", "expected: graphrt ir 1"),
        ("graphrt ir 1\n", "ends too early"),
        ('graphrt ir 1\ngraph "g"\n', "ends too early"),
        (HEAD, "ends too early"),
        (f"{HEAD}return %0\nreturn %0\n", "expected: an update"),
        (f"{HEAD}return %0\n%1 = tanh(%0) : f32[4]\n", "expected: an update"),
        (f"{HEAD}return %0\nupdate %0 = %0\n", "update of something that is not a state input"),
        (f"{HEAD}return %0,,%0\n", "expected: end of line"),
        (f"{HEAD}" + "\n" * 1_000_001, "too long"),
    ],
    ids=range(10),
)
def test_a_bad_frame_is_refused(text: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert message in str(caught.value)


def test_updates_are_checked() -> None:
    state = HEAD + '%1 = input(label="w", kind="state") : f32[2]\nreturn %0\n'
    parse(state)
    with pytest.raises(ParseError, match="another type"):
        parse(state + "update %1 = %0\n")
    with pytest.raises(ParseError, match="updated twice"):
        parse(state + "update %1 = %1\nupdate %1 = %1\n")


def test_memory_follows_the_length_of_the_text_not_the_sizes_it_names() -> None:
    big = 2**40
    text = f"{HEAD}%1 = iota(shape=({big},), axis=0, dtype=i8) : i8[{big}]\nreturn %1\n"
    tracemalloc.start()
    parse(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


@given(
    st.integers(0, 40),
    st.lists(st.tuples(st.integers(0, 10**6), st.text(max_size=3), st.integers(0, 4)), max_size=4),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_damaged_text_gives_a_graph_or_a_parse_error(seed: int, edits: list[tuple[int, str, int]]) -> None:
    text = to_text(random_graph(seed, nodes=5))
    for position, inserted, removed in edits:
        at = position % len(text)
        text = text[:at] + inserted + text[at + removed :]
    try:
        graph = parse(text)
    except ParseError:
        return
    assert parse(to_text(graph)) == graph
