"""Levels of mixed precision: which types are computed in, float32 parameters and outputs, native code against the
interpreter; messages."""

import numpy as np
import pytest

import graphrt
from graphrt import Tensor, amp, nn, ops
from graphrt.errors import ArgumentError, DTypeError
from graphrt.frontend.trace import trace

RNG = np.random.default_rng(4)
X = RNG.standard_normal((8, 2, 6, 6)).astype(np.float32)
Y = RNG.integers(0, 5, 8).astype(np.int32)


class Net(nn.Cell):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
        self.flatten, self.dense = nn.Flatten(), nn.Dense(144, 5)

    def construct(self, x):
        return ops.softmax(self.dense(self.flatten(ops.relu(self.norm(self.conv(x))))))


@pytest.fixture(autouse=True)
def settings():
    with graphrt.set_context(mode=graphrt.PYNATIVE_MODE, compat="2"):
        graphrt.set_seed(1)
        yield


def types(net):
    """op name -> types of its results, in the traced forward."""
    found: dict[str, set[str]] = {}
    for node in trace(net, (Tensor(X),)).graph.nodes():
        found.setdefault(node.op.name, set()).add(node.dtype.name)
    return found


LOW, FULL, BOTH = {"bfloat16"}, {"float32"}, {"bfloat16", "float32"}
EXPECTED = {  # conv2d, matmul, batch_norm_training, maximum of relu, softmax
    "O0": (FULL, FULL, FULL, FULL, FULL),
    "O1": (LOW, LOW, FULL, FULL, FULL),
    "O2": (LOW, LOW, FULL, LOW, FULL),
    "O3": (LOW, LOW, FULL, LOW, FULL),
    "auto": (LOW, LOW, FULL, FULL, FULL),
}


@pytest.mark.parametrize("level", EXPECTED)
def test_levels(level):
    net = amp.auto_mixed_precision(Net().set_train(), level)
    found = types(net)
    names = ("conv2d", "mat_mul", "batch_norm_training", "relu", "softmax")
    assert tuple(found[name] for name in names) == EXPECTED[level]
    assert {p.dtype.name for p in net.get_parameters()} == FULL
    assert net(Tensor(X)).dtype.name == "float32"
    again = amp.auto_mixed_precision(net, "O0")
    assert again is net and types(net)["conv2d"] == FULL


@pytest.mark.parametrize("dtype", [graphrt.bfloat16, graphrt.float16], ids=str)
@pytest.mark.parametrize("level", ["O1", "O2", "O3", "auto"])
def test_native_code_and_accuracy(level, dtype):
    def gradients(level, engine):
        graphrt.set_seed(1)
        net = amp.auto_mixed_precision(Net().set_train(), level, dtype)
        loss = nn.CrossEntropyLoss()
        function = graphrt.value_and_grad(lambda x, y: loss(net(x), y), None, net.trainable_params())
        with graphrt.set_context(engine=engine):
            value, grads = graphrt.compile(function)(Tensor(X), Tensor(Y))
        assert {g.dtype.name for g in grads} == FULL
        return [value.asnumpy(), *(g.asnumpy() for g in grads), net.norm.moving_mean.asnumpy()]

    native, reference, exact = (
        gradients(level, "native"),
        gradients(level, "interpreter"),
        gradients("O0", "interpreter"),
    )
    step = 2**-8 if dtype is graphrt.bfloat16 else 2**-11
    for found, same in zip(native, reference):
        np.testing.assert_allclose(found, same, rtol=0, atol=2 * step * np.abs(same).max())
    found, full = (np.concatenate([part.ravel() for part in parts]) for parts in (native, exact))
    assert np.linalg.norm(found - full) < 6 * step * np.linalg.norm(full)
    assert not np.array_equal(native[1], exact[1])


