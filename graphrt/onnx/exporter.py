"""`graphrt.export`: a network as an ONNX file with a free batch axis, verified by running it.

In: a Cell or function and example inputs. Out: the path of the written file.
The network is traced in inference mode at two batch sizes; what differs between the traces is the batch axis.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError, ExportError, GraphrtError
from ..frontend.location import user_source
from ..ir import Graph, Node, rewrite
from ..ops.base import CompositeOp
from . import network_emitters, view_emitters  # noqa: F401  (they fill the emitter table)
from .emitters import find_emitter
from .symbolic import SymbolicGraph, free_batch
from .writer import NEWEST_OPSET, OLDEST_OPSET, Writer

if TYPE_CHECKING:
    import onnx

# Larger models keep their weights in <name>.onnx.data: a protobuf ends at 2 GiB.
EXTERNAL_DATA_BYTES = 1 << 30


def export(
    net: Callable[..., Any],
    *inputs: Any,
    file_name: str | Path,
    file_format: str = "ONNX",
    opset: int = 20,
    verify: bool = True,
) -> Path:
    """Write `net`, called with `inputs`, as an ONNX model. Returns the path (".onnx" is appended if missing).

    The file appears, or replaces an older one, only once it is verified.

    - `inputs`: example Tensors or arrays; their element types and shapes count, and axis 0 is the batch, which stays
      free in the file. Scalars (rank 0) have no batch.
    - The network is exported as it predicts: Cells are traced with training off and restored afterwards.
    - Weights are initializers named by Cell path (`conv1.weight`); nodes carry Cell path, class and source line.
    - `opset`: ONNX operator set, 17 to 26; the IR version is the oldest that allows it.
    - `verify`: check the file against the ONNX specification and run it at batch 1 and 3 against the compiled
      network (with onnxruntime if installed, else ONNX's reference implementation).

    Raises ArgumentError for unusable arguments, ExportError when an operation has no ONNX form, when the network
    depends on the batch size, or when the written model computes something else. `file_name`: where to.
    `file_format`: "ONNX", the only one.
    """
    from .verify import verify_model

    _check_arguments(net, inputs, file_format, opset)
    path = Path(file_name)
    path = path if path.suffix == ".onnx" else path.with_name(path.name + ".onnx")
    arrays = [_as_array(value) for value in inputs]
    with inference_mode(net):
        batch = max(2, max((a.shape[0] for a in arrays if a.ndim), default=2))
        first = _trace(net, [resize_batch(a, batch) for a in arrays], batch)
        second = _trace(net, [resize_batch(a, batch + 1) for a in arrays], batch + 1)
        parameters = {label: np.asarray(p.asnumpy()) for label, p in first.parameters.items()}
        graph = free_batch(say_in_onnx(first.graph), say_in_onnx(second.graph), batch)
        model = build_model(graph, parameters, opset)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place until it is verified: a file of that name is a model that works, the old one or the new one.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export") as folder:
            written = Path(folder) / path.name
            save(model, written)
            if verify:
                verify_model(written, lambda data: _predict(net, data), arrays, graph, opset)
            # the weights (.onnx.data) before the model that names them
            for file in sorted(Path(folder).iterdir(), reverse=True):
                os.replace(file, path.parent / file.name)
    return path


def build_model(
    graph: SymbolicGraph,
    weights: Mapping[str, np.ndarray],
    opset: int = 20,
) -> onnx.ModelProto:
    """The ONNX model of a symbolic graph. `weights` holds the arrays of its state inputs by label."""
    writer = Writer(graph, opset)
    data = [node for node in graph.inputs if node.op.kind == "data"]
    outputs = ["output"] if len(graph.outputs) == 1 else [f"output_{k}" for k in range(len(graph.outputs))]
    for name in outputs:
        writer.unique(name)
    for node in data:
        writer.bind(node, writer.unique(node.op.label))
    for node in graph.inputs:
        if node.op.kind == "state":
            writer.bind(node, writer.initializer(node.op.label, weights[node.op.label]))
    for node in graph.nodes:
        if node in graph.inputs:
            continue
        emit = find_emitter(node.name, type(node.op))
        if emit is None:
            raise node.error(f"export: {node.name} has no ONNX form")
        writer.emit_for(node, emit)
    return writer.model(data, outputs)


def say_in_onnx(graph: Graph) -> Graph:
    """`graph` with those composite ops expanded that ONNX has no operator for."""

    def expand(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if isinstance(node.op, CompositeOp) and find_emitter(node.op.name, type(node.op)) is None:
            return node.op.expand(*inputs)
        return None

    while any(expandable(node) for node in graph.nodes()):
        graph = rewrite(graph, expand)
    return graph


def expandable(node: Node) -> bool:
    """True for a composite op ONNX has no operator for."""
    return isinstance(node.op, CompositeOp) and find_emitter(node.op.name, type(node.op)) is None


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write the model into a fresh folder: one file, or with the weights beside it when they are very large."""
    import onnx

    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if size < EXTERNAL_DATA_BYTES:
        onnx.save_model(model, str(path))
        return
    location = path.name + ".data"
    onnx.save_model(model, str(path), save_as_external_data=True, location=location, size_threshold=1024)


@contextmanager
def inference_mode(net: Any) -> Iterator[None]:
    """Every Cell of `net` predicts inside the block; training flags are put back afterwards."""
    cells = [cell for _, cell in net.cells_and_names()] if hasattr(net, "cells_and_names") else []
    flags = [cell.training for cell in cells]
    if cells:
        net.set_train(False)
    try:
        yield
    finally:
        for cell, flag in zip(cells, flags):
            cell.training = flag


def resize_batch(array: np.ndarray, batch: int) -> np.ndarray:
    """The samples of `array` repeated or cut to `batch` samples (scalars stay as they are)."""
    if array.ndim == 0:
        return array
    return np.ascontiguousarray(array[np.arange(batch) % array.shape[0]])


def _check_arguments(net: Any, inputs: tuple[Any, ...], file_format: str, opset: int) -> None:
    if not callable(net):
        raise ArgumentError(
            "export: the network must be a Cell or a function", at=user_source(), given=repr(net)
        )
    if file_format != "ONNX":
        raise ArgumentError(
            "export: unknown file format", at=user_source(), expected="'ONNX'", given=repr(file_format)
        )
    if type(opset) is not int or not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise ArgumentError(
            "export: opset not supported", at=user_source(), expected=f"{OLDEST_OPSET} to {NEWEST_OPSET}", given=opset,
        )  # fmt: skip
    if not inputs:
        raise ArgumentError(
            "export: example inputs are needed",
            at=user_source(),
            fix="pass one Tensor per argument of construct: export(net, x, ...)",
        )


def _as_array(value: Any) -> np.ndarray:
    array = np.asarray(value.asnumpy() if hasattr(value, "asnumpy") else value)
    if array.ndim and array.shape[0] == 0:
        raise ArgumentError(
            "export: an example input has no samples", at=user_source(), given=list(array.shape)
        )
    return array


def _trace(net: Any, arrays: list[np.ndarray], batch: int) -> Any:
    from ..frontend.tensor import Tensor
    from ..frontend.trace import trace

    try:
        return trace(net, [Tensor(a) for a in arrays])
    except GraphrtError as error:
        raise ExportError(
            f"export: the network cannot be traced with a batch of {batch}: {error.message}",
            cell=error.cell, at=error.at, expected=error.expected, given=error.given,
            fix=error.fix or "use x.shape[0] or -1 instead of a written batch size",
        ) from error  # fmt: skip


def _predict(net: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The compiled network's outputs."""
    from ..compiler import compile_graph

    traced = _trace(net, arrays, arrays[0].shape[0] if arrays[0].ndim else 0)
    state = {label: np.asarray(p.asnumpy()) for label, p in traced.parameters.items()}
    return compile_graph(traced.graph)(*arrays, state=state)
