"""Tracing: labels, updates, sources, captured constants, and the errors for what cannot be traced."""

import sys

import numpy as np
import pytest

import graphrt
from graphrt import Parameter, Tensor, nn, ops
from graphrt.dtypes import float32, int32
from graphrt.errors import TraceError
from graphrt.frontend.location import shown_path
from graphrt.frontend.trace import trace
from graphrt.ir import TensorType

HERE = shown_path(__file__)
X = Tensor(np.arange(6, dtype=np.float32).reshape(2, 3))


def line():
    return sys._getframe(1).f_lineno


class Net(nn.Cell):
    def __init__(self):
        super().__init__()
        self.fc = nn.Dense(3, 2)
        self.count = Parameter(np.zeros((), np.int32), requires_grad=False)

    def construct(self, x, scale=1.0):
        self.count = self.count + 1
        return {"y": self.fc(x) * scale, "count": (self.count, 7)}


def test_labels_structure_and_updates():
    net = Net()
    traced = trace(net, (X,))
    assert [n.op.label for n in traced.graph.inputs] == ["x", "count", "fc.weight", "fc.bias"]
    assert [n.op.kind for n in traced.graph.inputs] == ["data", "state", "state", "state"]
    assert traced.graph.name == "Net"
    assert traced.parameters["fc.weight"] is net.fc.weight
    assert [n.op.label for n in traced.graph.updates] == ["count"]
    assert traced.cells == (net, net.fc)
    result = traced.run_reference([X.asnumpy()])
    assert result["y"].shape == (2, 2) and result["count"][1] == 7
    assert (
        result["count"][0].item() == 1 and net.count.asnumpy() == 1
    )  # a read after an assignment sees the new value
    np.testing.assert_allclose(
        result["y"].asnumpy(), (X @ net.fc.weight.T + net.fc.bias).asnumpy(), rtol=1e-6
    )


def test_nested_arguments_and_abstract_types():
    def step(batch, *rest, **named):
        return batch["image"] + rest[0], named["label"]

    arguments = ({"image": TensorType((4, 3), float32)}, np.ones((4, 3), np.float32))
    traced = trace(step, arguments, {"label": TensorType((4,), int32)})
    assert [n.op.label for n in traced.graph.data_inputs] == ["batch.image", "rest.0", "named.label"]
    assert [n.type.describe() for n in traced.graph.outputs] == ["float32[4, 3]", "int32[4]"]


def test_state_label_next_to_an_argument_of_that_name():
    weight = Parameter(np.ones(3, np.float32), name="x")
    traced = trace(lambda x: x * weight, (X,))
    assert [n.op.label for n in traced.graph.inputs] == ["x", "x_1"] and traced.parameters["x_1"] is weight


def test_nodes_know_line_and_cell():
    class Outer(nn.Cell):
        def __init__(self):
            super().__init__()
            self.inner = nn.SequentialCell(nn.Dense(3, 2))

        def construct(self, x):
            self.line = line() + 1
            return self.inner(x)

    outer = Outer()
    (node,) = trace(outer, (X,)).graph.outputs
    assert (node.source.file, node.source.line, node.source.cell) == (
        HERE,
        outer.line,
        "Outer.inner.0 (Dense)",
    )


def test_captured_tensors_are_constants_and_are_reported():
    table = Tensor(np.ones(3, np.float32))
    traced = trace(lambda x: x + table + table, (X,))
    assert [t for t, _ in traced.captured] == [table]
    assert sum(n.op.name == "constant" for n in traced.graph.nodes()) == 1


def test_values_known_while_tracing_are_computed_at_once():
    limit = Tensor(3)

    def function(x):
        return x * 2 if limit + 1 > 3 else x

    assert trace(function, (X,)).run_reference([X.asnumpy()]).tolist() == (X * 2).tolist()


def test_parameters_swapped_in_one_step():
    a, b = Parameter(1.0, name="a"), Parameter(2.0, name="b")

    def swap():
        old = a.value()
        a.set_data(b)
        b.set_data(old)
        return a, b

    first, second = graphrt.compile(swap)()
    assert (a.item(), b.item(), first.item(), second.item()) == (2.0, 1.0, 2.0, 1.0)


def test_tensor_of_a_parameter_inside_a_trace():
    weight = Parameter(np.ones(3, np.float32), name="w")

    def function(x):
        weight.set_data(weight + 1)
        return Tensor(weight) + Tensor(x, "float64")

    assert graphrt.compile(function)(X).tolist() == (X + 2).tolist()


