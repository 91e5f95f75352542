"""Callbacks: when they run, what they are told, what the ready-made ones print and raise."""

import io
import os
import re
import signal
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from graphrt.errors import ArgumentError, NonFiniteError
from graphrt.train import Callback, History, LossMonitor, Metric, ProgressBar, TimeMonitor

from .conftest import weights


class Recorder(Callback):
    """Writes down what it is told."""

    def __init__(self):
        self.events = []

    def _note(self, name, run_context):
        p = run_context.original_args()
        self.events.append((name, p.get("cur_epoch_num"), p.get("cur_step_num")))

    def begin(self, run_context):
        self._note("begin", run_context)

    def epoch_begin(self, run_context):
        self._note("epoch_begin", run_context)

    def step_begin(self, run_context):
        self._note("step_begin", run_context)

    def step_end(self, run_context):
        self._note("step_end", run_context)
        parameters = run_context.original_args()
        assert parameters.net_outputs.shape == () and parameters.losses.dtype == np.float32
        assert parameters["net_outputs"] is parameters.net_outputs

    def epoch_end(self, run_context):
        self._note("epoch_end", run_context)

    def end(self, run_context):
        self._note("end", run_context)


def test_order_in_sink_mode(make_model, resident):
    recorder = Recorder()
    make_model().train(2, resident(), recorder, sink_size=3)
    assert recorder.events == [
        ("begin", None, 0),
        ("epoch_begin", 1, 0), ("step_begin", 1, 0), ("step_end", 1, 3), ("epoch_end", 1, 3),
        ("epoch_begin", 2, 3), ("step_begin", 2, 3), ("step_end", 2, 6), ("epoch_end", 2, 6),
        ("end", 2, 6),
    ]  # fmt: skip


def test_order_step_by_step(make_model, resident):
    recorder = Recorder()
    make_model().train(1, resident(batch_size=10), recorder, dataset_sink_mode=False, sink_size=50)
    assert [name for name, _, _ in recorder.events] == [
        "begin", "epoch_begin", "step_begin", "step_end", "step_begin", "step_end", "epoch_end", "end",
    ]  # fmt: skip


def test_per_step_callbacks_see_every_step_of_a_sink(make_model, resident):
    class EveryStep(Callback):
        per_step = True
        seen: tuple = ()

        def step_end(self, run_context):
            p = run_context.original_args()
            self.seen += ((p.cur_step_num, p.cur_step_in_epoch, float(p.net_outputs)),)

    every, history = EveryStep(), History()
    make_model().train(2, resident(), [every, history], sink_size=3)
    assert [(a, b) for a, b, _ in every.seen] == [(1, 1), (2, 2), (3, 3), (4, 1), (5, 2), (6, 3)]
    assert [loss for _, _, loss in every.seen] == history.losses.tolist()


def test_names_with_on_train_work_too(make_model, resident):
    class Late(Callback):
        called = 0

        def on_train_step_end(self, run_context):
            self.called += 1

    late = Late()
    make_model().train(3, resident(), late)
    assert late.called == 3


@pytest.mark.parametrize(("sink_mode", "steps"), [(True, 4), (False, 2)])
def test_request_stop(make_model, resident, sink_mode, steps):
    class Stop(Recorder):
        def step_end(self, run_context):
            super().step_end(run_context)
            if run_context.original_args().cur_step_num >= 2:
                run_context.request_stop()

    stop = Stop()
    history = make_model().train(5, resident(), stop, dataset_sink_mode=sink_mode)
    assert len(history.losses) == steps and stop.events[-1][0] == "end"


class StopIn(Recorder):
    """Asks to stop in one of the methods, as soon as so many steps are done."""

    def __init__(self, hook, step=0):
        super().__init__()
        self.hook, self.step = hook, step

    def _note(self, name, run_context):
        super()._note(name, run_context)
        if name == self.hook and run_context.original_args().cur_step_num >= self.step:
            run_context.request_stop()
            assert run_context.get_stop_requested()


