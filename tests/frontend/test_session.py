"""The package itself: lazy import, settings, seeds."""

import subprocess
import sys
import warnings

import pytest

import graphrt
from graphrt.errors import ArgumentError


def test_import_loads_nothing_heavy():
    code = (
        "import sys, graphrt; graphrt.Tensor, graphrt.nn.Dense, graphrt.ops.relu, graphrt.compile\n"
        "heavy = {'networkx', 'onnx', 'sklearn', 'llvmlite', 'matplotlib', 'tqdm', 'safetensors'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_alone_loads_no_numpy():
    subprocess.run(
        [sys.executable, "-c", "import sys, graphrt; assert 'numpy' not in sys.modules"], check=True
    )


def test_build_functions_need_no_front_end():
    code = "import sys; from graphrt.ops import build; assert not any('frontend' in m for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names():
    for name in (
        "Tensor", "Parameter", "ParameterTuple", "compile", "jit", "value_and_grad", "grad", "set_seed", "get_seed",
        "set_context", "get_context", "context", "nn", "ops", "common", "dtype", "float32", "bool_", "GRAPH_MODE",
    ):  # fmt: skip
        assert getattr(graphrt, name) is not None and name in dir(graphrt)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = graphrt.nothing
    from graphrt import dtype as mstype

    assert mstype.float32 is graphrt.float32


def test_context_manager_restores():
    before = graphrt.get_context("threads")
    with graphrt.set_context(threads=3):
        assert graphrt.get_context("threads") == 3
    assert graphrt.get_context("threads") == before


@pytest.mark.parametrize(
    "settings, text",
    [
        (
            {"device_target": "Ascend"},
            "set_context: graphrt runs on CPUs only\n  expected: device_target=\"CPU\"\n"
            "  given:    device_target='Ascend'\n  fix:      write device_target=\"CPU\"",
        ),
        ({"engine": "gpu"}, "set_context: engine has an unknown value\n  expected: 'native' or 'interpreter'\n  given:    'gpu'"),
        (
            {"convolution": "fast"},
            "set_context: convolution has an unknown value\n  expected: 'direct' or 'winograd'\n  given:    'fast'",
        ),
        ({"threads": 0}, "set_context: threads must be a positive int or None\n  given:    0"),
    ],
    ids=["device", "engine", "convolution", "threads"],
)  # fmt: skip
def test_bad_settings(settings, text):
    with pytest.raises(ArgumentError) as caught:
        graphrt.set_context(**settings)
    assert str(caught.value) == text


@pytest.fixture
def nothing_told(monkeypatch):
    from graphrt import context

    monkeypatch.setattr(context, "_told", set())


def test_settings_of_mindspore_are_accepted_with_one_warning(nothing_told):
    """What programs pass to set_context there. Names and defaults: documentation of mindspore.set_context, 2.4."""
    settings = dict(
        save_graphs=2, save_graphs_path="./ir", device_id=3, max_call_depth=2000, enable_graph_kernel=True,
        pynative_synchronize=True, deterministic="ON", max_device_memory="8GB", jit_config={"jit_level": "O0"},
    )  # fmt: skip
    with pytest.warns(UserWarning) as caught, graphrt.set_context(device_target="CPU", **settings):
        assert graphrt.get_context("device_id") == 3 and graphrt.get_context("deterministic") == "ON"
        assert graphrt.get_context("mode") == graphrt.PYNATIVE_MODE
    assert len(caught) == len(settings) and {w.filename for w in caught} == {__file__}
    texts = {str(w.message).split()[1]: str(w.message) for w in caught}
    assert texts.keys() == settings.keys()
    assert texts["save_graphs"] == (
        "set_context: save_graphs has no meaning here: graphrt-dump FILE.py:net --stage all shows every stage of the compiler"
    )
    assert graphrt.get_context("device_id") == 0 and graphrt.get_context("save_graphs") is False
    with warnings.catch_warnings():  # said once
        warnings.simplefilter("error")
        graphrt.set_context(**settings).__exit__()


def test_every_foreign_setting_says_what_happens_instead(nothing_told):
    from graphrt.context import FOREIGN

    with (
        pytest.warns(UserWarning) as caught,
        graphrt.set_context(**{name: v for name, (v, _) in FOREIGN.items()}),
    ):
        assert all(graphrt.get_context(name) == default for name, (default, _) in FOREIGN.items())
    assert len(caught) == len(FOREIGN) and all(
        note and not note.endswith(".") for _, note in FOREIGN.values()
    )


def test_unknown_settings_suggest_the_nearest_and_change_nothing(nothing_told):
    for name, near in (
        ("save_graph", "save_graphs"),
        ("thread", "threads"),
        ("device_traget", "device_target"),
    ):
        with pytest.raises(ArgumentError) as caught, warnings.catch_warnings():
            warnings.simplefilter("error")
            graphrt.set_context(device_id=7, **{name: 1})
        assert caught.value.fix == f"did you mean {near!r}?" and graphrt.get_context("device_id") == 0
    with pytest.raises(ArgumentError, match="did you mean 'save_graphs'"):
        graphrt.get_context("save_graph")


def test_unknown_setting_and_bad_seed():
    with pytest.raises(ArgumentError, match="unknown setting"):
        graphrt.set_context(speed=1)
    with pytest.raises(ArgumentError, match="unknown setting"):
        graphrt.get_context("speed")
    with pytest.raises(ArgumentError, match="non-negative int"):
        graphrt.set_seed(-1)


def test_random_functions_follow_the_seed():
    from graphrt import ops

    graphrt.set_seed(4)
    first = [ops.uniform((3,)).tolist(), ops.normal((3,)).tolist(), ops.dropout(ops.ones((8,))).tolist()]
    graphrt.set_seed(4)
    again = [ops.uniform((3,)).tolist(), ops.normal((3,)).tolist(), ops.dropout(ops.ones((8,))).tolist()]
    assert first == again and ops.uniform((3,)).tolist() != first[0]
    graphrt.set_seed(4)
    drawn = graphrt.compile(lambda: ops.uniform((3,)))
    assert drawn().tolist() == first[0] != drawn().tolist()
