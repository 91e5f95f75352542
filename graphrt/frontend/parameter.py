"""Parameter: a named Tensor that keeps its memory, so that native code can bind it and update it in place.

In: initial values. Out: 64-byte aligned C-contiguous arrays with names, and assignments that work both eagerly and
inside a trace (where they become updates of the graph).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from .location import user_source
from .replay_eager import about_to_assign
from .tensor import Tensor, to_array

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


def aligned(array: np.ndarray) -> np.ndarray:
    """A C-contiguous copy of `array` whose memory starts at a multiple of ALIGNMENT."""
    memory = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    result = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


class Parameter(Tensor):
    """A Tensor with a name that training changes.

    `default_input`: array, number, nested list or Tensor (for instance from `initializer`). `name`: None takes the
    name of the Cell attribute it is assigned to. `requires_grad`: whether `trainable_params()` lists it.
    `layerwise_parallel` and `parallel_optimizer` are accepted and have no meaning here.
    """

    def __init__(
        self,
        default_input: object,
        name: str | None = None,
        requires_grad: bool = True,
        layerwise_parallel: bool = False,
        parallel_optimizer: bool = True,
    ):
        if default_input is None:
            raise ArgumentError("Parameter: an initial value is needed", at=user_source(), given="None")
        if name is not None and not isinstance(name, str):
            raise ArgumentError("Parameter: name must be a string", at=user_source(), given=repr(name))
        self._array = aligned(to_array(default_input))
        self._node = self._trace = None
        self._name = name
        self.requires_grad = requires_grad
        self.layerwise_parallel = layerwise_parallel
        self.parallel_optimizer = parallel_optimizer

    @property
    def name(self) -> str:
        """Its path in the network, "conv1.weight"; "Parameter" while it has none."""
        return self._name if self._name is not None else "Parameter"

    @name.setter
    def name(self, value: str) -> None:
        if not isinstance(value, str) or not value:
            raise ArgumentError("Parameter: name must be a non-empty string", given=repr(value))
        self._name = value

    @property
    def default_input(self) -> Tensor:
        """Its present value."""
        return self.data

    @property
    def data(self) -> Tensor:
        """Its present value."""
        return self.value()

    def value(self) -> Tensor:
        """Its present value as a Tensor that later updates do not change (inside a trace: the traced value)."""
        from .trace import current_trace

        trace = current_trace()
        return trace.tensor(trace.read(self)) if trace is not None else Tensor._wrap(self.asnumpy())

    def set_data(self, data: object, slice_shape: bool = False) -> Parameter:
        """Replace the value, converted to this element type. Raises ShapeError if the shape differs."""
        assign(self, data)
        return self

    assign_value = set_data

    def init_data(self, *_: object, **__: object) -> Parameter:
        """Parameters are initialised when they are made; present for compatibility."""
        return self

    def clone(self, init: object = "same") -> Parameter:
        """A new Parameter of this shape and type: the same value, or filled from an initializer."""
        if isinstance(init, str) and init == "same":
            value: Any = self._array
        else:
            from ..common.initializer import initializer

            value = initializer(init, self.shape, self.dtype)
        return Parameter(
            value, self._name, self.requires_grad, self.layerwise_parallel, self.parallel_optimizer
        )

    def _symbolic(self) -> bool:
        from .trace import current_trace

        return current_trace() is not None

    def _replace(self, array: np.ndarray) -> None:
        assign(self, array)

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._array = aligned(state["_array"])  # unpickled and deep-copied memory has no alignment

    def __repr__(self) -> str:
        kind = self.dtype.name.capitalize()
        return f"Parameter (name={self.name}, shape={self.shape}, dtype={kind}, requires_grad={self.requires_grad})"

    def __str__(self) -> str:
        return repr(self)


class ParameterTuple(tuple):
    """Parameters in order. `parameters`: any iterable of Parameters."""

    def __new__(cls, parameters: Iterable[Parameter] = ()) -> ParameterTuple:
        parameters = tuple(parameters)
        for p in parameters:
            if not isinstance(p, Parameter):
                raise ArgumentError(
                    "ParameterTuple: every element must be a Parameter",
                    at=user_source(),
                    given=type(p).__name__,
                )
        return super().__new__(cls, parameters)

    def clone(self, prefix: str, init: object = "same") -> ParameterTuple:
        """Clones named `prefix.<name>`."""
        clones = []
        for parameter in self:
            clone = parameter.clone(init)
            clone.name = f"{prefix}.{parameter.name}"
            clones.append(clone)
        return ParameterTuple(clones)


def assign(parameter: Parameter, value: object) -> Tensor:
    """Give `parameter` a new value: at once, or inside a trace as an update of the graph.

    The value is converted to the parameter's element type. Raises ShapeError if the shape differs, DTypeError for
    a conversion that would lose a fraction.
    """
    from . import functional
    from .trace import current_trace

    new = value if isinstance(value, Tensor) else Tensor(value)
    if new.shape != parameter.shape:
        raise ShapeError(
            f"a Parameter keeps its shape: {parameter.name}", at=user_source(),
            expected=parameter.type.describe(), given=new.type.describe(),
        )  # fmt: skip
    if new.dtype.is_float and not parameter.dtype.is_float:
        raise DTypeError(
            f"a Parameter keeps its element type: {parameter.name}", at=user_source(),
            expected=parameter.type.describe(), given=new.type.describe(), fix=f'write value.astype("{parameter.dtype}")',
        )  # fmt: skip
    trace = current_trace()
    if trace is not None:
        if new.dtype != parameter.dtype:
            new = functional.cast(new, parameter.dtype)
        trace.write(parameter, trace.lift(new))
        return new
    assert parameter._array is not None
    about_to_assign(parameter)
    parameter._array[...] = new._array
    return parameter