# MindSpore looks at the request after a step (without sinks) and after an epoch's sink, in Model._train_process and
# Model._train_dataset_sink_process; an epoch has 4 steps, a sink of 3 steps is an epoch
@pytest.mark.parametrize(
    ("hook", "step", "steps", "sinks"),
    [
        ("begin", 0, 1, 3), ("epoch_begin", 0, 1, 3), ("step_begin", 0, 1, 3), ("step_end", 0, 1, 3),
        ("epoch_end", 0, 4, 3), ("epoch_begin", 4, 5, 9), ("step_begin", 5, 6, 9), ("step_end", 5, 5, 6),
        ("step_end", 4, 4, 6), ("epoch_end", 5, 8, 6), ("end", 0, 12, 9),
    ],
)  # fmt: skip
@pytest.mark.parametrize("streamed_data", [False, True], ids=["resident", "streamed"])
def test_a_stop_comes_after_the_present_step_or_sink(
    make_model, resident, streamed, streamed_data, hook, step, steps, sinks
):
    for arguments, expected in (({"dataset_sink_mode": False}, steps), ({"sink_size": 3}, sinks)):
        stop, model, data = StopIn(hook, step), make_model(), (streamed if streamed_data else resident)()
        history = model.train(3, data, stop, **arguments)
        assert len(history.losses) == expected
        ends = [name for name, _, _ in stop.events if name != "step_begin"]  # streamed data may end after one
        assert ends[-3:] == ["step_end", "epoch_end", "end"]
        again = model.train(1, data, **arguments)  # the request is forgotten; a whole epoch comes
        assert len(again.losses) == (3 if "sink_size" in arguments else 4)


def test_a_stop_from_a_callback_that_sees_every_step_of_a_sink(make_model, resident):
    class Stop(Callback):
        per_step = True
        seen = 0

        def step_end(self, run_context):
            self.seen += 1
            if run_context.original_args().cur_step_num == 2:  # the sink has long done them all
                run_context.request_stop()

    stop, model = Stop(), make_model()
    assert len(model.train(3, resident(), [stop], sink_size=3).losses) == stop.seen == 3


def test_a_stop_in_the_middle_of_an_epoch_is_followed_by_the_evaluation(make_model, resident):
    model = make_model(metrics={"accuracy"})
    history = model.fit(3, resident(), resident(), callbacks=StopIn("step_end", 2), dataset_sink_mode=False)
    assert len(history.losses) == 2 and len(history.history["accuracy"]) == 1


def test_batch_num_and_totals(make_model, resident, streamed):
    numbers = []

    class Totals(Callback):
        def epoch_end(self, run_context):
            p = run_context.original_args()
            numbers.append((p.batch_num, p.epoch_num, p.cur_step_in_epoch))

    make_model().train(1, resident(), Totals())
    make_model().train(1, resident(), Totals(), sink_size=7)
    make_model().train(1, streamed(), Totals())  # known after the first pass
    assert numbers == [(4, 1, 4), (7, 1, 7), (4, 1, 4)]


def test_loss_monitor_prints_one_line_per_sink(make_model, resident, capsys):
    history = make_model().train(2, resident(), [LossMonitor()], sink_size=3)
    expected = [f"epoch: {k + 1} step: 3, loss is {history.losses[3 * k + 2]!s}" for k in range(2)]
    assert capsys.readouterr().out.splitlines() == expected


def test_loss_monitor_writes_floats_as_float32_does(capsys):
    from graphrt.train.hooks import CallbackParameters, RunContext

    parameters = CallbackParameters(
        net_outputs=np.float32(0.5399815), cur_epoch_num=1, cur_step_in_epoch=1000, cur_step_num=1000
    )
    LossMonitor().step_end(RunContext(parameters))
    assert capsys.readouterr().out == "epoch: 1 step: 1000, loss is 0.5399815\n"


def test_loss_monitor_intervals(make_model, resident, capsys):
    make_model().train(2, resident(), LossMonitor(3, per_step=True))
    lines = capsys.readouterr().out.splitlines()
    assert [re.match(r"epoch: (\d) step: (\d),", line).groups() for line in lines] == [("1", "3"), ("2", "2")]
    make_model().train(2, resident(), LossMonitor(0))
    assert capsys.readouterr().out == ""
    with pytest.raises(ArgumentError, match="per_print_times"):
        LossMonitor(-1)


def test_time_monitor(make_model, resident, capsys):
    make_model().train(2, resident(), TimeMonitor())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for line in lines:
        total, per_step = re.fullmatch(
            r"Train epoch time: +([\d.]+) ms, per step time: +([\d.]+) ms", line
        ).groups()
        assert float(per_step) == pytest.approx(float(total) / 4, abs=2e-3)


