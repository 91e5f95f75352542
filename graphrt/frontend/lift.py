"""Node-level functions as functions of Tensors.

In: a function of Nodes (see `ops/build.py`). Out: the same function for users: while tracing it adds nodes to the
graph; otherwise it builds a little graph of its own and interprets it, so that every operation is defined once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import GraphrtError
from ..ir import Node, input_node, source_scope
from ..ir.interpret import evaluate
from .location import complete, user_source
from .parameter import Parameter
from .precision import adjusted
from .tensor import Tensor
from .trace import current_trace, leaked
from .tree import flatten, unflatten


def lift(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` over Tensors; its Node results (also in tuples and lists) come back as Tensors.

    Arguments may be Tensors, Parameters, numbers, arrays, and containers of them. Errors carry the user's line and
    the running Cell.
    """

    @functools.wraps(function)
    def lifted(*args: Any, **kwargs: Any) -> Any:
        tensors, structure = flatten((args, kwargs), _is_tensor)
        source = user_source()
        try:
            with source_scope(source):
                return _run(function, tensors, structure)
        except GraphrtError as error:
            raise complete(error, source)  # noqa: B904  the same error, with its place filled in

    return lifted


def _run(function: Callable[..., Any], tensors: list[Tensor], structure: Any) -> Any:
    trace = current_trace()
    if trace is not None:
        known = [t._node is None and not isinstance(t, Parameter) for t in tensors]
        if not tensors or not all(known):
            operands, result = adjusted(function, tensors)
            args, kwargs = unflatten(structure, operands([trace.lift(t) for t in tensors]))
            nodes, results = flatten(function(*args, **kwargs), _is_node)
            return unflatten(results, [trace.tensor(result(n)) for n in nodes])
        for t in tensors:  # all values are known: compute now, but notice if they change
            trace.note(t)
    values: dict[Node, np.ndarray] = {}
    inputs: list[Node] = []
    for t in tensors:
        if t._node is not None:
            raise leaked(t)
        assert t._array is not None
        node = input_node(f"x{len(inputs)}", t.type)
        values[node] = t._array
        inputs.append(node)
    operands, result = adjusted(function, tensors)
    args, kwargs = unflatten(structure, operands(inputs))
    nodes, results = flatten(function(*args, **kwargs), _is_node)
    arrays = evaluate([result(n) for n in nodes], values)
    memory = [t._array for t in tensors if isinstance(t, Parameter)]
    for position, array in enumerate(arrays):
        if any(
            np.may_share_memory(array, m) for m in memory
        ):  # a view of memory that training changes in place
            arrays[position] = array.copy()
    return unflatten(results, [Tensor._wrap(a) for a in arrays])


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def _is_node(value: object) -> bool:
    return isinstance(value, Node)
