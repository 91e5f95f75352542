"""Native code that hands a program to waiting threads: about a microsecond instead of waking them through Python.

In: nothing. Out: LLVM IR text of

    @graphrt_linger(ptr mail)                                     a worker: take calls until none comes for a while
    @graphrt_dispatch(ptr mails, i64 count, ptr entry, ptr frame) the caller: run entry(frame, 0 .. count) with them

A worker and its callers share a mailbox, whose state says who may touch it:

    PARKED   the worker waits in Python           caller -> COMING, and opens its gate there
    COMING   it is on its way                     worker -> IDLE
    IDLE     it watches the mailbox               caller -> CLAIMED, or worker -> PARKED when it has waited long enough
    CLAIMED  a caller is about to fill it in      caller -> CALLED
    CALLED   the worker runs the program          worker -> IDLE

Only one caller at a time dispatches to a set of mailboxes.
"""

from __future__ import annotations

import ctypes

from .meeting import LINE, pause_text
from .target import Target

PARKED, COMING, IDLE, CLAIMED, CALLED = range(5)
SPINS = 20_000  # looks with a pause between them, some hundred microseconds, before a waiting worker starts to yield
YIELDS = 2_000  # looks with a yield between them, about a millisecond, before it parks


class Mailbox(ctypes.Structure):
    """What a worker and its caller share. The state has a pair of cache lines of its own."""

    _fields_ = (
        ("state", ctypes.c_int64),
        ("apart", ctypes.c_uint8 * (LINE - 8)),
        ("entry", ctypes.c_uint64),  # address of the program's entry
        ("frame", ctypes.c_uint64),  # its argument
        ("number", ctypes.c_int64),  # the thread number of the worker, set once
        ("spins", ctypes.c_int64),  # how long to look with pauses, set once; 0 where CPUs are scarce
        ("rest", ctypes.c_uint8 * (LINE - 32)),
    )


