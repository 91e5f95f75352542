"""Batching whole training steps: every random graph, gradients and updates included, with random inputs batched, gives
for each sample what the graph gives for that sample alone."""

import random

import numpy as np
import pytest
from random_graphs import random_graph, random_values

from graphrt.ir import TensorType, input_node
from graphrt.ir.interpret import evaluate
from graphrt.ops.batching import batch_nodes

SIZE = 3


@pytest.mark.parametrize("network", [False, True], ids=["plain", "network"])
@pytest.mark.parametrize("seed", range(40))
def test_each_sample_gets_its_own_result(seed, network):
    graph = random_graph(seed, exact=True, network=network)
    samples = [random_values(graph, 100 * seed + number, exact=True) for number in range(SIZE)]
    chosen = [n for n in graph.inputs if random.Random(f"{seed} {n.op.label}").random() < 0.5] or [
        graph.inputs[0]
    ]
    marked, values = {}, {}
    for node in graph.inputs:
        label = node.op.label
        if node in chosen:
            marked[node] = input_node(f"all {label}", TensorType((SIZE, *node.shape), node.dtype))
            values[marked[node]] = np.stack([sample[label] for sample in samples])
        values[node] = samples[0][label]
    results = evaluate(batch_nodes(graph.roots, SIZE, marked), values)
    for number in range(SIZE):
        own = values | {node: values[marked[node]][number] for node in chosen}
        for root, together, expected in zip(graph.roots, results, evaluate(graph.roots, own), strict=True):
            result = together[number] if together.ndim > len(root.shape) else together
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
