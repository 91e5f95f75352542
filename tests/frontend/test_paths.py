"""`if` on tensors inside traced functions: every way is computed and merged. Eager calls, in which Python knows the
conditions, are the oracle; compiled calls run in the interpreter and natively."""

import copy

import numpy as np
import pytest

import graphrt
from graphrt import Parameter, Tensor, nn, ops
from graphrt.errors import TraceError
from graphrt.frontend.trace import trace

HERE = "tests/frontend/test_paths.py"
INPUTS = ([1.0, 2.0], [-1.0, -2.0], [3.0, -3.5], [0.25, 0.25], [0.0, 0.0])


@pytest.fixture(params=["interpreter", "native"])
def engine(request):
    with graphrt.set_context(engine=request.param):
        yield request.param


def either(x):
    if x.sum() > 0:
        return ops.exp(x)
    return -x


def nested(x):
    scale = 2.0 if x.sum() > 0 else 3.0
    y = x * scale
    if y.mean() > -1:
        if y[0] > 1.5:
            y = y + 1
        elif y[0] > 0.3:
            y = y - 1
    return y * scale, {"sum": y.sum()}


def operators(x):
    positive, small = x.sum() > 0, x[0] < 2
    a = 1 if positive and small else 0
    b = 1 if positive or small else 0
    c = 1 if not positive else 0
    return x * (100 * a + 10 * b + c)


def early(x):
    if x[0] < 0:
        return x
    x = x * 2
    if x.sum() > 3:
        return x - 1
    return x + 1


def loop(x):
    for _ in range(6):
        if x.sum() < 1:
            break
        x = x / 2
    return x


def rounds(x):
    while x.sum() < 4 and x[1] > 0:
        x = x + 1
    return x


def truthy(x):
    if x[0]:  # a number is true unless it is 0, also in shape [1]
        return x + 1
    return x - 1 if x[:1] else x * 7


@pytest.mark.parametrize("function", [either, nested, operators, early, loop, truthy])
def test_as_if_python_had_known(function, engine):
    compiled = graphrt.compile(function)
    for values in INPUTS:
        expected, found = function(Tensor(values)), compiled(Tensor(values))
        if isinstance(expected, tuple):
            expected, found = (expected[0], expected[1]["sum"]), (found[0], found[1]["sum"])
            assert found[1].item() == pytest.approx(expected[1].item(), rel=1e-6)
            expected, found = expected[0], found[0]
        np.testing.assert_allclose(found.asnumpy(), expected.asnumpy(), rtol=1e-6, err_msg=str(values))
    assert len(compiled.specialisations) == 1


def test_ways_share_what_comes_before_their_difference():
    """One exp, one matrix product, one draw of random numbers, whatever comes after."""
    net = nn.SequentialCell(nn.Dense(2, 2), nn.Dropout(p=0.5))
    net.set_train()
    dense = next(n.op.name for n in trace(net[0], (Tensor([[1.0, 2.0]]),)).graph.nodes() if len(n.inputs) > 1)

    def function(x):
        y = net(ops.exp(x)) + 1
        if y.sum() > 0:
            return y * 2, y
        return y * 3, y

    graph = trace(function, (Tensor(np.ones((4, 2), np.float32)),)).graph
    names = [node.op.name for node in graph.nodes()]
    assert names.count("exp") == names.count("random_bits") == names.count(dense) == 1
    selected = [node for node in graph.outputs if node.op.name == "select"]
    assert selected == [graph.outputs[0]]  # the second result is the same on both sides
    assert [value.op.name for value in graph.updates.values()] == ["add"]  # and so is the next random key


def test_assignments_on_both_sides(engine):
    def make():
        return Parameter(np.zeros(2, np.float32), name="a"), Parameter(np.zeros((), np.int32), name="b")

    def run(step, a, b):
        def function(x):
            a.set_data(a + x)
            if a.sum() > 2:
                a.set_data(ops.zeros_like(a))
                b.set_data(b + 1)
            elif a[0] < 0:
                b.set_data(b - 10)
            return a.value(), a.sum()

        function = step(function)
        return [
            [t.tolist() for t in function(Tensor(v))] + [a.tolist(), b.item()]
            for v in INPUTS
            for _ in range(2)
        ]

    assert run(graphrt.compile, *make()) == run(lambda f: f, *make())


