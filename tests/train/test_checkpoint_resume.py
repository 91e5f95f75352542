"""A resumed run is the run that was interrupted, bit for bit, wherever it was cut."""

import json
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import graphrt
from graphrt import dataset as ds
from graphrt import nn
from graphrt.errors import CheckpointError, NonFiniteError
from graphrt.train import Callback, CheckpointConfig, History, Model, ModelCheckpoint, weights_file
from graphrt.train.checkpoint_store import load_for_resume

from .resumable import EPOCHS, Net, StopAt, Stopped, make, state

SINKS = {
    "steps": dict(dataset_sink_mode=False),
    "sinks of 3": dict(sink_size=3),
    "passes": dict(sink_size=-1),
}
AT_ERRORS = CheckpointConfig(save_checkpoint_steps=10**6, exception_save=True)


def train(seed=1, streamed=False, callbacks=(), **arguments):
    model, data = make(seed, streamed)
    return model, model.train(EPOCHS, data, list(callbacks), progress=False, **arguments)


def stop(directory, step, config=AT_ERRORS, **arguments):
    with pytest.raises(Stopped):
        train(callbacks=[ModelCheckpoint(directory=directory, config=config), StopAt(step)], **arguments)


def assert_same_run(one, other):
    (model, history), (expected_model, expected) = one, other
    assert history.losses.tobytes() == expected.losses.tobytes()
    assert (history.epoch, history.history) == (expected.epoch, expected.history)
    ours, theirs = state(model), state(expected_model)
    assert [name for name in theirs if ours[name].tobytes() != theirs[name].tobytes()] == []


@pytest.mark.parametrize("streamed", [False, True], ids=["resident", "streamed"])
@pytest.mark.parametrize("sink", SINKS)
def test_resumed_wherever_it_was_cut(tmp_path, sink, streamed):
    """The program that resumes has other weights, another seed and fresh random keys: all of it is replaced."""
    arguments = SINKS[sink] | {"streamed": streamed}
    whole = train(**arguments)
    size = {"steps": 1, "sinks of 3": 3, "passes": 5}[sink]
    for cut in [1, 4, 5, 7, 13, 20] if size == 1 else range(size, len(whole[1].losses) + 1, size):
        folder = tmp_path / str(cut)
        stop(folder, cut, **arguments)
        assert_same_run(train(seed=99, resume=folder, **arguments), whole)


def test_steps_may_be_cut_into_sinks_otherwise_after_resuming(tmp_path):
    whole = train(sink_size=-1)
    stop(tmp_path, 7, dataset_sink_mode=False)
    assert_same_run(train(seed=3, resume=tmp_path, sink_size=-1), whole)


@pytest.mark.parametrize(
    "arguments", [dict(dataset_sink_mode=False), dict(sink_size=3)], ids=["steps", "sinks"]
)
@pytest.mark.parametrize("streamed", [False, True], ids=["resident", "streamed"])
def test_a_run_that_was_asked_to_stop_goes_on(tmp_path, arguments, streamed):
    """Wherever somebody asked: the epoch that was cut short is finished, not left out, and not counted twice."""
    whole = train(streamed=streamed, **arguments)

    def asking(hook, step):
        class Asking(Callback):
            pass

        def ask(self, run_context):
            if run_context.original_args().cur_step_num >= step:
                run_context.request_stop()

        setattr(Asking, hook, ask)
        return Asking()

    places = [
        ("begin", 0),
        ("epoch_begin", 5),
        ("step_begin", 7),
        ("step_end", 7),
        ("step_end", 10),
        ("epoch_end", 5),
    ]
    for number, (hook, step) in enumerate(places):
        folder = tmp_path / str(number)
        saving = ModelCheckpoint(directory=folder, config=CheckpointConfig(save_checkpoint_steps=10**6))
        _, cut = train(callbacks=[asking(hook, step), saving], streamed=streamed, **arguments)
        assert 0 < len(cut.losses) <= len(whole[1].losses)
        assert_same_run(train(seed=99, resume=folder, streamed=streamed, **arguments), whole)


def test_validation_and_its_results_go_on(tmp_path):
    def fit(seed, callbacks, **arguments):
        model, data = make(seed)
        _, valid = make(1)
        return model, model.fit(EPOCHS, data, valid, callbacks=callbacks, progress=False, **arguments)

    whole = fit(1, [])
    with pytest.raises(Stopped):
        fit(1, [ModelCheckpoint(directory=tmp_path), StopAt(15)])
    resumed = fit(2, [], resume=tmp_path)
    assert_same_run(resumed, whole)
    assert len(resumed[1].history["eval_loss" if "eval_loss" in resumed[1].history else "loss"]) == EPOCHS


