"""Collects ONNX nodes and initializers, with readable names and the user's source position on every node.

In: calls of the emitters. Out: a `ModelProto` holding only what the outputs need.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dtypes import DType
from ..errors import ExportError
from ..ir import Source
from .symbolic import BATCH, Dimension, Extent, SymbolicGraph, SymbolicNode, is_static

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET, NEWEST_OPSET = 17, 26


def tensor_type(dtype: DType) -> int:
    """The ONNX element type number of a DType."""
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(dtype.numpy)


class Writer:
    """The ONNX graph under construction. Values are known by name; `value(node)` is the name of a node's result."""

    def __init__(self, graph: SymbolicGraph, opset: int):
        self.graph, self.opset = graph, opset
        self.users = graph.users()
        self._values: dict[SymbolicNode, str] = {}
        self._taken: set[str] = set()
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, np.ndarray] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._current: SymbolicNode | None = None
        self._batch_value: str | None = None

    # -- values -----------------------------------------------------------------------------------------------

    def value(self, node: SymbolicNode) -> str:
        return self._values[node]

    def bind(self, node: SymbolicNode, name: str) -> None:
        """Say that `node`'s result is the value called `name`."""
        self._values[node] = name

    def unique(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self._taken:
            count += 1
            candidate = f"{name}_{count}"
        self._taken.add(candidate)
        return candidate

    def initializer(self, name: str, array: np.ndarray) -> str:
        """A named weight."""
        name = self.unique(name)
        self._initializers[name] = array
        return name

    def constant(self, array: Any, dtype: Any = None) -> str:
        """A constant array; equal ones are stored once."""
        array = np.ascontiguousarray(np.asarray(array, dtype=dtype)).reshape(np.shape(array))
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.initializer("constant", array)
        return self._constants[key]

    def integers(self, *values: int) -> str:
        """A one-dimensional int64 constant (axes, shapes, pads)."""
        return self.constant(np.array(values, np.int64))

    # -- nodes ------------------------------------------------------------------------------------------------

    def emit_for(self, node: SymbolicNode, emitter: Callable[[Writer, SymbolicNode], str]) -> None:
        """Run an emitter; the ONNX nodes it adds carry this node's Cell path and source line."""
        self._current = node
        self.bind(node, emitter(self, node))

    def emit(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add one ONNX node; returns the name of its first output.

        Raises ExportError when the opset has no such operator.
        """
        from onnx import defs, helper

        source = self._current.source if self._current else None
        if not defs.has(operator) or defs.get_schema(operator).domain != "":
            raise ExportError(f"export: {operator} is not an ONNX operator", at=source)
        try:
            defs.get_schema(operator, self.opset)
        except defs.SchemaError:
            oldest = min(
                s.since_version
                for s in defs.get_all_schemas_with_history()
                if s.name == operator and not s.domain
            )
            raise ExportError(
                f"export: opset {self.opset} has no {operator}",
                at=source,
                fix=f"export with opset={oldest} or later",
            ) from None
        path, class_name = split_cell(source.cell if source else "")
        inside = path.partition(".")[2]  # names, like those of weights, begin below the outermost Cell
        name = self.unique(f"{inside}/{operator}" if inside else operator)
        proto = helper.make_node(operator, inputs, [name], name=name, **attributes)
        _annotate(proto, path, class_name, source)
        self._nodes.append(proto)
        return name

    # -- shapes -----------------------------------------------------------------------------------------------

    def batch(self) -> str:
        """An int64[1] value holding the batch size."""
        if self._batch_value is None:
            for node in self.graph.inputs:
                if BATCH in node.shape:
                    axis = node.shape.index(BATCH)
                    self._batch_value = self.emit("Shape", self.value(node), start=axis, end=axis + 1)
                    break
            else:
                raise ExportError("export: no input carries the batch axis")
        return self._batch_value

    def extent(self, dimension: Dimension) -> str:
        """An int64[1] value holding one extent."""
        if not isinstance(dimension, Extent):
            return self.integers(dimension)
        result = self.batch()
        if dimension.factor != 1:
            result = self.emit("Mul", result, self.integers(dimension.factor))
        if dimension.offset:
            result = self.emit("Add", result, self.integers(dimension.offset))
        return result

    def shape(self, dimensions: Sequence[Dimension]) -> str:
        """A one-dimensional int64 value holding a shape, computed at run time where it follows the batch."""
        if is_static(tuple(dimensions)):
            return self.integers(*dimensions)  # type: ignore[arg-type]
        parts: list[str] = []
        static: list[int] = []
        for dimension in dimensions:
            if isinstance(dimension, Extent):
                if static:
                    parts.append(self.integers(*static))
                    static = []
                parts.append(self.extent(dimension))
            else:
                static.append(dimension)
        if static:
            parts.append(self.integers(*static))
        return parts[0] if len(parts) == 1 else self.emit("Concat", *parts, axis=0)

    def reshape(self, value: str, before: Sequence[Dimension], after: Sequence[Dimension]) -> str:
        """`value` reshaped. The batch extent is carried by 0 (same axis) or -1 (merged or split) where possible."""
        before, after = tuple(before), tuple(after)
        if before == after:
            return value
        if len(after) == 2 and before[:1] == after[:1] and before[1:] and is_static(before[1:]):
            return self.emit("Flatten", value, axis=1)
        if 0 in after:
            return self.emit("Reshape", value, self.shape(after), allowzero=1)
        target: list[int] = []
        for axis, dimension in enumerate(after):
            if not isinstance(dimension, Extent):
                target.append(dimension)
            elif axis < len(before) and before[axis] == dimension:
                target.append(0)
            else:
                target.append(-1)
        if target.count(-1) > 1:
            return self.emit("Reshape", value, self.shape(after))
        return self.emit("Reshape", value, self.integers(*target))

    def unsqueeze(self, value: str, axes: Sequence[int]) -> str:
        return self.emit("Unsqueeze", value, self.integers(*axes)) if axes else value

    # -- the model --------------------------------------------------------------------------------------------

    def model(self, inputs: Sequence[SymbolicNode], outputs: Sequence[str]) -> onnx.ModelProto:
        """The finished model. `outputs` names the graph's outputs."""
        from onnx import helper, numpy_helper

        from .. import __version__

        self._name_outputs(outputs)
        self._drop_unused(outputs)
        opset = helper.make_opsetid("", self.opset)
        graph = helper.make_graph(
            self._nodes,
            self.graph.name,
            [_value_info(node.op.label, node) for node in inputs],
            [_value_info(name, node) for name, node in zip(outputs, self.graph.outputs)],
            [
                numpy_helper.from_array(np.ascontiguousarray(a).reshape(a.shape), n)
                for n, a in self._initializers.items()
            ],
        )
        return helper.make_model(
            graph,
            opset_imports=[opset],
            ir_version=helper.find_min_ir_version_for([opset]),
            producer_name="graphrt",
            producer_version=__version__,
        )

    def _name_outputs(self, outputs: Sequence[str]) -> None:
        """Give the producing nodes the outputs' names; copies where a value is an input, a weight or given twice."""
        produced = {name for proto in self._nodes for name in proto.output}
        renamed: dict[str, str] = {}
        for name, node in zip(outputs, self.graph.outputs):
            value = self.value(node)
            if value in produced and value not in renamed:
                renamed[value] = name
            else:
                self._current = node
                copy = self.emit("Identity", value)
                renamed[copy] = name
        for proto in self._nodes:
            proto.input[:] = [renamed.get(name, name) for name in proto.input]
            proto.output[:] = [renamed.get(name, name) for name in proto.output]

    def _drop_unused(self, outputs: Sequence[str]) -> None:
        """Patterns such as Gemm replace several nodes at once; what they bypassed disappears here."""
        producer = {name: proto for proto in self._nodes for name in proto.output}
        needed: set[str] = set()
        stack = list(outputs)
        while stack:
            name = stack.pop()
            if name not in needed:
                needed.add(name)
                stack.extend(producer[name].input if name in producer else ())
        self._nodes = [proto for proto in self._nodes if needed.intersection(proto.output)]
        self._initializers = {name: array for name, array in self._initializers.items() if name in needed}


def split_cell(cell: str) -> tuple[str, str]:
    """("LeNet5.conv1", "Conv2d") of a source's Cell "LeNet5.conv1 (Conv2d)"; the outermost Cell is its own class."""
    path, _, class_name = cell.partition(" (")
    return path, class_name.removesuffix(")") or path


def _annotate(proto: onnx.NodeProto, path: str, class_name: str, source: Source | None) -> None:
    entries = {"cell": path, "class": class_name}
    if source is not None and source.file:
        # Only the file's own name: where the user keeps it is nobody else's business.
        entries["source"] = f"{os.path.basename(source.file)}:{source.line}"
    for key, value in entries.items():
        if value:
            proto.metadata_props.add(key=key, value=value)


def _value_info(name: str, node: SymbolicNode) -> onnx.ValueInfoProto:
    from onnx import helper

    shape = [str(d) if isinstance(d, Extent) else d for d in node.shape]
    return helper.make_tensor_value_info(name, tensor_type(node.dtype), shape)
