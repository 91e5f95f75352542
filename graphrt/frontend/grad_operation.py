"""GradOperation: gradients as MindSpore's first releases spell them.

In: flags, then a function or Cell, then a call. Out: gradients of its inputs, its weights, or both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..errors import ArgumentError
from .gradient import ALL, GradientFunction, _as_parameters
from .location import user_source
from .parameter import Parameter

REMEMBERED = 16  # gradient functions one GradOperation keeps, so that calling it anew in a loop compiles once


class GradOperation:
    """`GradOperation(get_all, get_by_list, sens_param)(fn, weights)(*inputs)` is a gradient of `fn` at `inputs`.

    - By default: the gradient of the first input, of its shape and type.
    - `get_all`: a tuple with the gradient of every tensor among the inputs; zeros for integers.
    - `get_by_list`: a tuple with the gradient of every Parameter of `weights` (a ParameterTuple, a list, or one
      Parameter, whose gradient then comes alone). Together with `get_all`: `(of inputs, of weights)`.
    - `sens_param`: the last argument of the call (or the keyword `sens`) is the gradient of the result: a Tensor of
      its shape, a tuple of them for several results. Without it, ones: results that are not scalar are summed.

    Inside `construct` or a compiled function, `loss = net(x, y)` followed by `grad_op(net, weights)(x, y, sens)` is one
    forward: one dropout mask, one update of batch statistics (run op by op, it is computed twice from the same state). Raises ArgumentError for missing weights, ShapeError for a `sens` of another shape.
    """

    def __init__(self, get_all: bool = False, get_by_list: bool = False, sens_param: bool = False):
        for name, flag in (("get_all", get_all), ("get_by_list", get_by_list), ("sens_param", sens_param)):
            if not isinstance(flag, bool):
                raise ArgumentError(
                    f"GradOperation: {name} is True or False", at=user_source(), given=repr(flag)
                )
        self.get_all, self.get_by_list, self.sens_param = get_all, get_by_list, sens_param
        self._functions: dict[Any, GradientFunction] = {}

    def __call__(
        self, fn: Callable[..., Any], weights: Parameter | Iterable[Parameter] | None = None
    ) -> GradientFunction:
        """The function that returns the gradients of `fn`."""
        if not callable(fn):
            raise ArgumentError(
                "GradOperation: a function or Cell is needed", at=user_source(), given=repr(fn)
            )
        if not self.get_by_list:
            weights = None
        elif weights is None:
            raise ArgumentError(
                "GradOperation: get_by_list=True needs the weights", at=user_source(), given="weights=None",
                fix="write grad_op(net, ParameterTuple(net.trainable_params()))",
            )  # fmt: skip
        if weights is not None and not isinstance(weights, Parameter):
            weights = tuple(weights)
        parameters = _as_parameters(weights)
        key = (fn, isinstance(weights, Parameter), tuple(id(p) for p in parameters))
        known = self._functions.get(key)
        if known is None:
            positions = ALL if self.get_all else None if self.get_by_list else 0
            known = GradientFunction(fn, positions, weights, seeded=self.sens_param, reuses_forward=True)
            while len(self._functions) >= REMEMBERED:
                self._functions.pop(next(iter(self._functions)))
            self._functions[key] = known  # keeps fn and the weights alive: ids stay theirs
        return known

    def __deepcopy__(self, memo: dict[int, Any]) -> GradOperation:
        return GradOperation(self.get_all, self.get_by_list, self.sens_param)

    def __reduce__(self) -> Any:
        return GradOperation, (self.get_all, self.get_by_list, self.sens_param)

    def __repr__(self) -> str:
        return (
            f"GradOperation(get_all={self.get_all}, get_by_list={self.get_by_list}, "
            f"sens_param={self.sens_param})"
        )
