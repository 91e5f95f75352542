"""One group of fused nodes -> one kernel, by the strategy its anchor calls for."""

from __future__ import annotations

from ..errors import CompileError
from ..loops import ir
from ..ops.base import ContractionOp, ReductionOp
from ..ops.scatter import ScatterAdd
from ..ops.winograd import WinogradConv2d, WinogradWeightProducts
from ..schedule.group import Group
from ..schedule.plan import Slot
from .contraction import build_contraction
from .margins import clear_margins
from .plan_choice import PlanChoice, cheapest
from .pointwise import build_pointwise
from .reduction import build_reduction
from .scatter import build_scatter
from .space import Slots
from .winograd import build_winograd
from .winograd_gradient import build_winograd_gradient


def build_kernel(
    group: Group, slots: Slots, lanes: int, threads: int, plans: PlanChoice = cheapest
) -> tuple[ir.Kernel, list[Slot]]:
    """The kernel of `group` and the slots of its buffers in argument order.

    `lanes`: float32 elements per vector register; `threads`: how many threads the program is planned for; `plans`: how
    contractions are computed. Raises CompileError for an anchor no strategy knows.
    """
    kernel, arguments = _by_strategy(group, slots, lanes, threads, plans)
    _clear_margins(group, slots, kernel, arguments, threads, None)
    return kernel, arguments


def split_kernel(
    group: Group, slots: Slots, lanes: int, threads: int, split: int, plans: PlanChoice = cheapest
) -> tuple[ir.Kernel, list[Slot]] | None:
    """The kernel of `group` that divides the axis `split` of its domain among the threads, however little there is to
    do. Every result has the same bits as those of `build_kernel`. None where that axis cannot be divided, or where
    the kernel would run much slower."""
    anchor = group.anchor
    if anchor is not None and isinstance(anchor.op, WinogradConv2d | ScatterAdd):
        return None
    if anchor is None:
        found = build_pointwise(group, slots, lanes, threads, split)
    elif isinstance(anchor.op, ContractionOp):
        found = build_contraction(group, slots, lanes, threads, split, plans)
    elif isinstance(anchor.op, ReductionOp):
        found = build_reduction(group, slots, lanes, threads, split)
    else:
        return None
    if found is None or found[0].serial:
        return None
    kernel, arguments = found
    _clear_margins(group, slots, kernel, arguments, threads, split)
    return kernel, arguments


def _clear_margins(
    group: Group, slots: Slots, kernel: ir.Kernel, arguments: list[Slot], threads: int, split: int | None
) -> None:
    for node in group.stores if group.anchor is not None else ():  # sweeps do it themselves
        if slots[node].layout.margins:
            buffer = kernel.buffers[arguments.index(slots[node])]
            kernel.body += clear_margins(slots[node], buffer, 1 if kernel.serial else threads, split)


def _by_strategy(
    group: Group, slots: Slots, lanes: int, threads: int, plans: PlanChoice
) -> tuple[ir.Kernel, list[Slot]]:
    if group.anchor is None:
        return build_pointwise(group, slots, lanes, threads)
    if isinstance(group.anchor.op, WinogradConv2d):
        return build_winograd(group, slots, lanes, threads)
    if isinstance(group.anchor.op, WinogradWeightProducts):
        return build_winograd_gradient(group, slots, lanes, threads)
    if isinstance(group.anchor.op, ContractionOp):
        return build_contraction(group, slots, lanes, threads, plans=plans)
    if isinstance(group.anchor.op, ScatterAdd):
        return build_scatter(group, slots, lanes, threads)
    if isinstance(group.anchor.op, ReductionOp):
        return build_reduction(group, slots, lanes, threads)
    raise CompileError(f"{group.anchor.op.name} has no native lowering", at=group.anchor.source)
