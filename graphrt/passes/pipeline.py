"""The order of the graph passes. In: a traced Graph. Out: the same computation in primitive ops, small and merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import VerifyError
from ..ir import Graph, TensorType
from ..ir.verify import verify
from ..ops.patches import WindowPatches
from ..ops.taps import ChosenTaps
from .expand_composites import expand_composites
from .explicit_padding import explicit_padding
from .flat_batches import flat_batches
from .fold_constants import fold_constants
from .lane_sums import lane_sums
from .merge_duplicates import merge_duplicates
from .pair_products import pair_products
from .remove_dead import remove_dead
from .simplify import simplify
from .sparse_gradients import pooled_masks, window_sums, window_taps
from .transposed_products import transposed_products
from .winograd import WinogradChoice, winograd

Pass = Callable[[Graph], Graph]

PASSES: tuple[tuple[str, Pass], ...] = (
    ("expand_composites", expand_composites),
    ("fold_constants", fold_constants),
    ("simplify", simplify),
    ("pooled_masks", pooled_masks),
    ("merge_duplicates", merge_duplicates),
    ("remove_dead", remove_dead),
)


def run(
    graph: Graph,
    record: Callable[[str, Any], None] | None = None,
    passes: Sequence[tuple[str, Pass]] = PASSES,
) -> Graph:
    """`graph` after all passes, verified before the first and after each.

    `record(stage, graph)` is called with "graph" for the graph as given, then with each pass's name and result.
    Raises VerifyError naming the pass that broke a rule or changed what the graph promises to its caller.
    """
    verify(graph)
    if record is not None:
        record("graph", graph)
    for name, apply_pass in passes:
        before, graph = graph, apply_pass(graph)
        verify(graph, after=name)
        _check_interface(name, before, graph)
        if record is not None:
            record(name, graph)
    return graph


@dataclass(frozen=True)
class Processor:
    """What `prepare` needs to know about the processor and how it is to be used; by default, nothing special."""

    whole_row: int = 0  # see `explicit_padding`
    lanes: int = 0  # see `lane_sums`
    dot_pairs: bool = False  # see `pair_products`
    sum_windows: Callable[[WindowPatches, TensorType], bool] | None = None  # see `window_sums`; None: never
    look_up_taps: Callable[[ChosenTaps, int], bool] | None = None  # see `window_taps`; None: never
    winograd: WinogradChoice | None = None  # see `winograd`; None keeps convolutions direct


def prepare(
    graph: Graph,
    processor: Processor | None = None,
    record: Callable[[str, Any], None] | None = None,
) -> Graph:
    """`graph` in the form scheduling wants: padding explicit, samples flat, products untransposed, large sums split, and
    what that duplicated merged. Verified and recorded like the passes of `run`.
    """
    given = processor or Processor()
    choice = given.winograd
    fast: tuple[tuple[str, Pass], ...] = ()
    if choice is not None:
        fast = (("winograd", lambda g: winograd(g, choice)),)
    passes: tuple[tuple[str, Pass], ...] = (
        *fast,
        ("window_taps", lambda g: window_taps(g, given.lanes, given.look_up_taps or (lambda *_: False))),
        ("explicit_padding", lambda g: explicit_padding(g, given.whole_row)),
        ("flat_batches", flat_batches),
        ("transposed_products", transposed_products),
        ("window_sums", lambda g: window_sums(g, given.sum_windows or (lambda *_: False))),
        ("lane_sums", lambda g: lane_sums(g, given.lanes)),
        ("pair_products", lambda g: pair_products(g, given.dot_pairs)),
        ("merge_lowered", merge_duplicates),
    )
    return run(
        graph, (lambda name, g: None if name == "graph" else record(name, g)) if record else None, passes
    )


def _check_interface(name: str, before: Graph, after: Graph) -> None:
    """Data inputs and output types must stay; states may only disappear."""
    for what in ("data_inputs", "outputs"):
        expected, given = ([n.type.describe() for n in getattr(g, what)] for g in (before, after))
        if expected != given:
            raise VerifyError(
                f"after {name}: {what} changed", expected=", ".join(expected), given=", ".join(given)
            )
    for what in ("inputs", "updates"):
        invented = set(getattr(after, what)) - set(getattr(before, what))
        if invented:
            labels = ", ".join(sorted(n.op.label for n in invented))
            raise VerifyError(f"after {name}: {what} appeared that the graph did not have", given=labels)
