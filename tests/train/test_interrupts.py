"""Signals and errors at the worst moments: what was trained is counted, told and saved, or was not trained."""

import signal
import warnings

import numpy as np
import pytest

from graphrt import dataset as ds
from graphrt.errors import CheckpointError
from graphrt.train import Callback, CheckpointConfig, History, LossMonitor, ModelCheckpoint, durable
from graphrt.train.checkpoint_store import load_for_resume
from graphrt.train.feed import BlockSteps
from graphrt.train.source import ResidentSteps

from .resumable import EPOCHS, make, state

AT_ERRORS = CheckpointConfig(save_checkpoint_steps=10**6, exception_save=True)


@pytest.fixture(autouse=True)
def nothing_is_skipped():
    """ModelCheckpoint warns where it does not know the state."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _striking(original, call, after):
    """`original` that presses Ctrl-C in its `call`-th call, before or after the work."""
    calls = 0

    def run(self, *args):
        nonlocal calls
        calls += 1
        if calls == call and not after:
            signal.raise_signal(signal.SIGINT)
        result = original(self, *args)
        if calls == call and after:
            signal.raise_signal(signal.SIGINT)
        return result

    return run


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("streamed", [False, True], ids=["resident", "streamed"])
@pytest.mark.parametrize("sink", [dict(dataset_sink_mode=False), dict(sink_size=3)], ids=["steps", "sinks"])
def test_ctrl_c_between_native_code_and_the_counts(tmp_path, monkeypatch, sink, streamed, after):
    whole, data = make(streamed=streamed)
    expected = whole.train(EPOCHS, data, progress=False, **sink).losses
    owner, name = (BlockSteps, "_train") if streamed else (ResidentSteps, "run")
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, _striking(getattr(owner, name), 3, after))
        model, data = make(streamed=streamed)
        history = History()
        callbacks = [ModelCheckpoint(directory=tmp_path, config=AT_ERRORS), history]
        with pytest.raises(KeyboardInterrupt, match=r"interrupted after \d+ steps"):
            model.train(EPOCHS, data, callbacks, progress=False, **sink)
    found = load_for_resume(tmp_path)
    size = sink.get("sink_size", 1)
    assert 2 <= len(history.losses) <= 3 * size
    assert found[1].arrays["graphrt.losses"].tobytes() == history.losses.tobytes()
    model, data = make(9, streamed)
    losses = model.train(EPOCHS, data, progress=False, resume=tmp_path, **sink).losses
    assert losses.tobytes() == expected.tobytes()
    ours, theirs = state(model), state(whole)
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)


def test_ctrl_c_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    """It is written again when training ends."""
    publish, calls = durable.publish, []

    def interrupted_once(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        publish(*args)

    monkeypatch.setattr(durable, "publish", interrupted_once)
    model, data = make()
    saving = ModelCheckpoint(directory=tmp_path, config=CheckpointConfig(exception_save=True))
    with pytest.raises(KeyboardInterrupt):
        model.train(1, data, saving, dataset_sink_mode=False, progress=False)
    assert len(calls) == 4 and load_for_resume(tmp_path)[0].step == 3


def test_a_checkpoint_that_cannot_be_written_is_not_tried_again(tmp_path, monkeypatch):
    calls = []

    def full(*args):
        calls.append(args)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "publish", full)
    model, data = make()
    saving = ModelCheckpoint(directory=tmp_path, config=CheckpointConfig(exception_save=True))
    with pytest.raises(CheckpointError, match="No space left"):
        model.train(1, data, saving, progress=False)
    assert len(calls) == 1
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("ignored", [False, True], ids=["foreground", "background"])
def test_sigterm_where_sigint_is_ignored_or_not(tmp_path, monkeypatch, ignored):
    """A shell starts programs in the background with SIGINT ignored. It comes again while the state is saved."""
    publish = durable.publish

    def published(*args):
        signal.raise_signal(signal.SIGTERM)
        publish(*args)

    class Terminate(Callback):
        def sink_progress(self, run_context):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(durable, "publish", published)
    model, data = make()
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
        saving = ModelCheckpoint(directory=tmp_path, config=AT_ERRORS)
        with pytest.raises(SystemExit) as ended:
            model.train(1, data, [Terminate(), saving], sink_size=1 << 22, progress=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 143 and load_for_resume(tmp_path)[0].step > 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_sigterm_between_steps(tmp_path):
    class Terminate(Callback):
        def step_end(self, run_context):
            if run_context.original_args().cur_step_num == 2:
                signal.raise_signal(signal.SIGTERM)

        def end(self, run_context):
            raise RuntimeError("this must not keep the others from ending")

    model, data = make()
    saving = ModelCheckpoint(directory=tmp_path, config=AT_ERRORS)
    with pytest.raises(SystemExit):
        model.train(1, data, [Terminate(), saving], dataset_sink_mode=False, progress=False)
    assert load_for_resume(tmp_path)[0].step == 2


@pytest.mark.parametrize("sink", [dict(dataset_sink_mode=False), dict(sink_size=4), dict(sink_size=-1)])
def test_steps_before_an_error_of_the_source_count(tmp_path, make_model, points, sink):
    x, y = points

    def generate():
        yield from zip(x[:18], y[:18])
        raise RuntimeError("disk on fire")

    seen = []

    class See(Callback):
        def step_end(self, run_context):
            seen.append(run_context.original_args().cur_step_num)

    model, history = make_model(), History()
    data = ds.GeneratorDataset(generate, ["x", "y"]).batch(6)
    saving = ModelCheckpoint(directory=tmp_path, config=AT_ERRORS)
    with pytest.raises(RuntimeError, match="disk on fire") as error:
        model.train(1, data, [LossMonitor(0), history, See(), saving], progress=False, **sink)
    assert any(entry.name == "generate" for entry in error.traceback)
    expected = make_model().train(1, ds.NumpySlicesDataset((x[:18], y[:18]), shuffle=False).batch(6)).losses
    assert history.losses.tobytes() == expected.tobytes() and seen[-1] == 3
    assert np.array_equal(load_for_resume(tmp_path)[1].arrays["graphrt.losses"], expected)
    assert len(model.train(1, ds.NumpySlicesDataset((x, y)).batch(5)).losses) == 4  # still usable


def test_callbacks_that_have_begun_end_and_no_others(make_model, resident):
    calls = []

    class Tell(Callback):
        def __init__(self, name, fails=""):
            self.name, self.fails = name, fails

        def begin(self, run_context):
            calls.append(f"begin {self.name}")
            if self.fails == "begin":
                raise ValueError(self.name)

        def end(self, run_context):
            calls.append(f"end {self.name}")
            if self.fails == "end":
                raise ValueError(self.name)

    with pytest.raises(ValueError, match="two"):
        make_model().train(1, resident(), [Tell("one"), Tell("two", "begin"), Tell("three")])
    assert calls == ["begin one", "begin two", "end one", "end two"]
    calls.clear()
    with pytest.raises(ValueError, match="one"):
        make_model().train(1, resident(), [Tell("one", "end"), Tell("two", "end"), Tell("three")])
    assert calls[3:] == ["end one", "end two", "end three"]
