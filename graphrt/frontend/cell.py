"""Cell: a piece of a network, with parameters and child Cells registered by plain attribute assignment.

In: attributes set in `__init__` and a `construct` method. Out: named parameters, a tree to walk and print, and calls
that run eagerly, join the trace that is running, or go to compiled code.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..context import GRAPH_MODE, get_context
from ..dtypes import as_dtype
from ..errors import ArgumentError, DTypeError, GraphrtError
from .location import cell_scope, inside_cell, user_source
from .parameter import Parameter, assign
from .paths import assigned, explore
from .precision import Precision, run_in
from .replay_eager import eager_call
from .tensor import Tensor
from .trace import current_trace

EAGER_CALLS = 2  # of a Cell that is compiled when repeated, before it is
_TRANSIENT = (
    "_specialiser",
    "_snapshot",
    "_owner",
    "_eager_calls",
)  # caches, and a link upwards: not copied, not pickled


class Cell:
    """Base class of networks and layers.

    Subclasses call `super().__init__()`, assign Parameters and Cells to attributes and define `construct`. Cells start
    in inference mode; `set_train()` switches to training. `auto_prefix=False`: children's parameters keep their names
    instead of getting the attribute's name in front.
    """

    differs_in_training = False  # whether `construct` asks for `self.training`: dropout, batch normalization
    training: bool
    requires_grad: bool
    _cells: dict[str, Cell]
    _params: dict[str, Parameter]
    _owner: weakref.ref[Cell] | None  # the Cell whose name for this one is part of the parameters' names
    _compiled_when_repeated = (
        False  # for Cells of which we know that they compute on tensors and do nothing else
    )
    _graphrt_compiled = False  # set by @graphrt.compile, on the class or on one instance
    _graphrt_tuned = False  # set by @graphrt.compile(tune=True), likewise

    def __init__(self, auto_prefix: bool = True, flags: dict[str, Any] | None = None):
        values = self.__dict__
        values.update(
            _cells={}, _params={}, _auto_prefix=auto_prefix, _owned=False, _owner=None, _snapshot=None
        )
        values.update(training=False, requires_grad=False, **(flags or {}))
        trace = current_trace()
        if trace is not None:
            trace.born[id(self)] = self, trace.path

    # -------------------------------------------------------------------------------------------- attributes

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_snapshot":
            self.__dict__[name] = value
            return
        if "_cells" not in self.__dict__:
            if not isinstance(value, (Cell, Parameter)):  # plain attributes may come first
                object.__setattr__(self, name, value)
                return
            raise self._not_initialised(f"{name!r} was assigned")
        if isinstance(value, Parameter):
            self._forget(name, keep=self._params)
            self.insert_param_to_cell(name, value)
        elif isinstance(value, Cell):
            self._forget(name, keep=self._cells)
            self.insert_child_to_cell(name, value)
        elif name in self._params and isinstance(value, Tensor):
            assign(self._params[name], value)
            return
        else:
            self._forget(name)
            trace = current_trace()
            if trace is not None:
                assigned(trace, self, name)
            object.__setattr__(self, name, value)
        self._snapshot = None

    def __delattr__(self, name: str) -> None:
        self._forget(name)
        self._snapshot = None
        if name in self.__dict__:
            object.__delattr__(self, name)

    def _forget(self, name: str, keep: dict | None = None) -> None:
        for registry in (self._cells, self._params):
            if registry is not keep:
                registry.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__") and "_cells" not in self.__dict__:
            raise self._not_initialised(f"{name!r} was read")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _not_initialised(self, what: str) -> GraphrtError:
        kind = type(self).__name__
        return ArgumentError(
            f"{kind}: {what} before Cell.__init__ ran",
            at=user_source(), fix=f"call super().__init__() first in {kind}.__init__",
        )  # fmt: skip

    def insert_param_to_cell(
        self, param_name: str, param: Parameter, check_name_contain_dot: bool = False
    ) -> None:
        """Register a parameter under a name (which may contain dots). A Parameter without a name takes it."""
        if not isinstance(param, Parameter):
            raise ArgumentError("insert_param_to_cell: a Parameter is needed", given=type(param).__name__)
        if check_name_contain_dot and "." in param_name:
            raise ArgumentError("insert_param_to_cell: the name must not contain '.'", given=repr(param_name))
        if param._name is None:
            param.name = self._place()[1] + param_name
        self._params[param_name] = param
        self.__dict__[param_name] = param
        self._snapshot = None

    def insert_child_to_cell(self, child_name: str, child_cell: Cell) -> None:
        """Register a child Cell under a name; its parameters get the name in front (see `auto_prefix`)."""
        if not isinstance(child_cell, Cell):
            raise ArgumentError("insert_child_to_cell: a Cell is needed", given=type(child_cell).__name__)
        if "_cells" not in child_cell.__dict__:
            raise child_cell._not_initialised("it was assigned to another Cell")
        if self._auto_prefix and not child_cell._owned:
            # what the tree already holds (shared layers, tied weights) keeps the name it got first
            root, prefix = self._place()
            known = {id(p) for p in root.get_parameters()}
            child_cell.update_parameters_name(f"{prefix}{child_name}.", known)
            child_cell.__dict__.update(_owned=True, _owner=weakref.ref(self))
        self._cells[child_name] = child_cell
        self.__dict__[child_name] = child_cell
        self._snapshot = None

    def _place(self) -> tuple[Cell, str]:
        """The outermost Cell this one got its place from, and that place as a prefix of names: "layers.0."."""
        cell, prefix = self, ""
        while cell._owner is not None and (owner := cell._owner()) is not None:
            name = next((name for name, child in owner._cells.items() if child is cell), None)
            if name is None:  # it was taken out again
                break
            cell, prefix = owner, f"{name}.{prefix}"
        return cell, prefix

    def update_parameters_name(self, prefix: str = "", excluded: Iterable[int] = ()) -> None:
        """Put `prefix` in front of the name of every parameter (but those whose id() is in `excluded`)."""
        for parameter in self.get_parameters():
            if id(parameter) not in excluded:
                parameter.name = prefix + parameter.name

    # --------------------------------------------------------------------------------------------- the tree

    def parameters_and_names(
        self, name_prefix: str = "", expand: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(path, Parameter) pairs: own parameters first, then the children's in order; each Parameter once."""
        seen: set[int] = set()
        cells = self.cells_and_names(name_prefix) if expand else [(name_prefix, self)]
        for path, cell in cells:
            for name, parameter in cell._params.items():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield (f"{path}.{name}" if path else name), parameter

    def get_parameters(self, expand: bool = True) -> Iterator[Parameter]:
        """All parameters, trainable or not."""
        for _, parameter in self.parameters_and_names(expand=expand):
            yield parameter

    def trainable_params(self, recurse: bool = True) -> list[Parameter]:
        """The parameters with requires_grad."""
        return [p for p in self.get_parameters(expand=recurse) if p.requires_grad]

    def untrainable_params(self, recurse: bool = True) -> list[Parameter]:
        """The parameters without requires_grad."""
        return [p for p in self.get_parameters(expand=recurse) if not p.requires_grad]

    def parameters_dict(self, recurse: bool = True) -> dict[str, Parameter]:
        """Parameters by their own name."""
        return {p.name: p for p in self.get_parameters(expand=recurse)}

    def cells(self) -> Iterable[Cell]:
        """The direct children."""
        return self._cells.values()

    def name_cells(self) -> dict[str, Cell]:
        """The direct children by name."""
        return dict(self._cells)

    def cells_and_names(self, name_prefix: str = "") -> Iterator[tuple[str, Cell]]:
        """(path, Cell) of this Cell and all Cells below it, parents first; each Cell once."""
        seen: set[int] = set()
        stack: list[tuple[str, Cell]] = [(name_prefix, self)]
        while stack:
            path, cell = stack.pop()
            if id(cell) in seen:
                continue
            seen.add(id(cell))
            yield path, cell
            children = [(f"{path}.{name}" if path else name, child) for name, child in cell._cells.items()]
            stack.extend(reversed(children))

    def apply(self, fn: Any) -> Cell:
        """Call `fn` on every Cell below and then on this one."""
        for cell in reversed([c for _, c in self.cells_and_names()]):
            fn(cell)
        return self

    def init_parameters_data(self, *_: object, **__: object) -> dict[Parameter, Parameter]:
        """Parameters are initialised when they are made; present for compatibility."""
        return {p: p for p in self.get_parameters()}

    def set_train(self, mode: bool = True) -> Cell:
        """Switch this Cell and all below to training (dropout drops) or back to inference."""
        return self._set_flag("training", bool(mode))

    def set_grad(self, requires_grad: bool = True) -> Cell:
        """Set the `requires_grad` flag of this Cell and all below."""
        return self._set_flag("requires_grad", bool(requires_grad))

    def _set_flag(self, name: str, value: bool) -> Cell:
        if "_cells" not in self.__dict__:
            raise self._not_initialised("it was used")
        for _, cell in self.cells_and_names():
            if cell.__dict__.get(name) is not value:
                setattr(cell, name, value)
        return self

    def to_float(self, dst_type: Any) -> Cell:
        """Compute this Cell and all below in `dst_type` (bfloat16, float16, float32, ...).

        Inputs and the values of Parameters are converted; the Parameters themselves keep their type. Softmax,
        normalization and losses compute in float32. Raises DTypeError unless `dst_type` is a floating-point type.
        """
        dtype = as_dtype(dst_type)
        if not dtype.is_float:
            raise DTypeError("to_float: a floating-point type is needed", at=user_source(), given=dtype.name)
        for _, cell in self.cells_and_names():
            cell._precision = Precision(dtype)
        return self

    # ----------------------------------------------------------------------------------------------- calling

    def construct(self, *args: Any, **kwargs: Any) -> Any:
        """What the Cell computes; every subclass defines it."""
        raise NotImplementedError(
            f"{type(self).__name__} has no construct method: define construct(self, ...)"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "_cells" not in self.__dict__:
            raise self._not_initialised("it was called")
        if current_trace() is None and self._runs_compiled():
            return self._compiled_calls()(args, kwargs)
        return self._run_construct(args, kwargs)

    def _run_construct(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        trace = current_trace()
        with cell_scope(self):
            if trace is not None:
                trace.cells.setdefault(id(self), self)
                return trace.calls.run(
                    trace, self, args, kwargs, lambda: explore(trace, lambda: self._construct(args, kwargs))
                )
            with eager_call(self, args, kwargs):
                args = tuple(Tensor(a) if isinstance(a, np.ndarray) else a for a in args)
                return self._construct(args, kwargs)

    def _construct(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        precision = self.__dict__.get("_precision")
        if precision is None:
            return self.construct(*args, **kwargs)
        return run_in(precision, self.construct, args, kwargs)

    def _runs_compiled(self) -> bool:
        if self._graphrt_compiled or (get_context("mode") == GRAPH_MODE and not inside_cell()):
            return True
        if not self._compiled_when_repeated or get_context("engine") == "interpreter":
            return False
        calls = self.__dict__["_eager_calls"] = self.__dict__.get("_eager_calls", 0) + 1
        return calls > EAGER_CALLS

    def _compiled_calls(self) -> Any:
        from .specialise import Specialiser

        specialiser = self.__dict__.get("_specialiser")
        if specialiser is None:
            specialiser = self.__dict__["_specialiser"] = Specialiser(self, type(self).__name__)
        return specialiser

    @property
    def specialisations(self) -> list[Any]:
        """The compiled versions of this Cell, each with the reason it was made."""
        specialiser = self.__dict__.get("_specialiser")
        return [] if specialiser is None else specialiser.specialisations

    # ------------------------------------------------------------------------------------- copying, printing

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _TRANSIENT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _owner=None, _snapshot=None)
        for child in self._cells.values():
            if child._owned and child._owner is None:
                child.__dict__["_owner"] = weakref.ref(self)

    def extend_repr(self) -> str:
        """What a subclass wants printed between the parentheses."""
        return ""

    def __repr__(self) -> str:
        if "_cells" not in self.__dict__:
            return f"<{type(self).__name__} before Cell.__init__>"
        head, own = type(self).__name__, self.extend_repr()
        if not self._cells:
            return f"{head}({own})"
        lines = [own] if own else []
        lines += [f"({name}): {cell!r}" for name, cell in self._cells.items()]
        return f"{head}(\n" + "\n".join("  " + line.replace("\n", "\n  ") for line in lines) + "\n)"
