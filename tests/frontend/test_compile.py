"""`@compile`: what can be compiled, one version per kind of call, and what makes a new one."""

import itertools
import pickle
import types

import numpy as np
import pytest

import graphrt
from graphrt import Tensor, nn, ops
from graphrt.errors import ArgumentError

X = Tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
factor = 2.0
settings = types.SimpleNamespace(factor=2.0)
network = None


@graphrt.compile
class Affine(nn.Cell):
    def __init__(self, bias=1.0):
        super().__init__()
        self.fc = nn.Dense(3, 2)
        self.drop = nn.Dropout(p=0.5)
        self.bias = bias

    def construct(self, x):
        return self.drop(self.fc(x)) + self.bias


class Wider(Affine):
    pass


def reasons(compiled):
    return [version.reason for version in compiled.specialisations]


def test_class_keeps_its_identity():
    net = Affine()
    assert isinstance(net, Affine) and Affine.__name__ == "Affine" and isinstance(Wider(), Affine)
    expected = net._run_construct((X,), {}).asnumpy()
    np.testing.assert_allclose(net(X).asnumpy(), expected, rtol=1e-6)
    assert len(net.specialisations) == 1 and len(Wider().specialisations) == 0
    copied = pickle.loads(pickle.dumps(net))
    assert type(copied) is Affine
    np.testing.assert_allclose(copied(X).asnumpy(), expected, rtol=1e-6)


def test_construct_runs_once_per_kind_of_call():
    @graphrt.compile
    def double(x, times=2):
        next(traces)
        return x * times

    traces = itertools.count()
    for _ in range(3):
        assert double(X).tolist() == (X * 2).tolist()
    assert double.specialisations[0].calls == 3 and next(traces) == 1
    double(X[0])
    double(X, 3)
    double(X, times=3)
    double(X[0])
    assert reasons(double) == [
        "first call",
        "tensor argument 0 changed from float32[2, 3] to float32[3]",
        "tensor argument 0 changed from float32[3] to float32[2, 3]",
        "Python arguments changed from (a tensor, 3) to (a tensor, times=3)",
    ]


def test_training_flag_selects_a_version_and_versions_are_kept():
    net = Affine()
    outputs = [net.set_train(mode)(X) for mode in (False, True, False, True)]
    assert reasons(net) == ["first call", "Affine.training changed from False to True"]
    assert [v.calls for v in net.specialisations] == [2, 2]
    assert outputs[0].tolist() == outputs[2].tolist()
    assert outputs[1].tolist() != outputs[3].tolist()  # dropout draws anew at every call


def test_changed_attribute_is_seen():
    net = Affine()
    before = net(X).asnumpy()
    net.bias = 3.0
    np.testing.assert_allclose(net(X).asnumpy(), before + 2, rtol=1e-6)
    assert reasons(net)[1] == "Affine.bias changed from 1.0 to 3.0"
    net.drop.p = 0.25
    net(X)
    assert reasons(net)[2] == "Dropout.p changed from 0.5 to 0.25"


def test_changed_list_attribute_and_replaced_child_are_seen():
    class Chain(nn.Cell):
        def __init__(self):
            super().__init__()
            self.factors = [2.0]
            self.act = nn.ReLU()

        def construct(self, x):
            for f in self.factors:
                x = x * f
            return self.act(x)

    net = graphrt.compile(Chain())
    net(X)
    net.factors.append(3.0)
    assert net(X).tolist() == (X * 6).tolist()
    net.act = nn.Identity()
    assert net(-X).tolist() == (-X * 6).tolist()
    assert len(net.specialisations) == 3


def test_attribute_of_a_child_that_is_not_called_is_seen():
    class Reader(nn.Cell):
        def __init__(self):
            super().__init__()
            self.child = nn.Dropout(p=0.25)

        def construct(self, x):
            return x * self.child.p

    net = graphrt.compile(Reader())
    assert net(X).tolist() == (X * 0.25).tolist()
    net.child.p = 0.5
    assert net(X).tolist() == (X * 0.5).tolist()


def test_parameter_values_need_no_new_version():
    net = Affine()
    before = net(X).asnumpy()
    net.fc.bias.set_data(net.fc.bias + 1)
    np.testing.assert_allclose(net(X).asnumpy(), before + 1, rtol=1e-6)
    assert len(net.specialisations) == 1


def test_rebound_globals_are_seen():
    global factor, network

    def helper(x):
        return x * factor

    @graphrt.compile
    def function(x):
        return network(helper(x))

    network, factor = nn.Identity(), 2.0
    assert function(X).tolist() == (X * 2).tolist()
    factor = 3.0
    assert function(X).tolist() == (X * 3).tolist()
    network = nn.ReLU()
    assert function(-X).tolist() == (X * 0).tolist()
    factor, network = 3.0, nn.ReLU()
    function(X)
    found = reasons(function)
    assert found[1] == "global 'factor' changed from 2.0 to 3.0"
    assert found[2].startswith("global 'network' changed from <Identity at")
    function(X)
    assert len(function.specialisations) == 4


def test_settings_objects_closures_and_defaults_are_seen():
    scale = 2.0

    @graphrt.compile
    def function(x):
        return x * settings.factor * scale

    settings.factor = 2.0
    assert function(X).tolist() == (X * 4).tolist()
    settings.factor = 5.0
    assert function(X).tolist() == (X * 10).tolist()
    scale = 1.0
    assert function(X).tolist() == (X * 5).tolist()
    assert reasons(function)[2] == "variable 'scale' changed from 2.0 to 1.0"