def test_without_set_seed_the_order_of_the_interrupted_run_is_kept(tmp_path, monkeypatch):
    from graphrt import context
    from graphrt.dataset import seed

    def unseeded(value):
        model, data = make()
        monkeypatch.setattr(context, "_seed", None)
        monkeypatch.setattr(seed, "_unseeded", value)
        return model, data

    model, data = unseeded(7)
    whole = model, model.train(EPOCHS, data, progress=False)
    model, data = unseeded(7)
    with pytest.raises(Stopped):
        model.train(EPOCHS, data, [ModelCheckpoint(directory=tmp_path), StopAt(10)], progress=False)
    model, data = unseeded(8)
    assert_same_run((model, model.train(EPOCHS, data, progress=False, resume=tmp_path)), whole)


def test_callbacks_keep_their_state(tmp_path):
    class Counting(Callback):
        def begin(self, run_context):
            self.steps, self.scale = 0, np.float32(0.5)

        def step_end(self, run_context):
            self.steps += 1
            self.number = run_context.original_args().cur_step_num

        def state_dict(self):
            return {"steps": self.steps, "scale": self.scale, "nested": ({"array": np.arange(2)},)}

        def load_state_dict(self, state):
            assert state["nested"][0]["array"].tolist() == [0, 1] and state["scale"] == 0.5
            self.steps = state["steps"]

    with pytest.raises(Stopped):
        saving = ModelCheckpoint(directory=tmp_path, config=AT_ERRORS)
        train(callbacks=[saving, Counting(), StopAt(7)], dataset_sink_mode=False)
    counting, history = Counting(), History()
    _, returned = train(callbacks=[history, counting], resume=tmp_path, dataset_sink_mode=False)
    assert counting.steps == counting.number == 20 and returned is history and len(history.losses) == 20


