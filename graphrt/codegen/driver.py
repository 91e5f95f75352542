"""The native code around the steps: one call of a step, and the loop that runs a whole sink.

In: which steps exist and where their loss and indices are bound (`Variant`). Out: LLVM IR text of

    @run_once(ptr frame, i64 thread)             step 0, once
    @run_sink(ptr frame, i64 thread)             `Frame.steps` training steps

Every thread of a program enters the same function with its own number; thread 0 does the bookkeeping between barriers.
All data is addressed by GEP from the frame and the pointers it holds.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from .meeting import LINE

RUNNING, FINISHED, INTERRUPTED, NON_FINITE = range(4)  # Frame.status
LEAVE = -1  # Frame.variant: no further step
REPLAN = 2  # Frame.variant: to be found out when no thread reads the sample order any more


class Frame(ctypes.Structure):
    """The only argument of the native entries. This table is the layout: Python fills it in, the IR text takes its
    offsets from it. All fields are 8 bytes. "in" is set by Python, "out" by thread 0, "state" by both between runs."""

    _fields_ = (
        ("arena", ctypes.c_uint64),  # in: address of the memory the step plans its temporaries in
        ("barrier", ctypes.c_uint64),  # in: address of the barrier block
        ("threads", ctypes.c_int64),  # in: how many threads enter
        ("bindings0", ctypes.c_uint64),  # in: address of the array of binding pointers of step 0
        ("bindings1", ctypes.c_uint64),  # in: the same for step 1, the ragged last batch (0: there is none)
        # sink only, from here on
        ("order", ctypes.c_uint64),  # in: address of int32[size], the sample order of the current pass
        ("losses", ctypes.c_uint64),  # in: address of float32[steps]
        ("steps", ctypes.c_int64),  # in: steps to run in this call
        ("size", ctypes.c_int64),  # in: samples in the dataset
        ("batch", ctypes.c_int64),  # in: samples in a full batch
        ("shuffle", ctypes.c_int64),  # in: 1: a new order for every pass; 0: `order` stays as it is
        ("seed", ctypes.c_int64),  # in: of the shuffling, 32 bits
        ("step", ctypes.c_int64),  # state: steps run since the beginning of training
        ("epoch", ctypes.c_int64),  # state: passes completed
        ("cursor", ctypes.c_int64),  # state: first sample, in `order`, of the next batch
        ("order_epoch", ctypes.c_int64),  # state: the pass `order` was made for, -1: none
        ("done", ctypes.c_int64),  # out: steps done in this call; grows while it runs
        ("status", ctypes.c_int64),  # out: RUNNING ... NON_FINITE
        ("variant", ctypes.c_int64),  # out: which step all threads run next, or LEAVE
        ("apart", ctypes.c_uint8 * LINE),  # `stop` is written by another thread while the others are read
        ("stop", ctypes.c_int64),  # in: not 0: leave at the next step boundary
    )


@dataclass(frozen=True)
class Variant:
    """One step function: its name, whether more than one thread takes part, and for sinks the positions, among its
    bindings, of the scalar float32 loss and of the sample indices. `early`: see `LoweredStep`."""

    name: str
    parallel: bool
    loss: int = 0
    indices: int = 0
    early: bool = False


def run_once_text(variant: Variant) -> str:
    """The definition of @run_once."""
    return f"""\
define void @run_once(ptr %frame, i64 %thread) nounwind {{
{_load("arena", "ptr")}
{_load("barrier", "ptr")}
{_load("threads", "i64")}
{_load("bindings0", "ptr")}
  call void @{variant.name}(ptr %arena, ptr %bindings0, i64 %thread, i64 %threads, ptr %barrier)
  %leader = icmp eq i64 %thread, 0
  br i1 %leader, label %finish, label %leave
finish:
{_at("status")}
  store i64 {FINISHED}, ptr %status.at, align 8
  br label %leave
leave:
  ret void
}}
"""


def run_sink_text(variants: tuple[Variant, ...]) -> str:
    """The definition of @run_sink, for a full step and optionally one for the ragged last batch of a pass.

    Between two steps thread 0 records the loss of the one and plans the other: while the others wait, or, after steps
    that are `early`, while they still compute. Then one barrier is enough: since the others met in this step they have
    read what tells them which one it is. Where the samples must be shuffled first, it is three.
    """
    cases = " ".join(f"i64 {k}, label %step{k}" for k in range(len(variants)))
    calls = "\n".join(_step_block(k, variant) for k, variant in enumerate(variants))
    bindings = "\n".join(_load(f"bindings{k}", "ptr") for k in range(len(variants)))
    return f"""\
{_SHUFFLE}
{_plan_text(variants)}
{_record_text(variants)}
define void @run_sink(ptr %frame, i64 %thread) nounwind {{
entry:
{_load("arena", "ptr")}
{_load("barrier", "ptr")}
{_load("threads", "i64")}
{bindings}
  %leader = icmp eq i64 %thread, 0
  br i1 %leader, label %plan, label %ready
plan:
  call void @graphrt_plan(ptr %frame)
  br label %ready
ready:
  call void @graphrt_barrier(ptr %barrier, i64 %threads)
{_load("variant", "i64")}
  switch i64 %variant, label %leave [ {cases} i64 {REPLAN}, label %replan ]
{calls}
finished:
  call void @graphrt_barrier(ptr %barrier, i64 %threads)
  br i1 %leader, label %record, label %ready
record:
  call void @graphrt_record(ptr %frame)
  br label %plan
replan:
  call void @graphrt_barrier(ptr %barrier, i64 %threads)
  br i1 %leader, label %plan, label %ready
finished.early:
  br i1 %leader, label %record.early, label %ready
record.early:
  call void @graphrt_record(ptr %frame)
  call void @graphrt_plan_early(ptr %frame)
  br label %ready
leave:
  ret void
}}
"""


def _step_block(k: int, variant: Variant) -> str:
    arguments = f"ptr %arena, ptr %bindings{k}, i64 %thread"
    finished = "finished.early" if variant.early else "finished"
    if variant.parallel:
        return f"""\
