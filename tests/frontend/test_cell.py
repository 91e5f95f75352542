"""Cell and Parameter: registration, names, trees, flags, copying, messages."""

import copy
import pickle

import numpy as np
import pytest

import graphrt
from graphrt import Parameter, ParameterTuple, Tensor, nn
from graphrt.errors import ArgumentError, DTypeError, ShapeError
from graphrt.frontend.parameter import ALIGNMENT


class Block(nn.Cell):
    def __init__(self, width=4):
        super().__init__()
        self.fc = nn.Dense(3, width)
        self.scale = Parameter(np.ones(1, np.float32))

    def construct(self, x):
        return self.fc(x) * self.scale


class Net(nn.Cell):
    def __init__(me):  # self may have any name
        super().__init__()
        me.first = Block()
        me.rest = nn.SequentialCell(nn.ReLU(), nn.Dense(4, 2, has_bias=False))

    def construct(me, x):
        return me.rest(me.first(x))


def names(cell):
    return [p.name for p in cell.get_parameters()]


def test_parameters_are_named_by_path():
    net = Net()
    assert names(net) == ["first.scale", "first.fc.weight", "first.fc.bias", "rest.1.weight"]
    assert [path for path, _ in net.parameters_and_names()] == names(net)
    assert list(net.parameters_dict()) == names(net)
    assert net(Tensor(np.ones((5, 3), np.float32))).shape == (5, 2)


def test_shared_cells_keep_their_first_name():
    class Tied(nn.Cell):
        def __init__(self):
            super().__init__()
            self.encoder = Block()
            self.again = self.encoder
            self.head = self.encoder.fc
            self.weight = self.encoder.fc.weight

    assert names(Tied()) == ["encoder.fc.weight", "encoder.scale", "encoder.fc.bias"]


def test_tied_parameters_keep_their_first_name():
    class Tied(nn.Cell):
        def __init__(self):
            super().__init__()
            self.embed = nn.Dense(3, 3)
            head = nn.Dense(3, 3)
            head.weight = self.embed.weight
            self.head = head

    assert names(Tied()) == ["embed.weight", "embed.bias", "head.bias"]


def test_wrapping_a_network_keeps_names_without_auto_prefix():
    net = Net()
    before = names(net)
    trained = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), nn.SGD(net.trainable_params(), 0.1))
    assert names(net) == before
    assert names(trained)[:4] == before


def test_explicit_parameter_name_stays():
    class Named(nn.Cell):
        def __init__(self):
            super().__init__()
            self.a = Parameter(1.0, name="given")
            self.b = Parameter(1.0)

    assert names(Named()) == ["given", "b"]


def test_trainable_params_follow_requires_grad():
    net = Net()
    net.first.scale.requires_grad = False
    assert [p.name for p in net.untrainable_params()] == ["first.scale"]
    assert "first.scale" not in [p.name for p in net.trainable_params()]


def test_flags_reach_all_cells():
    net = Net()
    assert not any(cell.training for _, cell in net.cells_and_names())
    assert net.set_train() is net
    assert all(cell.training for _, cell in net.cells_and_names())
    net.set_train(False).set_grad()
    assert not net.rest[1].training and net.rest[1].requires_grad


def test_tree_walks():
    net = Net()
    paths = [path for path, _ in net.cells_and_names()]
    assert paths == ["", "first", "first.fc", "rest", "rest.0", "rest.1"]
    assert list(net.name_cells()) == ["first", "rest"] and list(net.cells()) == [net.first, net.rest]


def test_repr():
    assert repr(Net()) == (
        "Net(\n"
        "  (first): Block(\n"
        "    (fc): Dense(input_channels=3, output_channels=4, has_bias=True)\n"
        "  )\n"
        "  (rest): SequentialCell(\n"
        "    (0): ReLU()\n"
        "    (1): Dense(input_channels=4, output_channels=2, has_bias=False)\n"
        "  )\n"
        ")"
    )


def test_replacing_and_deleting_attributes():
    net = Net()
    net.first = nn.Dense(3, 4)
    assert names(net) == ["first.weight", "first.bias", "rest.1.weight"]
    net.rest = None
    assert net.rest is None and names(net) == ["first.weight", "first.bias"]
    del net.first
    assert names(net) == [] and not hasattr(net, "first")


def test_assigning_a_tensor_to_a_parameter_attribute_sets_its_value_in_place():
    block = Block()
    parameter, memory = block.scale, block.scale._array
    block.scale = Tensor(np.array([3.0], np.float32))
    assert block.scale is parameter and parameter._array is memory and memory[0] == 3.0
    block.scale += 1
    assert block.scale is parameter and memory[0] == 4.0


