"""Products with Jacobians and whole Jacobians: `jvp`, `vjp`, `jacrev`, `jacfwd`, `hessian`.

In: a function of Tensors, its inputs, and directions. Out: its results with their change along a direction (jvp), a
function that pulls gradients of the results back to the inputs (vjp), or the matrix of all derivatives.

Everything is made of reverse-mode gradients. Pulling u back, g(u) = J^T u, is linear in u, so differentiating g(u) . v
with respect to u gives J v: the value of u is irrelevant and nothing of it is left in the graph. Whole Jacobians batch
such a product over the unit vectors (`ops/batching.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..ir import Node, input_node, source_scope
from ..ir.interpret import evaluate
from .gradient import ALL, GradientFunction, _as_parameters, _cotangents, _own_value
from .location import user_source
from .parameter import Parameter
from .paths import explore
from .tensor import Tensor
from .trace import Trace, array_of, current_trace, split_arguments, trace
from .tree import flatten, unflatten

REMEMBERED = 16  # transformed functions kept, so that calling `jvp` in a loop traces a compiled network once


def _pushed(losses: Sequence[Node], wanted: Sequence[Node], tangents: Sequence[Node]) -> list[Node]:
    """The change of each of `losses` when the nodes `wanted` move along `tangents`."""
    from ..ops import build
    from ..passes.differentiate import gradients

    pulled = [build.zeros_like(loss) for loss in losses]  # any value: see the top of this file
    total: Node | None = None
    for g, v in zip(gradients(losses, wanted, pulled), tangents):
        part = build.reduce_sum(build.mul(g, v))
        total = part if total is None else build.add(total, part)
    if total is None:
        return pulled
    return gradients([build.cast(total, losses[0].dtype)], pulled)


class _Jvp(GradientFunction):
    """fn(*inputs) and its change along v, called as (inputs, v); see `jvp`."""

    def __init__(self, function: Callable[..., Any], has_aux: bool):
        super().__init__(function, ALL, None, has_aux)
        vars(self._traced).pop("__wrapped__")  # the arguments are not those of the function

    def _inline(self, running: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs, directions = args
        source = user_source()
        arguments, wanted = self._own_arguments(running, inputs)
        tangents = [running.lift(v if isinstance(v, Tensor) else Tensor(v)) for v in directions]
        for node, v in zip(wanted, tangents):
            if v.shape != node.shape:
                raise ShapeError(
                    "jvp: v must have the shapes of the inputs", at=source,
                    expected=node.type.describe(), given=v.type.describe(),
                )  # fmt: skip
        result = explore(running, lambda: self._function(*arguments))
        losses = self._losses(running, result, source)
        pairs = [(node, v) for node, v in zip(wanted, tangents) if node.dtype.is_float]
        with source_scope(source):
            from ..ops import build

            moved = _pushed(losses, [n for n, _ in pairs], [build.cast(v, n.dtype) for n, v in pairs])
        first = result[0] if self._has_aux else result
        _, structure = flatten(first, lambda value: isinstance(value, Tensor))
        change = unflatten(structure, [running.tensor(node) for node in moved])
        return (first, change, tuple(result[1:])) if self._has_aux else (first, change)


@functools.lru_cache(maxsize=REMEMBERED)
def _jvp_function(fn: Callable[..., Any], has_aux: bool) -> _Jvp:
    return _Jvp(fn, has_aux)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def jvp(fn: Callable[..., Any], inputs: Any, v: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """`(result, change)`: fn(*inputs), and the Jacobian of fn times the direction `v`.

    `inputs`, `v`: one Tensor each, or tuples of as many with the same shapes. `change` has the form of the result.
    `has_aux`: only the first result of `fn` is differentiated; returns `(result, change, others)`. Raises ArgumentError
    or ShapeError for a `v` that does not fit.
    """
    inputs, directions = _as_tuple(inputs), _as_tuple(v)
    if len(inputs) != len(directions):
        raise ArgumentError(
            "jvp: one direction per input", at=user_source(), expected=f"{len(inputs)}", given=len(directions)
        )
    return _jvp_function(fn, bool(has_aux))(inputs, directions)


class _Vjp(GradientFunction):
    """The forward of a vjp, kept together with what its backward needs."""

    def __init__(self, function: Callable[..., Any], weights: Any, has_aux: bool):
        super().__init__(function, ALL, weights, has_aux)

    def forward(self, running: Trace, inputs: tuple[Any, ...]) -> tuple[Any, list[Node], Callable[..., Any]]:
        """The result, its differentiable nodes, and the backward: nodes of cotangents -> gradients."""
        from ..passes.differentiate import gradients

        source = user_source()
        arguments, wanted = self._own_arguments(running, inputs)
        weights = _as_parameters(self._weights)
        weight_nodes = [_own_value(running, w) for w in weights]
        # the backward comes later: a decision cannot be handed to whoever asks for it
        result = explore(running, lambda: self._function(*arguments), hands_on=False)
        losses = self._losses(running, result, source)
        for weight, (own, original) in zip(weights, weight_nodes):
            if running.latest[id(weight)] is own and own is not original:
                running.latest[id(weight)] = original
        targets = [node for node in wanted if node.dtype.is_float]

        def backward(cotangents: Sequence[Node]) -> Any:
            from ..ops import build

            with source_scope(source):
                found = gradients(losses, [*targets, *[own for own, _ in weight_nodes]], cotangents)
                by_node = dict(zip(targets, found))
                inner = [by_node[n] if n in by_node else build.zeros_like(n) for n in wanted]
            tensors = [running.tensor(n) for n in (*inner, *found[len(targets) :])]
            return self._arrange(tensors[: len(wanted)], tensors[len(wanted) :])

        return result, losses, backward


def vjp(fn: Callable[..., Any], *inputs: Any, weights: Any = None, has_aux: bool = False) -> tuple[Any, ...]:
    """`(result, vjp_fn)`: fn(*inputs), and the function that takes a gradient of the result (a Tensor of its shape, one
    per result) to the gradients of the inputs, as a tuple.

    `weights`: Parameters; `vjp_fn` then returns `(of inputs, of weights)`. `has_aux`: only the first result of `fn` is
    differentiated; returns `(result, vjp_fn, others)`. Inside a trace both are part of its graph; outside, they run op
    by op, and `vjp_fn` sees Parameters and random keys as the forward saw them.
    """
    if weights is not None and not isinstance(weights, Parameter):
        weights = tuple(weights)
    transform = _Vjp(fn, weights, has_aux)
    running = current_trace()
    if running is None:
        return _eager_vjp(transform, inputs, has_aux)
    result, losses, backward = transform.forward(running, inputs)

    def vjp_fn(*v: Any) -> Any:
        return backward(_cotangents(running, losses, v[0] if len(v) == 1 else v, user_source()))

    return (result[0], vjp_fn, tuple(result[1:])) if has_aux else (result, vjp_fn)


def _eager_vjp(transform: _Vjp, inputs: tuple[Any, ...], has_aux: bool) -> tuple[Any, ...]:
    """One graph with the cotangents as inputs: its forward part is evaluated now, its backward part when they come."""

    def both(*args: Any) -> Any:
        running = current_trace()
        assert running is not None
        result, losses, backward = transform.forward(running, args)
        seeds = [running.data_input(f"sens{k}", loss.type) for k, loss in enumerate(losses)]
        return result, backward([running.lift(seed) for seed in seeds])

    traced = trace(both, inputs, name="vjp")
    graph, leaves = traced.graph, split_arguments(inputs)[0]
    seeds = graph.data_inputs[len(leaves) :]
    values = dict(zip(graph.data_inputs, [array_of(leaf) for leaf in leaves]))
    values |= {n: np.array(traced.parameters[n.op.label]._array) for n in graph.state_inputs}  # type: ignore[attr-defined]
    of_result, of_gradients = traced.structure
    count = len(flatten(of_result, _is_slot)[0])
    arrays = evaluate([*graph.outputs[:count], *graph.updates.values()], values)
    for node, value in zip(graph.updates, arrays[count:]):
        traced.parameters[node.op.label]._array[...] = value  # type: ignore[attr-defined,index]
    result = unflatten(of_result, [Tensor(a) for a in arrays[:count]])

    def vjp_fn(*v: Any) -> Any:
        given, _ = flatten(v, lambda value: not isinstance(value, (tuple, list)))
        if len(given) != len(seeds):
            raise ArgumentError(
                "vjp: one gradient per result", at=user_source(), expected=f"{len(seeds)}", given=len(given)
            )
        cotangents = {}
        for seed, one in zip(seeds, given):
            array = np.asarray(one if not isinstance(one, Tensor) else one._value())
            if array.shape != seed.shape:
                raise ShapeError(
                    "vjp: the gradient of the result must have the result's shape", at=user_source(),
                    expected=seed.type.describe(), given=list(array.shape),
                )  # fmt: skip
            cotangents[seed] = array.astype(seed.dtype.numpy)
        found = evaluate(graph.outputs[count:], values | cotangents)
        return unflatten(of_gradients, [None] * count + [Tensor(a) for a in found])

    return (result[0], vjp_fn, tuple(result[1:])) if has_aux else (result, vjp_fn)


def _is_slot(value: object) -> bool:
    from .tree import Slot

    return isinstance(value, Slot)


class JacobianFunction(GradientFunction):
    """What `jacrev` and `jacfwd` return; see there."""

    def __init__(self, function: Callable[..., Any], positions: Any, has_aux: bool, forward: bool):
        super().__init__(function, positions, None, has_aux)
        self._forward = forward

    def _inline(self, running: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        source = user_source()
        arguments, wanted = self._own_arguments(running, args)
        result = explore(running, lambda: self._function(*arguments, **kwargs))
        losses = self._losses(running, result, source)
        make = _by_column if self._forward else _by_row
        rows = []
        with source_scope(source):
            for loss in losses:
                rows.append(self._arrange([running.tensor(make(loss, x)) for x in wanted], []))
        first = result[0] if self._has_aux else result
        _, structure = flatten(first, lambda value: isinstance(value, Tensor))
        return self._without_value(result, unflatten(structure, rows))


def _units(shape: tuple[int, ...], dtype: Any) -> Node:
    """All unit vectors of a shape, along an axis in front."""
    from ..ops import build

    size = int(np.prod(shape, dtype=int))
    return build.reshape(build.one_hot(build.arange(size), size, dtype=dtype), (size, *shape))


def _by_row(y: Node, x: Node) -> Node:
    """dy/dx, y.shape + x.shape: one pull back per element of y."""
    from ..ops import build
    from ..ops.batching import batch_nodes, spread
    from ..passes.differentiate import gradients

    symbol = input_node("cotangent", y.type)
    (g,) = gradients([y], [x], [symbol])
    (rows,) = batch_nodes([g], y.type.size, {symbol: _units(y.shape, y.dtype)})
    rows = spread(rows, y.type.size) if rows.shape == g.shape else rows
    return build.reshape(rows, (*y.shape, *x.shape))


def _by_column(y: Node, x: Node) -> Node:
    """dy/dx, y.shape + x.shape: one push forward per element of x."""
    from ..ops import build
    from ..ops.batching import batch_nodes, move_axis, spread

    symbol = input_node("tangent", x.type)
    (change,) = _pushed([y], [x], [symbol])
    (columns,) = batch_nodes([change], x.type.size, {symbol: _units(x.shape, x.dtype)})
    columns = spread(columns, x.type.size) if columns.shape == change.shape else columns
    return build.reshape(move_axis(columns, 0, len(y.shape)), (*y.shape, *x.shape))


def _jacobian(name: str, fn: Any, grad_position: Any, has_aux: bool, forward: bool) -> JacobianFunction:
    if not callable(fn):
        raise ArgumentError(f"{name}: a function or Cell is needed", at=user_source(), given=repr(fn))
    positions = tuple(grad_position) if isinstance(grad_position, (tuple, list)) else grad_position
    if not isinstance(positions, (int, tuple)):
        raise ArgumentError(
            f"{name}: grad_position is an int or a tuple of ints", at=user_source(), given=repr(grad_position)
        )
    return JacobianFunction(fn, positions, has_aux, forward)


def jacrev(
    fn: Callable[..., Any], grad_position: int | Sequence[int] = 0, has_aux: bool = False
) -> JacobianFunction:
    """A function returning the Jacobian of `fn`, of shape result.shape + argument.shape, row by row: right for few
    results. A tuple of positions gives a tuple; several results give one Jacobian each. `grad_position`:
    the position of the argument, or several. With `has_aux`, `fn` returns (result, aux), and the function
    (Jacobian, aux)."""
    return _jacobian("jacrev", fn, grad_position, has_aux, forward=False)


def jacfwd(
    fn: Callable[..., Any], grad_position: int | Sequence[int] = 0, has_aux: bool = False
) -> JacobianFunction:
    """Like `jacrev`, column by column: right for few inputs. `fn`, `grad_position` and `has_aux` as for
    `jacrev`."""
    return _jacobian("jacfwd", fn, grad_position, has_aux, forward=True)


def hessian(fn: Callable[..., Any], grad_position: int = 0) -> JacobianFunction:
    """A function returning the second derivatives of a scalar `fn`, of shape argument.shape +
    argument.shape. `grad_position`: the position of the argument."""
    return jacfwd(jacrev(fn, grad_position), grad_position)
