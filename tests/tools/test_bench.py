"""The benchmark driver: rounds, ratios, agreement of losses, and how failures are reported."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench", TOOLS / "bench.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench"] = module
    spec.loader.exec_module(module)
    return module


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