def test_sequential_and_list():
    layers = nn.SequentialCell([nn.Dense(2, 2), nn.ReLU()])
    layers.append(nn.Dense(2, 1))
    assert len(layers) == 3 and isinstance(layers[-1], nn.Dense) and len(layers[1:]) == 2
    layers[1] = nn.Tanh()
    assert [type(c).__name__ for c in layers] == ["Dense", "Tanh", "Dense"]
    del layers[1]
    assert names(layers) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    with pytest.raises(IndexError, match="has 2 cells"):
        layers[2]
    cells = nn.CellList([nn.Dense(1, 1) for _ in range(2)])
    cells.insert(0, nn.ReLU())
    assert len(cells) == 3 and cells.extend([nn.ReLU()]) is cells and len(cells) == 4


def test_what_joins_a_network_late_is_named_by_its_path():
    """Lists that are filled after they were assigned are the usual way to build deep networks."""

    class Deep(nn.Cell):
        def __init__(self):
            super().__init__()
            self.left, self.right, self.nested = (
                nn.CellList(),
                nn.SequentialCell(),
                nn.CellList([nn.CellList()]),
            )
            for _ in range(2):
                self.left.append(nn.Dense(1, 1, has_bias=False))
                self.right.append(nn.Dense(1, 1, has_bias=False))
            self.left.insert(0, nn.Dense(1, 1, has_bias=False))
            self.left[1] = nn.Dense(1, 1, has_bias=False)
            self.nested[0].append(Block())
            self.nested[0][0].shift = Parameter(np.zeros(1))
            self.right.append(self.left[0])  # shared: it keeps its first name
            self.right.append(tied := nn.Dense(1, 1, has_bias=False))
            tied.weight = self.left[2].weight

    net = Deep()
    for deep in (copy.deepcopy(net), net):
        paths = [path for path, _ in deep.parameters_and_names()]
        assert names(deep) == paths and len(set(paths)) == len(paths)
        assert paths[:5] == [
            "left.0.weight",
            "left.1.weight",
            "left.2.weight",
            "right.0.weight",
            "right.1.weight",
        ]
        assert "nested.0.0.shift" in paths and not any(path.startswith("right.2") for path in paths)
        deep.left.append(nn.Dense(1, 1))
        assert names(deep)[3:5] == ["left.3.weight", "left.3.bias"]


def test_super_init_forgotten():
    class Forgot(nn.Cell):
        def __init__(self):
            self.width = 3  # plain values are fine
            self.fc = nn.Dense(1, 1)

    with pytest.raises(ArgumentError) as caught:
        Forgot()
    assert caught.value.message == "Forgot: 'fc' was assigned before Cell.__init__ ran"
    assert caught.value.fix == "call super().__init__() first in Forgot.__init__"

    class Empty(nn.Cell):
        def __init__(self):
            pass

    with pytest.raises(ArgumentError, match="it was called before"):
        Empty()(Tensor(1.0))


def test_missing_construct():
    class Bare(nn.Cell):
        pass

    with pytest.raises(NotImplementedError, match="Bare has no construct method"):
        Bare()(Tensor(1.0))


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"]
)
def test_copies_are_independent_and_aligned(copied):
    net = graphrt.compile(Net())
    x = Tensor(np.ones((1, 3), np.float32))
    expected = net(x).asnumpy()
    other = copied(net)
    assert names(other) == names(net) and other.specialisations == []
    for parameter in other.get_parameters():
        assert parameter._array.ctypes.data % ALIGNMENT == 0
        parameter.set_data(parameter * 0)
    np.testing.assert_array_equal(net(x).asnumpy(), expected)
    np.testing.assert_array_equal(other(x).asnumpy(), 0 * expected)


def test_parameter_memory_and_repr():
    parameter = Parameter(Tensor(np.arange(5.0, dtype=np.float32)), name="w")
    assert parameter._array.ctypes.data % ALIGNMENT == 0 and parameter._array.flags.c_contiguous
    assert repr(parameter) == "Parameter (name=w, shape=(5,), dtype=Float32, requires_grad=True)"
    assert Parameter(1.0).name == "Parameter"
    assert Parameter(np.zeros((0, 3))).shape == (0, 3)


def test_values_taken_from_a_parameter_do_not_follow_it():
    parameter = Parameter(np.zeros(4, np.float32))
    taken = [parameter.value(), parameter.reshape(2, 2), parameter.data, Tensor(parameter), parameter[1:]]
    array = parameter.asnumpy()
    parameter.set_data(np.ones(4, np.float32))
    assert all(t.sum().item() == 0 for t in taken) and array.sum() == 0


def test_set_data_checks():
    parameter = Parameter(np.zeros(4, np.int32), name="steps")
    with pytest.raises(ShapeError, match="a Parameter keeps its shape: steps"):
        parameter.set_data(np.zeros(3, np.int32))
    with pytest.raises(DTypeError, match="a Parameter keeps its element type: steps"):
        parameter.set_data(np.zeros(4, np.float32))


def test_parameter_tuple():
    parameters = ParameterTuple([Parameter(1.0, name="a"), Parameter(2.0, name="b")])
    assert [p.name for p in parameters.clone("m", init="zeros")] == ["m.a", "m.b"]
    with pytest.raises(ArgumentError, match="must be a Parameter"):
        ParameterTuple([1.0])
