"""Gradients of Python functions: `grad` and `value_and_grad`.

In: a function of Tensors. Out: a function that returns gradients. It traces the function and differentiates the graph;
called inside a trace it adds forward and backward nodes to the graph being traced.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..context import GRAPH_MODE, get_context
from ..errors import ArgumentError, DTypeError
from ..ir import Node, apply, source_scope
from .cell import Cell
from .location import user_source
from .parameter import Parameter
from .specialise import Specialiser
from .tensor import Tensor
from .trace import Trace, array_of, current_trace, split_arguments, trace
from .tree import flatten


class GradientFunction:
    """What `grad` and `value_and_grad` return; see there."""

    def __init__(
        self,
        function: Callable[..., Any],
        positions: int | tuple[int, ...] | None,
        weights: Any,
        has_aux: bool,
        with_value: bool,
    ):
        self._function = function
        self._positions, self._weights = positions, weights
        self._has_aux, self._with_value = has_aux, with_value
        self._specialiser: Specialiser | None = None
        if not isinstance(function, Cell):
            functools.update_wrapper(self, function, updated=())

        def traced(*args: Any, **kwargs: Any) -> Any:
            running = current_trace()
            assert running is not None
            return self._inline(running, args, kwargs)

        # where argument names are looked up
        vars(traced)["__wrapped__"] = getattr(function, "construct", function)
        self._traced = traced

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        running = current_trace()
        if running is not None:
            return self._inline(running, args, kwargs)
        if self._specialiser is None and get_context("mode") != GRAPH_MODE:
            traced = trace(self._traced, args, kwargs, name=self._name)
            if not any(cell._graphrt_compiled for cell in traced.cells):
                leaves, _ = split_arguments(args, kwargs)
                return traced.run_reference([array_of(leaf) for leaf in leaves])
        if self._specialiser is None:  # the network is a compiled one: so is its gradient
            self._specialiser = Specialiser(self._traced, self._name, reads=self._function)
        return self._specialiser(args, kwargs)

    @property
    def _name(self) -> str:
        return f"grad_{getattr(self._function, '__name__', type(self._function).__name__)}"

    def _reads(self) -> tuple[Any, ...]:
        return (self._function,)

    def _inline(self, running: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Forward and backward as nodes of the running trace."""
        from ..passes.differentiate import gradients

        source = user_source()
        arguments, wanted = self._own_arguments(running, args)
        weights = _as_parameters(self._weights)
        weight_nodes = [_own_value(running, w) for w in weights]
        result = self._function(*arguments, **kwargs)
        losses = self._losses(running, result, source)
        with source_scope(source):
            cotangents = gradients(losses, [*wanted, *[node for node, _ in weight_nodes]])
        for weight, (own, original) in zip(weights, weight_nodes):
            if running.latest[id(weight)] is own and own is not original:  # not assigned meanwhile
                running.latest[id(weight)] = original
        tensors = [running.tensor(node) for node in cotangents]
        grads = self._arrange(tensors[: len(wanted)], tensors[len(wanted) :])
        return (result, grads) if self._with_value else self._without_value(result, grads)

    def _own_arguments(self, running: Trace, args: tuple[Any, ...]) -> tuple[list[Any], list[Node]]:
        """The arguments, where those to differentiate are nodes of their own: what else uses the same tensor (a
        closure, code before the call) is then no path of the gradient, exactly as in an eager call."""
        positions = self._positions
        chosen = () if positions is None else (positions,) if isinstance(positions, int) else positions
        arguments = list(args)
        nodes: list[Node] = []
        for position in chosen:
            if not -len(args) <= position < len(args):
                raise ArgumentError(
                    "grad_position: no such argument",
                    at=user_source(),
                    expected=f"0 to {len(args) - 1}",
                    given=position,
                )
            value = arguments[position]
            if not isinstance(value, Tensor):
                value = Tensor(value)
            node = _copy(running.lift(value))
            if not node.dtype.is_float:
                raise DTypeError(
                    f"argument {position} cannot have a gradient", at=user_source(), expected="a floating-point tensor",
                    given=node.type.describe(), fix="choose another grad_position (None for weights only)",
                )  # fmt: skip
            nodes.append(node)
            arguments[position] = running.tensor(node)
        return arguments, nodes

    def _losses(self, running: Trace, result: Any, source: Any) -> list[Node]:
        first = result[0] if self._has_aux and isinstance(result, (tuple, list)) and result else result
        if self._has_aux and not isinstance(result, (tuple, list)):
            raise ArgumentError(
                "has_aux=True: the function must return a tuple", at=source, expected="(loss, aux, ...)",
                given=type(result).__name__, fix="return a tuple, or leave has_aux out",
            )  # fmt: skip
        outputs, _ = flatten(first, lambda value: isinstance(value, Tensor))
        nodes = [running.lift(t) for t in outputs]
        if not nodes:
            raise ArgumentError(
                "the differentiated function returned no tensor", at=source, given=type(first).__name__
            )
        for node in nodes:
            if not node.dtype.is_float:
                raise DTypeError(
                    "only floating-point results can be differentiated", at=source, expected="a floating-point tensor",
                    given=node.type.describe(), fix="return the loss first and has_aux=True for the others",
                )  # fmt: skip
        return nodes

    def _arrange(self, inputs: list[Tensor], weights: list[Tensor]) -> Any:
        input_part: Any = inputs[0] if isinstance(self._positions, int) else tuple(inputs)
        weight_part: Any = weights[0] if isinstance(self._weights, Parameter) else tuple(weights)
        if self._weights is None:
            return input_part
        return weight_part if self._positions is None else (input_part, weight_part)

    def _without_value(self, result: Any, grads: Any) -> Any:
        return (grads, tuple(result[1:])) if self._has_aux else grads

    def __repr__(self) -> str:
        return f"<gradient of {getattr(self._function, '__qualname__', type(self._function).__name__)}>"