class Gate(nn.Cell):
    """Random numbers, a counter, an attribute, a decision."""

    def __init__(self, width=2):
        super().__init__()
        self.dense, self.drop = nn.Dense(width, width), nn.Dropout(p=0.5)
        self.count = Parameter(np.zeros((), np.int32), name="count", requires_grad=False)

    def construct(self, x):
        y = self.drop(self.dense(x))
        if y.mean() > 0.0:
            self.count += 1
            self.kept = y * 2
            y = ops.tanh(self.drop(y))
        else:
            self.kept = y * 3
        return y


class Gates(nn.Cell):
    def __init__(self, count):
        super().__init__()
        self.gates = nn.CellList([Gate() for _ in range(count)])

    def construct(self, x):
        total = 0.0
        for gate in self.gates:
            x = gate(x)
            total = total + gate.kept.sum()
        return x.sum() + total * 0.1


def test_cells_merge_at_their_own_end(engine):
    """Nine decisions one after the other are 18 ways through Cells, not 512 through the network."""
    net = Gates(9).set_train()
    twin = copy.deepcopy(net)
    compiled = graphrt.compile(copy.deepcopy(net))
    for seed in range(3):
        x = Tensor(np.random.default_rng(seed).standard_normal((3, 2)).astype(np.float32))
        np.testing.assert_allclose(compiled(x).item(), twin(x).item(), rtol=1e-5)
    for name, value in twin.parameters_dict().items():
        assert np.array_equal(compiled.parameters_dict()[name].asnumpy(), value.asnumpy()), name
    counts = [gate.count.item() for gate in twin.gates]
    assert 0 < sum(counts) < 27


def test_a_decision_goes_outwards_where_results_differ(engine):
    class Kind(nn.Cell):
        calls = 0

        def construct(self, x):
            self.calls += 1  # a plain attribute: every way finds it as it was before
            if x.sum() > 0:
                return "large", x
            return None

    class Outer(nn.Cell):
        def __init__(self):
            super().__init__()
            self.kind = Kind()

        def construct(self, x):
            found = self.kind(x)
            return x * 3 if found is None else found[1] * 2 + self.kind.calls

    for values in INPUTS:
        assert graphrt.compile(Outer())(Tensor(values)).tolist() == Outer()(Tensor(values)).tolist()


def test_conditions_known_while_tracing_are_decided_at_once():
    def function(x):
        count = ops.zeros((), graphrt.int32)
        while count < 40:
            count, x = count + 1, x + 1
        z, finite = x, ops.isfinite(x).all()
        if finite:
            x = x * 2
        y = x if finite else x * 0  # the same condition again: the same answer
        return y if ops.isfinite(z).all() else x + 1  # and written again

    graph = trace(function, (Tensor([1.0, 2.0]),)).graph
    assert [node.op.name for node in graph.nodes()].count("select") == 1
    assert graphrt.compile(function)(Tensor([1.0, np.inf])).asnumpy()[0] != 82.0
    assert graphrt.compile(function)(Tensor([1.0, 2.0])).tolist() == [82.0, 84.0]


# ---------------------------------------------------------------------------------------------------- gradients


def loss_of(x, w):
    y = ops.tanh(x * w)
    if y.sum() > 0:
        z = ops.exp(y) * w
        if z.sum() > 3:
            z = z * z
    else:
        z = ops.sin(y) + w
    return z.sum()


def loss_in_float64(x, w):
    y = np.tanh(x * w)
    if y.sum() > 0:
        z = np.exp(y) * w
        if z.sum() > 3:
            z = z * z
    else:
        z = np.sin(y) + w
    return z.sum()


POINTS = [([0.5, 1.0], [1.0, 2.0]), ([0.5, -0.25], [0.5, 0.75]), ([-1.0, 0.5], [0.5, 0.25])]


def differences(x, w, h=1e-6):
    found = []
    for value in (x, w):
        for k in range(2):
            ends = []
            for sign in (1, -1):
                value[k] += sign * h
                ends.append(loss_in_float64(x, w))
                value[k] -= sign * h
            found.append((ends[0] - ends[1]) / (2 * h))
    return np.reshape(found, (2, 2))


