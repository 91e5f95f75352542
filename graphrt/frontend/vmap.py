"""vmap: a function of one sample becomes a function of many samples.

In: a function of Tensors and which axis of its arguments counts the samples. Out: a function that computes all samples
at once. It runs the function once, on symbols of one sample's shape, and batches the graph that made
(`ops/batching.py`): no loop over samples, and whatever is the same for all of them is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, TraceError
from ..ir import Node, TensorType, input_node, source_scope, topological_order
from .location import user_source
from .parameter import Parameter
from .paths import explore
from .tensor import Tensor
from .trace import Trace
from .transform import FunctionTransform
from .tree import flatten, unflatten

Axes = int | None | Sequence[Any]


class VmapFunction(FunctionTransform):
    """What `vmap` returns; see there."""

    def __init__(self, function: Callable[..., Any], in_axes: Axes, out_axes: Axes):
        super().__init__(function, "vmap")
        self._in_axes, self._out_axes = in_axes, out_axes

    def _inline(self, running: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from ..ops.batching import batch_nodes, move_axis, spread

        source = user_source()
        leaves, structure = flatten(args, _is_array)
        axes = _axes_of_leaves("in_axes", self._in_axes, args, source)
        names = [f"argument {k}" for k in range(len(leaves))]
        leaves = [leaf if isinstance(leaf, Tensor) else Tensor(leaf) for leaf in leaves]
        size = _size(leaves, axes, source)
        samples: dict[
            Node, Node
        ] = {}  # the symbol of one sample -> all samples, counted by the axis in front
        symbols: list[Tensor] = []
        with source_scope(source):
            for name, leaf, axis in zip(names, leaves, axes):
                if axis is None:
                    symbols.append(leaf)
                    continue
                together = move_axis(running.lift(leaf), axis % leaf.ndim, 0)
                symbol = input_node(name, TensorType(together.shape[1:], together.dtype))
                samples[symbol] = together
                symbols.append(running.tensor(symbol))
        before = dict(running.latest)
        # a decision on one sample is no decision of the function around this one
        result = explore(
            running, lambda: self._function(*unflatten(structure, symbols), **kwargs), hands_on=False
        )
        _check_assignments(running, before, samples, source)
        outputs, shape_of_result = flatten(result, _is_array)
        nodes = [running.lift(t if isinstance(t, Tensor) else Tensor(t)) for t in outputs]
        out_axes = _axes_of_leaves("out_axes", self._out_axes, result, source)
        finished = []
        with source_scope(source):
            for node, batched, axis in zip(nodes, batch_nodes(nodes, size, samples), out_axes):
                differs = batched.shape != node.shape
                if axis is None:
                    if differs:
                        raise ArgumentError(
                            "vmap: out_axes=None is for results that are the same for all samples", at=source,
                            given=f"a result {node.type.describe()} per sample", fix="name the axis that counts samples",
                        )  # fmt: skip
                    finished.append(batched)
                    continue
                batched = batched if differs else spread(batched, size)
                rank = len(batched.shape)
                if not -rank <= axis < rank:
                    raise _out_of_range("out_axes", axis, batched, source)
                finished.append(move_axis(batched, 0, axis % rank))
        return unflatten(shape_of_result, [running.tensor(node) for node in finished])

    def __repr__(self) -> str:
        return f"<vmap of {self._described()}>"


class EnsembleFunction(FunctionTransform):
    """What `vmap` of a CellList returns: cell k computes sample k."""

    def __init__(self, cells: Any, in_axes: Axes, out_axes: Axes):
        super().__init__(cells, "vmap")
        self._cells = cells
        self._in_axes, self._out_axes = in_axes, out_axes

    def _inline(self, running: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from . import functional, functional_arrays

        source, count = user_source(), len(self._cells)
        leaves, structure = flatten(args, _is_array)
        axes = _axes_of_leaves("in_axes", self._in_axes, args, source)
        leaves = [leaf if isinstance(leaf, Tensor) else Tensor(leaf) for leaf in leaves]
        samples = count if all(axis is None for axis in axes) else _size(leaves, axes, source)
        if samples != count or not count:
            raise ShapeError(
                "vmap: a CellList computes one sample per cell", at=source, expected=f"{count} samples, 1 or more",
                given=samples, fix="in_axes=None gives every cell the whole arguments",
            )  # fmt: skip
        parts = [
            [leaf] * count if axis is None else functional_arrays.unbind(leaf, axis)
            for leaf, axis in zip(leaves, axes)
        ]
        results = [
            cell(*unflatten(structure, [part[k] for part in parts]), **kwargs)
            for k, cell in enumerate(self._cells)
        ]
        flat = [flatten(result, _is_array) for result in results]
        out_axes = _axes_of_leaves("out_axes", self._out_axes, results[0], source)
        places = [axis for axis in out_axes if axis is not None]
        if len(places) < len(out_axes):
            raise ArgumentError(
                "vmap: every cell has its own result", at=source, expected="an int", given="out_axes None"
            )
        stacked = [
            functional.stack([tensors[k] for tensors, _ in flat], axis) for k, axis in enumerate(places)
        ]
        return unflatten(flat[0][1], stacked)

    def __repr__(self) -> str:
        return f"<vmap of {self._described()}>"


def _is_array(value: object) -> bool:
    return isinstance(value, (Tensor, np.ndarray))


def _axes_of_leaves(name: str, axes: Axes, value: Any, source: Any) -> list[int | None]:
    """The axis of every tensor in `value` (nested arguments or results), from axes that nest as it does, or less."""
    if axes is None or (isinstance(axes, int) and not isinstance(axes, bool)):
        return [axes] * len(flatten(value, _is_array)[0])
    if not isinstance(axes, (tuple, list)):
        raise ArgumentError(f"vmap: {name} is an int, None, or a tuple of these", at=source, given=repr(axes))
    if not isinstance(value, (tuple, list)) or len(value) != len(axes):
        count = f"{len(value)}" if isinstance(value, (tuple, list)) else f"one {type(value).__name__}"
        raise ArgumentError(
            f"vmap: {name} must have one entry per {'argument' if name == 'in_axes' else 'result'}", at=source,
            expected=count, given=f"{len(axes)} entries, {tuple(axes)}",
        )  # fmt: skip
    return [axis for own, part in zip(axes, value) for axis in _axes_of_leaves(name, own, part, source)]


def _size(leaves: Sequence[Tensor], axes: Sequence[int | None], source: Any) -> int:
    """The number of samples, the same along every named axis."""
    first: tuple[int, str] | None = None
    for position, (leaf, axis) in enumerate(zip(leaves, axes)):
        if axis is None:
            continue
        if not -leaf.ndim <= axis < leaf.ndim:
            raise _out_of_range("in_axes", axis, leaf, source)
        named = f"{leaf.shape[axis]} along axis {axis} of tensor {position}, {leaf.type.describe()}"
        if first is None:
            first = leaf.shape[axis], named
        elif first[0] != leaf.shape[axis]:
            raise ShapeError(
                "vmap: the arguments hold different numbers of samples", at=source, expected=first[1], given=named,
                fix="choose in_axes so that they agree, None for what all samples share",
            )  # fmt: skip
    if first is None:
        raise ArgumentError(
            "vmap: nothing to map over", at=source, expected="a tensor argument with an axis in in_axes",
            given=f"in_axes {tuple(axes)}" if axes else "no tensor arguments",
        )  # fmt: skip
    if first[0] == 0:
        raise ShapeError("vmap: there are no samples", at=source, given=first[1])
    return first[0]


def _out_of_range(name: str, axis: int, value: Any, source: Any) -> ShapeError:
    rank = len(value.shape)
    return ShapeError(
        f"vmap: {name} names an axis that is not there", at=source,
        expected=f"{-rank} to {rank - 1} for {value.type.describe()}" if rank else "None for a tensor without axes",
        given=axis,
    )  # fmt: skip


def _check_assignments(
    running: Trace, before: dict[int, Node], samples: dict[Node, Node], source: Any
) -> None:
    """A Parameter is one for all samples: it cannot take a value that differs between them."""
    for key, value in running.latest.items():
        if value is before.get(key) or not any(n in samples for n in topological_order([value])):
            continue
        parameter: Parameter = running.states[key][0]
        raise TraceError(
            f"vmap: Parameter {parameter.name} was assigned a value that differs between samples", at=source,
            given=value.type.describe(),
            fix="call it outside vmap, or set_train(False) if the network moves batch statistics",
        )  # fmt: skip


def vmap(fn: Callable[..., Any], in_axes: Axes = 0, out_axes: Axes = 0) -> VmapFunction | EnsembleFunction:
    """`fn`, a function or Cell of one sample, applied to every sample along an axis of its arguments.

    - `in_axes`: the axis that counts the samples: an int for all arguments, or a tuple with an int, None (the same for
      all samples), or a nested tuple per argument. Negative axes count from the end.
    - `out_axes`: where that axis goes in the results, in the same manner; None for a result without it.

    Numbers, strings and keyword arguments are the same for all samples, and so are Parameters the function reads.
    vmap nests, and composes with gradients: `vmap(grad(f), (None, 0, 0))` gives one gradient per sample. Random
    operations draw the same numbers for every sample unless their `key` is mapped over.

    An `nn.CellList` is an ensemble of models: cell k computes sample k with its own Parameters, or with `in_axes=None`
    the whole arguments; the results of all cells are stacked. The cells run one after the other.

    Raises ArgumentError or ShapeError when nothing is mapped over, axes do not exist, or the numbers of samples differ,
    TraceError when a Parameter is assigned a value that differs between samples.
    """
    if not callable(fn):
        raise ArgumentError("vmap: a function or Cell is needed", at=user_source(), given=repr(fn))
    kind = EnsembleFunction if getattr(fn, "_holds_ensemble", False) else VmapFunction
    return kind(fn, in_axes, out_axes)
