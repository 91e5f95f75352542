"""vmap: values against loops over samples, axes, nesting, gradients, networks, messages."""

import numpy as np
import pytest

import graphrt
from graphrt import Parameter, Tensor, nn, ops
from graphrt.errors import ArgumentError, ShapeError, TraceError

RNG = np.random.default_rng(7)
A = Tensor(RNG.standard_normal((4, 3)).astype(np.float32))
B = Tensor(RNG.standard_normal((4, 3)).astype(np.float32))
W = Tensor(RNG.standard_normal((3, 5)).astype(np.float32))


def check(function, args, expected, **axes):
    """vmap of `function` eagerly and compiled, against the array `expected`."""
    for call in (
        graphrt.vmap(function, **axes),
        graphrt.compile(lambda *a: graphrt.vmap(function, **axes)(*a)),
    ):
        result = call(*args)
        assert result.shape == expected.shape
        np.testing.assert_allclose(result.asnumpy(), expected, rtol=1e-5, atol=1e-6)


def test_one_axis_for_all_arguments():
    check(lambda a, b: (a * b).sum(), (A, B), (A.asnumpy() * B.asnumpy()).sum(1))
    check(lambda a: a.T @ a, (Tensor(np.ones((2, 3, 4), np.float32)),), np.full((2, 4, 4), 3.0))


def test_none_is_shared_and_negative_axes_count_from_the_end():
    expected = A.asnumpy() @ W.asnumpy()
    check(lambda a, w: a @ w, (A, W), expected, in_axes=(0, None))
    check(lambda a, w: a @ w, (A.T, W), expected, in_axes=(-1, None))
    check(lambda a, w: a @ w, (A, W), expected.T, in_axes=(0, None), out_axes=-1)
    check(lambda a, w: a @ w, (A, W), expected.T, in_axes=(None, -1))


def test_nested_axes_and_results():
    def function(pair, scale):
        a, b = pair
        return a * scale, {"sum": (a + b).sum()}

    vmapped = graphrt.vmap(function, in_axes=((0, None), None), out_axes=(1, 0))
    with pytest.raises(ArgumentError, match="out_axes must have one entry per result"):
        graphrt.vmap(lambda a: (a, a), out_axes=(0, 0, 0))(A)
    b = B[0]
    product, total = vmapped((A, b), 2.0)
    np.testing.assert_allclose(product.asnumpy(), (A.asnumpy() * 2).T)
    np.testing.assert_allclose(total["sum"].asnumpy(), (A.asnumpy() + b.asnumpy()).sum(1), rtol=1e-6)


def test_results_no_sample_changes():
    function = graphrt.vmap(lambda a, w: (a * 2, w * 3), (0, None), (0, None))
    _, single = function(A, W)
    np.testing.assert_allclose(single.asnumpy(), W.asnumpy() * 3)
    _, repeated = graphrt.vmap(lambda a, w: (a * 2, w * 3), (0, None))(A, W)
    assert repeated.shape == (4, 3, 5)


def test_nesting():
    """All pairs: outer over rows of A, inner over rows of B."""
    pairs = graphrt.vmap(graphrt.vmap(lambda a, b: (a * b).sum(), (None, 0)), (0, None))
    np.testing.assert_allclose(pairs(A, B).asnumpy(), A.asnumpy() @ B.asnumpy().T, rtol=1e-5)


def test_numpy_arrays_numbers_and_keywords():
    result = graphrt.vmap(lambda a, n, *, power: (a * n) ** power)(A.asnumpy(), 2.0, power=2)
    np.testing.assert_allclose(result.asnumpy(), (A.asnumpy() * 2) ** 2, rtol=1e-6)


def network():
    graphrt.set_seed(1)
    return nn.SequentialCell(
        nn.Conv2d(1, 3, 3, has_bias=True), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Flatten(),
        nn.Dense(3 * 3 * 3, 5),
    )  # fmt: skip


IMAGES = Tensor(RNG.standard_normal((6, 1, 6, 6)).astype(np.float32))
LABELS = Tensor(RNG.integers(0, 5, 6).astype(np.int32))


def test_cells():
    net = network()
    expected = net(IMAGES).asnumpy()
    check(lambda x: net(x.expand_dims(0))[0], (IMAGES,), expected)
    check(net, (IMAGES.expand_dims(1),), expected[:, None])


