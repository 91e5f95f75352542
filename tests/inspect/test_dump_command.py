"""`graphrt-dump` shows every stage in every format, and answers mistakes with one readable message."""

import json
import re
from pathlib import Path

import pytest

from graphrt.inspect.command import main
from graphrt.ir.text import parse, to_text

LENET = f"{Path(__file__).parents[2] / 'examples' / 'lenet_sink.py'}:net"
INPUT = ["--input", "4x1x32x32:f32"]


def dump(capsys, *arguments, target=LENET):
    """The command's output; it must succeed."""
    assert main([target, *INPUT, *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("stage", ["graph", "grad"])
def test_graph_stages_parse_back(capsys, stage):
    text = dump(capsys, "--stage", stage)
    assert to_text(parse(text)) == text
    assert text.startswith("graphrt ir 1\n")


def test_graph_names_types_sizes_cells_and_lines(capsys):
    text = dump(capsys)
    (line,) = [line for line in text.splitlines() if "conv2d(" in line and "conv2 (Conv2d)" in line]
    assert "f32[4,16,10,10]" in line
    assert "KiB" in line
    assert re.search(r'lenet_sink.py":\d+ "LeNet5.conv2 \(Conv2d\)"', line)


def test_grad_has_a_loss_and_gradients(capsys):
    graph = parse(dump(capsys, "--stage", "grad"))
    loss, *gradients = graph.outputs
    assert loss.shape == ()
    assert [g.shape for g in gradients] == [n.shape for n in graph.state_inputs]


def test_grad_with_an_optimizer_has_updates(capsys, tmp_path):
    script = tmp_path / "model.py"
    script.write_text(
        "from graphrt import nn\n"
        "net = nn.SequentialCell([nn.Dense(3, 2)])\n"
        "loss_fn = nn.MSELoss()\n"
        "optimizer = nn.Momentum(net.trainable_params(), 0.1, 0.9)\n"
    )
    assert main([f"{script}:net", "--input", "4x3", "--label", "4x2:f32", "--stage", "grad"]) == 0
    graph = parse(capsys.readouterr().out)
    updated = {state.op.label for state in graph.updates}
    assert {"0.weight", "0.bias"} <= updated
    assert len(updated) >= 4  # weights and moments


def test_all_stages_in_order(capsys):
    text = dump(capsys, "--stage", "all")
    names = re.findall(r"^# ==== \d+ (\w+)", text, re.MULTILINE)
    assert names[:2] == ["graph", "grad"]
    assert "pass" in names
    assert names[-4:] == ["fused", "loops", "llvm", "asm"]
    assert text == dump(capsys, "--stage", "all")  # deterministic


def test_passes_by_name_and_changed_only(capsys):
    every = dump(capsys, "--pass", ".")
    changed = dump(capsys, "--pass", ".", "--changed-only")
    assert "(no change)" in every
    assert "(no change)" not in changed
    assert len(re.findall("^# ====", changed, re.MULTILINE)) < len(re.findall("^# ====", every, re.MULTILINE))


def test_json(capsys):
    document = json.loads(dump(capsys, "--stage", "graph", "--format", "json"))
    (stage,) = document["stages"]
    assert stage["kind"] == "graph"
    assert any(node["op"] == "conv2d" for node in stage["graph"]["nodes"])


def test_dot(capsys):
    text = dump(capsys, "--stage", "graph", "--format", "dot")
    assert text.startswith('digraph "graph" {')
    assert text.rstrip().endswith("}")
    assert "conv2d" in text
    assert "->" in text


def test_fused_kernels_as_json_and_dot(capsys):
    (stage,) = json.loads(dump(capsys, "--stage", "fused", "--format", "json"))["stages"]
    memory, kernels = stage["data"]["memory"], stage["data"]["kernels"]
    ends = [buffer["offset"] + buffer["bytes"] for buffer in memory["buffers"]]
    assert max(ends) <= memory["arena_bytes"]
    assert all(0 <= b["first_kernel"] <= b["last_kernel"] < len(kernels) for b in memory["buffers"])
    text = dump(capsys, "--stage", "fused", "--format", "dot")
    assert all(f'"{kernel["name"]}" [' in text for kernel in kernels)
    assert "->" in text


def test_fused_text_has_the_memory_plan(capsys):
    text = dump(capsys, "--stage", "fused")
    assert re.search(r"memory plan: arena \d+ B", text)
    assert re.search(r"kernels +\d+ - +\d+", text)


def test_output_file(capsys, tmp_path):
    path = tmp_path / "graph.txt"
    assert dump(capsys, "-o", str(path)) == ""
    assert parse(path.read_text()).outputs[0].shape == (4, 10)


def test_inference_compiles_the_forward_pass(capsys):
    text = dump(capsys, "--pass", ".", "--inference")
    assert "conv2d_backward" not in text
    assert "conv2d_backward" in dump(capsys, "--pass", ".")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere.py:net", *INPUT], "no such file"),
        ([LENET, "--input", "4x?"], "shape and element type"),
        ([LENET, "--input", "4x784:f32"], "Conv2d"),
        ([LENET, *INPUT, "--pass", "("], "not a regular expression"),
        ([LENET, *INPUT, "--loss", "NoLoss", "--stage", "grad"], "no such loss"),
        ([LENET, *INPUT, "--stage", "asm", "--format", "dot"], "no graph to draw"),
        ([LENET, *INPUT, "-o", "/nowhere/at/all.txt"], "cannot write"),
    ],
)
def test_mistakes_are_answered_in_one_message(capsys, arguments, message):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(message, captured.err, re.IGNORECASE)
    assert "Traceback" not in captured.err


def test_an_unknown_stage_is_refused_by_the_parser(capsys):
    with pytest.raises(SystemExit) as caught:
        main([LENET, *INPUT, "--stage", "magic"])
    assert caught.value.code == 2
