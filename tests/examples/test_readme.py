"""The README's example runs as printed, and its commands name things that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(monkeypatch, capsys, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    output = capsys.readouterr().out
    assert len(re.findall(r"^epoch: \d step: 200, loss is", output, re.MULTILINE)) == 5
    assert float(re.search(r"'accuracy': ([\d.]+)", output)[1]) > 0.95
    assert "[1 0]" in output
    assert (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize("command", re.findall(r"^    .venv/bin/(graphrt-dump .*)$", README, re.MULTILINE))
def test_dump_commands_run(monkeypatch, capsys, tmp_path, command):
    from graphrt.inspect.command import main

    arguments = [str(ROOT / word) if word.startswith("examples/") else word for word in command.split()[1:]]
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 0


def test_files_it_names_exist():
    for name in re.findall(r"(?:examples|tools|docs|\.ci)/[\w./]+", README):
        assert (ROOT / name).exists(), name


def test_the_gallery_shows_every_example():
    shown = set(re.findall(r"^\| `(\w+\.py)", README, re.MULTILINE))
    programs = {path.name for path in (ROOT / "examples").glob("*.py") if "def main" in path.read_text()}
    assert shown == programs
