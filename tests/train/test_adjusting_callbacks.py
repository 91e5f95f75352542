"""EarlyStopping, ReduceLROnPlateau, LearningRateScheduler, LambdaCallback: when they act and what they change."""

import numpy as np
import pytest

import graphrt
from graphrt import compiler, nn
from graphrt.errors import ArgumentError
from graphrt.train import (
    Callback,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    Metric,
    Model,
    ReduceLROnPlateau,
)

from .conftest import Net, weights


class Scripted(Metric):
    """A metric whose results are given beforehand, one per evaluation."""

    def __init__(self, *values):
        self.values = list(values)

    def clear(self):
        pass

    def update(self, *inputs):
        pass

    def eval(self):
        return self.values.pop(0)


class Rates(Callback):
    """The learning rate after every epoch."""

    def __init__(self):
        self.seen = []

    def epoch_end(self, run_context):
        optimizer = run_context.original_args().optimizer
        self.seen.append(round(float(optimizer.learning_rate.asnumpy()), 7))


def epochs_run(make_model, resident, values, stopping, **arguments):
    model = make_model(metrics={"score": Scripted(*values)})
    return model.fit(len(values), resident(), resident(), callbacks=stopping, **arguments).epoch


# name: (arguments of EarlyStopping, results of the epochs, epoch it stops after or None); by hand
STOPS = {
    "min": (dict(mode="min", patience=2), [5, 4, 4.5, 4.2, 1], 4),
    "max": (dict(mode="max", patience=2), [1, 2, 1, 1.5, 9], 4),
    "auto is min": (dict(patience=1), [5, 4, 4, 1], 3),
    "zero patience": (dict(patience=0, mode="min"), [5, 4, 4, 1], 3),
    "min_delta": (dict(patience=1, mode="min", min_delta=0.5), [5, 4.6, 1], 2),
    "never": (dict(patience=2, mode="min"), [5, 6, 4, 6, 3], None),
    "baseline never reached": (dict(patience=2, mode="min", baseline=1.0), [5, 4, 3], 2),
    "baseline reached": (dict(patience=2, mode="min", baseline=4.5), [5, 4, 3], None),
}


@pytest.mark.parametrize("case", STOPS)
def test_early_stopping(make_model, resident, capsys, case):
    arguments, values, expected = STOPS[case]
    stopping = EarlyStopping(monitor="score", verbose=True, **arguments)
    epochs = epochs_run(make_model, resident, values, stopping)
    assert epochs == list(range(1, (expected or len(values)) + 1))
    assert stopping.stopped_epoch == (expected or 0)
    line = f"Epoch {expected:05d}: early stopping\n" if expected else ""
    assert capsys.readouterr().out == line


def test_early_stopping_restores_the_best_weights(make_model, resident, capsys):
    kept = {}

    class Keep(Callback):
        def epoch_end(self, run_context):
            p = run_context.original_args()
            kept[p.cur_epoch_num] = {q.name: q.asnumpy() for q in p.network.get_parameters()}

    model = make_model(metrics={"score": Scripted(3, 1, 2, 2)})
    stopping = EarlyStopping("score", patience=2, restore_best_weights=True, verbose=True)
    model.fit(9, resident(), resident(), callbacks=[Keep(), stopping])
    assert sorted(kept) == [1, 2, 3, 4] and stopping.best_epoch == 2 and stopping.best == 1
    assert all(np.array_equal(kept[2][name], value) for name, value in weights(model).items())
    assert any(not np.array_equal(kept[4][name], value) for name, value in weights(model).items())
    assert capsys.readouterr().out == (
        "Restoring the weights of the best epoch, 2.\nEpoch 00004: early stopping\n"
    )


def test_epochs_without_an_evaluation_do_not_count(make_model, resident):
    stopping = EarlyStopping("score", patience=1, mode="min")
    model = make_model(metrics={"score": Scripted(2, 3)})
    history = model.fit(9, resident(), resident(), valid_frequency=3, callbacks=stopping)
    assert len(history.epoch) == 6 and history.evaluated["score"] == [3, 6]


