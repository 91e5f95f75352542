"""Gradients of Python functions: `grad` and `value_and_grad`.

In: a function of Tensors. Out: a function that returns gradients. It traces the function and differentiates the graph;
called inside a trace it adds forward and backward nodes to the graph being traced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..ir import Node, apply, source_scope
from .location import user_source
from .modes import warn_of_inference_mode
from .parameter import Parameter
from .paths import explore
from .replay_eager import rewound
from .tensor import Tensor
from .trace import Trace, current_trace
from .transform import FunctionTransform
from .tree import flatten

ALL = "all"  # as `positions`: every tensor among the arguments


class GradientFunction(FunctionTransform):
    """What `grad`, `value_and_grad` and `GradOperation` return; see there.

    `positions`: the arguments to differentiate for: an int, a tuple of ints, ALL, or None. `seeded`: the last argument
    of a call is the cotangent of the result. `reuses_forward`: a forward that ran in this trace with the same
    arguments is not run again (see `replay.py`).
    """

    def __init__(
        self,
        function: Callable[..., Any],
        positions: int | tuple[int, ...] | str | None,
        weights: Any,
        has_aux: bool = False,
        with_value: bool = False,
        seeded: bool = False,
        reuses_forward: bool = False,
        return_ids: bool = False,
    ):
        super().__init__(function, "grad")
        self._positions, self._weights = positions, weights
        self._has_aux, self._with_value = has_aux, with_value
        self._seeded, self._reuses_forward, self._return_ids = seeded, reuses_forward, return_ids
        if seeded:  # the signature of the function does not know the last argument
            vars(self._traced).pop("__wrapped__")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._reuses_forward and current_trace() is None:
            own, keywords, _ = self._split_seed(args, kwargs)
            with rewound(self._function, own, keywords):
                return super().__call__(*args, **kwargs)
        return super().__call__(*args, **kwargs)

    def _inline(self, running: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Forward and backward as nodes of the running trace."""
        from ..passes.differentiate import gradients

        source = user_source()
        args, kwargs, seed = self._split_seed(args, kwargs)
        arguments, wanted = self._own_arguments(running, args)
        weights = _as_parameters(self._weights)
        weight_nodes = [_own_value(running, w) for w in weights]
        with running.calls.replaying(self._reuses_forward):
            result = explore(running, lambda: self._function(*arguments, **kwargs))
        if weights:
            warn_of_inference_mode(running.cells.values())
        losses = self._losses(running, result, source)
        targets = [node for node in wanted if node.dtype.is_float]
        with source_scope(source):
            cotangents = _cotangents(running, losses, seed, source) if self._seeded else None
            found = gradients(losses, [*targets, *[node for node, _ in weight_nodes]], cotangents)
        for weight, (own, original) in zip(weights, weight_nodes):
            if running.latest[id(weight)] is own and own is not original:  # not assigned meanwhile
                running.latest[id(weight)] = original
        by_node = dict(zip(targets, found))
        inputs = [by_node[n] if n in by_node else _zeros(n) for n in wanted]
        grads = self._arrange(
            [running.tensor(node) for node in inputs],
            [running.tensor(node) for node in found[len(targets) :]],
        )
        return (result, grads) if self._with_value else self._without_value(result, grads)

    def _split_seed(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
        """The function's own arguments, and the cotangent of its result if the call brings one."""
        if not self._seeded:
            return args, kwargs, None
        if "sens" in kwargs:
            return args, {k: v for k, v in kwargs.items() if k != "sens"}, kwargs["sens"]
        if not args:
            raise ArgumentError(
                "GradOperation: sens_param=True needs the gradient of the result as the last argument",
                at=user_source(), expected="(*inputs, sens)", given="no argument", fix="pass sens, or leave sens_param out",
            )  # fmt: skip
        return args[:-1], kwargs, args[-1]

    def _own_arguments(self, running: Trace, args: tuple[Any, ...]) -> tuple[list[Any], list[Node]]:
        """The arguments, where those to differentiate are nodes of their own: what else uses the same tensor (a
        closure, code before the call) is then no path of the gradient, exactly as in an eager call."""
        positions = self._positions
        chosen: Sequence[int]
        if isinstance(positions, str):  # ALL
            chosen = [k for k, value in enumerate(args) if isinstance(value, (Tensor, np.ndarray))]
        else:
            chosen = () if positions is None else (positions,) if isinstance(positions, int) else positions
        arguments = list(args)
        nodes: list[Node] = []
        for position in chosen:
            if not -len(args) <= position < len(args):
                raise ArgumentError(
                    "grad_position: no such argument",
                    at=user_source(),
                    expected=f"0 to {len(args) - 1}"
                    if args
                    else "None for a function called without arguments",
                    given=position,
                )
            value = arguments[position]
            if not isinstance(value, Tensor):
                value = Tensor(value)
            original = running.lift(value)
            node = _copy(original)
            running.calls.copied(node, original)
            if not node.dtype.is_float and self._positions != ALL:
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

    def _arrange(self, inputs: list[Any], weights: list[Any]) -> Any:
        if self._return_ids:
            positions = (self._positions,) if isinstance(self._positions, int) else self._positions or ()
            inputs = list(zip(positions, inputs))
            weights = [(w.name, g) for w, g in zip(_as_parameters(self._weights), weights)]
        input_part: Any = inputs[0] if isinstance(self._positions, int) else tuple(inputs)
        weight_part: Any = weights[0] if isinstance(self._weights, Parameter) else tuple(weights)
        if self._weights is None:
            return input_part
        return weight_part if self._positions is None else (input_part, weight_part)

    def _without_value(self, result: Any, grads: Any) -> Any:
        return (grads, tuple(result[1:])) if self._has_aux else grads

    def __repr__(self) -> str:
        return f"<gradient of {self._described()}>"


def _zeros(node: Node) -> Node:
    """The gradient of an argument that has none, such as integer labels."""
    from ..ops import build

    return build.zeros_like(node)


def _cotangents(running: Trace, losses: list[Node], seed: Any, source: Any) -> list[Node]:
    """`seed` as one node per result, of its shape and type."""
    from ..ops import build

    given, _ = flatten(seed, lambda value: not isinstance(value, (tuple, list, dict)))
    if len(given) != len(losses):
        raise ArgumentError(
            "sens: one per result of the differentiated function", at=source,
            expected=f"{len(losses)}", given=len(given),
        )  # fmt: skip
    nodes = []
    for loss, one in zip(losses, given):
        if isinstance(one, (int, float)):
            nodes.append(build.full_like(loss, one))
            continue
        node = running.lift(one if isinstance(one, Tensor) else Tensor(one))
        if node.shape != loss.shape:
            raise ShapeError(
                "sens: the gradient of the result must have the result's shape", at=source,
                expected=loss.type.describe(), given=node.type.describe(),
                fix="ops.ones_like(result) asks for the gradient of the sum",
            )  # fmt: skip
        nodes.append(build.cast(node, loss.dtype))
    return nodes


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
    running.calls.copied(own, original)
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


def _make(
    fn: Any, grad_position: Any, weights: Any, has_aux: bool, with_value: bool, return_ids: bool
) -> GradientFunction:
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
    return GradientFunction(fn, grad_position, weights, has_aux, with_value, return_ids=return_ids)


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
    `return_ids`: every gradient comes as (position of the argument or name of the Parameter, gradient), see `get_grad`.
    """
    return _make(fn, grad_position, weights, has_aux, with_value=True, return_ids=return_ids)


def grad(
    fn: Callable[..., Any],
    grad_position: int | Sequence[int] | None = 0,
    weights: Any = None,
    has_aux: bool = False,
    return_ids: bool = False,
) -> GradientFunction:
    """A function returning the gradients of `fn`; with `has_aux`, `(gradients, aux)`. See
    `value_and_grad`. `grad_position`: the position of the argument to differentiate for, several, or None;
    `weights`: Parameters to differentiate for. With `return_ids` every gradient comes as (position or
    name, gradient), as `get_grad` reads them."""
    return _make(fn, grad_position, weights, has_aux, with_value=False, return_ids=return_ids)


def get_grad(gradients: Any, identifier: int | Parameter) -> Tensor:
    """The gradient of one argument (its position) or Parameter among those a gradient function made with
    `return_ids=True` returned. Raises ArgumentError if it is not among them. `identifier`: the position of
    the argument, or the Parameter."""
    wanted = identifier.name if isinstance(identifier, Parameter) else identifier
    stack, known = [gradients], []
    while stack:
        item = stack.pop()
        if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], (int, str)):
            if item[0] == wanted:
                return item[1]
            known.append(item[0])
        elif isinstance(item, (tuple, list)):
            stack += item
    raise ArgumentError(
        "get_grad: no gradient of this argument or Parameter", at=user_source(),
        expected=", ".join(map(repr, reversed(known))) or "gradients made with return_ids=True", given=repr(wanted),
    )  # fmt: skip
