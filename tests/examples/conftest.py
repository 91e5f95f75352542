"""Running example scripts inside the test process."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run_example(monkeypatch, capsys):
    """`run_example("name.py", *arguments)`: what the script prints."""
    monkeypatch.syspath_prepend(str(EXAMPLES))  # as `python examples/name.py` has it

    def run(name, *arguments):
        script = str(EXAMPLES / name)
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        runpy.run_path(script, run_name="__main__")
        return capsys.readouterr().out

    return run
