"""BatchNorm, LayerNorm, Embedding, adaptive pooling, activations and attention against formulas in NumPy."""

import math

import numpy as np
import pytest

import graphrt
from graphrt import Parameter, Tensor, nn, ops
from graphrt.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(4)
IMAGES = RNG.standard_normal((4, 3, 5, 6)).astype(np.float32) * 2 + 1
ROWS = RNG.standard_normal((5, 7)).astype(np.float32)


def normalized(x, axes, epsilon):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


# ---- batch normalization


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_batch_norm_trains_with_the_batch_and_predicts_with_moving_statistics(compiled):
    layer = nn.BatchNorm2d(3, eps=1e-3, momentum=0.8, gamma_init=2.0, beta_init=0.5)
    call = graphrt.compile(layer) if compiled else layer
    layer.set_train()
    mean, variance = np.zeros(3), np.ones(3)
    for batch in (IMAGES, IMAGES * 3):
        y = call(Tensor(batch)).asnumpy()
        np.testing.assert_allclose(y, normalized(batch, (0, 2, 3), 1e-3) * 2 + 0.5, rtol=1e-4, atol=1e-5)
        mean = 0.8 * mean + 0.2 * batch.mean((0, 2, 3))
        variance = 0.8 * variance + 0.2 * batch.var((0, 2, 3))  # biased
    np.testing.assert_allclose(layer.moving_mean.asnumpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.asnumpy(), variance, rtol=1e-5)
    layer.set_train(False)
    y = call(Tensor(IMAGES)).asnumpy()
    shape = (3, 1, 1)
    expected = (IMAGES - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + 1e-3) * 2 + 0.5
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean.asnumpy(), mean, rtol=1e-5)  # prediction moves nothing


@pytest.mark.parametrize(
    "layer, shape",
    [
        (nn.BatchNorm1d, (6, 3)), (nn.BatchNorm1d, (6, 3, 4)), (nn.BatchNorm2d, (2, 3, 4, 5)),
        (nn.BatchNorm3d, (2, 3, 2, 3, 4)),
    ],
)  # fmt: skip
def test_batch_norm_ranks(layer, shape):
    x = RNG.standard_normal(shape).astype(np.float32)
    axes = tuple(k for k in range(len(shape)) if k != 1)
    np.testing.assert_allclose(
        layer(3).set_train()(Tensor(x)).asnumpy(), normalized(x, axes, 1e-5), rtol=1e-4, atol=1e-5
    )


def test_batch_norm_parameters_and_fixed_choice_of_statistics():
    net = nn.SequentialCell(nn.BatchNorm2d(3))
    assert {p.name for p in net.get_parameters()} == {
        "0.gamma", "0.beta", "0.moving_mean", "0.moving_variance",
    }  # fmt: skip
    assert [p.name for p in net.trainable_params()] == ["0.gamma", "0.beta"]
    assert nn.BatchNorm2d(3, affine=False).trainable_params() == []
    fixed = nn.BatchNorm2d(3, use_batch_statistics=False).set_train()
    np.testing.assert_allclose(fixed(Tensor(IMAGES)).asnumpy(), IMAGES / math.sqrt(1 + 1e-5), rtol=1e-5)
    assert not fixed.moving_mean.asnumpy().any()
    always = nn.BatchNorm2d(3, use_batch_statistics=True)
    np.testing.assert_allclose(
        always(Tensor(IMAGES)).asnumpy(), normalized(IMAGES, (0, 2, 3), 1e-5), rtol=1e-4, atol=1e-5
    )


def test_batch_statistics_are_computed_once_for_output_gradient_and_moving_statistics():
    from graphrt.compiler import optimize
    from graphrt.frontend.trace import trace

    layer = nn.BatchNorm2d(3).set_train()
    step = graphrt.value_and_grad(lambda x: ops.square(layer(x)).sum(), None, layer.trainable_params())
    graph = optimize(trace(step, [Tensor(IMAGES)]).graph)
    sums = [n for n in graph.nodes() if n.op.name == "reduce_sum" and n.inputs[0].shape == IMAGES.shape]
    # mean, variance, sum of gradients, sum of gradients times x, loss
    assert len(sums) <= 5 and len(graph.updates) == 2


