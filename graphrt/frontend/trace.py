"""Tracing: run a function once with symbolic Tensors and keep the graph it computed.

    traced = trace(net, (Tensor(x),))            # or TensorType for an argument that has no value yet
    traced.graph                                 # ir.Graph: data inputs named like construct's arguments (x, label),
                                                 # then one state input per Parameter used, named like the Parameter
    traced.parameters["conv1.weight"]            # label -> the Parameter behind a state input; traced.state: label -> array
    traced.structure                             # how outputs nest; traced.restore(arrays) puts results into it
    traced.cells                                 # Cells whose construct ran, in order

In: any callable or Cell and its arguments (Tensors, arrays and TensorTypes become data inputs, also inside tuples,
lists and dicts; everything else is passed on as it is). Out: `Traced`. Parameters that were assigned have an entry in
`graph.updates`. Eager Tensors the function closes over become constants. Raises TraceError where Python needs a value
that is not known yet. Training or inference is the Cells' own flag (`net.set_train()`) at the time of tracing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import as_dtype
from ..errors import TraceError
from ..ir import Graph, Node, TensorType, input_node, nodes_observed
from .location import user_source
from .parameter import Parameter
from .paths import Path, explore, made
from .replay import Calls
from .tensor import Tensor, to_array
from .tree import flatten, leaf_names, unflatten

_current: ContextVar[Trace | None] = ContextVar("graphrt_trace", default=None)


def current_trace() -> Trace | None:
    """The trace that is running, if any."""
    return _current.get()


class Trace:
    """A graph under construction: what was read, what was assigned, which Cells ran."""

    def __init__(self, name: str):
        self.name = name
        self.active = True
        self.data: list[Node] = []
        self.states: dict[int, tuple[Parameter, Node]] = {}
        self.latest: dict[int, Node] = {}  # id(parameter) -> its value at this point of the program
        self.captured: dict[int, tuple[Tensor, np.ndarray]] = {}
        self._constants: dict[int, Node] = {}
        self.cells: dict[int, Any] = {}
        self.calls = Calls()
        self.path: Path | None = None  # the way through the running function, see paths.py
        self.born: dict[int, tuple[Any, Path | None]] = {}  # Cells made by the function, and on which way
        self._labels: set[str] = set()

    def data_input(self, label: str, type: TensorType) -> Tensor:
        """A new data input."""
        node = input_node(self._unique(label), type)
        self.data.append(node)
        return self.tensor(node)

    def tensor(self, node: Node) -> Tensor:
        """The traced Tensor of a node."""
        tensor = Tensor._symbol(node, self)
        tensor._path = self.path
        return tensor

    def lift(self, tensor: Tensor) -> Node:
        """The node of a Tensor: traced, a Parameter (state), or an eager Tensor (captured as a constant)."""
        if tensor._node is not None:
            if tensor._trace is not self:
                raise leaked(tensor)
            if tensor._path is not None and tensor._path.is_over():
                raise _escaped(tensor)
            return tensor._node
        if isinstance(tensor, Parameter):
            return self.read(tensor)
        return self.capture(tensor)

    def capture(self, tensor: Tensor) -> Node:
        """The constant node of an eager Tensor."""
        from ..ops import build

        if not self.note(tensor) or id(tensor) not in self._constants:
            assert tensor._array is not None
            self._constants[id(tensor)] = build.constant(tensor._array)
        return self._constants[id(tensor)]

    def note(self, tensor: Tensor) -> bool:
        """Remember that the trace relies on the value of an eager Tensor, so that a compiled function notices when it
        changes. Whether that was known already."""
        known = self.captured.get(id(tensor))
        if known is not None and known[1] is tensor._array:
            return True
        assert tensor._array is not None
        self.captured[id(tensor)] = (tensor, tensor._array)
        return False

    def read(self, parameter: Parameter) -> Node:
        """The parameter's value at this point: its input, or what was assigned last."""
        if id(parameter) not in self.latest:
            if id(parameter) not in self.states:
                node = input_node(self._unique(parameter.name), parameter.type, "state")
                self.states[id(parameter)] = (parameter, node)
            self.latest[id(parameter)] = self.states[id(parameter)][1]
        value = self.latest[id(parameter)]
        self.calls.read(id(parameter), value)
        return value

    def write(self, parameter: Parameter, value: Node) -> None:
        """Assign: later reads see `value`, and it becomes the parameter's update."""
        self.read(parameter)
        self.latest[id(parameter)] = value

    def graph(self, outputs: Sequence[Node]) -> Graph:
        """The finished graph."""
        updates = {
            node: self.latest[key]
            for key, (_, node) in self.states.items()
            if self.latest.get(key, node) is not node
        }
        inputs = (*self.data, *(node for _, node in self.states.values()))
        return Graph(inputs, tuple(outputs), updates, self.name)

    def _unique(self, label: str) -> str:
        candidate, number = label, 1
        while candidate in self._labels:
            candidate, number = f"{label}_{number}", number + 1
        self._labels.add(candidate)
        return candidate


@contextmanager
def tracing(trace: Trace) -> Iterator[None]:
    """Operations inside add nodes to `trace`; afterwards its Tensors are dead."""
    token = _current.set(trace)
    try:
        with nodes_observed(lambda node: made(trace, node)):
            yield
    finally:
        trace.active = False
        _current.reset(token)


