"""Front-end tests use the interpreter: they are about what is traced, not about native code."""

import pytest

import graphrt


@pytest.fixture(autouse=True)
def interpreter():
    with graphrt.set_context(engine="interpreter", mode=graphrt.PYNATIVE_MODE, compat="2"):
        graphrt.set_seed(0)
        yield
