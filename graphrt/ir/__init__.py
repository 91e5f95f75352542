"""The graph IR: types, nodes, graphs, verifier, text form, reference interpreter. Knows no concrete op."""

from .graph import Graph, rewrite, substitute
from .node import Node, apply, current_source, input_node, nodes_observed, source_scope, topological_order
from .op import REGISTRY, Input, Op
from .types import Literal, Source, TensorType

__all__ = [
    "REGISTRY", "Graph", "Input", "Literal", "Node", "Op", "Source", "TensorType",
    "apply", "current_source", "input_node", "nodes_observed", "rewrite", "source_scope", "substitute", "topological_order",
]  # fmt: skip
