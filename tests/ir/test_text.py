"""IR text: every attribute kind, arrays bit for bit, sources; what is printed parses back to an equal graph."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph

from graphrt.dtypes import ALL, DType, float32, int32
from graphrt.ir import REGISTRY, Graph, Literal, Node, Op, Source, TensorType, apply, input_node
from graphrt.ir.text import parse, readable_bytes, to_text
from graphrt.ops import build
from graphrt.ops.views import Constant


@pytest.fixture
def probe() -> Iterator[type[Op]]:
    """An op with one attribute of every kind, registered only while the test runs."""

    @dataclass(frozen=True)
    class TextProbe(Op):
        i: int = 0
        f: float = 0.0
        b: bool = False
        s: str = ""
        n: int | None = None
        d: DType = float32
        t: tuple[Any, ...] = ()
        a: Any = None

        def infer(self, *types: TensorType) -> TensorType:
            return TensorType((), float32)

        def evaluate(self, *arrays: np.ndarray) -> np.ndarray:
            return np.zeros((), np.float32)

    yield TextProbe
    del REGISTRY["text_probe"]


def graph_of(*outputs: Node) -> Graph:
    return Graph((), outputs)


def round_trip(graph: Graph) -> Graph:
    text = to_text(graph)
    parsed = parse(text)
    assert parsed == graph
    assert to_text(parsed) == text
    return parsed


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"i": -(2**63)},
        {"i": 2**63},
        {"f": 0.1},
        {"f": -0.0},
        {"f": math.inf},
        {"f": -math.inf},
        {"f": math.nan},
        {"f": 5e-324},
        {"f": 1.7976931348623157e308},
        {"b": True},
        {"s": 'quote " backslash \\ newline \n # comment : type @ %1 \u2028 \N{SNOWMAN} \ud800'},
        {"n": 7},
        *({"d": dtype} for dtype in ALL),
        {"t": (1,)},
        {"t": ((), (1, (2.5, None)), "x", int32, True)},
        {"t": (Literal(np.float32(0.5)), Literal(np.arange(100)))},
    ],
    ids=repr,
)
def test_attributes_of_every_kind_parse_back(probe: type[Op], attributes: dict[str, Any]) -> None:
    (parsed,) = round_trip(graph_of(apply(probe(**attributes)))).outputs
    for name, value in attributes.items():
        given_back = getattr(parsed.op, name)
        assert type(given_back) is type(value)
        if isinstance(value, float):
            assert struct.pack("<d", given_back) == struct.pack("<d", value)


def test_equality_sees_the_sign_of_zero_and_bool_against_int(probe: type[Op]) -> None:
    assert graph_of(apply(probe(f=0.0))) != graph_of(apply(probe(f=-0.0)))
    assert graph_of(apply(probe(t=(True,)))) != graph_of(apply(probe(t=(1,))))
    assert graph_of(apply(probe(f=math.nan))) == graph_of(apply(probe(f=float("nan"))))


def awkward_numbers(dtype: DType) -> np.ndarray:
    if dtype.kind == "bool":
        return np.array([True, False])
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        return np.array([info.min, info.max, 1], dtype.numpy)
    info = ml_dtypes.finfo(dtype.numpy)
    numbers = [0.0, -0.0, 0.1, 1 / 3, math.inf, -math.inf, float(info.max), float(info.smallest_subnormal)]
    return np.array(numbers, dtype.numpy)


@pytest.mark.parametrize("dtype", ALL, ids=str)
@pytest.mark.parametrize("copies", [1, 10])
def test_arrays_keep_every_bit(dtype: DType, copies: int) -> None:
    array = np.tile(awkward_numbers(dtype), (copies, 1))
    (constant,) = round_trip(graph_of(apply(Constant(Literal(array))))).outputs
    assert constant.op.value.array.dtype == array.dtype
    assert constant.op.value.array.tobytes() == array.tobytes()


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=8))
@settings(deadline=None, derandomize=True)
def test_float32_of_any_bits_parse_back(bits: list[int]) -> None:
    round_trip(graph_of(apply(Constant(Literal(np.array(bits, np.uint32).view(np.float32))))))


def test_empty_scalar_and_big_endian_arrays() -> None:
    arrays = [np.zeros((0, 3), np.float32), np.float64(2.5), np.arange(3, dtype=">i4")]
    round_trip(graph_of(*(apply(Constant(Literal(a))) for a in arrays)))
    assert Literal(np.arange(3, dtype=">i4")) == Literal(np.arange(3, dtype=np.int32))


def test_small_arrays_read_as_numbers_and_large_ones_as_base64() -> None:
    small, large = (
        to_text(graph_of(apply(Constant(Literal(np.full(n, 0.1, np.float32)))))) for n in (2, 100)
    )
    assert "constant(value=f32[2](0.1, 0.1)) : f32[2]  # 8 B" in small
    assert 'constant(value=f32[100](base64="' in large


def test_one_line_of_everything() -> None:
    x = input_node("x", TensorType((32, 10), float32))
    total = apply(REGISTRY["reduce_sum"](axes=(1,)), x, source=Source("model.py", 14, "net.fc1"))
    w = input_node("w", TensorType((32,), float32), "state")
    graph = Graph((x, w), (total,), {w: total}, "step")
    assert to_text(graph) == (
        "graphrt ir 1\n"
        'graph "step"\n'
        '%0 = input(label="x", kind="data") : f32[32,10]  # 1.2 KiB\n'
        '%1 = input(label="w", kind="state") : f32[32]  # 128 B\n'
        '%2 = reduce_sum(%0, axes=(1,), keepdims=False) : f32[32] @ "model.py":14 "net.fc1"  # 128 B\n'
        "return %2\n"
        "update %1 = %2\n"
    )
    round_trip(graph)


def test_sources_parse_back_and_matter() -> None:
    x = input_node("x", TensorType((), float32))
    places = [None, Source('odd "name".py', 3), Source("<stdin>", 1, "net.0"), Source("a.py", 1, "")]
    graphs = [Graph((x,), (apply(REGISTRY["tanh"](), x, source=place),)) for place in places]
    assert [round_trip(g).outputs[0].source for g in graphs] == places
    assert graphs[0] != graphs[3]


def test_graphs_without_outputs_and_with_repeated_ones() -> None:
    x = input_node("x", TensorType((2,), float32))
    round_trip(Graph((x,), ()))
    round_trip(Graph((x,), (x, x, build.add(x, x))))


def test_missing_attributes_take_their_defaults_and_comments_are_ignored() -> None:
    text = 'graphrt ir 1\n\n# a remark\ngraph "g"\n%0 = input(label="x") : f32[4]\n%9 = reduce_sum(%0, axes=(0,)) : f32[]\nreturn %9'
    graph = parse(text)
    assert not graph.inputs[0].is_state
    assert graph.outputs[0].op.keepdims is False


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_random_training_steps_parse_back(seed: int) -> None:
    round_trip(random_graph(seed))


def test_the_same_graph_made_twice_prints_the_same() -> None:
    assert to_text(random_graph(3)) == to_text(random_graph(3))
    assert random_graph(3) == random_graph(3)
    assert random_graph(3) != random_graph(4)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1280, "1.2 KiB"),
        (20 * 2**20, "20.0 MiB"),
        (2**62, "4.0 EiB"),
    ],
)
def test_readable_bytes(count: int, text: str) -> None:
    assert readable_bytes(count) == text
