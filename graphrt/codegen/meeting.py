"""Where the threads of a program meet: the native barrier, and how a thread waits.

In: a Target. Out: LLVM IR text of

    @graphrt_barrier(ptr barrier, i64 threads)   all threads have arrived, and see what the others wrote

A thread that waits first looks again and again, which sees the others within some ten nanoseconds. When that takes long
they probably have no CPU, and looking keeps one from them: on Linux it then sleeps until the last one wakes it (futex),
elsewhere it yields. Beside other busy programs, sleeping threads get a CPU back several times sooner than yielding ones.
"""

from __future__ import annotations

from .target import Target

LINE = 128  # two 64-byte cache lines: the adjacent-line prefetcher fetches pairs, and some ARM cores have 128-byte lines

# The barrier, a block of BARRIER_BYTES: each field on a line of its own.
ARRIVED = 0  # i64: threads that have arrived in this round
GENERATION = LINE  # i64: rounds completed; waiting threads watch it change
SPINS = (
    2 * LINE
)  # i64: how often a waiting thread looks before it sleeps; written once, before the threads enter
SLEEPERS = 3 * LINE  # i64: threads that sleep or are about to
BARRIER_BYTES = 4 * LINE

PATIENCE = 2000  # SPINS where every thread has a CPU: some ten microseconds

_WAIT, _WAKE = 128, 129  # FUTEX_WAIT and FUTEX_WAKE, private to the process
_ALL = 2**31 - 1


def pause_text(chosen: Target) -> tuple[str, str]:
    """The instruction of a thread that spins, and its declaration."""
    if chosen.is_x86:
        return "call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"
    if chosen.is_aarch64:
        return "call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)"
    return "", ""


def barrier_text(chosen: Target) -> str:
    """The definition of @graphrt_barrier, with the declarations it needs.

    A sleeper counts itself before the kernel compares the generation with the one it waits to end, and the last to arrive
    looks for sleepers after it has ended it, all in one order that every thread agrees on (seq_cst): one sees the other.
    """
    pause, declaration = pause_text(chosen)
    sleep, wake, system = _futex_text(chosen)
    return f"""\
{declaration}
{system}

define internal void @graphrt_barrier(ptr %barrier, i64 %threads) noinline nounwind {{
entry:
  %alone = icmp ule i64 %threads, 1
  br i1 %alone, label %leave, label %arrive
arrive:
  %generation.at = getelementptr i8, ptr %barrier, i64 {GENERATION}
  %sleepers.at = getelementptr i8, ptr %barrier, i64 {SLEEPERS}
  %generation = load atomic i64, ptr %generation.at monotonic, align 8
  %before = atomicrmw add ptr %barrier, i64 1 acq_rel
  %count = add i64 %before, 1
  %last = icmp eq i64 %count, %threads
  br i1 %last, label %release, label %wait
release:
  store atomic i64 {ARRIVED}, ptr %barrier monotonic, align 8
  %following = add i64 %generation, 1
  store atomic i64 %following, ptr %generation.at seq_cst, align 8
  %sleepers = load atomic i64, ptr %sleepers.at seq_cst, align 8
  %asleep = icmp ne i64 %sleepers, 0
  br i1 %asleep, label %wake, label %leave
wake:
  {wake}
  br label %leave
wait:
  %spins.at = getelementptr i8, ptr %barrier, i64 {SPINS}
  %spins = load i64, ptr %spins.at, align 8
  br label %look
look:
  %left = phi i64 [ %spins, %wait ], [ %fewer, %spin ], [ 0, %sleep ]
  %now = load atomic i64, ptr %generation.at acquire, align 8
  %released = icmp ne i64 %now, %generation
  br i1 %released, label %leave, label %again
again:
  %patient = icmp sgt i64 %left, 0
  br i1 %patient, label %spin, label %sleep
spin:
  {pause}
  %fewer = sub i64 %left, 1
  br label %look
sleep:
  %counted = atomicrmw add ptr %sleepers.at, i64 1 seq_cst
  {sleep}
  %uncounted = atomicrmw sub ptr %sleepers.at, i64 1 seq_cst
  br label %look
leave:
  ret void
}}
"""


def _futex_text(chosen: Target) -> tuple[str, str, str]:
    """Sleeping while the low half of %generation.at holds that of %generation, waking all that do, and the declaration.

    Both are calls of the C library's `syscall`: Linux has no function for futex.
    """
    if not chosen.is_linux:
        return "%yielded = call i32 @sched_yield()", "", "declare i32 @sched_yield()"
    number = 202 if chosen.is_x86 else 98
    call = f"call i64 (i64, ...) @syscall(i64 {number}, ptr %generation.at"
    sleep = f"%slept = {call}, i64 {_WAIT}, i64 %low, ptr null, ptr null, i64 0)"
    sleep = f"%low = and i64 %generation, 4294967295\n  {sleep}"
    wake = f"%woken = {call}, i64 {_WAKE}, i64 {_ALL}, ptr null, ptr null, i64 0)"
    return sleep, wake, "declare i64 @syscall(i64, ...)"
