"""The benchmark driver: rounds, ratios, agreement of losses, and how failures are reported."""

import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        return importlib.import_module("bench")


def line(name, step_ms, loss, **more):
    record = {
        "peer": name, "mode": "", "workload": "tiny", "threads": 2, "first_call_s": 1.0, "step_ms": step_ms,
        "median_ms": step_ms, "samples_per_s": 100, "losses": [loss, 0.1], "rss_mb": 50,
    }  # fmt: skip
    return record | more


def contestant(bench, name, *results):
    return bench.Contestant(name, "", [], list(results))


def test_ratios_are_taken_within_rounds(bench):
    own = contestant(
        bench, "graphrt", line("graphrt", 1.0, 0.5), line("graphrt", 10.0, 0.5), line("graphrt", 2.0, 0.5)
    )
    peer = contestant(
        bench, "peer", line("peer", 3.0, 0.5), line("peer", 30.0, 0.5), line("peer", 8.0, 0.5004)
    )
    rows = bench.Measured("tiny", 2, [own, peer], [1e11, 2e11, 1e11], 3).rows()
    assert [row["ratio"] for row in rows] == [1.0, 3.0]
    assert rows[1]["step_ms"] == 3.0
    assert rows[1]["rounds_ms"] == [3.0, 30.0, 8.0]
    assert rows[0]["fma_gflops"] == 200.0
    assert rows[0]["peak_percent"] == pytest.approx(100 * bench.step_flops("tiny") / 1e-3 / 2e11, abs=0.01)


def test_other_losses_are_marked(bench):
    own = contestant(bench, "graphrt", line("graphrt", 1.0, 0.5))
    peer = contestant(bench, "peer", line("peer", 3.0, 0.502))
    measured = bench.Measured("tiny", 2, [own, peer], [1e11], 1)
    assert [row["losses_agree"] for row in measured.rows()] == [True, False]
    assert "DIFFERS" in measured.table()


def test_lenet_arithmetic(bench):
    # forward 416,520 multiply-adds a sample; the first layer has no input gradient
    assert bench.step_flops("lenet") == 2 * 32 * (3 * 416_520 - 117_600)