def test_statistics_keep_their_digits_far_from_zero():
    x = (RNG.standard_normal((16, 2, 40, 40)) + 100).astype(np.float32)
    with graphrt.set_context(engine="native"):
        y = graphrt.compile(nn.BatchNorm2d(2).set_train())(Tensor(x)).asnumpy()
    np.testing.assert_allclose(y, normalized(x.astype(np.float64), (0, 2, 3), 1e-5), atol=3e-4)


def test_functional_batch_norm():
    weight, bias = Tensor(np.full(3, 2.0, np.float32)), Tensor(np.ones(3, np.float32))
    mean, variance = Parameter(np.zeros(3, np.float32), name="m"), Parameter(np.ones(3, np.float32), name="v")
    y = ops.batch_norm(Tensor(IMAGES), mean, variance, weight, bias, training=True, momentum=0.25)
    np.testing.assert_allclose(y.asnumpy(), normalized(IMAGES, (0, 2, 3), 1e-5) * 2 + 1, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean.asnumpy(), 0.25 * IMAGES.mean((0, 2, 3)), rtol=1e-5)
    still = ops.batch_norm(Tensor(IMAGES), Tensor(np.zeros(3)), Tensor(np.ones(3)), weight, bias)
    np.testing.assert_allclose(still.asnumpy(), IMAGES / math.sqrt(1 + 1e-5) * 2 + 1, rtol=1e-5)


# ---- layer normalization


def test_layer_norm_with_and_without_shift():
    layer = nn.LayerNorm((7,), gamma_init=3.0, beta_init=0.25, epsilon=1e-5)
    expected = normalized(ROWS, (1,), 1e-5) * 3
    np.testing.assert_allclose(layer(Tensor(ROWS)).asnumpy(), expected + 0.25, rtol=1e-4, atol=1e-5)
    bare = nn.LayerNorm(7, gamma_init=3.0, epsilon=1e-5, has_bias=False)
    np.testing.assert_allclose(bare(Tensor(ROWS)).asnumpy(), expected, rtol=1e-4, atol=1e-5)
    assert [p.name for p in bare.get_parameters()] == ["gamma"] and nn.LayerNorm(7).epsilon == 1e-7
    np.testing.assert_allclose(
        ops.layer_norm(Tensor(ROWS), np.full(7, 3, np.float32), None, epsilon=1e-5).asnumpy(),
        expected, rtol=1e-4, atol=1e-5,
    )  # fmt: skip


def test_layer_norm_over_several_axes_and_other_parameter_axes():
    both = nn.LayerNorm((5, 6), begin_norm_axis=2, begin_params_axis=2)
    np.testing.assert_allclose(
        both(Tensor(IMAGES)).asnumpy(), normalized(IMAGES, (2, 3), 1e-7), rtol=1e-4, atol=1e-5
    )
    gamma = RNG.standard_normal(6).astype(np.float32)
    mixed = nn.LayerNorm((6,), begin_norm_axis=1, gamma_init=Tensor(gamma))
    np.testing.assert_allclose(
        mixed(Tensor(IMAGES)).asnumpy(), normalized(IMAGES, (1, 2, 3), 1e-7) * gamma, rtol=1e-4, atol=1e-5
    )


# ---- embedding


def test_embedding_and_its_gradient():
    table = RNG.standard_normal((5, 3)).astype(np.float32)
    ids = np.array([[1, 4, 1], [0, 1, 4]], np.int32)
    for one_hot in (False, True):
        layer = nn.Embedding(5, 3, one_hot, embedding_table=Tensor(table))
        np.testing.assert_allclose(layer(Tensor(ids)).asnumpy(), table[ids], rtol=1e-6)
        factor = Tensor(RNG.standard_normal((2, 3, 3)).astype(np.float32))
        grads = graphrt.grad(
            lambda i, layer=layer, f=factor: (layer(i) * f).sum(), None, layer.trainable_params()
        )
        (g,) = grads(Tensor(ids))
        expected = np.zeros_like(table)
        np.add.at(expected, ids, factor.asnumpy())
        np.testing.assert_allclose(g.asnumpy(), expected, rtol=1e-5, atol=1e-6)
        assert [p.name for p in layer.get_parameters()] == ["embedding_table"]
    padded = nn.Embedding(5, 3, padding_idx=2).embedding_table.asnumpy()
    assert not padded[2].any() and padded[1].any()