def test_time_monitor_leaves_evaluations_out(make_model, resident, capsys, monkeypatch):
    from graphrt.train import monitors

    now = [100.0]
    monkeypatch.setattr(monitors, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    class Slow(Metric):
        def clear(self):
            now[0] += 5.0

        def update(self, *inputs):
            pass

        def eval(self):
            return 0

    class Step(Callback):
        def step_end(self, run_context):
            now[0] += 0.25

    model = make_model(metrics={"slow": Slow()})
    model.fit(2, resident(), resident(), callbacks=[Step(), TimeMonitor()])
    assert capsys.readouterr().out == "Train epoch time: 250.000 ms, per step time: 62.500 ms\n" * 2


def test_history(make_model, resident):
    history = History()
    assert make_model(metrics={"accuracy"}).fit(2, resident(), resident(), callbacks=history) is history
    assert history.epoch == [1, 2] and len(history.losses) == 8
    assert history.history["loss"] == pytest.approx([history.losses[:4].mean(), history.losses[4:].mean()])
    assert history.history["net_output"] == [history.losses[3], history.losses[7]]
    assert len(history.history["accuracy"]) == 2


def test_progress_bar_only_where_somebody_watches(make_model, resident, monkeypatch, capsys):
    make_model().train(1, resident())
    assert capsys.readouterr().err == ""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for progress, shown in ((None, True), (False, False), (True, True)):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        make_model().train(2, resident(), [LossMonitor()], progress=progress)
        assert ("step" in terminal.getvalue()) == shown
    assert capsys.readouterr().out.count("loss is") == 6
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    make_model().train(1, resident(), [ProgressBar(enabled=False)])
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("callbacks", [[LossMonitor()], []], ids=["with LossMonitor", "without"])
def test_nan_loss_exact_message(make_model, resident, points, callbacks, engine):
    from graphrt import dataset as ds

    x, y = points
    x = x.copy()
    x[13] = np.nan  # in the third batch
    recorder, history = Recorder(), History()
    model = make_model()
    with pytest.raises(NonFiniteError) as caught:
        model.train(1, ds.NumpySlicesDataset((x, y), shuffle=False).batch(6), [recorder, history, *callbacks])
    line = caught.traceback[0].lineno + 1
    assert isinstance(caught.value, ValueError)
    assert caught.value.at.endswith(f"test_callbacks.py:{line}")
    assert str(caught.value) == (
        "epoch: 1 step: 3. Invalid loss, terminating training.\n"
        f"  at:       {caught.value.at}\n"
        "  expected: a finite loss\n"
        "  given:    a loss of nan\n"
        "  fix:      lower the learning rate; look for NaN or infinity in the data and for labels out of range; "
        "add a small constant before log, sqrt and division"
    )
    assert recorder.events[-1] == ("end", 1, 3)
    assert np.isfinite(history.losses[:2]).all() and np.isnan(history.losses[2]) and len(history.losses) == 3


def test_diverging_training_is_reported(make_model, resident):
    with pytest.raises(NonFiniteError, match=r"epoch: \d+ step: \d"):
        make_model(learning_rate=1e38).train(100, resident())


def test_ctrl_c_stops_a_long_sink_with_valid_parameters(make_model, resident):
    model, recorder, history = make_model(learning_rate=1e-4), Recorder(), History()
    data = resident()
    model.train(1, data)  # compiled before the clock starts

    class Interrupt(Callback):
        def step_begin(self, run_context):
            self.timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
            self.timer.start()

    before = weights(model)
    with pytest.raises(KeyboardInterrupt, match="training was interrupted after"):
        model.train(1, data, [recorder, history, Interrupt()], sink_size=1_000_000_000)
    name, _, steps = recorder.events[-1]
    assert name == "end" and 0 < steps < 1_000_000_000
    assert len(history.losses) == steps
    step_counter = next(p for p in model._parts.optimizer.get_parameters() if "global_step" in p.name)
    assert int(step_counter.asnumpy().reshape(-1)[0]) == steps + 4
    after = weights(model)
    assert all(np.isfinite(value).all() for value in after.values())
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    assert len(model.train(1, data).losses) == 4  # and it goes on
