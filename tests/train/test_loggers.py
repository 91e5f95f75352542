"""What CSVLogger, JSONLogger, TensorBoardLogger and History.plot write."""

import csv
import json
import sys
import types

import numpy as np
import pytest

from graphrt.errors import ArgumentError
from graphrt.train import CSVLogger, History, JSONLogger, SummaryCollector, TensorBoardLogger


def test_csv(make_model, resident, tmp_path):
    path = tmp_path / "new folder" / "log.csv"
    model = make_model(metrics={"accuracy", "loss"})
    history = model.fit(2, resident(), resident(), callbacks=CSVLogger(path), sink_size=3)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "epoch", "step", "loss", "last_loss", "seconds", "learning_rate", "accuracy", "eval_loss",
    ]  # fmt: skip
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "3"), ("2", "6")]
    for column in ("loss", "accuracy", "eval_loss"):
        assert [float(row[column]) for row in rows] == history.history[column]
    assert [float(row["last_loss"]) for row in rows] == history.history["net_output"]
    assert {row["learning_rate"] for row in rows} == {"0.1"} and float(rows[0]["seconds"]) > 0


def test_csv_append_separator_and_columns(make_model, resident, tmp_path):
    path, model = tmp_path / "log.csv", make_model(metrics={"accuracy"})
    for _ in range(2):
        logger = CSVLogger(path, separator=";", append=True, columns=["epoch", "accuracy"])
        model.fit(2, resident(), resident(), valid_frequency=2, callbacks=logger)
    lines = path.read_text().splitlines()
    assert lines[0] == "epoch;accuracy" and [line.split(";")[0] for line in lines[1:]] == ["1", "2", "1", "2"]
    assert lines[1] == "1;" and len(lines[2]) > 2
    model.train(1, resident(), CSVLogger(path))
    assert len(path.read_text().splitlines()) == 2


def test_json_lines(make_model, resident, tmp_path):
    path = tmp_path / "log.jsonl"
    model = make_model(metrics={"accuracy", "precision"})
    history = model.fit(2, resident(), resident(), callbacks=JSONLogger(path, per_step=True), sink_size=3)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    steps = [record for record in records if "seconds" not in record]
    epochs = [record for record in records if "seconds" in record]
    assert [(r["epoch"], r["step"]) for r in steps] == [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6)]
    assert [r["loss"] for r in steps] == history.losses.tolist()
    assert [r["accuracy"] for r in epochs] == history.history["accuracy"]
    assert all(len(r["precision"]) == 2 for r in epochs)
    assert records.index(epochs[0]) == 3
    model.train(1, resident(), JSONLogger(path, append=True))
    assert len(path.read_text().splitlines()) == 9


def test_json_is_valid_where_a_metric_is_nan(tmp_path):
    from graphrt.train.hooks import CallbackParameters, RunContext

    logger = JSONLogger(tmp_path / "log.jsonl")
    context = RunContext(
        CallbackParameters(
            cur_epoch_num=1, cur_step_num=2, losses=np.ones(2, np.float32),
            eval_results={"a": float("nan"), "b": np.array([np.inf, 1.0])},
        )
    )  # fmt: skip
    for method in (logger.begin, logger.epoch_begin, logger.step_end, logger.epoch_end, logger.end):
        method(context)
    record = json.loads((tmp_path / "log.jsonl").read_text(), parse_constant=pytest.fail)
    assert record["a"] is None and record["b"] == [None, 1.0] and "learning_rate" not in record


@pytest.mark.parametrize("kind", [CSVLogger, JSONLogger])
def test_a_file_that_cannot_be_written(make_model, resident, tmp_path, kind):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match=f"{kind.__name__}: the file cannot be written"):
        make_model().train(1, resident(), kind(tmp_path / "file" / "log"))
    with pytest.raises(ArgumentError, match="the file cannot be written"):
        make_model().train(1, resident(), kind(3.5))


class Writer:
    """Stands in for tensorboardX.SummaryWriter."""

    def __init__(self, log_dir):
        self.log_dir, self.values, self.closed = log_dir, [], False
        Writer.last = self

    def add_scalar(self, tag, value, step):
        self.values.append((tag, step, value))

    def flush(self):
        pass

    def close(self):
        self.closed = True


def test_tensorboard(make_model, resident, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Writer))
    model = make_model(metrics={"accuracy"})
    logger = TensorBoardLogger(tmp_path)
    history = model.fit(2, resident(), resident(), callbacks=logger, sink_size=3)
    written = Writer.last
    assert written.closed and written.log_dir == str(tmp_path)
    losses = [(step, value) for tag, step, value in written.values if tag == "step/loss"]
    assert losses == list(enumerate(history.losses.tolist(), 1))
    accuracy = [(step, value) for tag, step, value in written.values if tag == "epoch/accuracy"]
    assert accuracy == list(enumerate(history.history["accuracy"], 1))
    assert ("epoch/learning_rate", 1, 0.1) in written.values
    model.train(2, resident(), SummaryCollector(tmp_path, collect_freq=2), sink_size=3)
    assert [step for tag, step, _ in Writer.last.values if tag == "step/loss"] == [2, 4, 6]


def test_tensorboard_files(make_model, resident, tmp_path):
    pytest.importorskip("tensorboardX")
    make_model().train(1, resident(), TensorBoardLogger(tmp_path / "runs"))
    (file,) = (tmp_path / "runs").iterdir()
    assert file.name.startswith("events.out") and b"step/loss" in file.read_bytes()


def test_missing_packages_are_named(make_model, resident, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ArgumentError) as caught:
        TensorBoardLogger()
    assert str(caught.value) == (
        "TensorBoardLogger: tensorboardX is not installed\n"
        f"  at:       {caught.value.at}\n"
        '  fix:      install it: pip install "graphrt[tensorboard]"; or use JSONLogger, which needs nothing'
    )
    history = make_model().train(1, resident())
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ArgumentError) as caught:
        history.plot()
    assert str(caught.value) == (
        "History.plot: matplotlib is not installed\n"
        f"  at:       {caught.value.at}\n"
        '  fix:      install it: pip install "graphrt[plot]"'
    )


def test_plot(make_model, resident, tmp_path):
    pytest.importorskip("matplotlib")
    model = make_model(metrics={"accuracy", "recall"})
    history = model.fit(4, resident(), resident(), valid_frequency=2)
    figure = history.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    loss, metrics = figure.axes
    steps, means = loss.lines
    assert np.array_equal(steps.get_ydata(), history.losses) and list(steps.get_xdata()) == list(range(1, 17))
    assert list(means.get_xdata()) == [4, 8, 12, 16] and list(means.get_ydata()) == history.history["loss"]
    (accuracy,) = metrics.lines  # recall is a vector: not a curve
    assert list(accuracy.get_xdata()) == [2, 4] and list(accuracy.get_ydata()) == history.history["accuracy"]
    assert len(make_model().train(1, resident()).plot().axes) == 1
    with pytest.raises(ArgumentError, match="nothing to plot"):
        History().plot()