def test_embedding_table_tied_to_the_output_trains_natively_like_the_interpreter():
    class Tied(nn.Cell):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(11, 8)

        def construct(self, ids):
            return ops.matmul(self.table(ids), self.table.embedding_table.T)

    ids = Tensor(RNG.integers(0, 11, (6, 4)).astype(np.int32))
    results = []
    for engine in ("interpreter", "native"):
        with graphrt.set_context(engine=engine):
            graphrt.set_seed(3)
            net = Tied()
            loss = lambda i, net=net: ops.cross_entropy(net(i).reshape(24, 11), i.reshape(24))  # noqa: E731
            optimizer = nn.AdamW(net.trainable_params(), 0.1)
            forward = graphrt.value_and_grad(loss, None, optimizer.parameters)

            @graphrt.compile
            def step(i, forward=forward, optimizer=optimizer):
                value, grads = forward(i)
                optimizer(grads)
                return value

            losses = [step(ids).item() for _ in range(4)]
            results.append((losses, net.table.embedding_table.asnumpy()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-4)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-3, atol=1e-4)
    assert results[1][0][-1] < results[1][0][0]


# ---- pooling, activations, attention


@pytest.mark.parametrize("size", [1, (5, 6), (1, 3), (2, 4), (None, 2), 7], ids=str)
def test_adaptive_average_pooling_covers_the_image(size):
    y = nn.AdaptiveAvgPool2d(size)(Tensor(IMAGES)).asnumpy()
    height, width = (size, size) if isinstance(size, int) else (size[0] or 5, size[1])
    assert y.shape == (4, 3, height, width)
    for i in range(height):
        for j in range(width):
            rows = slice(i * 5 // height, -(-(i + 1) * 5 // height))
            columns = slice(j * 6 // width, -(-(j + 1) * 6 // width))
            np.testing.assert_allclose(
                y[:, :, i, j], IMAGES[:, :, rows, columns].mean((2, 3)), rtol=1e-4, atol=1e-5
            )


X = np.linspace(-6, 6, 25).astype(np.float32)
ERF = np.array([math.erf(v / math.sqrt(2)) for v in X])
SOFTPLUS = np.log1p(np.exp(X.astype(np.float64)))
ACTIVATIONS = {
    "gelu": (nn.GELU(), X / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3)))),
    "gelu erf": (nn.GELU(False), X / 2 * (1 + ERF)),
    "silu": (nn.SiLU(), X / (1 + np.exp(-X))),
    "leaky": (nn.LeakyReLU(0.1), np.where(X > 0, X, 0.1 * X)),
    "elu": (nn.ELU(2.0), np.where(X > 0, X, 2 * np.expm1(X))),
    "softplus": (nn.Softplus(), SOFTPLUS),
    "mish": (nn.Mish(), X * np.tanh(SOFTPLUS)),
    "relu6": (nn.ReLU6(), np.clip(X, 0, 6)),
    "hsigmoid": (nn.HSigmoid(), np.clip(X + 3, 0, 6) / 6),
    "hswish": (nn.HSwish(), X * np.clip(X + 3, 0, 6) / 6),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    layer, expected = ACTIVATIONS[name]
    np.testing.assert_allclose(layer(Tensor(X)).asnumpy(), expected, rtol=1e-5, atol=1e-5)
    extreme = Tensor(np.array([-1e4, 1e4], np.float32))
    value, slope = graphrt.value_and_grad(lambda x: layer(x).sum())(extreme)
    assert np.isfinite(value.asnumpy()) and np.isfinite(slope.asnumpy()).all()


def test_slopes_at_zero():
    zero = Tensor(np.zeros(1, np.float32))
    for layer, slope in ((nn.Softplus(), 0.5), (nn.GELU(), 0.5), (nn.SiLU(), 0.5), (nn.ELU(), 1.0)):
        assert graphrt.grad(lambda x, layer=layer: layer(x).sum())(zero).item() == pytest.approx(slope)