def test_to_float_of_one_cell():
    net = Net()
    net.dense.to_float(graphrt.float16)
    assert types(net)["conv2d"] == FULL and types(net)["mat_mul"] == {"float16"}
    assert net(Tensor(X)).dtype.name == "float16" and net.dense.weight.dtype.name == "float32"
    net.dense.to_float("float32")
    assert types(net)["mat_mul"] == FULL
    with pytest.raises(DTypeError, match="to_float: a floating-point type is needed"):
        net.to_float(graphrt.int32)


def test_a_compiled_network_notices_a_new_precision():
    net = graphrt.compile(Net())
    assert net(Tensor(X)).dtype.name == "float32"
    net.to_float(graphrt.bfloat16)
    assert net(Tensor(X)).dtype.name == "bfloat16" and len(net.specialisations) == 2


def test_embeddings_add_up_their_gradients_in_float32():
    table = nn.Embedding(3, 4)
    amp.auto_mixed_precision(table, "O3")
    assert table(Tensor(np.array([0, 2], np.int32))).dtype.name == "float32"
    ids = Tensor(np.zeros(1000, np.int32))  # in bfloat16 a sum of ones stops at 256
    grads = graphrt.grad(lambda: ops.sum(table(ids)), None, table.trainable_params())()
    assert grads[0].asnumpy()[0].tolist() == [1000.0] * 4


@pytest.mark.parametrize("dtype", [graphrt.bfloat16, graphrt.float16], ids=str)
def test_export(dtype, tmp_path):
    pytest.importorskip("onnxruntime")
    dense = nn.SequentialCell(nn.Flatten(), nn.Dense(72, 8), nn.LayerNorm(8), nn.ReLU(), nn.Dense(8, 3))
    # convolution in bfloat16 has no words in opset 20
    net = amp.auto_mixed_precision(Net() if dtype is graphrt.float16 else dense, "O2", dtype)
    assert graphrt.export(net, Tensor(X), file_name=str(tmp_path / "net")).stat().st_size > 0


def test_custom_lists():
    net = amp.custom_mixed_precision(Net().set_train(), white_list=[nn.Dense])
    assert types(net)["mat_mul"] == LOW and types(net)["conv2d"] == FULL
    net = amp.custom_mixed_precision(
        net, black_list=[*amp.get_black_list(), nn.Conv2d], dtype=graphrt.float16
    )
    assert types(net)["mat_mul"] == {"float16"} and types(net)["conv2d"] == FULL
    assert nn.Conv2d in amp.get_white_list() and nn.LayerNorm in amp.get_black_list()
    amp.get_white_list().clear()
    assert amp.get_white_list()


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: amp.auto_mixed_precision(Net(), "O4"), "unknown amp_level"),
        (lambda: amp.auto_mixed_precision(Net(), "O2", graphrt.float32), "not a type of low precision"),
        (lambda: amp.auto_mixed_precision(len, "O2"), "the network must be a Cell"),
        (lambda: amp.custom_mixed_precision(Net()), "give white_list or black_list"),
        (lambda: amp.custom_mixed_precision(Net(), white_list=[ops.relu]), "the list must hold Cell classes"),
        (lambda: amp.build_train_network(Net(), None, boost_level="O1"), "boost_level is not supported"),
        (
            lambda: amp.build_train_network(Net(), None, loss_scale_manager=2.0),
            "loss_scale_manager must be a LossScaleManager",
        ),
        (lambda: amp.all_finite(()), "all_finite: no tensors given"),
        (lambda: amp.DynamicLossScaler(0.0, 2, 10), "loss_scale_value out of range"),
        (lambda: amp.DynamicLossScaleManager(scale_factor=1), "scale_factor out of range"),
        (lambda: amp.DynamicLossScaleManager(scale_window=0), "scale_window must be a positive int"),
        (lambda: amp.update_where(Tensor([True]), len), "the condition must be one truth value"),
    ],
)
def test_messages(call, text):
    with pytest.raises(ArgumentError, match=text):
        call()
