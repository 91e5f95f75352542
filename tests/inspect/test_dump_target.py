"""Command-line spellings of networks and tensor types."""

import pytest

from graphrt.dtypes import float32, int32, uint8
from graphrt.errors import ArgumentError
from graphrt.inspect.target import load_target, parse_input
from graphrt.ir import TensorType

SCRIPT = """
from graphrt import nn
import helper

class Net(nn.Cell):
    def __init__(self):
        super().__init__()
        self.fc = nn.Dense(3, 2)
    def construct(self, x):
        return self.fc(x)

class Sized(nn.Cell):
    def __init__(self, size):
        super().__init__()

net = Net()
loss_fn = nn.MSELoss()
number = 3
def double(x):
    return x + x
if __name__ == "__main__":
    raise SystemExit("ran as a script")
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "helper.py").write_text("")
    path = tmp_path / "model.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize(
    "text, expected",
    [
        ("32x1x32x32:f32", TensorType((32, 1, 32, 32), float32)),
        ("7", TensorType((7,), float32)),
        ("32:int32", TensorType((32,), int32)),
        ("scalar:u8", TensorType((), uint8)),
    ],
)
def test_input_types(text, expected):
    assert parse_input(text) == expected


@pytest.mark.parametrize("text", ["", "3x", "axb:f32", "3x3:", "3:f12", "3x0:f32", "-1x3"])
def test_unusable_input_types(text):
    with pytest.raises(ArgumentError):
        parse_input(text)


def test_finds_instances_classes_and_functions(script):
    found = load_target(f"{script}:net")
    assert found.name == "net"
    assert type(found.loss_fn).__name__ == "MSELoss"
    assert found.optimizer is None
    assert type(load_target(f"{script}:Net").network).__name__ == "Net"
    assert load_target(f"{script}:double").network(2) == 4


@pytest.mark.parametrize(
    "attribute, message",
    [
        ("missing", "defines no 'missing'"),
        ("Sized", "cannot be made without arguments"),
        ("number", "'number' is not a network"),
    ],
)
def test_unusable_attributes(script, attribute, message):
    with pytest.raises(ArgumentError, match=message):
        load_target(f"{script}:{attribute}")


def test_a_missing_name_lists_what_there_is(script):
    with pytest.raises(ArgumentError) as caught:
        load_target(f"{script}:nett")
    assert caught.value.expected == "Net or Sized or net or loss_fn"


@pytest.mark.parametrize("text", ["model.py", ":net", "nowhere.py:net", "no.such.module:net"])
def test_unusable_places(text):
    with pytest.raises(ArgumentError):
        load_target(text)
