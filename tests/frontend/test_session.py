"""The package itself: lazy import, settings, seeds."""

import subprocess
import sys

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
