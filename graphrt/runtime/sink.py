"""Many training steps per native call.

In: the lowered training step (and the same step for the ragged last batch of a pass), dataset columns, states.
Out: a `Sink`: `run(steps, ...)` makes one native call and reports losses, how many steps were done and why it ended.
The position in the data lives in the native frame, so k runs of one step are one run of k steps, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..codegen import driver
from ..codegen.lowered import LoweredStep
from ..codegen.target import Target
from ..errors import ArgumentError, CompileError
from . import memory
from .handover import CREW
from .program import indices_position, sink_program
from .result import Position, SinkResult
from .thread_choice import ThreadChoice
from .workers import POOL, Crew, ForkSafeLock, interrupts_deferred
from .workspace import Workspace, checked_column

SHORT_SECONDS = 0.02  # shorter runs stay on the calling thread: waking another one costs more than it brings
WATCH_SECONDS = 0.05  # how often the waiting main thread looks up
PROGRESS_SECONDS = 0.2  # how often it reports
LARGE_BYTES = 1 << 26  # losses are checked against free memory from here on: asking the system takes 0.2 ms

_STATUS = {driver.FINISHED: "finished", driver.INTERRUPTED: "interrupted", driver.NON_FINITE: "non_finite"}

Progress = Callable[[int, np.ndarray], None]


class Sink:
    """Training steps over a resident dataset, looped natively. See `compiler.compile_sink` for what a step reads."""

    def __init__(
        self,
        steps: Sequence[LoweredStep],
        *,
        size: int,
        batch_size: int,
        shuffle: bool,
        seed: int,
        threads: int | None = None,
        target: Target | None = None,
        steady: bool = False,
    ):
        """`steps`: the full step, and optionally the ragged one, for the last `size % batch_size` samples of a pass
        (without it they are dropped). `seed`: any integer, of which 32 bits count. `steady`: small steps, too, always run on
        all threads they are planned for.

        Raises ArgumentError if no step can ever run, CompileError if a step is not one of a sink.
        """
        self._steps = tuple(steps)
        self._size, self._batch = size, batch_size
        self._check_sizes()
        self.program = sink_program(self._steps, target)
        self._workspace = Workspace(self.program, threads)
        is_tentative = self._workspace.threads > 1 and self._steps[0].tentative and not steady
        self._choice = ThreadChoice(self._workspace.threads) if is_tentative else None
        if is_tentative:
            CREW.prepare(self._workspace.threads)
        self._lock = ForkSafeLock()
        self._places = [
            [(k, binding) for k, binding in step.positions("data") if k != indices_position(step)]
            for step in self._steps
        ]
        self._columns: list[np.ndarray] = []
        self._bound = False
        self._outputs = [
            self._workspace.own_outputs(step, pointers)
            for step, pointers in zip(self._steps, self._workspace.pointers)
        ]
        self._order = np.arange(size, dtype=np.int32)
        self._step_seconds = float("inf")
        self._entry, self._frame = self.program.entry, self._workspace.frame
        self._frame.order = memory.address(self._order)
        self._frame.size, self._frame.batch = size, batch_size
        self._frame.shuffle, self._frame.seed = int(shuffle), seed & 0xFFFFFFFF
        self._frame.order_epoch = -1

    def _check_sizes(self) -> None:
        size, batch, rest = self._size, self._batch, self._size % self._batch if self._batch > 0 else 0
        if not 0 < size < 1 << 31 or batch < 1:
            raise ArgumentError(
                "a sink needs samples and a batch size",
                expected="0 < size < 2^31 and batch_size > 0",
                given=f"size={size}, batch_size={batch}",
            )
        if len(self._steps) not in (1, 2):
            raise ArgumentError("a sink runs one step, or two with the ragged one", given=len(self._steps))
        if size < batch and len(self._steps) == 1:
            raise ArgumentError(
                "the dataset has fewer samples than one batch, and incomplete batches are dropped",
                expected=f"at least {batch} samples",
                given=size,
                fix="use a smaller batch size, or drop_remainder=False",
            )
        for step, count in zip(self._steps, (batch, rest)):
            given = step.bindings[indices_position(step)].type.shape[0]
            if given != count and count:
                raise CompileError(
                    f"step {step.name!r} is for batches of another size", expected=count, given=given
                )

    @property
    def threads(self) -> int:
        """How many threads a run uses, at most."""
        return self._workspace.threads

    @property
    def position(self) -> dict[str, int]:
        """Total steps run, passes over the data completed, next sample of the current pass."""
        return Position(self._frame.step, self._frame.epoch, self._frame.cursor).as_dict()

    @position.setter
    def position(self, value: Mapping[str, int]) -> None:
        """Continue from there. Raises ArgumentError if no batch starts there."""
        place = Position(**value)
        batches = self._size // self._batch + (len(self._steps) > 1 and self._size % self._batch > 0)
        valid = min(place.step, place.epoch, place.cursor) >= 0
        if not valid or place.cursor % self._batch or place.cursor // self._batch >= batches:
            raise ArgumentError(
                "no batch starts at this position",
                expected=f"step >= 0, epoch >= 0, cursor a multiple of {self._batch} below {batches * self._batch}",
                given=place.as_dict(),
                fix="restore a position saved with the same dataset size and batch size",
            )
        with self._lock:
            self._frame.step, self._frame.epoch, self._frame.cursor = place.step, place.epoch, place.cursor

    def run(
        self,
        steps: int,
        columns: Sequence[np.ndarray],
        state: Mapping[str, np.ndarray],
        progress: Progress | None = None,
    ) -> SinkResult:
        """Run `steps` training steps from the current position on.

        `columns`: the dataset, C-contiguous, read in place, in the order of the step's data inputs. `state`: by label,
        C-contiguous, updated in place. `progress(done, losses)` is called a few times a second in the calling thread;
        `losses` is float32[done]. Ctrl-C ends the run at the next step boundary with status "interrupted" (it raises
        nothing), and the next run continues there. Any other exception of a signal handler or of `progress` also ends
        it at a step boundary and is then raised.

        Raises ArgumentError, ShapeError or DTypeError, naming the array, before anything runs.
        """
        if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 0:
            raise ArgumentError(
                "steps must be a number of training steps", expected="an int >= 0", given=repr(steps)
            )
        with self._lock:
            self._bind(columns, state)
            if 4 * steps > LARGE_BYTES:
                memory.check_memory(4 * int(steps), f"losses of {steps} steps")
            losses = np.empty(int(steps), np.float32)
            frame = self._frame
            frame.losses, frame.steps = memory.address(losses), int(steps)
            frame.done, frame.status, frame.stop = 0, driver.RUNNING, 0
            interrupted = (self._run_tentatively if self._choice and steps else self._run_all)(
                losses, progress
            )
            done = frame.done
            status = _STATUS[frame.status]
            if interrupted and status == "finished":  # pressed during the last step: it must not be lost
                status = "interrupted"
        return SinkResult(losses if done == steps else losses[:done].copy(), done, status)

    def _run_all(self, losses: np.ndarray, progress: Progress | None) -> bool:
        """All steps in one native call; whether Ctrl-C was pressed meanwhile."""
        started = time.perf_counter()
        interrupted = self._execute(losses, progress)
        if self._frame.done:
            self._step_seconds = (time.perf_counter() - started) / self._frame.done
        return interrupted

    def _run_tentatively(self, losses: np.ndarray, progress: Progress | None) -> bool:
        """The same in short native calls, each on one thread or on all, whatever is faster at the time."""
        frame, choice, steps = self._frame, self._choice, len(losses)
        assert choice is not None
        reported = time.perf_counter()
        while True:
            before = frame.done
            frame.threads, count = choice.next(steps - before)
            frame.steps, frame.status = before + count, driver.RUNNING
            started = time.perf_counter()
            interrupted = self._execute(losses, None)
            now = time.perf_counter()
            choice.ran(frame.threads, frame.done - before, now - started)
            if frame.done > before:
                self._step_seconds = (now - started) / (frame.done - before)
            if interrupted or frame.status != driver.FINISHED or frame.done == steps:
                if interrupted and frame.done < steps and frame.status == driver.FINISHED:
                    frame.status = driver.INTERRUPTED
                return interrupted
            if progress is not None and now - reported >= PROGRESS_SECONDS:
                progress(frame.done, losses[: frame.done])
                reported = now

    def _bind(self, columns: Sequence[np.ndarray], state: Mapping[str, np.ndarray]) -> None:
        new_states = self._workspace.bind_states(state)
        same = len(columns) == len(self._columns) and all(a is b for a, b in zip(columns, self._columns))
        if same and not new_states and self._bound:
            return
        self._bound = False
        if len(columns) != len(self._places[0]):
            raise ArgumentError(
                "wrong number of dataset columns",
                expected=f"{len(self._places[0])}: "
                + ", ".join(binding.label for _, binding in self._places[0]),
                given=len(columns),
            )
        updated = self._workspace.updated
        for places, pointers in zip(self._places, self._workspace.pointers):
            for (k, binding), column in zip(places, columns):
                pointers[k] = memory.address(checked_column(binding, column, updated))
        self._columns, self._bound = list(columns), True

    def _execute(self, losses: np.ndarray, progress: Progress | None) -> bool:
        """Let all threads run the sink; whether Ctrl-C was pressed meanwhile."""
        workspace, frame = self._workspace, self._frame
        workspace.reset_barrier()
        threads = frame.threads
        short = self._step_seconds * (frame.steps - frame.done) < SHORT_SECONDS
        direct = short or self._choice is not None  # which never fixes a count for long
        if direct and threads > 1:
            with interrupts_deferred() as interruption:
                if CREW.run(self.program.address, workspace.address, threads):
                    return interruption.requested
        with interrupts_deferred(self.stop) as interruption:
            crew = POOL.reserve(threads - direct)
            try:
                crew.start(lambda thread: self._entry(workspace.address, thread), first=int(direct))
                if direct:
                    self._entry(workspace.address, 0)
                else:
                    self._watch(crew, losses, progress)
            except KeyboardInterrupt:
                interruption.requested = True
            finally:
                if not crew.launched:
                    frame.status = driver.INTERRUPTED
                elif frame.status == driver.RUNNING:
                    self.stop()
                    if direct:  # an exception struck before thread 0 entered: let the others out
                        self._entry(workspace.address, 0)
                crew.join()
        return interruption.requested

    def _watch(self, crew: Crew, losses: np.ndarray, progress: Progress | None) -> None:
        """Wait in Python, where signals are handled, while workers run native code."""
        reported = time.perf_counter()
        while not crew.wait(WATCH_SECONDS):
            now = time.perf_counter()
            if progress is not None and now - reported >= PROGRESS_SECONDS:
                done = self._frame.done
                progress(done, losses[:done])
                reported = now

    def stop(self) -> None:
        """End the run that is under way at its next step boundary; without one, do nothing. For signal handlers and other
        threads: it takes no lock."""
        self._frame.stop = 1