def attention(q, k, v, mask=None, scale=None):
    scores = q @ np.swapaxes(k, -1, -2) * (scale or 1 / math.sqrt(q.shape[-1]))
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def test_attention_forms():
    q, k, v = (RNG.standard_normal((2, 3, 6, 4)).astype(np.float32) for _ in range(3))
    tensors = [Tensor(a) for a in (q, k, v)]
    mask = np.tril(np.ones((6, 6), bool))
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(
        ops.scaled_dot_product_attention(*tensors).asnumpy(), attention(q, k, v), **close
    )
    causal = attention(q, k, v, mask, 0.3)
    np.testing.assert_allclose(
        ops.scaled_dot_product_attention(*tensors, is_causal=True, scale=0.3).asnumpy(), causal, **close
    )
    for given in (mask, np.where(mask, 0, -np.inf).astype(np.float32)):
        y = ops.scaled_dot_product_attention(*tensors, attn_mask=Tensor(given), scale=0.3)
        np.testing.assert_allclose(y.asnumpy(), causal, **close)
    dropped = ops.scaled_dot_product_attention(*tensors, dropout_p=0.5).asnumpy()
    assert dropped.shape == q.shape and not np.allclose(dropped, attention(q, k, v))


def test_gradient_clipping():
    grads = [Tensor(np.full((2, 2), 3.0, np.float32)), Tensor(np.full(4, -4.0, np.float32))]
    assert ops.global_norm(grads).item() == pytest.approx(10.0)
    clipped = ops.clip_by_global_norm(grads, 5.0)
    assert clipped[0].asnumpy()[0, 0] == pytest.approx(1.5) and clipped[1].asnumpy()[0] == pytest.approx(-2.0)
    same = ops.clip_by_global_norm(grads, 20.0)
    np.testing.assert_array_equal(same[0].asnumpy(), grads[0].asnumpy())
    low, high = ops.clip_by_value(tuple(grads), -1.0, 2.0)
    assert low.asnumpy().max() == 2.0 and high.asnumpy().min() == -1.0
    with pytest.raises(ArgumentError, match="clip_norm must be positive"):
        ops.clip_by_global_norm(grads, 0.0)


@pytest.mark.parametrize(
    "error, make, text",
    [
        (ShapeError, lambda: nn.BatchNorm2d(3)(Tensor(ROWS)), "another number of axes"),
        (ShapeError, lambda: nn.BatchNorm2d(4)(Tensor(IMAGES)), r"write nn.BatchNorm2d\(3\)"),
        (DTypeError, lambda: nn.BatchNorm1d(7)(Tensor(ROWS.astype(np.int32))), "must be floating-point"),
        (ArgumentError, lambda: nn.BatchNorm2d(3, momentum=1.5), "momentum out of range"),
        (ArgumentError, lambda: nn.BatchNorm2d(3, eps=0), "epsilon must be positive"),
        (ArgumentError, lambda: nn.BatchNorm2d(0), "num_features must be a positive int"),
        (ShapeError, lambda: nn.LayerNorm(6)(Tensor(ROWS)), "are not normalized_shape"),
        (ShapeError, lambda: nn.LayerNorm((5, 6))(Tensor(IMAGES)), "give begin_norm_axis=-2"),
        (ArgumentError, lambda: nn.LayerNorm(()), "normalized_shape is empty"),
        (DTypeError, lambda: nn.Embedding(5, 3)(Tensor(ROWS)), "indices must be integers"),
        (ArgumentError, lambda: nn.Embedding(5, 3, padding_idx=5), "no row of the table"),
        (ArgumentError, lambda: nn.AdaptiveAvgPool2d(0), "output_size must be a positive int"),
        (ShapeError, lambda: nn.AdaptiveAvgPool2d(1)(Tensor(ROWS)), "must have 4 axes"),
        (ArgumentError, lambda: ops.gelu(Tensor(X), "fast"), "unknown approximation"),
        (
            ShapeError, lambda: ops.scaled_dot_product_attention(Tensor(IMAGES), Tensor(IMAGES[:2]), Tensor(IMAGES)),
            "equal leading axes",
        ),
    ],
)  # fmt: skip
def test_messages(error, make, text):
    with pytest.raises(error, match=text):
        make()