@dataclass
class Traced:
    """What tracing found out. `arguments` is the nesting of (args, kwargs) with Slots for the data inputs;
    `captured` the eager Tensors baked in as constants, each with the array it held."""

    graph: Graph
    parameters: dict[str, Parameter]
    structure: Any
    arguments: Any
    cells: tuple[Any, ...]
    captured: tuple[tuple[Tensor, np.ndarray], ...]

    @property
    def is_tuned(self) -> bool:
        """Whether a Cell in it asks for the fastest plans, see `graphrt.compile`."""
        return any(cell._graphrt_tuned for cell in self.cells)

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Label -> the parameter's memory, as executables and sinks take it."""
        return {label: p._array for label, p in self.parameters.items()}  # type: ignore[misc]

    def restore(self, arrays: Sequence[np.ndarray]) -> Any:
        """The function's result with `arrays` (in the order of graph.outputs) as its Tensors."""
        return unflatten(self.structure, [Tensor._wrap(np.asarray(a)) for a in arrays])

    def run_reference(self, arrays: Sequence[np.ndarray]) -> Any:
        """Interpret the graph on data arrays, apply its updates to the parameters, return the function's result."""
        from ..ir.interpret import evaluate

        values = dict(zip(self.graph.data_inputs, arrays))
        values |= {n: self.parameters[n.op.label]._array for n in self.graph.state_inputs}  # type: ignore[attr-defined,misc]
        results = [
            np.array(a, copy=True) for a in evaluate(self.graph.roots, values)
        ]  # never alias a parameter
        count = len(self.graph.outputs)
        for node, value in zip(self.graph.updates, results[count:]):
            self.parameters[node.op.label]._array[...] = value  # type: ignore[attr-defined,index]
        return self.restore(results[:count])


def is_data(value: object) -> bool:
    """Whether an argument becomes a data input. Parameters stay what they are: state."""
    if isinstance(value, Parameter):
        return False
    return isinstance(value, (Tensor, TensorType, np.ndarray, np.generic))


def type_of(value: Any) -> TensorType:
    """The tensor type of a data argument."""
    if isinstance(value, TensorType):
        return value
    if isinstance(value, Tensor):
        return value.type
    return TensorType(tuple(value.shape), as_dtype(value.dtype))


def array_of(value: Any) -> np.ndarray:
    """The C-contiguous array of a data argument."""
    if isinstance(value, Tensor):
        array = value._value()
        return array if array.flags.c_contiguous else np.ascontiguousarray(array)
    array = np.asarray(value)
    return array if array.flags.c_contiguous and array.dtype.isnative else to_array(array)


def split_arguments(args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> tuple[list[Any], Any]:
    """The data arguments in order, and the structure of (args, kwargs) around them."""
    return flatten((tuple(args), dict(kwargs or {})), is_data)


def argument_names(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
    """A label per data argument, after the function's own argument names."""
    target = getattr(function, "construct", function)
    try:
        bound = inspect.signature(target).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):  # no signature, or the call itself is wrong and will say so
        bound = {f"argument{k}": v for k, v in enumerate(args)} | dict(kwargs)
    names = []
    for name, value in bound.items():
        if name == "kwargs" and isinstance(value, dict):
            for key, item in value.items():
                names += leaf_names(key, item, is_data)
        else:
            names += leaf_names(name, value, is_data)
    return names


def trace(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    cells: Sequence[Any] = (),
    name: str | None = None,
) -> Traced:
    """Run `function(*args, **kwargs)` once with traced Tensors; see the top of this file.

    `cells`: Cells to list in `Traced.cells` besides those that run. `name`: of the graph.
    """
    kwargs = dict(kwargs or {})
    if current_trace() is not None:
        raise TraceError(
            "a trace cannot be started inside another", at=user_source(), fix="call the function directly"
        )
    leaves, arguments = split_arguments(args, kwargs)
    names = argument_names(function, args, kwargs)
    if len(names) != len(leaves):
        names = [f"argument{k}" for k in range(len(leaves))]
    for leaf in leaves:
        if isinstance(leaf, Tensor) and leaf._node is not None:
            raise leaked(leaf)
    running = Trace(name or _graph_name(function))
    running.cells.update({id(cell): cell for cell in cells})
    with tracing(running):
        symbols = [running.data_input(label, type_of(leaf)) for label, leaf in zip(names, leaves)]
        traced_args, traced_kwargs = unflatten(arguments, symbols)
        result = explore(running, lambda: function(*traced_args, **traced_kwargs))
        outputs, structure = flatten(result, lambda value: isinstance(value, Tensor))
        graph = running.graph([running.lift(t) for t in outputs])
    return Traced(
        graph,
        {node.op.label: parameter for parameter, node in running.states.values()},  # type: ignore[attr-defined]
        structure,
        arguments,
        tuple(running.cells.values()),
        tuple(running.captured.values()),
    )


def _graph_name(function: Any) -> str:
    name = getattr(function, "__name__", None) or type(function).__name__
    return name if name.isidentifier() else "graph"


def leaked(tensor: Tensor) -> TraceError:
    """The error for a traced Tensor met outside the trace it belongs to."""
    return _misplaced(
        tensor, "a traced tensor was used after its trace had ended",
        fix="return it from the traced function instead of storing it in an attribute or a global",
    )  # fmt: skip


def _escaped(tensor: Tensor) -> TraceError:
    """The error for a Tensor of a function whose ways were merged, met after that function has returned."""
    return _misplaced(
        tensor, "a tensor made in a function that decides on tensors was used after the function had returned",
        fix="return it from the function, or keep it in an attribute of a Cell",
    )  # fmt: skip


def _misplaced(tensor: Tensor, message: str, fix: str) -> TraceError:
    assert tensor._node is not None
    made_at = tensor._node.source
    where = f", made at {made_at}" if made_at is not None and made_at.file else ""
    return TraceError(
        message, at=user_source(), given=f"a traced tensor {tensor.type.describe()}{where}", fix=fix
    )
