"""The whole pipeline on one screen: one call per stage.

In: a traced Graph. Out: an executable (one call) or a sink (many training steps per call).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from .ir import Graph

if TYPE_CHECKING:
    from .kernels.plan_choice import PlanChoice

Record = Callable[[str, Any], None]  # record(stage name, what that stage produced); the dump listens here
# How contractions get their plans: from the cost model, from it but with little code, or by a search that runs them.
Effort = Literal["usual", "short", "tuned"]

RARE = 16  # full batches per pass from which on the code of the ragged one is kept short


def prepare() -> None:
    """Whoever calls this is about to trace something: LLVM is loaded meanwhile, which takes about as long."""
    from .codegen import units
    from .context import get_context

    if get_context("engine") == "native":
        units.load()


def optimize(graph: Graph, record: Record | None = None) -> Graph:
    """All graph passes in order; see passes/pipeline.py."""
    from .passes import pipeline

    return pipeline.run(graph, record)


def compile_graph(
    graph: Graph, *, threads: int | None = None, record: Record | None = None, tune: bool = False
):
    """An executable for `graph`: `executable(*data, state={label: array}) -> [output arrays]`.

    Data arrays come in the order of `graph.data_inputs`; state arrays are C-contiguous and updated in place. `tune`:
    search for the fastest plans, as the setting "tune" does.
    """
    from .context import get_context

    if get_context("engine") == "interpreter":
        from .runtime.reference import ReferenceExecutable

        return ReferenceExecutable(graph)
    from .runtime.executor import Executable

    step = lowered(graph, threads=threads, record=record, effort=_effort(tune))
    return Executable(step, threads=threads)


def compile_sink(
    step: Graph,
    ragged: Graph | None,
    *,
    size: int,
    batch_size: int,
    shuffle: bool,
    seed: int,
    threads: int | None = None,
    record: Record | None = None,
    tune: bool = False,
):
    """A sink that runs training steps over a resident dataset.

    `step` reads whole dataset columns plus int32[batch] "indices"; `outputs[0]` is the scalar float32 loss.
    `ragged` is the same step for the last, shorter batch of a pass (None: that batch is dropped). `tune`: search for the
    fastest plans, as the setting "tune" does.
    """
    from .context import get_context

    if get_context("engine") == "interpreter":
        from .runtime.reference import ReferenceSink

        return ReferenceSink(step, ragged, size=size, batch_size=batch_size, shuffle=shuffle, seed=seed)
    from .runtime.sink import Sink

    steps = [lowered(step, threads=threads, record=record, sink=True, effort=_effort(tune))]
    if ragged is not None:  # both run with the same threads
        effort: Effort = "short" if size // batch_size >= RARE else "usual"
        steps.append(lowered(ragged, threads=steps[0].threads, record=record, sink=True, effort=effort))
    return Sink(steps, size=size, batch_size=batch_size, shuffle=shuffle, seed=seed, threads=threads)


def _effort(tune: bool) -> Effort:
    from .context import get_context

    return "tuned" if tune or get_context("tune") else "usual"


def lowered(
    graph: Graph,
    *,
    threads: int | None = None,
    record: Record | None = None,
    sink: bool = False,
    effort: Effort = "usual",
):
    """`lower(optimize(graph))`, taken from the compile cache where this compiler has seen the same graph before. There it
    is found what a search ("tuned") has found, too.

    Whoever records the stages gets to see them: then nothing is taken from the cache.
    """
    from .codegen import cache, stored_step
    from .codegen.target import target
    from .context import get_context
    from .runtime.workers import default_threads

    name = None
    if record is None and cache.directory() is not None:
        count = threads or default_threads()
        settings = (get_context("convolution"), f"sink={sink}", effort)
        name = stored_step.step_key(graph, target(), count, settings)
    found = cache.read(name) if name else None
    step = stored_step.decode(found) if found else None
    if step is None:
        optimized = optimize(graph, record)
        step = lower(
            optimized, threads=threads, record=record, sink=sink, begin=record is None,
            plans=_plans(optimized, threads, sink, effort),
        )  # fmt: skip
        if name:
            cache.write(name, stored_step.encode(step))
    return step


def _plans(graph: Graph, threads: int | None, sink: bool, effort: Effort) -> PlanChoice | None:
    from .kernels import plan_choice
    from .tuning import fastest_plans

    if effort == "tuned":
        return plan_choice.measured(fastest_plans(graph, threads, sink))
    return plan_choice.short if effort == "short" else None


def lower(
    graph: Graph,
    *,
    threads: int | None = None,
    record: Record | None = None,
    name: str = "step",
    profile: bool = False,
    sink: bool = False,
    begin: bool = False,
    plans: PlanChoice | None = None,
):
    """Optimized graph -> kernels -> loop IR -> LLVM IR text: a `LoweredStep` the runtime compiles and loads.

    The setting "convolution" decides how 3x3 convolutions are computed.
    `profile`: with cycle counters around every kernel, see `lower_step`. `sink`: the step runs in a sink, where
    several threads pay for much smaller steps than in single calls. `begin`: the step will run here, so LLVM begins with
    each kernel while the next one is being lowered. `plans`: how contractions are computed (None: by the cost model).
    """
    from .codegen import units
    from .codegen.division import division_for
    from .codegen.functions import KernelFunctions
    from .codegen.step import PlacedKernel, lower_step
    from .codegen.target import target
    from .kernels.plan_choice import cheapest
    from .passes.pipeline import prepare
    from .runtime.workers import default_threads
    from .schedule.memory import plan_schedule
    from .schedule.plan import schedule
    from .schedule.report import FusedKernels

    chosen = target()
    planned = schedule(prepare(graph, _processor(chosen), record), chosen.lanes)
    ahead = partial(units.begin, chosen=chosen) if begin and chosen.is_host_compatible else None
    functions = KernelFunctions(chosen.instructions, on_new=ahead)
    # Whoever looks at them sees every kernel with its own name and labels.
    division = division_for(
        planned, chosen.lanes, threads or default_threads(), sink, record is None, functions.name,
        plans or cheapest,
    )  # fmt: skip
    planned = replace(planned, groups=[part.group for part in division.parts])
    phases = [len(phase) for phase in division.phases] if len(division.phases) > 1 else []
    memory = plan_schedule(planned, phases, division.private)
    kernels = [PlacedKernel(part.kernel, part.slots, part.who) for part in division.parts]
    if record is not None:
        record("fused", FusedKernels(planned, memory))
        record("loops", [placed.kernel for placed in kernels])
    step = lower_step(
        planned,
        kernels,
        memory,
        name,
        threads=division.threads,
        profile=profile,
        functions=functions,
        private=division.private,
        accesses=division.accesses,
        tentative=division.is_tentative,
    )
    if record is not None:
        record("llvm", step)
    return step


def _processor(target: Any) -> Any:
    """What the passes before scheduling are told about the processor, under the present settings."""
    from .context import get_context
    from .kernels.contraction_plan import sums_over_windows, taps_over_windows, whole_row
    from .kernels.winograd_plan import Winograd
    from .passes.pipeline import Processor

    lanes = target.lanes
    return Processor(
        whole_row=whole_row(lanes),
        lanes=lanes,
        dot_pairs=target.instructions.dot_pairs,
        sum_windows=lambda patches, image: sums_over_windows(patches, image, lanes),
        look_up_taps=lambda taps, batch: (
            target.instructions.lookups and taps_over_windows(taps, batch, lanes)
        ),
        winograd=Winograd(lanes) if get_context("convolution") == "winograd" else None,
    )