def test_a_finished_run_has_nothing_left_to_do(tmp_path):
    whole = train(callbacks=[ModelCheckpoint(directory=tmp_path)])
    files = sorted(path.name for path in tmp_path.iterdir())
    assert_same_run(train(seed=5, callbacks=[ModelCheckpoint(directory=tmp_path)], resume=tmp_path), whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_what_a_killed_process_had_no_time_to_delete_goes(tmp_path):
    train(callbacks=[ModelCheckpoint(directory=tmp_path, config=CheckpointConfig(keep_checkpoint_max=4))])
    assert len(list(tmp_path.iterdir())) == 8
    saving = ModelCheckpoint(directory=tmp_path, config=CheckpointConfig(keep_checkpoint_max=3))
    train(callbacks=[saving], resume=tmp_path)  # a finished run: nothing is saved any more
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ["CKP-2_5", "CKP-3_5", "CKP-4_5"]


@pytest.mark.parametrize("every", [1, 10**6], ids=["every sink", "at the end"])
def test_what_was_stopped_early_stays_stopped(tmp_path, every):
    from graphrt.train import EarlyStopping

    def run(callbacks, patience=2, **arguments):
        model, data = make()
        stopping = EarlyStopping("loss", min_delta=10, patience=patience, restore_best_weights=True)
        return model, model.train(6, data, [stopping, *callbacks], progress=False, **arguments)

    config = CheckpointConfig(save_checkpoint_steps=every)
    whole = run([ModelCheckpoint(directory=tmp_path, config=config)])
    assert whole[1].epoch == [1, 2, 3]
    for _ in range(2):
        assert_same_run(run([ModelCheckpoint(directory=tmp_path, config=config)], resume=tmp_path), whole)
    assert run([], patience=4, resume=tmp_path)[1].epoch == [1, 2, 3, 4, 5]


def test_saved_only_at_the_end_the_last_epoch_is_not_ended_twice(tmp_path):
    seldom = CheckpointConfig(save_checkpoint_steps=10**6)
    whole = train(callbacks=[ModelCheckpoint(directory=tmp_path, config=seldom)])
    assert_same_run(train(seed=5, resume=tmp_path), whole)


def test_more_epochs_after_the_end_are_those_of_a_longer_run(tmp_path):
    model, data = make()
    longer = model, model.train(EPOCHS + 2, data, progress=False)
    train(callbacks=[ModelCheckpoint(directory=tmp_path)])
    model, data = make(9)
    assert_same_run((model, model.train(EPOCHS + 2, data, progress=False, resume=tmp_path)), longer)


@pytest.mark.parametrize("sink", [dict(dataset_sink_mode=False), dict(sink_size=3), dict(sink_size=-1)])
def test_by_hand_with_initial_epoch(tmp_path, make_model, resident, sink):
    """Weights, moments and the number of epochs done are enough where nothing is random but the order of the data."""
    whole = make_model()
    expected = whole.train(5, resident(), **sink)
    model = make_model()
    model.train(2, resident(), ModelCheckpoint(directory=tmp_path), **sink)
    other = make_model(learning_rate=0.5)
    loaded = graphrt.load_checkpoint(max(tmp_path.glob("CKP-2_*.safetensors")))
    for cell in (other.train_network, other._parts.optimizer):
        assert graphrt.load_param_into_net(cell, loaded, strict_load=True)[0] == []
    history = other.train(5, resident(), initial_epoch=2, **sink)
    assert history.epoch == [3, 4, 5]
    assert history.losses.tobytes() == expected.losses[-len(history.losses) :].tobytes()
    assert len(history.losses) == 3 * len(expected.losses) // 5
    with pytest.raises(graphrt.errors.ArgumentError, match="must be larger than initial_epoch"):
        other.train(2, resident(), initial_epoch=2)


def test_accumulated_gradients_are_part_of_the_state(tmp_path):
    whole = train(accumulate=3)
    stop(tmp_path, 7, accumulate=3, dataset_sink_mode=False)
    assert_same_run(train(seed=4, accumulate=3, resume=tmp_path), whole)


def test_loss_scale_and_watching_callbacks_go_on(tmp_path):
    """A dynamic loss scale that grows every two steps, and a learning rate reduced after each epoch."""
    from graphrt import amp
    from graphrt.train import ReduceLROnPlateau

    def run(seed, callbacks, **arguments):
        _, data = make(seed)
        net = Net()
        optimizer = nn.Momentum(net.trainable_params(), 0.1, 0.9)
        scale = amp.DynamicLossScaleManager(4.0, 2, 2)
        model = Model(net, nn.CrossEntropyLoss(), optimizer, loss_scale_manager=scale)
        rates = ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=100)
        history = model.train(EPOCHS, data, [rates, *callbacks], progress=False, **arguments)
        return (model, history), np.float32(optimizer.learning_rate.asnumpy())

    whole, rate = run(1, [])
    with pytest.raises(Stopped):
        run(1, [ModelCheckpoint(directory=tmp_path), StopAt(15)])
    resumed, resumed_rate = run(2, [], resume=tmp_path)
    assert_same_run(resumed, whole)
    assert rate == resumed_rate == np.float32(0.1 / 2 ** (EPOCHS - 1))


def test_what_a_step_uses_outside_of_cells_is_saved_too(tmp_path):
    """A random function without a key, and a Parameter of a loss function that is no Cell."""

    def run(**arguments):
        graphrt.set_seed(0)
        moving = graphrt.Parameter(np.zeros((), np.float32), name="moving", requires_grad=False)
        net = nn.Dense(3, 1)

        def loss_fn(output, label):
            from graphrt import ops

            error = ((output - label) ** 2).mean() + ops.uniform((), graphrt.Tensor(0.0), graphrt.Tensor(0.1))
            moving.set_data(moving * 0.9 + error)
            return error + 0.01 * moving

        x = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
        data = ds.NumpySlicesDataset((x, x[:, :1])).batch(4)
        model = Model(net, loss_fn, nn.Adam(net.trainable_params(), 0.01))
        losses = model.train(3, data, progress=False, **arguments).losses
        return losses, moving.asnumpy(), state(model)

    whole = run()
    with pytest.raises(Stopped):
        run(callbacks=[ModelCheckpoint(directory=tmp_path), StopAt(6)])
    resumed = run(resume=tmp_path)
    assert resumed[0].tobytes() == whole[0].tobytes() and resumed[1] == whole[1]
    assert all(np.array_equal(resumed[2][name], whole[2][name]) for name in whole[2])


