"""`graphrt-dump profile` measures a script's network in three formats and answers mistakes with one message."""

import json
import re

import pytest

from graphrt.inspect.command import main

SCRIPT = """
from graphrt import nn

class Net(nn.Cell):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Dense(6, 8)
        self.out = nn.Dense(8, 3)
        self.relu = nn.ReLU()
    def construct(self, x):
        return self.out(self.relu(self.hidden(x)))

net = Net()
def double(x):
    return x + x
"""
INPUT = ["--input", "4x6:f32", "--steps", "20"]


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(SCRIPT)
    return path


def test_table(script, capsys):
    assert main(["profile", f"{script}:net", *INPUT]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Net, batch 4: 20 steps")
    assert re.search(r"^k\d+_mat_mul .*Net.hidden \(Dense\)  model.py:11$", text, re.MULTILINE)
    assert re.search(r"rows explain [\d.]+ % of the wall clock", text)
    from_loss = [line for line in text.splitlines() if line.endswith("CrossEntropyLoss")]
    assert from_loss  # no line of the script, and none of the command's either


def test_json_and_threads(script, capsys):
    assert main(["profile", f"{script}:Net", *INPUT, "--format", "json", "--threads", "1"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["threads"] == 1
    assert all(len(kernel["work_us"]) == 1 for kernel in document["kernels"])


def test_trace_to_a_file(script, capsys, tmp_path):
    path = tmp_path / "trace.json"
    assert main(["profile", f"{script}:net", *INPUT, "--format", "trace", "-o", str(path)]) == 0
    assert capsys.readouterr().out == ""
    assert any(event["ph"] == "X" for event in json.loads(path.read_text())["traceEvents"])


def test_loss_and_label(script, capsys):
    arguments = ["--loss", "MSELoss", "--label", "4x3:f32"]
    assert main(["profile", f"{script}:net", *INPUT, *arguments]) == 0
    assert "MSELoss" in capsys.readouterr().out


def test_the_scripts_own_loss_and_optimizer(script, capsys):
    script.write_text(SCRIPT + "loss_fn = nn.MSELoss()\noptimizer = nn.Adam(net.trainable_params())\n")
    assert main(["profile", f"{script}:net", *INPUT, "--label", "4x3"]) == 0
    text = capsys.readouterr().out
    assert "Adam" in text
    assert "Momentum" not in text


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere.py:net", *INPUT], "no such file"),
        (["{script}:double", *INPUT], "training step of a function"),
        (["{script}:net", *INPUT, "--label", "5:i32"], "share their first axis"),
        (["{script}:net", *INPUT, "--steps", "0"], "steps must be a positive int"),
        (["{script}:net", "--input", "4x7:f32"], "Dense"),
    ],
)
def test_mistakes_are_answered_in_one_message(script, capsys, arguments, message):
    assert main(["profile", *(a.format(script=script) for a in arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(message, captured.err)
    assert "Traceback" not in captured.err