def test_the_training_loss_can_be_watched(make_model, resident):
    stopping = EarlyStopping(monitor="loss", patience=1, min_delta=1e9)
    assert make_model().train(9, resident(), stopping).epoch == [1, 2]


def test_eval_loss_is_computed_where_it_is_watched(make_model, resident):
    results = []

    class Watch(Callback):
        def epoch_end(self, run_context):
            results.append(dict(run_context.original_args().eval_results))

    stopping = EarlyStopping(patience=5)
    model = make_model(metrics={"accuracy", "loss"})
    history = model.fit(1, resident(), resident(), callbacks=[stopping, Watch()])
    assert (
        set(results[0]) == {"accuracy", "loss", "eval_loss"} and results[0]["eval_loss"] == results[0]["loss"]
    )
    assert stopping.best == results[0]["eval_loss"] == history.history["eval_loss"][0]
    assert len(history.history["eval_loss"]) == 1
    make_model().fit(1, resident(), resident(), callbacks=EarlyStopping())  # no metrics needed for it
    model.fit(1, resident(), resident(), callbacks=Watch())
    assert set(results[-1]) == {"accuracy", "loss"}


@pytest.mark.parametrize("callback", [EarlyStopping(), ReduceLROnPlateau("accuracy")])
def test_watching_what_is_never_evaluated_is_told(make_model, resident, callback):
    with pytest.warns(UserWarning) as caught:
        make_model().train(1, resident(), callback)
    name = type(callback).__name__
    assert str(caught[0].message) == (
        f"{name} watches {callback.monitor!r}, but nothing is evaluated while training: it will never act. "
        "Pass a valid_dataset to Model.fit, or monitor='loss'."
    )
    assert caught[0].filename.endswith("test_adjusting_callbacks.py")


def test_an_unknown_monitor_is_explained(make_model, resident):
    model = make_model(metrics={"accuracy"})
    with pytest.raises(ArgumentError) as caught:
        model.fit(1, resident(), resident(), callbacks=EarlyStopping("acuracy"))
    assert str(caught.value) == (
        "EarlyStopping: there is no metric named 'acuracy'\n"
        f"  at:       {caught.value.at}\n"
        "  expected: loss, eval_loss, accuracy\n"
        "  given:    monitor='acuracy'\n"
        "  fix:      add it to Model(metrics=...), or monitor one of these"
    )
    model = make_model(metrics={"F1"})
    with pytest.raises(ArgumentError, match="'F1' is not one number"):
        model.fit(1, resident(), resident(), callbacks=EarlyStopping("F1"))


def test_auto_knows_what_grows():
    for name in ("accuracy", "top_1_accuracy", "acc", "F1", "auc", "val_recall"):
        assert EarlyStopping(name).mode == "max"
    for name in ("loss", "eval_loss", "mse", "perplexity"):
        assert EarlyStopping(name).mode == "min"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EarlyStopping(mode="best"), "EarlyStopping: mode is not usable"),
        (lambda: EarlyStopping(patience=1.5), "patience is not usable"),
        (lambda: EarlyStopping(min_delta=-1), "min_delta is not usable"),
        (lambda: EarlyStopping(monitor=3), "monitor is not usable"),
        (lambda: EarlyStopping(baseline="x"), "baseline is not usable"),
        (lambda: ReduceLROnPlateau(factor=1.0), "ReduceLROnPlateau: factor is not usable"),
        (lambda: ReduceLROnPlateau(cooldown=-1), "cooldown is not usable"),
        (lambda: ReduceLROnPlateau(min_lr=-1), "min_lr is not usable"),
        (lambda: LearningRateScheduler(0.1), "a function"),
        (lambda: LambdaCallback(on_train_end=3), "on_train_end must be a function"),
    ],
)
def test_unusable_arguments(make, words):
    with pytest.raises(ArgumentError, match=words):
        make()