def test_convolution_arithmetic_leaves_out_the_border(bench):
    def taps(size, stride):
        return sum(
            0 <= i * stride + k < size for i in range(size // stride) for k in (-1, 0, 1)
        )  # along one axis

    for size, stride in ((32, 1), (16, 2), (8, 1)):
        assert bench._convolution(size, 3, 5, stride) == taps(size, stride) ** 2 * 15
    assert len(bench.LAYERS["resnet20"]) == 1 + 9 * 2 + 2 + 1


def test_gpt_arithmetic(bench):
    # 12 width^2 of dense layers a token and layer, and 64 * 65 / 2 pairs of tokens seen twice
    layer = 64 * 12 * 128**2 + 2 * (64 * 65 // 2) * 128
    assert bench.step_flops("gpt") == 2 * 12 * 3 * (4 * layer + 64 * 128 * 65)


def test_every_peer_runs_in_its_best_modes(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "_importable", lambda python, module: True)
    for script, _, _ in bench.PEERS.values():
        (tmp_path / script).touch()
    (tmp_path / "dump.py").touch()
    peers = str(_peers(tmp_path))
    options = bench.parse(["--peers", peers, "--only", "torch", "--only", "jax"])
    titles = {work: [c.title for c in bench.contestants(work, options)] for work in bench.LAYERS}
    assert titles["gpt"] == [
        "graphrt", "graphrt bf16", "torch", "torch compile", "jax scan", "jax jit"
    ]  # fmt: skip
    assert titles["resnet20"] == [
        "graphrt", "graphrt winograd", "torch", "torch compile", "torch channels_last", "jax jit"
    ]  # fmt: skip
    options = bench.parse(["--peers", peers, "--only", "torch", "--speed-of-light", str(tmp_path)])
    assert [c.title for c in bench.contestants("resnet20", options)][-2:] == ["C direct", "C winograd"]
    assert not [c for c in bench.contestants("mlp", options) if c.name == "C"]


def test_a_contestant_without_a_first_call(bench):
    own = contestant(bench, "graphrt", line("graphrt", 1.0, 0.5))
    program = contestant(bench, "C", line("C", 0.5, 0.5, first_call_s=None))
    measured = bench.Measured("tiny", 2, [own, program], [1e11], 1)
    assert measured.rows()[1]["first_call_s"] is None
    assert "C " in measured.table()


PROGRAM = """
#include <stdio.h>
int main(int count, char **words) {
  printf("noise\\nlosses: 2.30000 %s.25000  (max diff from torch 1.0e-06)\\n", words[2]);
  printf("threads %s: min 0.5000 ms/step, median 0.6000, max 0.7000 over 3 windows of 100\\n", words[1]);
}
"""


def test_a_c_program_reports_like_a_peer(bench, tmp_path, monkeypatch):
    if not (shutil.which("clang") or shutil.which("gcc")):
        pytest.skip("no C compiler")
    source = _peers(tmp_path)
    (source / "lenet.c").write_text(PROGRAM)
    (source / "dump.py").write_text("import sys; open('x.bin', 'a').write(sys.argv[1])")
    options = bench.parse(["lenet", "--peers", str(source), "--steps", "9", "--speed-of-light", str(source)])
    options.environment = {
        "GRAPHRT_SPEED_OF_LIGHT": str(source), "GRAPHRT_SCRATCH": str(tmp_path / "scratch"),
    }  # fmt: skip
    options.only = ["torch"]  # not installed in a folder without its script
    program = bench.contestants("lenet", options)[1]
    program.run("lenet", options)
    program.run("lenet", options)
    assert program.failure == "" and len(program.results) == 2
    result = program.results[1]
    assert (result["step_ms"], result["median_ms"]) == (0.5, 0.6)
    assert result["losses"] == [2.3, 6.25] and result["samples_per_s"] == 64000
    assert (tmp_path / "scratch" / "lenet_dense" / "x.bin").read_text() == "lenet"  # built only once


def test_a_failing_process_is_reported_and_not_run_again(bench, tmp_path):
    script = tmp_path / "peer.py"
    script.write_text("import sys; sys.exit('no such device')")
    failing = bench.Contestant("peer", "", [sys.executable, str(script)])
    options = bench.parse(["tiny", "--peers", str(_peers(tmp_path))])
    failing.run("tiny", options)
    assert failing.failure == "no such device"
    assert "peer: no such device" in bench.Measured("tiny", 2, [failing], [1e11], 1).table()


def test_a_process_gets_its_settings(bench, tmp_path):
    script = tmp_path / "peer.py"
    script.write_text(
        "import json, os, sys\nprint('noise')\n"
        "print(json.dumps({'arguments': sys.argv[1:], 'threads': os.environ['BENCH_THREADS']}))"
    )
    peer = bench.Contestant("peer", "scan", [sys.executable, str(script)])
    peer.run(
        "tiny", bench.parse(["tiny", "--peers", str(_peers(tmp_path)), "--threads", "1", "--steps", "7"])
    )
    assert peer.results == [
        {"arguments": ["tiny", "--windows", "5", "--mode", "scan", "--steps", "7"], "threads": "1"}
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nope"], "unknown workload 'nope'"),
        (["tiny", "--rounds", "0"], "--rounds must be at least 1"),
        (["tiny", "--peers", "/nowhere"], "no peers' folder"),
        (["tiny", "--speed-of-light", "/nowhere"], "holds no dump.py"),
        (["tiny", "--python", "nobody=/bin/python"], "names 'nobody'"),
    ],
)
def test_unusable_arguments(bench, tmp_path, capsys, arguments, message):
    if "--peers" not in arguments:
        arguments = [*arguments, "--peers", str(_peers(tmp_path))]
    with pytest.raises(SystemExit) as caught:
        bench.parse(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def _peers(folder):
    (folder / "common.py").touch()
    return folder


def test_records_are_json(bench):
    own = contestant(bench, "graphrt", line("graphrt", 1.0, 0.5))
    (row,) = bench.Measured("tiny", 2, [own], [1e11], 1).rows()
    assert json.loads(json.dumps(row)) == row
