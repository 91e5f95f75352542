"""Reverse-mode differentiation, graph to graph: nodes go in, the nodes of their gradients come out.

    %2 = tanh(%0)                          %2 = tanh(%0)
    %3 = reduce_sum(%2, axes=(0,))   ->    %5 = broadcast(1, shape=(8,))       cotangent of %2
                                           %8 = mul(%5, sub(1, mul(%2, %2)))   gradient of %3 with respect to %0

Gradients are ordinary nodes, so gradients of gradients need nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import ArgumentError, DTypeError, VerifyError
from ..ir import Node, Op, input_node, source_scope, substitute, topological_order
from ..ops import build
from ..ops.base import CompositeOp
from .constants import uniform


def gradients(
    outputs: Sequence[Node], wrt: Sequence[Node], cotangents: Sequence[Node] | None = None
) -> list[Node]:
    """The gradient of sum(cotangent * output) with respect to each node of `wrt`, of that node's type.

    `cotangents` default to ones. A node that no output depends on differentiably gets zeros. Every backward node
    carries the source of its forward node.

    Raises DTypeError for outputs or targets that are not floats, ArgumentError for cotangents that do not fit.
    """
    for node in (*outputs, *wrt):
        if not node.dtype.is_float:
            raise DTypeError(
                "only floats have gradients", at=node.source, expected="float", given=node.type.describe()
            )
    if cotangents is None:
        cotangents = [uniform(node.type, 1) for node in outputs]
    if [g.type for g in cotangents] != [y.type for y in outputs]:
        raise ArgumentError(
            "gradients: cotangents must have the types of the outputs",
            expected=", ".join(y.type.describe() for y in outputs),
            given=", ".join(g.type.describe() for g in cotangents),
        )
    found = _backward(outputs, wrt, cotangents)
    return [found[x] if x in found else uniform(x.type, 0) for x in wrt]


def _backward(outputs: Sequence[Node], wrt: Sequence[Node], cotangents: Sequence[Node]) -> dict[Node, Node]:
    """Cotangents by node, for the nodes between `wrt` and `outputs`."""
    order = topological_order(outputs)
    reaches_target = set(wrt)
    for node in order:
        if any(operand in reaches_target for operand in node.inputs):
            reaches_target.add(node)

    cotangent: dict[Node, Node] = {}

    def accumulate(node: Node, g: Node) -> None:
        cotangent[node] = build.add(cotangent[node], g) if node in cotangent else g

    for output, g in zip(outputs, cotangents):
        if output in reaches_target:
            accumulate(output, g)
    for node in reversed(order):
        if node not in cotangent or not any(operand in reaches_target for operand in node.inputs):
            continue
        with source_scope(node.source):
            for operand, operand_cotangent in zip(node.inputs, _vjp(node, cotangent[node]), strict=True):
                if operand_cotangent is not None and operand in reaches_target:
                    _check(node, operand, operand_cotangent)
                    accumulate(operand, operand_cotangent)
    return cotangent


def _vjp(node: Node, g: Node) -> Sequence[Node | None]:
    """One cotangent (or None) per operand: the op's own rule, or that of a composite's expansion."""
    op = node.op
    if not isinstance(op, CompositeOp) or type(op).vjp is not Op.vjp:
        return op.vjp(g, node, *node.inputs)
    # Stand-ins keep the walk inside the expansion, also where one operand was computed from another.
    operands = [input_node(f"operand {k}", x.type) for k, x in enumerate(node.inputs)]
    targets = [x for x in operands if x.dtype.is_float]
    found: Mapping[Node, Node] = _backward([op.expand(*operands)], targets, [g])
    stand_ins = dict(zip(operands, node.inputs))
    known = [x for x in operands if x in found]
    real = dict(zip(known, substitute([found[x] for x in known], stand_ins)))
    return [real.get(x) for x in operands]


def _check(node: Node, operand: Node, g: Node) -> None:
    if g.type != operand.type:
        raise VerifyError(
            f"{node.op.name}: the gradient rule gave a cotangent of another type than the operand",
            at=node.source, expected=operand.type.describe(), given=g.type.describe(),
        )  # fmt: skip