def test_reduce_on_plateau_by_hand(make_model, resident, capsys):
    """patience 2, cooldown 1: no gain in epochs 2, 3 -> reduced; 4 is cooldown and counts again; 5 -> reduced to min_lr."""
    rates = Rates()
    reduce = ReduceLROnPlateau("score", 0.1, 2, True, cooldown=1, min_lr=2e-3, mode="min")
    epochs = epochs_run(make_model, resident, [1, 1, 1, 1, 1, 1, 1], [reduce, rates])
    assert epochs == [1, 2, 3, 4, 5, 6, 7]
    assert rates.seen == [0.1, 0.1, 0.01, 0.01, 0.002, 0.002, 0.002]
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 00003: ReduceLROnPlateau reducing learning rate to 0.01.",
        "Epoch 00005: ReduceLROnPlateau reducing learning rate to 0.002.",
    ]


def test_improvements_reset_the_waiting(make_model, resident):
    rates = Rates()
    reduce = ReduceLROnPlateau("score", 0.5, 2, mode="max", min_delta=0.1)
    epochs_run(make_model, resident, [1, 1.05, 2, 2, 2, 3], [reduce, rates])
    assert rates.seen == [0.1, 0.1, 0.1, 0.1, 0.05, 0.05]


def test_rates_change_without_compiling_and_take_effect(make_model, resident, monkeypatch):
    calls = []
    original = compiler.compile_sink
    monkeypatch.setattr(compiler, "compile_sink", lambda *a, **k: calls.append(1) or original(*a, **k))
    asked = []

    def schedule(rate, step):
        asked.append((rate, step))
        return 0.0 if step >= 4 else rate / 2

    model, kept = make_model(learning_rate=0.1), []
    keep = LambdaCallback(on_train_step_end=lambda context: kept.append(weights(model)))
    model.train(4, resident(), [LearningRateScheduler(schedule), keep], sink_size=2)
    assert asked == [(0.1, 2), (0.05, 4), (0.0, 6), (0.0, 8)] and len(calls) == 1
    assert any(not np.array_equal(kept[0][name], kept[1][name]) for name in kept[0])
    assert all(np.array_equal(kept[1][name], kept[3][name]) for name in kept[0])


def test_a_scheduled_rate_is_the_rate_of_the_formula(points):
    """Two steps of descent with rates 0.5 and 0.125, against NumPy."""
    from graphrt import dataset as ds

    x, y = points[0], points[0][:, :1] * 2
    net = nn.Dense(4, 1, has_bias=False)
    w = net.weight.asnumpy().astype(np.float64)
    model = Model(net, nn.MSELoss(), nn.SGD(net.trainable_params(), 0.5))
    data = ds.NumpySlicesDataset((x, y), shuffle=False).batch(10)
    model.train(1, data, LearningRateScheduler(lambda rate, step: rate / 4), dataset_sink_mode=False)
    for start, rate in ((0, 0.5), (10, 0.125)):
        xs, ys = x[start : start + 10].astype(np.float64), y[start : start + 10]
        w -= rate * 2 / 10 * (xs @ w.T - ys).T @ xs
    np.testing.assert_allclose(net.weight.asnumpy(), w, rtol=1e-5)


def test_groups_and_networks_that_are_whole_steps(points, resident):
    graphrt.set_seed(0)
    net = Net()
    groups = [{"params": net.hidden.trainable_params(), "lr": 0.5}, {"params": net.out.trainable_params()}]
    optimizer = nn.Momentum(groups, 0.1, 0.9)
    step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.CrossEntropyLoss()), optimizer)
    Model(step).train(1, resident(), LearningRateScheduler(lambda rate, step: rate / 2))
    assert float(optimizer.learning_rate.asnumpy()) == pytest.approx(0.05)
    assert float(optimizer.learning_rate_group_0.asnumpy()) == pytest.approx(0.25)