def test_random_functions_of_callbacks_go_on(tmp_path):
    class Draw(Callback):
        def begin(self, run_context):
            self.drawn = []

        def step_end(self, run_context):
            low, high = graphrt.Tensor(0.0), graphrt.Tensor(1.0)
            self.drawn.append(float(graphrt.ops.uniform((), low, high).asnumpy()))

    whole, before, after = Draw(), Draw(), Draw()
    train(callbacks=[whole])
    with pytest.raises(Stopped):
        train(callbacks=[before, ModelCheckpoint(directory=tmp_path), StopAt(15)])
    train(seed=5, callbacks=[after], resume=tmp_path)
    assert len(set(whole.drawn)) == EPOCHS and before.drawn[:2] == whole.drawn[:2]
    assert after.drawn == whole.drawn[-len(after.drawn) :]


# ------------------------------------------------------------------------------------------- what can be resumed


def test_an_empty_or_missing_directory_begins_at_the_beginning(tmp_path, capsys):
    whole = train()
    assert_same_run(train(resume=tmp_path / "missing"), whole)
    assert "resuming" not in capsys.readouterr().out


def test_the_newest_or_the_one_named(tmp_path, capsys):
    train(callbacks=[ModelCheckpoint(directory=tmp_path)])
    capsys.readouterr()
    train(resume=tmp_path / "CKP-2_5.safetensors")
    assert capsys.readouterr().out == f"resuming from {tmp_path}/CKP-2_5.safetensors: epoch 2, step 5\n"
    found = load_for_resume(tmp_path)
    assert found is not None and found[0].path.name == "CKP-4_5.safetensors"


def test_damaged_ones_are_skipped_with_the_reason(tmp_path, capsys):
    whole = train(callbacks=[ModelCheckpoint(directory=tmp_path)])
    newest, third = tmp_path / "CKP-4_5.safetensors", tmp_path / "CKP-3_5.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    (tmp_path / "CKP-3_5.json").unlink()
    with pytest.warns(RuntimeWarning, match="checkpoints skipped") as caught:
        resumed = train(seed=2, resume=tmp_path)
    text = str(caught[0].message)
    assert f"{newest.name}: it has" in text and f"{third.name}: it has no manifest" in text
    assert "CKP-2_5" in capsys.readouterr().out
    assert_same_run(resumed, whole)


def test_when_all_are_damaged_it_says_so(tmp_path):
    train(callbacks=[ModelCheckpoint(directory=tmp_path)])
    for path in tmp_path.glob("*.safetensors"):
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole(.|\n)*SHA-256 differs"):
        train(resume=tmp_path)


def test_a_file_of_weights_is_no_training_state(tmp_path):
    model, _ = make()
    graphrt.save_checkpoint(model.train_network, tmp_path / "weights")
    with pytest.raises(
        CheckpointError, match=r"cannot be resumed from .*weights.safetensors(.|\n)*is missing"
    ):
        train(resume=tmp_path / "weights.safetensors")
    config = CheckpointConfig(saved_network=model.train_network)
    train(callbacks=[ModelCheckpoint(directory=tmp_path, config=config)])
    with pytest.raises(CheckpointError, match="a file of weights"):
        train(resume=tmp_path)


def test_another_program_or_dataset_is_refused_untouched(tmp_path):
    train(callbacks=[ModelCheckpoint(directory=tmp_path)])
    model, data = make()
    with pytest.raises(CheckpointError, match=r"another dataset(.|\n)*expected: .*batch_size=5"):
        model.train(1, data._parent.batch(6), resume=tmp_path)

    class Wider(nn.Cell):
        def __init__(self):
            super().__init__()
            self.flatten, self.out, self.more = nn.Flatten(), nn.Dense(36, 3), nn.Dense(3, 3)

        def construct(self, x):
            return self.more(self.out(self.flatten(x)))

    net = Wider()
    before = {p.name: p.asnumpy().copy() for p in net.get_parameters()}
    other = Model(net, nn.CrossEntropyLoss(), nn.Adam(net.trainable_params()))
    with pytest.raises(CheckpointError) as error:
        other.train(1, data, resume=tmp_path)
    assert "not in the checkpoint: more.weight" in str(error.value) and "only in the" in str(error.value)
    assert "out.weight: float32[3, 32] for float32[3, 36]" in str(error.value)
    assert all(np.array_equal(before[p.name], p.asnumpy()) for p in net.get_parameters())