def _copy(node: Node) -> Node:
    """A node of its own with the same value (a reshape to the same shape, which simplification removes)."""
    from ..ops.views import Reshape

    return apply(Reshape(node.shape), node)


def _own_value(running: Trace, weight: Parameter) -> tuple[Node, Node]:
    """The node to differentiate for a parameter, and the one it had before.

    A parameter that was read earlier in the trace gets a node of its own for the call; see `_own_arguments`.
    """
    fresh = id(weight) not in running.latest
    original = running.read(weight)
    if fresh:
        return original, original
    own = _copy(original)
    running.latest[id(weight)] = own
    return own, original


def _as_parameters(weights: Any) -> list[Parameter]:
    if weights is None:
        return []
    found = [weights] if isinstance(weights, Parameter) else list(weights)
    for weight in found:
        if not isinstance(weight, Parameter):
            raise ArgumentError(
                "weights: every element must be a Parameter", at=user_source(), given=type(weight).__name__,
                fix="pass net.trainable_params()",
            )  # fmt: skip
        if not weight.dtype.is_float:
            raise DTypeError(
                f"weights: {weight.name} cannot have a gradient", at=user_source(), expected="a floating-point Parameter",
                given=weight.type.describe(), fix="give it requires_grad=False and pass net.trainable_params()",
            )  # fmt: skip
    return found


def _make(fn: Any, grad_position: Any, weights: Any, has_aux: bool, with_value: bool) -> GradientFunction:
    if not callable(fn):
        raise ArgumentError("grad: a function or Cell is needed", at=user_source(), given=repr(fn))
    if isinstance(grad_position, list):
        grad_position = tuple(grad_position)
    if grad_position is None and weights is None:
        raise ArgumentError(
            "grad: nothing to differentiate for", at=user_source(), given="grad_position=None, weights=None",
            fix="pass weights=net.trainable_params(), or a grad_position",
        )  # fmt: skip
    if weights is not None and not isinstance(weights, Parameter):
        weights = tuple(weights)  # an iterator can be read only once
    _as_parameters(weights)
    return GradientFunction(fn, grad_position, weights, has_aux, with_value)


def value_and_grad(
    fn: Callable[..., Any],
    grad_position: int | Sequence[int] | None = 0,
    weights: Any = None,
    has_aux: bool = False,
    return_ids: bool = False,
) -> GradientFunction:
    """A function returning `(value, gradients)` of `fn`.

    `grad_position`: the argument to differentiate for, several, or None. `weights`: Parameters to differentiate for.
    With both, the gradients are `(of inputs, of weights)`; several of either come as tuples. Results that are not
    scalar are summed. `has_aux`: only the first result of `fn` is differentiated; the value is the whole tuple.
    """
    if return_ids:
        raise ArgumentError(
            "value_and_grad: return_ids is not supported", at=user_source(), fix="leave it out"
        )
    return _make(fn, grad_position, weights, has_aux, with_value=True)


def grad(
    fn: Callable[..., Any],
    grad_position: int | Sequence[int] | None = 0,
    weights: Any = None,
    has_aux: bool = False,
    return_ids: bool = False,
) -> GradientFunction:
    """A function returning the gradients of `fn`; with `has_aux`, `(gradients, aux)`. See `value_and_grad`."""
    if return_ids:
        raise ArgumentError("grad: return_ids is not supported", at=user_source(), fix="leave it out")
    return _make(fn, grad_position, weights, has_aux, with_value=False)