step{k}:
  call void @{variant.name}({arguments}, i64 %threads, ptr %barrier)
  br label %{finished}"""
    return f"""\
step{k}:
  br i1 %leader, label %step{k}.alone, label %finished
step{k}.alone:
  call void @{variant.name}({arguments}, i64 1, ptr %barrier)
  br label %finished"""


def _plan_text(variants: tuple[Variant, ...]) -> str:
    """Thread 0, before a step: which step comes next, and on which samples."""
    ragged = len(variants) > 1
    point_ragged = ""
    if ragged:
        point_ragged = f"""\
{_load("bindings1", "ptr")}
  %indices1.at = getelementptr ptr, ptr %bindings1, i64 {variants[1].indices}
  store ptr %indices, ptr %indices1.at, align 8"""
    return f"""\
; The same while other threads may still read the sample order: it stays as it is.
define internal void @graphrt_plan_early(ptr %frame) noinline nounwind {{
entry:
{_load("epoch", "i64")}
{_load("shuffle", "i64")}
{_load("order_epoch", "i64")}
  %shuffled = icmp ne i64 %shuffle, 0
  %stale = icmp ne i64 %order_epoch, %epoch
  %reorder = and i1 %shuffled, %stale
  br i1 %reorder, label %later, label %now
later:
{_at("variant")}
  store i64 {REPLAN}, ptr %variant.at, align 8
  ret void
now:
  call void @graphrt_plan(ptr %frame)
  ret void
}}

define internal void @graphrt_plan(ptr %frame) noinline nounwind {{
entry:
{_at("variant")}
{_load("status", "i64")}
  %running = icmp eq i64 %status, {RUNNING}
  br i1 %running, label %count, label %leave
count:
{_load("done", "i64")}
{_load("steps", "i64")}
  %complete = icmp sge i64 %done, %steps
  br i1 %complete, label %finish, label %poll
finish:
  store i64 {FINISHED}, ptr %status.at, align 8
  br label %leave
poll:
{_at("stop")}
  %stop = load atomic i64, ptr %stop.at monotonic, align 8
  %stopped = icmp ne i64 %stop, 0
  br i1 %stopped, label %interrupt, label %shuffling
interrupt:
  store i64 {INTERRUPTED}, ptr %status.at, align 8
  br label %leave
shuffling:
{_load("order", "ptr")}
{_load("size", "i64")}
{_load("epoch", "i64")}
{_load("shuffle", "i64")}
{_load("order_epoch", "i64")}
  %shuffled = icmp ne i64 %shuffle, 0
  %stale = icmp ne i64 %order_epoch, %epoch
  %reorder = and i1 %shuffled, %stale
  br i1 %reorder, label %new_order, label %choose
new_order:
{_load("seed", "i64")}
  call void @graphrt_shuffle(ptr %order, i64 %size, i64 %seed, i64 %epoch)
{_at("order_epoch", "new")}
  store i64 %epoch, ptr %order_epoch.new, align 8
  br label %choose
choose:
{_load("cursor", "i64")}
{_load("batch", "i64")}
  %left = sub i64 %size, %cursor
  %short = icmp slt i64 %left, %batch
  %indices = getelementptr i32, ptr %order, i64 %cursor
  br i1 %short, label %ragged, label %full
full:
{_load("bindings0", "ptr")}
  %indices0.at = getelementptr ptr, ptr %bindings0, i64 {variants[0].indices}
  store ptr %indices, ptr %indices0.at, align 8
  store i64 0, ptr %variant.at, align 8
  ret void
ragged:
{point_ragged}
  store i64 {1 if ragged else LEAVE}, ptr %variant.at, align 8
  ret void
leave:
  store i64 {LEAVE}, ptr %variant.at, align 8
  ret void
}}
"""


def _record_text(variants: tuple[Variant, ...]) -> str:
    """Thread 0, after a step: its loss into the ring, the position one batch further, stop if not finite."""
    ragged = len(variants) > 1
    if ragged:
        loss = f"""\
{_load("bindings0", "ptr")}
{_load("bindings1", "ptr")}
  %loss0.at = getelementptr ptr, ptr %bindings0, i64 {variants[0].loss}
  %loss1.at = getelementptr ptr, ptr %bindings1, i64 {variants[1].loss}
  %loss.slot = select i1 %short, ptr %loss1.at, ptr %loss0.at"""
    else:
        loss = f"""\
{_load("bindings0", "ptr")}
  %loss.slot = getelementptr ptr, ptr %bindings0, i64 {variants[0].loss}"""
    # A pass ends when no samples are left, or too few for a full batch and nothing to run them with.
    ends = "%left = icmp sle i64 %remain, 0" if ragged else "%left = icmp slt i64 %remain, %batch"
    return f"""\
