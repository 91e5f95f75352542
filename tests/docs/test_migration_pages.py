"""The migration pages: their blocks run and print what the page says, the expressions in their tables can be evaluated."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import graphrt

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["migrating_from_mindspore.md", "migrating_from_pytorch.md"]


def blocks(text):
    """(language, content, line) of every fenced block."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield match[1], match[2], text.count("\n", 0, match.start()) + 1


def expressions(text):
    """(code, line) of every code span in the column "here" of every table."""
    column = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("|"):
            column = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if "here" in cells:
            column = cells.index("here")
        elif column is not None:
            yield from ((code, number) for code in re.findall(r"`([^`]+)`", cells[column]))


def fits(printed, expected):
    """Whether the text is as on the page, where ... stands for anything within a line."""
    pattern = "".join(".*" if part == "..." else re.escape(part) for part in re.split(r"(\.\.\.)", expected))
    return re.fullmatch(pattern, printed) is not None


@pytest.fixture
def away(monkeypatch, tmp_path):
    """An empty folder to work in, and the settings as before afterwards."""
    monkeypatch.chdir(tmp_path)
    with graphrt.set_context(mode=graphrt.PYNATIVE_MODE, device_target="CPU", compat="2"):
        yield


@pytest.mark.parametrize("page", PAGES)
def test_everything_on_the_page_runs(page, away):
    text = (DOCS / page).read_text(encoding="utf-8")
    names, printed = {"__name__": "page"}, ""
    for language, content, line in blocks(text):
        if language == "text":
            assert fits(printed, content), f"{page}:{line} is not what is printed:\n{printed}"
            continue
        output = io.StringIO()
        with redirect_stdout(output):
            exec(compile("\n" * line + content, page, "exec"), names)
        printed = output.getvalue()
    found = list(expressions(text))
    assert len(found) > 10
    for code, line in found:
        try:
            eval(code, names)
        except Exception as error:
            raise AssertionError(f"{page}:{line}: {code} does not run: {error}") from error


def test_the_comparison_can_fail():
    assert fits("at: x.py:3\n1\n", "at: ...\n1\n") and not fits("at: x.py:3\n2\n", "at: ...\n1\n")
    assert not fits("a\nb\n", "...\n")
