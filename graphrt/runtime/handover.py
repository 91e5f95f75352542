"""Threads kept warm for programs that are called again and again: a call reaches them in about a microsecond.

In: the address of a native entry and of its frame. Out: the entry run by several threads at once, this one included.
Between calls the threads watch their mailboxes in native code for a millisecond or two, then park in Python.
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any

from ..codegen import handover, jit
from ..codegen.target import target
from . import memory
from .placement import current_cpu, step_aside
from .workers import default_threads

MOST_THREADS = 1024  # mailboxes never move, so there is a fixed number of them


class WarmCrew:
    """The process's warm threads. They serve one caller at a time; others use the pool of `workers.py`."""

    def __init__(self) -> None:
        self._code: Any = None
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """Threads do not survive a fork: the child starts without any."""
        self._busy = threading.Lock()
        self._gates: list[Any] = []
        self._mailboxes: Any = None
        # Where the caller (0) and the workers began that are not parked.
        self._cpus: dict[int, int | None] = {}

    def prepare(self, threads: int) -> None:
        """Have ready what the first call for `threads` threads needs: native code and parked threads."""
        with self._busy:
            self._grow(threads - 1)

    def run(self, entry: int, frame: int, threads: int) -> bool:
        """Run `entry(frame, 0)` here and `entry(frame, 1 .. threads - 1)` in warm threads; returns when all have ended.
        False, with nothing run, if the crew serves somebody else. Addresses are integers.

        No exception can strike between the start and the end of the program: both are inside one native call.
        """
        if not self._busy.acquire(False):
            return False
        try:
            self._grow(threads - 1)
            while True:
                parked = self._dispatch(self._address, threads - 1, entry, frame)
                if not parked:
                    return True
                self._cpus[0] = current_cpu()
                self._gates[parked - 1].release()
        finally:
            self._busy.release()

    def _grow(self, count: int) -> None:
        """Start what is missing of the native code and of `count` threads."""
        if self._mailboxes is not None and count <= len(self._gates):
            return
        if self._mailboxes is None:
            if self._code is None:
                self._code = _load()
            self._dispatch = self._code[1]
            size = ctypes.sizeof(handover.Mailbox)
            self._memory = memory.aligned_bytes(MOST_THREADS * size)
            self._address = memory.address(self._memory)
            self._mailboxes = (handover.Mailbox * MOST_THREADS).from_address(self._address)
        spins = handover.SPINS if count < default_threads() else 0
        for k in range(len(self._gates), count):
            mailbox = self._mailboxes[k]
            mailbox.state, mailbox.number, mailbox.spins = handover.PARKED, k + 1, spins
            gate = threading.Lock()
            gate.acquire()
            cpus = self._cpus if spins else {}
            arguments = gate, self._code[2], ctypes.addressof(mailbox), k + 1, cpus, self._memory
            threading.Thread(target=_serve, args=arguments, name="graphrt-warm", daemon=True).start()
            self._gates.append(gate)


def _serve(gate: Any, linger: Any, address: int, number: int, cpus: dict[int, int | None], keep: Any) -> None:
    """A warm thread's life. `cpus`: where the others are. `keep`: the memory of the mailboxes, which it watches even if
    nobody else needs it."""
    while True:
        gate.acquire()
        if cpus:
            step_aside([cpu for other, cpu in list(cpus.items()) if other != number])
            cpus[number] = current_cpu()
        linger(address)
        cpus.pop(number, None)


def _load() -> tuple[Any, Any, Any]:
    """The loaded code (which must be kept) and its two functions."""
    chosen = target("host")
    text = handover.handover_text(chosen)
    names = ["graphrt_dispatch", "graphrt_linger"]
    loaded = jit.load([jit.compile_text(text, chosen).object_code], names)
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    dispatch = ctypes.CFUNCTYPE(number, pointer, number, pointer, pointer)(loaded.address(names[0]))
    return loaded, dispatch, ctypes.CFUNCTYPE(None, pointer)(loaded.address(names[1]))


CREW = WarmCrew()
