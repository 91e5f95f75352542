"""One graph, two engines: native code against the reference interpreter, and the search for a small failing graph.

In: a Graph and arrays for its inputs by label. Out: `mismatch(...)`, a sentence that names the first difference, or
None; `shrink(...)`, a smaller graph that still fails; `write_repro(...)`, that graph as text a test can replay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from random_graphs import LARGE_EXTENTS, random_values

from graphrt import compiler
from graphrt.codegen import target
from graphrt.codegen.lowered import LoweredStep
from graphrt.dtypes import float64
from graphrt.errors import GraphrtError
from graphrt.ir import Graph, Node
from graphrt.ir.interpret import interpret
from graphrt.ir.text import parse, to_text
from graphrt.runtime.executor import Executable

Arrays = Mapping[str, np.ndarray]
Fails = Callable[[Graph], bool]

# Relative to the largest value of a tensor: sums in another order, contracted multiply-adds, other exp and tanh.
TOLERANCE = {"float16": 2e-2, "bfloat16": 1e-1, "float32": 2e-4, "float64": 1e-10}
# Kinds of random graphs (keyword arguments of `random_graph`).
PROFILES: dict[str, dict[str, Any]] = {
    "exact": {"exact": True, "dtype": float64, "network": True},
    "exact_large": {
        "exact": True, "dtype": float64, "network": True, "extents": LARGE_EXTENTS, "max_elements": 20_000,
    },
    "smooth": {"network": True},
    "smooth_large": {"network": True, "extents": LARGE_EXTENTS, "max_elements": 20_000},
}  # fmt: skip
CANARY = 0xA5  # behind the arena: nothing may ever write there
CANARY_BYTES = 4096


@contextmanager
def eager_threads() -> Iterator[None]:
    """Inside, every kernel that can be split is split, however small: otherwise small graphs run on one thread and
    say nothing about chunks and barriers."""
    modules = [
        import_module(f"graphrt.kernels.{name}")
        for name in ("pointwise", "reduction", "contraction", "scatter")
    ]
    with ExitStack() as stack:
        for module in modules:
            if hasattr(module, "SERIAL_WORK"):
                stack.enter_context(mock.patch.object(module, "SERIAL_WORK", 0))
        stack.enter_context(
            mock.patch("graphrt.schedule.work.useful_threads", lambda graph, threads: threads)
        )
        yield


def lowered(graph: Graph, threads: int = 1) -> LoweredStep:
    """An optimized graph as LLVM IR; with more than one thread everything is split that can be."""
    if threads == 1:
        return compiler.lower(graph, threads=1)
    with eager_threads():
        return compiler.lower(graph, threads=threads)


def run_native(
    graph: Graph,
    values: Arrays,
    *,
    threads: int = 1,
    optimize: Callable[[Graph], Graph] = compiler.optimize,
    poison: bool = False,
) -> dict[str, np.ndarray]:
    """Every output ("output 0", ...) and updated state (by label) of one native call.

    `poison` fills the temporaries with NaN first and checks the memory behind them afterwards.
    """
    return run_step(lowered(optimize(graph), threads), graph, values, threads=threads, poison=poison)


def run_step(
    step: LoweredStep, graph: Graph, values: Arrays, *, threads: int = 1, poison: bool = False
) -> dict[str, np.ndarray]:
    """`run_native` for a step that is lowered already."""
    executable = Executable(step, threads=threads)
    canary = _poisoned(executable, step.arena_bytes + threads * step.scratch_bytes) if poison else None
    state = {n.op.label: np.array(values[n.op.label]) for n in graph.state_inputs}
    outputs = executable(*(np.array(values[n.op.label]) for n in graph.data_inputs), state=state)
    if canary is not None and (canary != CANARY).any():
        raise AssertionError(f"written behind the temporaries, at byte {int(np.argmax(canary != CANARY))}")
    return {
        **{f"output {k}": a for k, a in enumerate(outputs)},
        **{n.op.label: state[n.op.label] for n in graph.updates},
    }


def _poisoned(executable: Executable, arena_bytes: int) -> np.ndarray:
    """Gives the executable temporaries of exactly the planned size, full of NaN, with a canary behind them."""
    memory = np.full(arena_bytes + CANARY_BYTES + 4096, CANARY, np.uint8)
    start = -memory.__array_interface__["data"][0] % 4096
    memory[start : start + arena_bytes] = 0xFF  # NaN in every float type, -1 in every signed integer type
    workspace = executable._workspace
    workspace._arena = memory
    workspace.frame.arena = memory.__array_interface__["data"][0] + start
    return memory[start + arena_bytes : start + arena_bytes + CANARY_BYTES]


def run_reference(graph: Graph, values: Arrays) -> dict[str, np.ndarray]:
    """The same results from the interpreter."""
    with np.errstate(all="ignore"):
        outputs, updates = interpret(graph, {label: np.array(value) for label, value in values.items()})
    return {**{f"output {k}": a for k, a in enumerate(outputs)}, **updates}


def difference(given: Arrays, expected: Arrays, *, exact: bool) -> str | None:
    """The first result that differs, in words. `exact`: bit for bit, but for the sign of zero; else within TOLERANCE."""
    for name, right in expected.items():
        left = given[name]
        if left.shape != right.shape or left.dtype != right.dtype:
            return f"{name} is {left.dtype}{list(left.shape)} instead of {right.dtype}{list(right.shape)}"
        wrong = left != right if exact or right.dtype.kind in "biu" else ~_close(left, right)
        if exact and right.dtype.kind not in "biu":
            wrong &= ~(np.isnan(left) & np.isnan(right))
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0]) if right.shape else ()
            return (
                f"{name} differs at {int(wrong.sum())} of {right.size} places, first {list(place)}: "
                f"native {left[place]!r}, reference {right[place]!r}"
            )
    return None


def _close(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    tolerance = TOLERANCE[right.dtype.name]
    a, b = left.astype(np.float64), right.astype(np.float64)
    with np.errstate(invalid="ignore"):
        scale = np.abs(b[np.isfinite(b)]).max(initial=1.0)
        return (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= tolerance * scale)


def mismatch(
    graph: Graph,
    values: Arrays,
    *,
    exact: bool,
    threads: int = 1,
    optimize: Callable[[Graph], Graph] = compiler.optimize,
    poison: bool = False,
) -> str | None:
    """What native code gets wrong about `graph`, None if nothing. A failing compiler is an answer too."""
    expected = run_reference(graph, values)
    try:
        given = run_native(graph, values, threads=threads, optimize=optimize, poison=poison)
    except (GraphrtError, AssertionError, RuntimeError, KeyError, IndexError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return difference(given, expected, exact=exact)


def failure(graph: Graph, seed: int, exact: bool, threads: int = 1) -> str | None:
    """`mismatch` with the values of `seed`, NaN in the temporaries and a canary behind them."""
    return mismatch(graph, random_values(graph, seed, exact=exact), exact=exact, threads=threads, poison=True)


# ---------------------------------------------------------------------- shrinking


def shrink(graph: Graph, fails: Fails, limit: int = 400) -> Graph:
    """A smaller graph for which `fails` is still true: fewer roots, then nodes replaced by fresh data inputs.

    `limit` bounds how many candidates are tried.
    """
    tried = 0
    progress = True
    while progress:
        progress = False
        for candidate in _smaller(graph):
            tried += 1
            if tried > limit:
                return graph
            if fails(candidate):
                graph, progress = candidate, True
                break
    return graph


def smallest_failure(graph: Graph, seed: int, exact: bool, threads: int = 1, limit: int = 400) -> Graph:
    """`graph`, for which `failure` gives an answer, shrunk."""
    return shrink(graph, lambda g: failure(g, seed, exact, threads) is not None, limit)


def _smaller(graph: Graph) -> Iterator[Graph]:
    if len(graph.roots) > 1:
        yield from (_pruned((output,), {}) for output in graph.outputs)
        yield from (_pruned((), {state: value}) for state, value in graph.updates.items())
    for k in range(len(graph.outputs)):
        if len(graph.roots) > 1:
            yield _pruned(graph.outputs[:k] + graph.outputs[k + 1 :], graph.updates)
    for state in graph.updates:
        if len(graph.roots) > 1:
            yield _pruned(graph.outputs, {s: v for s, v in graph.updates.items() if s is not state})
    for k, root in enumerate(graph.outputs):  # the error may sit in an operand of a root
        for operand in root.inputs:
            if not operand.is_input:
                yield _pruned((*graph.outputs[:k], operand, *graph.outputs[k + 1 :]), graph.updates)
    for node in reversed(graph.nodes()):
        if not node.is_input and node.inputs and node.dtype.is_float:
            yield _with_input_for(graph, node)


def _pruned(outputs: Sequence[Node], updates: Mapping[Node, Node]) -> Graph:
    """A graph of these roots that lists the inputs they need and no others."""
    whole = Graph((), tuple(outputs), dict(updates), "shrunk")
    inputs = dict.fromkeys([n for n in whole.nodes() if n.is_input] + list(updates))
    return Graph(tuple(inputs), tuple(outputs), dict(updates), "shrunk")


def _with_input_for(graph: Graph, node: Node) -> Graph:
    from graphrt.ir import input_node, substitute

    labels = {n.op.label for n in graph.inputs}
    label = next(f"cut{k}" for k in range(len(labels) + 1) if f"cut{k}" not in labels)
    roots = substitute(graph.roots, {node: input_node(label, node.type), **{n: n for n in graph.inputs}})
    count = len(graph.outputs)
    return _pruned(roots[:count], dict(zip(graph.updates, roots[count:])))


def write_repro(folder: Path, name: str, graph: Graph, seed: int, reason: str, exact: bool) -> Path:
    """The graph as text with what is needed to run it again, see `read_repro`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.txt"
    facts = f"# seed {seed} exact {int(exact)} target {target.target().cpu}\n# {reason.splitlines()[0]}\n"
    path.write_text(to_text(graph) + facts, encoding="utf-8")
    return path


def read_repro(path: Path) -> tuple[Graph, int, bool]:
    """The graph, the seed of its values and whether it is compared bit for bit."""
    text = path.read_text(encoding="utf-8")
    words = next(line for line in text.splitlines() if line.startswith("# seed")).split()
    return parse(text), int(words[2]), words[4] == "1"