def _progress_changes():
    """Texts of training state that no run wrote."""

    def without(name):
        return lambda progress: progress.pop(name)

    def setting(*path_and_value):
        *path, last, value = path_and_value

        def change(progress):
            for name in path:
                progress = progress[name]
            progress[last] = value

        return change

    names = (
        "epoch",
        "step_in_epoch",
        "step",
        "epochs_completed",
        "position",
        "data",
        "random",
        "history",
        "callbacks",
    )
    yield from (without(name) for name in names)
    yield from (setting(name, value) for name in names for value in (None, "x", -1, 1.5, [[]]))
    yield from (
        setting("position", name, value)
        for name in ("step", "epoch", "cursor")
        for value in (-1, "x", 3, None)
    )
    yield setting("position", "more", 1)
    yield setting("random", "global", {})
    yield setting("random", "global", "seed", "x")
    yield setting("history", "history", {"loss": 3})
    yield setting("history", "steps", None)


def test_texts_nobody_wrote_give_an_error_or_a_run(tmp_path):
    """Properly sealed files with other contents than ModelCheckpoint writes."""
    from graphrt.train import checkpoint_store, training_state

    train(callbacks=[ModelCheckpoint(directory=tmp_path / "good")])
    good = weights_file.read(tmp_path / "good" / "CKP-2_5.safetensors")
    model, data = make()
    refused = 0
    for change in _progress_changes():
        progress = json.loads(good.metadata[training_state.KEY])
        change(progress)
        content = weights_file.encode(good.arrays, {training_state.KEY: json.dumps(progress)})
        path = tmp_path / "CKP-2_5.safetensors"
        checkpoint_store.save(path, content, epoch=2, step=5, number=1)
        try:
            model.train(2, data, progress=False, resume=path)
        except graphrt.GraphrtError:
            refused += 1
    assert refused > 50
    assert len(model.train(1, data, progress=False).losses) == 5  # still usable


# ---------------------------------------------------------------------------------------------- being interrupted


class CtrlC(Callback):
    """Presses Ctrl-C shortly after each sink has begun."""

    def step_begin(self, run_context):
        threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()


def test_ctrl_c_in_a_sink_is_saved_where_the_config_says_so(tmp_path):
    for save in (False, True):
        model, data = make()
        config = CheckpointConfig(save_checkpoint_steps=10**9, exception_save=save)
        callbacks = [ModelCheckpoint(directory=tmp_path, config=config), CtrlC()]
        with pytest.raises(KeyboardInterrupt):
            model.train(1, data, callbacks, sink_size=1 << 22, progress=False)
        assert (load_for_resume(tmp_path) is not None) is save
    steps = load_for_resume(tmp_path)[0].step
    assert 0 < steps < 1 << 22
    whole, data = make()
    expected = whole.train(1, data, sink_size=steps + 2, progress=False)
    model, data = make(8)
    resumed = model.train(1, data, sink_size=steps + 2, progress=False, resume=tmp_path)
    assert_same_run((model, resumed), (whole, expected))


def run_script(*arguments):
    script = Path(__file__).with_name("resumable.py")
    command = [sys.executable, "-W", "ignore", str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(done.stderr)  # for whoever reads a failure
    return json.loads(done.stdout.splitlines()[-1])


def test_sigterm_saves_and_ends_with_its_status(tmp_path):
    answer = run_script("terminate", tmp_path)
    assert answer["status"] == 143 and len(answer["files"]) == 2
    assert load_for_resume(tmp_path)[0].step > 0


def test_killed_25_times_while_it_trains_and_saves(tmp_path):
    answer = run_script("kills", tmp_path, 4)
    assert answer["status"] == 0
    assert len(answer["files"]) == 6, answer["files"]  # three checkpoints, and nothing left behind
    model, data = make()
    history = model.train(8, data, dataset_sink_mode=False, progress=False)
    found = load_for_resume(tmp_path)[1].arrays
    assert found["graphrt.losses"].tobytes() == history.losses.tobytes()
    for name, array in state(model).items():
        assert found[name].tobytes() == array.tobytes(), name


def test_a_loss_that_is_not_finite_is_never_saved(tmp_path):
    x = np.full((8, 2), 1e30, np.float32)
    net = nn.Dense(2, 1)
    model = Model(net, nn.MSELoss(), nn.SGD(net.trainable_params(), 1e30))
    saving = ModelCheckpoint(directory=tmp_path, config=CheckpointConfig(exception_save=True))
    with pytest.raises(NonFiniteError):
        model.train(2, ds.NumpySlicesDataset((x, x[:, :1])).batch(4), saving, dataset_sink_mode=False)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(autouse=True)
def no_surprises():
    """Skipping a checkpoint is only allowed where a test expects it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield
