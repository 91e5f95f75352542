"""One group of fused nodes -> one kernel, by the strategy its anchor calls for."""

from __future__ import annotations

from ..errors import CompileError
from ..loops import ir
from ..ops.base import ContractionOp, ReductionOp
from ..ops.scatter import ScatterAdd
from ..ops.winograd import WinogradConv2d, WinogradWeightProducts
from ..schedule.fuse import Group
from ..schedule.plan import Slot
from .contraction import build_contraction
from .margins import clear_margins
from .pointwise import build_pointwise
from .reduction import build_reduction
from .scatter import build_scatter
from .space import Slots
from .winograd import build_winograd
from .winograd_gradient import build_winograd_gradient


def build_kernel(group: Group, slots: Slots, lanes: int, threads: int) -> tuple[ir.Kernel, list[Slot]]:
    """The kernel of `group` and the slots of its buffers in argument order.

    `lanes`: float32 elements per vector register; `threads`: how many threads the program is planned for.
    Raises CompileError for an anchor no strategy knows.
    """
    kernel, arguments = _by_strategy(group, slots, lanes, threads)
    for node in group.stores:
        if slots[node].layout.margins:
            buffer = kernel.buffers[arguments.index(slots[node])]
            kernel.body += clear_margins(slots[node], buffer, 1 if kernel.serial else threads)
    return kernel, arguments


def _by_strategy(group: Group, slots: Slots, lanes: int, threads: int) -> tuple[ir.Kernel, list[Slot]]:
    if group.anchor is None:
        return build_pointwise(group, slots, lanes, threads)
    if isinstance(group.anchor.op, WinogradConv2d):
        return build_winograd(group, slots, lanes, threads)
    if isinstance(group.anchor.op, WinogradWeightProducts):
        return build_winograd_gradient(group, slots, lanes, threads)
    if isinstance(group.anchor.op, ContractionOp):
        return build_contraction(group, slots, lanes, threads)
    if isinstance(group.anchor.op, ScatterAdd):
        return build_scatter(group, slots, lanes, threads)
    if isinstance(group.anchor.op, ReductionOp):
        return build_reduction(group, slots, lanes, threads)
    raise CompileError(f"{group.anchor.op.name} has no native lowering", at=group.anchor.source)
