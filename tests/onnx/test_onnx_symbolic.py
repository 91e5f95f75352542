"""The batch axis is found by comparing two traces, and anything else that differs is refused."""

import numpy as np
import pytest

from graphrt.dtypes import float32
from graphrt.errors import ExportError
from graphrt.ir import Graph, Source, TensorType, input_node, source_scope
from graphrt.onnx.symbolic import Extent, describe, free_batch
from graphrt.ops import build


def graphs(function, batch=4):
    """`function(x)` as graphs at `batch` and `batch + 1`, x being float32[batch, 6]."""
    made = []
    for size in (batch, batch + 1):
        x = input_node("x", TensorType((size, 6), float32))
        with source_scope(Source("model.py", 7, "Net.layer (Layer)")):
            made.append(Graph((x,), (function(x),)))
    return (*made, batch)


def test_extents_that_follow_the_batch_become_symbolic():
    graph = free_batch(*graphs(lambda x: build.reshape(x, (x.shape[0] * 2, 3))))
    assert graph.inputs[0].shape == (Extent(1), 6)
    assert graph.outputs[0].shape == (Extent(2), 3)
    assert describe(graph.outputs[0].shape) == "(2*batch, 3)"
    assert graph.outputs[0].attributes["shape"] == (Extent(2), 3)


def test_offsets_are_kept():
    graph = free_batch(*graphs(lambda x: build.concat([x, build.constant(np.ones((3, 6), np.float32))], 0)))
    assert graph.outputs[0].shape == (Extent(1, 3), 6)
    assert graph.outputs[0].shape[0].at(10) == 13


def test_a_constant_that_holds_the_batch_size_is_refused():
    with pytest.raises(ExportError) as caught:
        free_batch(*graphs(lambda x: build.div(build.reduce_sum(x, (0,)), float(x.shape[0]))))
    assert str(caught.value) == (
        "export: the batch size is baked into constant: value differs between batch 4 and 5\n"
        "  cell:     Net.layer (Layer)\n"
        "  at:       model.py:7\n"
        "  given:    4.0 and 5.0\n"
        "  fix:      derive the value from a tensor (for example with a mean instead of a sum and a division by x.shape[0])"
    )


def test_operations_chosen_by_the_batch_size_are_refused():
    with pytest.raises(ExportError, match="something else at another batch size") as caught:
        free_batch(*graphs(lambda x: build.exp(x) if x.shape[0] % 2 else build.tanh(x)))
    assert caught.value.at == "model.py:7"


def test_a_longer_graph_at_one_batch_size_is_refused():
    with pytest.raises(ExportError, match="something else"):
        free_batch(*graphs(lambda x: build.exp(build.exp(x)) if x.shape[0] == 5 else build.exp(x)))