def test_gradients_of_merged_values(engine):
    """Central differences of the same function in float64; each point takes another way."""
    sides = set()
    compiled = graphrt.compile(graphrt.value_and_grad(loss_of, (0, 1)))
    for x, w in POINTS:
        arrays = np.array(x, np.float64), np.array(w, np.float64)
        expected = differences(*arrays)
        for function in (compiled, graphrt.value_and_grad(loss_of, (0, 1))):  # inside a trace, and on its own
            value, found = function(Tensor(x), Tensor(w))
            assert value.item() == pytest.approx(loss_in_float64(*arrays), rel=1e-5)
            np.testing.assert_allclose([g.asnumpy() for g in found], expected, rtol=2e-5, atol=1e-6)
        y = np.tanh(arrays[0] * arrays[1])
        sides.add((y.sum() > 0, (np.exp(y) * arrays[1]).sum() > 3))
    assert len(sides) == 3


def test_the_same_tensor_twice_has_two_gradients():
    """Arguments stay apart although they are one tensor; ways share their copies of it."""

    def function(x):
        first, second = graphrt.grad(
            lambda a, b: (a * 2 + b * 3).sum() if a.sum() > 0 else (a * b).sum(), (0, 1)
        )(x, x)
        if second.sum() > 5:
            return first, second
        return second, first

    for values in ([1.0, 2.0], [-1.0, -2.0]):
        found = [t.tolist() for t in graphrt.compile(function)(Tensor(values))]
        assert found == ([[2.0, 2.0], [3.0, 3.0]] if values[0] > 0 else [values, values])


def test_transformed_functions():
    def function(x):
        return (x**3).sum() if x.sum() > 0 else (x**2).sum()

    x, y = Tensor([1.0, 2.0]), Tensor([-1.0, -2.0])
    assert graphrt.hessian(function)(x).tolist() == [[6.0, 0.0], [0.0, 12.0]]
    assert graphrt.hessian(function)(y).tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert [t.item() for t in graphrt.jvp(function, x, x)] == [9.0, 27.0]
    value, pull = graphrt.vjp(function, y)
    assert value.item() == 5.0 and pull(Tensor(1.0))[0].tolist() == [-2.0, -4.0]


def test_vmap_decides_for_every_sample(engine):
    def function(x):
        return x * x if x > 0 else -x

    x = Tensor([-1.0, 0.0, 1.0, 3.0])
    both = graphrt.compile(lambda x: (graphrt.vmap(function)(x), graphrt.vmap(graphrt.grad(function))(x)))
    assert [t.tolist() for t in both(x)] == [[1.0, 0.0, 1.0, 9.0], [-1.0, -1.0, 2.0, 6.0]]
    with pytest.raises(TraceError, match="the two sides of an `if` on a tensor must have the same result"):
        graphrt.vmap(lambda x: x if x > 0 else (x, x))(x)


def test_one_forward_for_loss_and_gradient():
    """`loss = net(x)` and `grad(net)(x)` in one step draw one dropout mask, also where the net decides."""
    net = Gates(2).set_train()
    weights = graphrt.ParameterTuple(net.trainable_params())

    class Step(nn.Cell):
        def __init__(self):
            super().__init__()
            self.net, self.grad = net, ops.GradOperation(get_by_list=True)

        def construct(self, x):
            loss = self.net(x)
            return loss, self.grad(self.net, weights)(x)

    start = copy.deepcopy(net)
    x = Tensor(np.ones((3, 2), np.float32))
    graphrt.compile(Step())(x)
    start(x)
    for found, expected in zip(net.get_parameters(), start.get_parameters()):
        assert np.array_equal(found.asnumpy(), expected.asnumpy()), found.name


# ----------------------------------------------------------------------------------------------- training steps


def test_steps_that_may_not_happen(engine):
    """An optimizer behind an `if`: nothing of it changes where the loss is small."""

    def run(compiled):
        graphrt.set_seed(0)
        net = nn.Dense(2, 1)
        optimizer = nn.Adam(net.trainable_params(), 0.1)
        gradient = graphrt.value_and_grad(lambda x: ops.square(net(x)).mean(), None, net.trainable_params())

        def step(x):
            loss, gradients = gradient(x)
            if loss > 0.05:
                optimizer(gradients)
            return loss

        step = graphrt.compile(step) if compiled else step
        rng = np.random.default_rng(0)
        for _ in range(12):
            step(Tensor(rng.standard_normal((4, 2)).astype(np.float32)))
        return [p.asnumpy() for p in optimizer.get_parameters()]

    compiled, eager = run(True), run(False)
    for a, b in zip(compiled, eager):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    counts = [int(a) for a in compiled if a.dtype == np.int32 and a.shape == ()]
    assert counts and 0 < counts[0] < 12


# ------------------------------------------------------------------------------------------------------- errors