def test_module_attributes_are_seen():
    module = types.ModuleType("user_settings")
    module.__file__ = "/nowhere/user_settings.py"
    module.rate = 2.0
    scope = {"user_settings": module, "graphrt": graphrt}
    exec("def function(x):\n    return x * user_settings.rate\n", scope)
    function = graphrt.compile(scope["function"])
    assert function(X).tolist() == (X * 2).tolist()
    module.rate = 4.0
    assert function(X).tolist() == (X * 4).tolist()
    assert reasons(function)[1] == "user_settings.rate changed from 2.0 to 4.0"


def test_changed_captured_tensor_is_seen():
    table = Tensor(np.ones(3, np.float32))

    @graphrt.compile
    def function(x):
        return x + table

    function(X)
    table[0] = 5.0
    assert function(X).tolist() == (X + table).tolist()
    assert reasons(function)[1].startswith("a tensor used as a constant changed")


def test_methods():
    class Trainer:
        def __init__(self):
            self.net = nn.Dense(3, 2)
            self.scale = 2.0

        @graphrt.compile
        def step(self, x):
            return self.net(x) * self.scale

    trainer = Trainer()
    first = trainer.step(X).asnumpy()
    trainer.scale = 4.0
    np.testing.assert_allclose(trainer.step(X).asnumpy(), first * 2, rtol=1e-6)
    trainer.net = nn.Dense(3, 2)
    np.testing.assert_allclose(trainer.step(X).asnumpy(), (trainer.net(X) * 4).asnumpy(), rtol=1e-5)


def test_static_values_keep_their_types_apart():
    @graphrt.compile
    def function(x, n):
        return x * n

    assert function(Tensor([1, 2], "int32"), 2).dtype.name == "int32"
    assert function(Tensor([1, 2], "int32"), 2.0).dtype.name == "float32"
    assert function(Tensor([1, 2], "int32"), True).tolist() == [1, 2]
    function(X, float("nan"))
    count = len(function.specialisations)
    function(X, float("nan"))
    assert len(function.specialisations) == count


def test_compiled_functions_inline():
    @graphrt.compile
    def inner(x):
        return x * 2

    @graphrt.compile
    def outer(x):
        return inner(net(x))

    net = Affine()
    outer(X)
    assert inner.specialisations == [] and len(outer.specialisations) == 1


def test_arrays_and_structures():
    @graphrt.compile
    def function(pair, *, flag=None):
        return {"sum": pair[0] + pair[1], "flag": flag, "nothing": None}

    result = function((X.asnumpy(), np.float32(1.0)), flag="on")
    assert result["sum"].tolist() == (X + 1).tolist() and result["flag"] == "on" and result["nothing"] is None


def test_graph_mode_compiles_cells():
    net = nn.SequentialCell(nn.Dense(3, 2), nn.ReLU())
    eager = net(X).asnumpy()
    with graphrt.set_context(mode=graphrt.GRAPH_MODE):
        np.testing.assert_allclose(net(X).asnumpy(), eager, rtol=1e-6)
    assert len(net.specialisations) == 1 and net[0].specialisations == []


def test_many_versions_warn():
    @graphrt.compile
    def function(x, n):
        return x * n

    with pytest.warns(UserWarning, match="was compiled 16 times; the last reason: Python arguments changed"):
        for n in range(16):
            function(X, n)


def test_what_cannot_be_compiled():
    with pytest.raises(ArgumentError, match="cannot compile this"):
        graphrt.compile(3)
    with pytest.raises(ArgumentError, match="cannot compile this"):
        graphrt.compile(int)


def test_compile_with_parentheses_and_twice():
    @graphrt.compile()
    def function(x):
        return ops.relu(x)

    assert graphrt.jit(function) is function and function(X).tolist() == X.tolist()


def test_whole_training_step_is_one_graph_and_equals_the_eager_one():
    rng = np.random.default_rng(0)
    x, y = (
        Tensor(rng.standard_normal((8, 3)).astype(np.float32)),
        Tensor(rng.integers(0, 2, 8).astype(np.int32)),
    )

    def make():
        graphrt.set_seed(7)
        net = nn.SequentialCell(nn.Dense(3, 4), nn.Tanh(), nn.Dropout(p=0.2), nn.Dense(4, 2))
        loss_fn, optimizer = nn.CrossEntropyLoss(), nn.Adam(net.trainable_params(), 0.05)
        forward = graphrt.value_and_grad(lambda a, b: loss_fn(net(a), b), None, optimizer.parameters)
        net.set_train()

        def step(a, b):
            loss, grads = forward(a, b)
            optimizer(grads)
            return loss

        return step

    eager, compiled = make(), graphrt.compile(make())
    expected = [eager(x, y).item() for _ in range(5)]
    np.testing.assert_allclose([compiled(x, y).item() for _ in range(5)], expected, rtol=2e-5)
    assert expected[-1] < expected[0]
    (version,) = compiled.specialisations
    updated = [n.op.label for n in version.graph.updates]
    assert (
        "0.weight" in updated
        and "moment1.0.weight" in updated
        and "2.key" in updated
        and "global_step" in updated
    )


def test_settings_that_code_depends_on_make_a_version():
    @graphrt.compile
    def double(x):
        return x * 2

    double(X)
    with graphrt.set_context(convolution="winograd"):
        double(X)
        double(X)
    double(X)
    assert reasons(double) == ["first call", "convolution changed from 'direct' to 'winograd'"]
    assert [version.calls for version in double.specialisations] == [2, 2]
