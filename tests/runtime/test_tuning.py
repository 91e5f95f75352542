"""The search for the fastest plans: what it chooses, when it runs, and that it changes nothing else."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import graphrt
from graphrt import Model, Tensor, compiler, nn, tuning
from graphrt.codegen import stored_step
from graphrt.dataset import NumpySlicesDataset
from graphrt.dtypes import float32
from graphrt.ir import Graph, TensorType, input_node
from graphrt.kernels.contraction_plan import Plan
from graphrt.ops import build

A, B, C = (Plan(0, (k, 1), 0.0) for k in (1, 2, 3))


@pytest.fixture
def searches(monkeypatch):
    """The graphs that were searched, with two candidates instead of many."""
    found = []
    original = tuning.fastest_plans

    def watched(graph, threads, sink):
        found.append((graph, sink))
        return original(graph, threads, sink)

    monkeypatch.setattr(tuning, "fastest_plans", watched)
    monkeypatch.setattr(tuning, "CANDIDATES", 2)
    monkeypatch.setattr(tuning, "SECONDS", 0.01)
    return found


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHRT_CACHE", "1")
    monkeypatch.setenv("GRAPHRT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(stored_step, "source_digest", functools.cache(lambda: "this compiler"))


def test_the_fewest_cycles_win_unless_the_difference_is_noise():
    found = [
        ({"k0": A, "k1": A}, {"k0": 100.0, "k1": 100.0, "k2": 1.0}),
        ({"k0": B, "k1": B}, {"k0": 98.0, "k1": 50.0}),
    ]
    assert tuning.fastest(found) == {"k0": A, "k1": B}
    found.append(({"k0": C, "k1": C}, {"k0": 90.0}))  # k1 was split in another way, or not built
    assert tuning.fastest(found) == {"k0": C, "k1": B}
    assert tuning.fastest([]) == {}


def test_cycles_of_equal_layers_are_added():
    x, w = (
        input_node("x", TensorType((64, 64), float32)),
        input_node("w", TensorType((64, 64), float32), "state"),
    )
    y = x
    for _ in range(3):
        y = build.relu(build.matmul(y, w))
    step = compiler.lower(compiler.optimize(Graph((x, w), (y,), {}, "deep")), threads=1, profile=True)
    cycles = tuning.kernel_cycles(step, 1)
    assert set(cycles) == set(step.kernels) and len(step.kernels) > len(cycles)
    assert all(count > 0 for count in cycles.values()) and max(cycles.values()) > 1000


def test_a_tuned_function_computes_the_same_and_is_searched_once(searches, cache_folder):
    def layer(x, w):
        return graphrt.ops.relu(graphrt.ops.matmul(x, w))

    x, w = (Tensor(np.random.default_rng(k).standard_normal((48, 48)).astype(np.float32)) for k in range(2))
    expected = layer(x, w).asnumpy()
    tuned = graphrt.compile(tune=True)(layer)
    np.testing.assert_allclose(tuned(x, w).asnumpy(), expected, rtol=1e-4, atol=1e-5)
    tuned(x, w)
    assert len(searches) == 1
    graphrt.compile(layer, tune=True)(x, w)  # as in another process: from the cache
    assert len(searches) == 1
    graphrt.compile(layer)(x, w)
    assert len(searches) == 1
    tuned(Tensor(x.asnumpy()[:20]), w)
    assert len(searches) == 2


def test_the_setting_tunes_everything(searches):
    @graphrt.compile
    def product(x):
        return graphrt.ops.matmul(x, x)

    x = Tensor(np.ones((40, 40), np.float32))
    product(x)
    assert not searches
    with graphrt.set_context(tune=True, cache=False):
        assert product(x).asnumpy()[0, 0] == 40
    assert len(searches) == 1
    with pytest.raises(graphrt.errors.ArgumentError, match="tune has an unknown value"):
        graphrt.set_context(tune="yes")


@pytest.mark.parametrize("tune", [False, True])
def test_a_model_of_a_tuned_network_is_tuned(searches, tune):
    @graphrt.compile(tune=tune)
    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.layers = nn.SequentialCell(nn.Dense(20, 40), nn.ReLU(), nn.Dense(40, 3))

        def construct(self, x):
            return self.layers(x)

    graphrt.set_seed(1)
    random = np.random.default_rng(0)
    x, y = random.standard_normal((70, 20)).astype(np.float32), random.integers(0, 3, 70).astype(np.int32)
    data = NumpySlicesDataset((x, y), ["x", "y"], shuffle=False).batch(32)
    net = Net()
    with graphrt.set_context(cache=False):
        model = Model(
            net, nn.CrossEntropyLoss(), nn.Momentum(net.trainable_params(), 0.1, 0.9), metrics={"loss"}
        )
        before = model.eval(data)["loss"]
        model.train(3, data, dataset_sink_mode=True)
        assert model.eval(data)["loss"] < before
    assert bool(searches) == tune and any(sink for _, sink in searches) == tune


def test_graphs_without_products_need_no_search(searches):
    with graphrt.set_context(cache=False):
        double = graphrt.compile(lambda x: x * 2.0, tune=True)
        assert double(Tensor(np.ones(5, np.float32))).asnumpy().tolist() == [2.0] * 5
    assert len(searches) == 1 and tuning.fastest_plans(*_sum()) == {}


def _sum():
    x = input_node("x", TensorType((50,), float32))
    return compiler.optimize(Graph((x,), (build.reduce_sum(x),), {}, "sum")), 1, False
