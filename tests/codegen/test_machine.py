"""The machine's ceilings: the probes do what they count, and the description is measured once."""

import dataclasses
import json
import math
import os

import numpy as np
import pytest

from graphrt.codegen import cache, machine, probes

KNOWN = machine.Machine("cpu", 2, 1e11, 9e10, 8e10, 5e10, 2e10, 3e10, 1e-7, 32768, 2**20, 2**24)


@pytest.fixture(autouse=True)
def nothing_measured(monkeypatch):
    monkeypatch.setattr(machine, "_machine", None)


def quick(monkeypatch, result):
    measured = []
    monkeypatch.setattr(machine, "measure", lambda: measured.append(1) or result)
    return measured


def test_all_ceilings_are_measured():
    found = machine.measure()
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        if field.name not in ("cpu", "barrier"):
            assert math.isfinite(value) and value > 0, field.name
    assert (found.barrier > 0) == (found.threads > 1)
    assert found.l1_bytes < found.l2_bytes < found.l3_bytes
    assert machine._decode(json.dumps(dataclasses.asdict(found)).encode()) == found


def test_the_reading_probe_reads_everything():
    """Its sum is that of every `lanes`-th element, once per round."""
    probe = probes.ReadProbe()
    values = np.zeros(3 * probe.grain // 4, np.float32)
    lanes = probe.grain // 4 // probes._STREAMS
    values[::lanes] = np.arange(1, 3 * probes._STREAMS + 1)
    total = probe._probe._function(values.ctypes.data, 3, 5)
    assert total == 5 * sum(range(1, 3 * probes._STREAMS + 1))
    with pytest.raises(ValueError, match="too small for 7 threads"):
        probe.measure(values, threads=7)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_probes_run_on_several_threads(threads):
    memory = np.ones(2**16, np.float32)
    assert probes.ReadProbe().measure(memory, threads, seconds=1e-4, repeats=2) > 0
    assert probes.FmaProbe().measure(threads, seconds=1e-4, repeats=2) > 0
    assert (probes.barrier_seconds(threads, seconds=1e-4, repeats=2) > 0) == (threads > 1)


def test_windows_are_as_long_as_asked_for():
    """Rounds are chosen from a clock that here runs exactly one microsecond per round."""
    seen = []

    def window(rounds):
        seen.append(rounds)
        return rounds * 1e-6

    assert probes._best(window, 0.01, 3) == (10000, pytest.approx(0.01))
    assert seen[-3:] == [10000] * 3 and max(seen) == 10000


def test_the_machine_is_measured_once(cache_folder, monkeypatch):
    measured = quick(monkeypatch, KNOWN)
    assert machine.machine() == machine.machine() == KNOWN and len(measured) == 1
    monkeypatch.setattr(machine, "_machine", None)  # the next process
    assert machine.machine() == KNOWN and len(measured) == 1
    (name,) = os.listdir(cache_folder)
    assert name.startswith("machine-") and json.loads(cache.read(name))["fma"] == 1e11


def test_without_a_cache_it_is_measured_once_per_process(monkeypatch):
    monkeypatch.setenv("GRAPHRT_CACHE", "0")
    measured = quick(monkeypatch, KNOWN)
    assert machine.machine() == machine.machine() == KNOWN and len(measured) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"1",
        b'{"cpu": "x"}',
        json.dumps({**dataclasses.asdict(KNOWN), "fma": math.nan}).encode(),
    ]
    + [
        json.dumps({**dataclasses.asdict(KNOWN), k: v}).encode()
        for k, v in (("l1", "1"), ("l2", -1), ("new", 1))
    ],
)
def test_other_content_is_measured_again(monkeypatch, content):
    cache.write(machine._key(), content)
    measured = quick(monkeypatch, KNOWN)
    assert machine.machine() == KNOWN and len(measured) == 1


def test_a_second_measurement_keeps_the_better_numbers(monkeypatch):
    quick(monkeypatch, KNOWN)
    machine.machine()
    quick(monkeypatch, dataclasses.replace(KNOWN, fma=2e11, l1=1e10, barrier=2e-7))
    assert machine.machine() == KNOWN
    assert machine.machine(refresh=True) == dataclasses.replace(KNOWN, fma=2e11)
    monkeypatch.setattr(machine, "_machine", None)
    assert machine.machine().fma == 2e11


def test_another_processor_has_other_numbers(monkeypatch):
    names = {machine._key()}
    monkeypatch.setattr(machine, "_cpu_name", lambda: "another model")
    names.add(machine._key())
    monkeypatch.setattr(machine, "_cpus", lambda: 77)
    names.add(machine._key())
    assert len(names) == 3


def test_cache_sizes_of_the_system(tmp_path):
    rows = [
        (1, "Data", "48K"),
        (1, "Instruction", "32K"),
        (2, "Unified", "1024K"),
        (3, "Unified", "32M"),
        (4, "?", "1G"),
    ]
    for number, (level, kind, size) in enumerate(rows):
        place = tmp_path / f"index{number}"
        place.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (place / name).write_text(f"{text}\n")
    assert machine.cache_sizes(tmp_path) == {1: 48 * 1024, 2: 2**20, 3: 2**25}
    (tmp_path / "index3" / "size").write_text("unknown\n")
    assert machine.cache_sizes(tmp_path)[3] == 2**24
    assert machine.cache_sizes(tmp_path / "none") == {1: 2**15, 2: 2**20, 3: 2**24}