define internal void @graphrt_record(ptr %frame) noinline nounwind {{
entry:
{_load("size", "i64")}
{_load("batch", "i64")}
{_load("cursor", "i64")}
{_load("epoch", "i64")}
{_load("step", "i64")}
{_load("done", "i64")}
{_load("losses", "ptr")}
  %before = sub i64 %size, %cursor
  %short = icmp slt i64 %before, %batch
{loss}
  %loss.at = load ptr, ptr %loss.slot, align 8
  %loss = load float, ptr %loss.at, align 4
  %ring = getelementptr float, ptr %losses, i64 %done
  store float %loss, ptr %ring, align 4
  %count = select i1 %short, i64 %before, i64 %batch
  %cursor.moved = add i64 %cursor, %count
  %remain = sub i64 %size, %cursor.moved
  {ends}
  %cursor.next = select i1 %left, i64 0, i64 %cursor.moved
  %passes = zext i1 %left to i64
  %epoch.next = add i64 %epoch, %passes
  %step.next = add i64 %step, 1
  %done.next = add i64 %done, 1
  store i64 %cursor.next, ptr %cursor.at, align 8
  store i64 %epoch.next, ptr %epoch.at, align 8
  store i64 %step.next, ptr %step.at, align 8
  store atomic i64 %done.next, ptr %done.at release, align 8
  %bits = bitcast float %loss to i32
  %exponent = and i32 %bits, 2139095040
  %broken = icmp eq i32 %exponent, 2139095040
  br i1 %broken, label %non_finite, label %leave
non_finite:
{_at("status")}
  store i64 {NON_FINITE}, ptr %status.at, align 8
  br label %leave
leave:
  ret void
}}
"""


# The same algorithm as runtime/shuffle.py, index for index. Multiplications wrap at 32 bits as its masks do.
_SHUFFLE = """\
define internal i32 @graphrt_mix(i32 %x) alwaysinline nounwind {
  %a = lshr i32 %x, 16
  %b = xor i32 %x, %a
  %c = mul i32 %b, 2246822507
  %d = lshr i32 %c, 13
  %e = xor i32 %c, %d
  %f = mul i32 %e, 3266489909
  %g = lshr i32 %f, 16
  %h = xor i32 %f, %g
  ret i32 %h
}

define internal void @graphrt_shuffle(ptr %order, i64 %size, i64 %seed, i64 %epoch) noinline nounwind {
entry:
  %seed32 = trunc i64 %seed to i32
  %epoch32 = trunc i64 %epoch to i32
  %mixed = call i32 @graphrt_mix(i32 %seed32)
  %number = add i32 %epoch32, 1
  %golden = mul i32 %number, 2654435769
  %sum = add i32 %mixed, %golden
  %key = call i32 @graphrt_mix(i32 %sum)
  br label %fill
fill:
  %i = phi i64 [ 0, %entry ], [ %i.next, %fill.body ]
  %filled = icmp sge i64 %i, %size
  br i1 %filled, label %swap, label %fill.body
fill.body:
  %i.at = getelementptr i32, ptr %order, i64 %i
  %i32 = trunc i64 %i to i32
  store i32 %i32, ptr %i.at, align 4
  %i.next = add i64 %i, 1
  br label %fill
swap:
  %k.above = phi i64 [ %size, %fill ], [ %k, %swap.body ]
  %k = sub i64 %k.above, 1
  %more = icmp sgt i64 %k, 0
  br i1 %more, label %swap.body, label %leave
swap.body:
  %k32 = trunc i64 %k to i32
  %place = add i32 %k32, %key
  %hash = call i32 @graphrt_mix(i32 %place)
  %hash64 = zext i32 %hash to i64
  %product = mul i64 %hash64, %k.above
  %j = lshr i64 %product, 32
  %k.at = getelementptr i32, ptr %order, i64 %k
  %j.at = getelementptr i32, ptr %order, i64 %j
  %k.value = load i32, ptr %k.at, align 4
  %j.value = load i32, ptr %j.at, align 4
  store i32 %j.value, ptr %k.at, align 4
  store i32 %k.value, ptr %j.at, align 4
  br label %swap
leave:
  ret void
}
"""


def _at(field: str, suffix: str = "at") -> str:
    return f"  %{field}.{suffix} = getelementptr i8, ptr %frame, i64 {getattr(Frame, field).offset}"


def _load(field: str, type: str) -> str:
    return f"{_at(field)}\n  %{field} = load {type}, ptr %{field}.at, align 8"
