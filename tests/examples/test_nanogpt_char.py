"""The GPT example in small: it learns, writes text, and computes what it says it computes."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

import graphrt
from graphrt import Tensor

SCRIPT = Path(__file__).parents[2] / "examples" / "nanogpt_char.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(SCRIPT), run_name="nanogpt_char")


def test_it_learns_and_writes(run_example, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    output = run_example(
        "nanogpt_char.py", "--data", text, "--steps", 60, "--sink-size", 30, "--characters", 40
    )
    losses = [
        float(loss) for loss in re.findall(r"^epoch: \d+ step: 30, loss is (\S+)$", output, re.MULTILINE)
    ]
    assert len(losses) == 2 and losses[1] < losses[0] < 3.4
    assert float(re.search(r"validation loss: (\S+)", output)[1]) < 2.5
    written = output.partition("it writes:\n\n")[2].removesuffix("\n")
    assert len(written) == 40 and set(written) <= set(text.read_text())


def test_the_size_of_a_sink_changes_no_number(run_example, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("abcdefghij" * 200)
    lines = {}
    for size in (3, 6):
        arguments = ("--data", text, "--steps", 6, "--sink-size", size, "--characters", 5)
        output = run_example("nanogpt_char.py", *arguments)
        lines[size] = re.search(r"validation loss: \S+", output)[0], output.splitlines()[-1]
    assert lines[3] == lines[6]


def test_a_short_text_is_refused(run_example, tmp_path, capsys):
    (tmp_path / "short.txt").write_text("abc" * 50)
    with pytest.raises(SystemExit):
        run_example("nanogpt_char.py", "--data", tmp_path / "short.txt")
    assert "the text is too short: 150 characters" in capsys.readouterr().err


def test_without_a_file_it_reads_pythons_help(example):
    text = example["help_pages"]()
    assert len(text) > 100_000 and "assert" in text


def test_the_learning_rate(example):
    with graphrt.set_context(engine="interpreter"):
        schedule = example["WarmUpCosine"](1100)
        rates = {step: float(schedule(Tensor(np.int32(step)))) for step in (0, 99, 100, 600, 1100, 5000)}
    assert rates[0] == pytest.approx(2e-3 / 101) and rates[99] == pytest.approx(2e-3 * 100 / 101)
    assert rates[100] == pytest.approx(2e-3) and rates[600] == pytest.approx(1.05e-3)
    assert rates[1100] == rates[5000] == pytest.approx(1e-4)


def test_the_loss_reads_blocks_of_the_text(example):
    """Where the network always predicts the character it sees, the loss follows from the text alone."""
    text = np.array([0, 0, 1] * 40, np.int32)

    class Echo(graphrt.nn.Cell):
        def construct(self, characters):
            return graphrt.ops.one_hot(characters, 2) * 5.0

    loss = example["TextLoss"](Echo(), text)
    start = np.array([0, 7, 55], np.int32)
    block = example["BLOCK"]
    same = np.mean([text[s : s + block] == text[s + 1 : s + block + 1] for s in start])
    wrong_costs = 5.0
    expected = np.log(1 + np.exp(-wrong_costs)) + (1 - same) * wrong_costs
    assert float(loss(Tensor(start))) == pytest.approx(expected, rel=1e-4)


def test_sampling_follows_the_network(example):
    block = example["BLOCK"]

    def successor(characters):  # certain that k is followed by k + 1, whatever is right of it
        logits = np.full((*characters.shape, 5), -50.0, np.float32)
        np.put_along_axis(logits, (characters.asnumpy() + 1)[..., None] % 5, 50.0, axis=-1)
        return Tensor(logits)

    text = example["sample"](successor, "abcd\n", 2 * block, np.random.default_rng(0))
    assert text == ("abcd\n" * block)[: 2 * block]


def test_only_matrices_decay(example):
    network = example["GPT"](7)
    names = [p.name for p in network.trainable_params() if p.ndim < 2]
    assert len(names) == 2 * example["LAYERS"] + 1 and all("gamma" in name for name in names)
