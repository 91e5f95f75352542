"""The example does what the README says: it learns, prints MindSpore's lines, and exports a verified model."""

import re
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "lenet_sink.py"


def run(monkeypatch, capsys, *arguments):
    """What the script prints, run with these arguments."""
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    return capsys.readouterr().out


def losses(output):
    """(epoch, step, loss as printed) of every LossMonitor line."""
    return re.findall(r"^epoch: (\d+) step: (\d+), loss is (\S+)$", output, re.MULTILINE)


def test_learns_the_digits(monkeypatch, capsys, tmp_path):
    model = tmp_path / "lenet5.onnx"
    output = run(monkeypatch, capsys, "--onnx", model, "--epochs", 15)
    lines = losses(output)
    assert [(epoch, step) for epoch, step, _ in lines] == [(str(k), "100") for k in range(1, len(lines) + 1)]
    assert float(re.search(r"test accuracy: (\S+) %", output)[1]) >= 95
    assert f"{model}: written, and verified" in output
    assert model.stat().st_size > 200_000


def test_the_size_of_a_sink_changes_no_number(monkeypatch, capsys):
    last = {}
    for size in (1, 45, 90):  # 45 steps are one pass over the data
        output = run(monkeypatch, capsys, "--sink-size", size, "--epochs", 2, "--onnx", "")
        last[size] = (losses(output)[-1][2], re.search("test accuracy: .*", output)[0])
    assert last[1] == last[45] == last[90]


def test_another_seed_is_another_training(monkeypatch, capsys):
    outputs = [
        losses(run(monkeypatch, capsys, "--seed", seed, "--sink-size", 45, "--epochs", 1, "--onnx", ""))
        for seed in (1, 1, 2)
    ]
    assert outputs[0] == outputs[1] != outputs[2]


def test_importing_it_does_not_train(capsys):
    module = runpy.run_path(str(SCRIPT), run_name="lenet_sink")
    assert module["net"] is not None
    assert capsys.readouterr().out == ""


def test_an_unknown_folder_is_reported(monkeypatch, capsys, tmp_path):
    from graphrt.errors import DataError

    with pytest.raises(DataError):
        run(monkeypatch, capsys, "--data", "mnist", "--data-dir", tmp_path / "nothing")