@pytest.mark.filterwarnings("ignore:gradients are taken of SequentialCell, which is in inference mode")
@pytest.mark.parametrize("engine", ["interpreter", "native"])
def test_per_sample_gradients(engine):
    """vmap(grad(f)) equals one gradient after the other; their mean is the gradient of the mean loss."""
    net = network()
    weights = net.trainable_params()

    def loss(x, y):
        return ops.cross_entropy(net(x.expand_dims(0)), y.expand_dims(0))

    one = graphrt.grad(loss, None, weights)
    with graphrt.set_context(engine=engine):
        found = graphrt.compile(graphrt.vmap(one))(IMAGES, LABELS)
    singles = [one(IMAGES[k], LABELS[k]) for k in range(6)]
    whole = graphrt.grad(lambda x, y: ops.cross_entropy(net(x), y), None, weights)(IMAGES, LABELS)
    for k, weight in enumerate(weights):
        assert found[k].shape == (6, *weight.shape)
        expected = np.stack([single[k].asnumpy() for single in singles])
        np.testing.assert_allclose(found[k].asnumpy(), expected, rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(found[k].mean(0).asnumpy(), whole[k].asnumpy(), rtol=2e-5, atol=2e-6)


def test_gradients_of_an_argument_per_sample():
    def loss(w, x, y):
        return ((x * w).sum() - y) ** 2

    w, y = Tensor(np.ones(3, np.float32)), Tensor(np.arange(4, dtype=np.float32))
    expected = 2 * (A.asnumpy().sum(1) - y.asnumpy())[:, None] * A.asnumpy()
    check(graphrt.grad(loss), (w, A, y), expected, in_axes=(None, 0, 0))


def test_gradient_of_vmap():
    def total(w):
        return graphrt.vmap(lambda a: ops.tanh(a @ w).sum())(A).sum()

    expected = A.asnumpy().T @ (1 - np.tanh(A.asnumpy() @ W.asnumpy()) ** 2)
    np.testing.assert_allclose(graphrt.grad(total)(W).asnumpy(), expected, rtol=1e-5)


def test_one_set_of_weights_per_sample():
    """Parameters can be mapped over as arguments: an ensemble."""
    stacked = Parameter(np.arange(8, dtype=np.float32).reshape(4, 2), name="stacked")
    result = graphrt.vmap(lambda w, x: (w * x).sum(), (0, None))(stacked, Tensor([1.0, 10.0]))
    assert result.tolist() == [10.0, 32.0, 54.0, 76.0]


@pytest.mark.parametrize("compiled", [False, True])
def test_ensembles(compiled):
    graphrt.set_seed(2)
    models = [nn.Dense(3, 2) for _ in range(4)]
    ensemble = nn.CellList(models)
    x = np.random.default_rng(0).standard_normal((4, 5, 3)).astype(np.float32)
    wrap = graphrt.compile if compiled else (lambda f: f)
    weights, biases = (np.stack([getattr(m, name).asnumpy() for m in models]) for name in ("weight", "bias"))
    expected = x @ weights.transpose(0, 2, 1) + biases[:, None]
    result = wrap(lambda a: graphrt.vmap(ensemble, 1, -1)(a))(Tensor(x.transpose(1, 0, 2)))
    np.testing.assert_allclose(result.asnumpy(), np.moveaxis(expected, 0, -1), rtol=1e-5, atol=1e-6)
    shared = wrap(lambda a: graphrt.vmap(ensemble, in_axes=None)(a))(Tensor(x[0]))
    expected = x[0] @ weights.transpose(0, 2, 1) + biases[:, None]
    np.testing.assert_allclose(shared.asnumpy(), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ShapeError, match=r"(?s)one sample per cell.*4 samples.*given:\s+2"):
        graphrt.vmap(ensemble)(Tensor(x[:2]))
    with pytest.raises(ArgumentError, match="every cell has its own result"):
        graphrt.vmap(ensemble, out_axes=None)(Tensor(x))


def test_random_numbers_are_shared_unless_the_key_is_mapped():
    ones = Tensor(np.ones((3, 40), np.float32))
    shared = graphrt.vmap(lambda x: ops.dropout(x, 0.5))(ones).asnumpy()
    assert (shared == shared[0]).all() and 0 in shared
    keys = Tensor(np.array([[1, 0], [2, 0], [1, 0]], np.uint32))
    own = graphrt.vmap(lambda x, key: ops.dropout(x, 0.5, key=key))(ones, keys).asnumpy()
    assert (own[0] == own[2]).all() and (own[0] != own[1]).any()
    alone = ops.dropout(ones[0], 0.5, key=keys[1])
    np.testing.assert_array_equal(own[1], alone.asnumpy())


def test_state_that_is_the_same_for_all_samples_moves_on_once():
    count = Parameter(np.zeros((), np.float32), name="count")

    def function(x):
        count.set_data(count + 1)
        return x * count

    graphrt.vmap(function)(A)
    assert count.item() == 1.0


def test_messages():
    with pytest.raises(ArgumentError, match="nothing to map over"):
        graphrt.vmap(lambda a: a, None)(A)
    with pytest.raises(ArgumentError, match=r"(?s)nothing to map over.*no tensor arguments"):
        graphrt.vmap(lambda a: a)(3.0)
    with pytest.raises(
        ShapeError,
        match=r"(?s)different numbers of samples.*4 along axis 0 of tensor 0.*3 along axis 0 of tensor 1",
    ):
        graphrt.vmap(lambda a, w: a @ w)(A, W)
    with pytest.raises(ShapeError, match=r"(?s)in_axes names an axis that is not there.*-2 to 1.*given:\s+2"):
        graphrt.vmap(lambda a: a, 2)(A)
    with pytest.raises(ShapeError, match="None for a tensor without axes"):
        graphrt.vmap(lambda a, s: a * s)(A, Tensor(2.0))
    with pytest.raises(ShapeError, match="out_axes names an axis that is not there"):
        graphrt.vmap(lambda a: a.sum(), out_axes=1)(A)
    with pytest.raises(
        ArgumentError, match=r"(?s)in_axes must have one entry per argument.*expected: 1.*given:    2 entries"
    ):
        graphrt.vmap(lambda a: a, (0, 0))(A)
    with pytest.raises(ArgumentError, match="out_axes=None is for results that are the same"):
        graphrt.vmap(lambda a: a, out_axes=None)(A)
    with pytest.raises(ArgumentError, match="in_axes is an int, None, or a tuple"):
        graphrt.vmap(lambda a: a, "0")(A)
    with pytest.raises(ShapeError, match="there are no samples"):
        graphrt.vmap(lambda a: a)(A[:0])
    with pytest.raises(ArgumentError, match="a function or Cell is needed"):
        graphrt.vmap(3)
    net = nn.BatchNorm1d(3).set_train()
    with pytest.raises(
        TraceError, match=r"(?s)moving_mean was assigned a value that differs between samples.*set_train"
    ):
        graphrt.vmap(lambda x: net(x.expand_dims(0)))(A)
