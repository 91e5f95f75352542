"""Graphs that failed once stay fixed (repros/*.txt, as tools/fuzz.py writes them), and the tools that find them work."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from differential import (
    PROFILES,
    difference,
    failure,
    mismatch,
    read_repro,
    run_reference,
    shrink,
    write_repro,
)
from random_graphs import random_graph, random_values

from graphrt.dtypes import float32
from graphrt.ir import Graph, TensorType, input_node
from graphrt.ops import build

REPROS = sorted((Path(__file__).parent / "repros").glob("*.txt"))
TOOLS = Path(__file__).parents[2] / "tools"


@pytest.mark.parametrize("path", REPROS, ids=lambda p: p.stem)
def test_repro(path: Path) -> None:
    graph, seed, exact = read_repro(path)
    for threads in (1, 2):
        assert failure(graph, seed, exact, threads) is None


def product_of_sums() -> Graph:
    x, w = (input_node(n, TensorType((3, 3), float32), k) for n, k in (("x", "data"), ("w", "state")))
    wrong = build.mul(build.matmul(x, w), build.neg(x))
    return Graph((x, w), (build.reduce_sum(wrong), build.add(x, w)), {w: build.sub(w, wrong)}, "product")


def test_shrinking_keeps_the_failure_and_little_else() -> None:
    graph = product_of_sums()

    def fails(candidate: Graph) -> bool:
        return any(n.op.name == "mat_mul" for n in candidate.nodes())

    small = shrink(graph, fails)
    assert fails(small)
    assert [n.op.name for n in small.nodes() if not n.is_input] == ["mat_mul"]
    assert len(small.roots) == 1


def test_a_written_graph_is_read_back(tmp_path: Path) -> None:
    graph = random_graph(3, **PROFILES["exact"])
    path = write_repro(tmp_path / "new", "three", graph, 3, "output 0 differs\nand more", True)
    assert read_repro(path) == (graph, 3, True)


def test_differences_are_noticed() -> None:
    """The comparison itself: a single wrong bit, a wrong type, a NaN, an error within and beyond the tolerance."""
    expected = {"y": np.array([1.0, 2.0], np.float32)}
    assert difference(expected, expected, exact=True) is None
    near = {"y": np.nextafter(expected["y"], np.float32(9))}
    assert "differs at 2 of 2 places, first [0]" in str(difference(near, expected, exact=True))
    assert difference(near, expected, exact=False) is None
    assert difference({"y": expected["y"] * 1.01}, expected, exact=False) is not None
    assert difference({"y": expected["y"].astype(np.float64)}, expected, exact=False) is not None
    assert difference({"y": np.array([1.0, np.nan], np.float32)}, expected, exact=False) is not None


def test_a_wrong_graph_is_noticed() -> None:
    graph = product_of_sums()
    values = random_values(graph, 0)
    assert mismatch(graph, values, exact=False) is None

    def wrong(given: Graph) -> Graph:
        return Graph(
            given.inputs, given.outputs, {w: build.neg(v) for w, v in given.updates.items()}, given.name
        )

    assert "w differs" in str(mismatch(graph, values, exact=False, optimize=wrong))
    assert set(run_reference(graph, values)) == {"output 0", "output 1", "w"}


@pytest.fixture
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", TOOLS / "fuzz.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_fuzzer_finds_shrinks_and_writes(
    fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fuzz.main(["--graphs", "4", "--seed", "8", "--failures", str(tmp_path)]) == 0
    assert not list(tmp_path.iterdir())
    broken = "graphrt.passes.pipeline.transposed_products"
    monkeypatch.setattr(broken, lambda graph: Graph(graph.inputs, graph.outputs[::-1], {}, graph.name))
    assert fuzz.main(["--graphs", "1", "--seed", "8", "--failures", str(tmp_path)]) == 1
    (path,) = tmp_path.iterdir()
    assert "seed 8 (exact, 1 threads)" in capsys.readouterr().out
    graph, seed, exact = read_repro(path)
    assert failure(graph, seed, exact) is not None
    monkeypatch.undo()
    assert failure(graph, seed, exact) is None