def handover_text(chosen: Target) -> str:
    """The definitions, with the declarations they need."""
    pause, declaration = pause_text(chosen)
    return f"""\
{declaration}
declare i32 @sched_yield()

define internal i64 @graphrt_rest(i64 %looks, i64 %spins) nounwind {{
entry:
  %patient = icmp slt i64 %looks, %spins
  br i1 %patient, label %spin, label %yield
spin:
  {pause}
  br label %leave
yield:
  %ignored = call i32 @sched_yield()
  br label %leave
leave:
  %next = add i64 %looks, 1
  ret i64 %next
}}

define void @graphrt_linger(ptr %mail) nounwind {{
entry:
{_field("entry")}
{_field("frame")}
{_field("number")}
{_field("spins")}
  %number = load i64, ptr %number.at, align 8
  %spins = load i64, ptr %spins.at, align 8
  %limit = add i64 %spins, {YIELDS}
  store atomic i64 {IDLE}, ptr %mail release, align 8
  br label %look
look:
  %looks = phi i64 [ 0, %entry ], [ 0, %run ], [ %more, %rest ]
  %state = load atomic i64, ptr %mail acquire, align 8
  %called = icmp eq i64 %state, {CALLED}
  br i1 %called, label %run, label %check
run:
  %program = load ptr, ptr %entry.at, align 8
  %frame = load ptr, ptr %frame.at, align 8
  call void %program(ptr %frame, i64 %number)
  store atomic i64 {IDLE}, ptr %mail release, align 8
  br label %look
check:
  %late = icmp sgt i64 %looks, %limit
  br i1 %late, label %park, label %rest
park:
  %try = cmpxchg ptr %mail, i64 {IDLE}, i64 {PARKED} acq_rel monotonic
  %parked = extractvalue {{ i64, i1 }} %try, 1
  br i1 %parked, label %leave, label %rest
rest:
  %more = call i64 @graphrt_rest(i64 %looks, i64 %spins)
  br label %look
leave:
  ret void
}}

; Claims every worker that watches. Returns 0, or 1 + the number of one that is parked (now coming: open its gate).
define internal i64 @graphrt_claim(ptr %mails, i64 %count) nounwind {{
entry:
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k.after, %claimed ]
  %complete = icmp sge i64 %k, %count
  br i1 %complete, label %success, label %mailbox
mailbox:
{_mailbox("mail", "k")}
  %spins.place = getelementptr i8, ptr %mail, i64 {Mailbox.spins.offset}
  %spins = load i64, ptr %spins.place, align 8
  br label %look
look:
  %looks = phi i64 [ 0, %mailbox ], [ %more, %rest ]
  %try = cmpxchg ptr %mail, i64 {IDLE}, i64 {CLAIMED} acq_rel acquire
  %ok = extractvalue {{ i64, i1 }} %try, 1
  br i1 %ok, label %claimed, label %wait
claimed:
  %k.after = add i64 %k, 1
  br label %next
wait:
  %state = extractvalue {{ i64, i1 }} %try, 0
  %asleep = icmp eq i64 %state, {PARKED}
  %coming = icmp eq i64 %state, {COMING}
  %patience = select i1 %coming, i64 0, i64 %spins ; it may need this very CPU to come
  br i1 %asleep, label %undo, label %rest
rest:
  %more = call i64 @graphrt_rest(i64 %looks, i64 %patience)
  br label %look
undo:
  store atomic i64 {COMING}, ptr %mail release, align 8
  br label %back
back:
  %j = phi i64 [ %k, %undo ], [ %j.before, %free ]
  %all = icmp eq i64 %j, 0
  br i1 %all, label %failure, label %free
free:
  %j.before = sub i64 %j, 1
{_mailbox("other", "j.before")}
  store atomic i64 {IDLE}, ptr %other release, align 8
  br label %back
failure:
  %wanted = add i64 %k, 1
  ret i64 %wanted
success:
  ret i64 0
}}

define i64 @graphrt_dispatch(ptr %mails, i64 %count, ptr %program, ptr %frame) nounwind {{
entry:
  %missing = call i64 @graphrt_claim(ptr %mails, i64 %count)
  %ready = icmp eq i64 %missing, 0
  br i1 %ready, label %post, label %leave
post:
  %k = phi i64 [ 0, %entry ], [ %k.after, %mailbox ]
  %posted = icmp sge i64 %k, %count
  br i1 %posted, label %work, label %mailbox
mailbox:
{_mailbox("mail", "k")}
{_field("entry")}
{_field("frame")}
  store ptr %program, ptr %entry.at, align 8
  store ptr %frame, ptr %frame.at, align 8
  store atomic i64 {CALLED}, ptr %mail release, align 8
  %k.after = add i64 %k, 1
  br label %post
work:
  call void %program(ptr %frame, i64 0)
  br label %gather
gather:
  %j = phi i64 [ 0, %work ], [ %j.after, %left ]
  %gathered = icmp sge i64 %j, %count
  br i1 %gathered, label %leave, label %await
await:
{_mailbox("other", "j")}
  br label %look
look:
  %looks = phi i64 [ 0, %await ], [ %more, %rest ]
  %state = load atomic i64, ptr %other acquire, align 8
  %busy = icmp eq i64 %state, {CALLED}
  br i1 %busy, label %rest, label %left
rest:
  %more = call i64 @graphrt_rest(i64 %looks, i64 {SPINS})
  br label %look
left:
  %j.after = add i64 %j, 1
  br label %gather
leave:
  ret i64 %missing
}}
"""


def _mailbox(name: str, number: str) -> str:
    """%name is the mailbox with this number."""
    offset = f"  %{name}.offset = mul i64 %{number}, {ctypes.sizeof(Mailbox)}\n"
    return offset + f"  %{name} = getelementptr i8, ptr %mails, i64 %{name}.offset"


def _field(name: str) -> str:
    return f"  %{name}.at = getelementptr i8, ptr %mail, i64 {getattr(Mailbox, name).offset}"