def test_schedules_cannot_be_changed(resident):
    net = Net()
    schedule = nn.ExponentialDecayLR(0.1, 0.9, 4)
    model = Model(net, nn.CrossEntropyLoss(), nn.SGD(net.trainable_params(), schedule))
    for callback in (LearningRateScheduler(lambda rate, step: rate), ReduceLROnPlateau("loss")):
        with pytest.raises(ArgumentError) as caught:
            model.train(1, resident(), callback)
        assert str(caught.value) == (
            f"{type(callback).__name__}: the optimizer has no learning rate that can be changed\n"
            f"  at:       {caught.value.at}\n"
            "  expected: an optimizer with learning_rate=<a number>\n"
            "  given:    SGD with a schedule\n"
            "  fix:      give the optimizer a number as learning_rate, or leave this callback out"
        )


def test_a_scheduler_that_returns_nonsense(make_model, resident):
    with pytest.raises(ArgumentError, match="must return a learning rate"):
        make_model().train(1, resident(), LearningRateScheduler(lambda rate, step: None))


def test_lambda_callback_and_the_run_context(make_model, resident):
    seen, model = [], make_model(metrics={"accuracy"})
    train_data, valid_data = resident(), resident()

    def note(context):
        p = context.original_args()
        seen.append((p.mode, p.get("cur_epoch_num"), p.cur_step_num))

    def full(context):
        p = context.original_args()
        assert p.network is p.train_network is p.eval_network is model.train_network
        assert p.loss_fn is model._parts.loss_fn and p.optimizer is model._parts.optimizer
        assert p.train_dataset is train_data and p.valid_dataset is valid_data
        assert (p.batch_num, p.epoch_num, p.dataset_sink_mode, p.sink_size) == (4, 2, True, -1)
        assert (p.parallel_mode, p.device_number) == ("stand_alone", 1)
        assert set(p.metrics) == {"accuracy"} and p.list_callback == [callback] and p["mode"] == "train"
        note(context)

    callback = LambdaCallback(on_train_epoch_end=full, on_eval_begin=note, on_eval_step_end=note)
    model.fit(2, train_data, valid_data, valid_frequency=2, callbacks=callback)
    assert [entry[0] for entry in seen] == ["train", *["eval"] * 5, "train"]
    assert [entry[2] for entry in seen] == [4, 0, 1, 2, 3, 4, 8]


def test_a_resumed_run_remembers_what_was_watched(make_model, resident, tmp_path):
    """Interrupted at the end of epoch 3, before it was evaluated: the callbacks act, and the log reads, as without."""
    from graphrt.train import CheckpointConfig, CSVLogger, ModelCheckpoint

    values = [3, 1, 2, 2, 2, 2, 2]

    def run(epochs, folder, results, **arguments):
        model = make_model(metrics={"score": Scripted(*results)})
        stopping = EarlyStopping("score", patience=4, restore_best_weights=True, mode="min")
        reduce = ReduceLROnPlateau("score", patience=2, cooldown=1, mode="min")
        checkpoint = ModelCheckpoint(directory=str(folder), config=CheckpointConfig(save_checkpoint_steps=4))
        log = CSVLogger(folder.with_suffix(".csv"))
        model.fit(epochs, resident(), resident(), callbacks=[stopping, reduce, checkpoint, log], **arguments)
        lines = folder.with_suffix(".csv").read_text().splitlines()
        rows = [
            [field for k, field in enumerate(line.split(",")) if k != 4] for line in lines
        ]  # not the seconds
        return weights(model), stopping, reduce, rows

    expected = run(9, tmp_path / "whole", values)
    run(3, tmp_path / "parts", values[:3])
    resumed = run(9, tmp_path / "parts", values[2:], resume=tmp_path / "parts")
    assert resumed[3] == expected[3] and len(expected[3]) == 7
    assert resumed[1].stopped_epoch == expected[1].stopped_epoch == 6 and resumed[1].best_epoch == 2
    assert resumed[2].cooldown_counter == expected[2].cooldown_counter
    for name, value in expected[0].items():
        assert np.array_equal(resumed[0][name], value), name