def test_returned_parameter_is_a_snapshot():
    counter = Parameter(np.zeros((), np.float32), name="counter")

    def step():
        before = counter.value()
        counter.set_data(counter + 1)
        return before

    compiled = graphrt.compile(step)
    first, second = compiled(), compiled()
    assert (first.item(), second.item(), counter.item()) == (0.0, 1.0, 2.0)


@pytest.mark.parametrize(
    "use, what",
    [
        (lambda x: float(x.sum()), "float()"),
        (lambda x: int(x.sum()), "int()"),
        (lambda x: range(x.sum().astype("int32")), "an index value"),
        (lambda x: x.asnumpy(), ".asnumpy()"),
        (lambda x: x.sum().item(), ".item()"),
        (lambda x: x.tolist(), ".tolist()"),
        (lambda x: np.asarray(x), "a NumPy array"),
        (lambda x: np.exp(x), "a NumPy array"),
        (lambda x: 1.0 in x, "membership (`in`)"),
        (lambda x: f"{x.sum():.3f}", "a formatted value"),
    ],
    ids=["float", "int", "range", "asnumpy", "item", "tolist", "asarray", "exp", "in", "format"],
)
def test_python_needs_a_value(use, what):
    with pytest.raises(TraceError) as caught:
        trace(use, (X,))
    assert caught.value.message == f"{what} of a tensor is not known while the graph is built"
    assert "ops.where(condition, x, y)" in caught.value.fix
    assert caught.value.at == f"{HERE}:{use.__code__.co_firstlineno}"


def test_exact_message_of_a_value_python_needs():
    class Gate(nn.Cell):
        def construct(self, x):
            self.line = line() + 1
            return x * float(x.mean())

    class Outer(nn.Cell):
        def __init__(self):
            super().__init__()
            self.gate = Gate()

        def construct(self, x):
            return self.gate(x)

    net = graphrt.compile(Outer())
    with pytest.raises(TraceError) as caught:
        net(X)
    assert str(caught.value) == (
        "float() of a tensor is not known while the graph is built\n"
        "  cell:     Outer.gate (Gate)\n"
        f"  at:       {HERE}:{net.gate.line}\n"
        "  expected: a Python value\n"
        "  given:    a traced tensor float32[]\n"
        "  fix:      keep it a tensor: ops.where(condition, x, y) chooses between values, and `if condition:` works on "
        "tensors; everything else in Python needs shapes, dtypes and Python values"
    )


def test_python_decisions_on_shapes_and_printing_are_fine(capsys):
    def function(x):
        print(x)
        return x * 2 if x.shape[0] == 2 and x.dtype.is_float and len(x) == 2 else x

    assert trace(function, (X,)).graph.outputs[0].op.name == "mul"
    assert capsys.readouterr().out == "<traced float32[2, 3]>\n"


def test_leaked_tracer():
    kept = []

    def function(x):
        kept.append(x * 2)
        return x

    trace(function, (X,))
    for use in (lambda t: t + 1, lambda t: t.asnumpy(), lambda t: trace(lambda x: x + t, (X,)), bool):
        with pytest.raises(TraceError, match="used after its trace had ended") as caught:
            use(kept[0])
        assert f"made at {HERE}:" in caught.value.given and "return it" in caught.value.fix
    assert "traced" in repr(kept[0])


def test_changing_a_traced_tensor_in_place():
    def function(x):
        x[0] = 1.0
        return x

    with pytest.raises(TraceError, match="cannot be changed in place"):
        trace(function, (X,))


def test_error_inside_a_layer_names_cell_and_line():
    class Outer(nn.Cell):
        def construct(self, x):
            return ops.matmul(x, x)

    with pytest.raises(graphrt.errors.ShapeError) as caught:
        Outer()(X)
    assert caught.value.cell == "Outer" and caught.value.at.startswith(HERE)
    assert "inner dimensions differ" in caught.value.message


def test_code_without_a_file_can_be_traced():
    scope = {"graphrt": graphrt}
    exec(compile("@graphrt.compile\ndef double(x):\n    return x * 2\n", "<stdin>", "exec"), scope)
    assert scope["double"](X).tolist() == (X * 2).tolist()
    (version,) = scope["double"].specialisations
    source = version.graph.outputs[0].source
    assert (source.file, source.line) == ("<stdin>", 3)


def test_error_in_a_trace_leaves_no_trace_behind():
    with pytest.raises(ZeroDivisionError):
        trace(lambda x: x / (1 // 0), (X,))
    assert (X + 1).asnumpy() is not None