def failure(function, *values):
    with pytest.raises(TraceError) as caught:
        graphrt.compile(function)(*(values or (Tensor([1.0, 2.0]),)))
    error = caught.value
    assert error.at.startswith(f"{HERE}:") or error.at.startswith("test_paths.py:"), error.at
    return error, int(error.at.rpartition(":")[2]) - function.__code__.co_firstlineno


def test_results_that_differ():
    def shapes(x):
        if x.sum() > 0:
            return x
        return x.sum()

    error, line = failure(shapes)
    assert line == 1 and error.message == "the two sides of an `if` on a tensor must have the same result"
    assert error.given == "float32[2] where it is true, float32[] where it is false"
    assert error.fix.startswith("return Tensors of one shape and type on both sides")

    def types(x):
        return x, (x.sum() if x.sum() > 0 else 1.0)

    error, line = failure(types)
    assert (
        line == 1
        and error.given == "(float32[2], float32[]) where it is true, (float32[2], 1.0) where it is false"
    )

    def nothing(x):
        if x.sum() > 0:
            return {"x": [x]}

    assert failure(nothing)[0].given == "{'x': [float32[2]]} where it is true, None where it is false"

    net = nn.Dense(2, 2)

    def attributes(x):
        if x.sum() > 0:
            net.seen = "yes"
        return x

    assert failure(attributes)[0].given == (
        "float32[2], attribute seen = 'yes' where it is true, float32[2], attribute seen = nothing where it is false"
    )


def test_loops_without_end():
    def endless(x):
        while x.sum() > 1:
            x = x / 2
        return x

    error, line = failure(endless)
    assert line == 1
    assert error.message == "there are more than 16 ways through this function, by `if` or `while` on tensors"
    assert error.given == "16 decisions one after the other, and no end"
    assert "for k in range(n)" in error.fix and "ops.where(condition, x, y)" in error.fix

    def many(x):
        for k in range(5):
            if x[0] > k:
                x = x + 1
        return x

    error, line = failure(many)
    assert line == 2 and error.given == "16 ways so far"


def test_values_of_several_elements():
    error, line = failure(lambda x: x if x else -x)
    assert error.message == "the truth value of a tensor with several elements is not defined"
    assert (line, error.given) == (0, "float32[2]") and "x.all() or x.any()" in error.fix


def test_exceptions_on_one_side():
    def raising(x):
        if x.sum() < 0:
            raise ValueError("negative")
        return x

    error, line = failure(raising)
    assert line == 1 and error.message == "ValueError was raised on one side of an `if` on a tensor"
    assert error.given == "negative" and isinstance(error.__cause__, ValueError)

    def wrong(x):
        return ops.matmul(x, ops.ones((3, 3))) if x.sum() > 0 else x

    with pytest.raises(graphrt.GraphrtError, match="matmul"):
        graphrt.compile(wrong)(Tensor([1.0, 2.0]))


def test_assertions_are_taken_to_hold():
    def checked(x):
        assert x.sum() > 0, "negative"
        return x * 2

    with pytest.warns(UserWarning, match="does not check an assertion on a tensor"):
        assert graphrt.compile(checked)(Tensor([1.0, 2.0])).tolist() == [2.0, 4.0]

    def never(x):
        assert x.sum() is None, "never"  # about no tensor's value: as ever
        return x

    with pytest.raises(AssertionError, match="never"):
        graphrt.compile(never)(Tensor([1.0, 2.0]))


def test_tensors_do_not_leave_a_way():
    kept = []

    class Keeping(nn.Cell):
        def construct(self, x):
            kept.append(x * 2)
            return x if x.sum() > 0 else -x

    net = Keeping()
    error, line = failure(lambda x: net(x) + kept[-1])
    assert line == 0 and error.message.startswith(
        "a tensor made in a function that decides on tensors was used after"
    )
    assert "return it from the function" in error.fix


def test_python_that_does_something_else_the_second_time():
    calls = []

    def changing(x):
        calls.append(None)
        if len(calls) % 2:
            if x.sum() > 0:
                return x
        elif x.sum() > 1:
            return x
        return -x

    error, line = failure(changing)
    assert line == 5 and error.message.startswith("the function took another course when it was traced again")


def test_values_that_are_needed_still_are_not_known():
    for use in (lambda x: int(x.sum()), lambda x: float(x.sum()), lambda x: range(x.sum().astype("int32"))):
        error, _ = failure(use)
        assert error.message.endswith("of a tensor is not known while the graph is built")
