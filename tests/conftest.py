"""Shared test options and fixtures: a compile cache for the session; golden files, refreshed with `pytest --update-golden`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden/*.txt from what the code does"
    )


@pytest.fixture(autouse=True, scope="session")
def cache_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests never take compiled code from an earlier run, nor leave any behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHRT_CACHE_DIR", str(tmp_path_factory.mktemp("cache", numbered=True)))
        yield


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_heard() -> None:
    """A shell starts programs in the background with SIGINT ignored; the tests press Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)` compares text with tests/golden/<name>.txt, or writes that file with --update-golden."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no {path.name}; run pytest --update-golden and read what it wrote"
        assert text == path.read_text(encoding="utf-8"), (
            f"{path.name} differs; if that is right: --update-golden"
        )

    return check
