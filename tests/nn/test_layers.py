"""Layers against formulas written out in NumPy; defaults; the exact text of errors."""

import math
import sys

import numpy as np
import pytest

import graphrt
from graphrt import Tensor, nn
from graphrt.errors import ArgumentError, DTypeError, ShapeError
from graphrt.frontend.location import shown_path

HERE = shown_path(__file__)
RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((2, 3, 7, 6)).astype(np.float32)


def convolve(x, w, stride, padding, dilation, group):
    """Convolution by its definition."""
    top, bottom, left, right = padding
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    (n, _, height, width), (out, part, kh, kw) = x.shape, w.shape
    oh = (height - (kh - 1) * dilation[0] - 1) // stride[0] + 1
    ow = (width - (kw - 1) * dilation[1] - 1) // stride[1] + 1
    y = np.zeros((n, out, oh, ow))
    for o in range(out):
        first = o // (out // group) * part
        for i, j, p, q in np.ndindex(oh, ow, kh, kw):
            pixel = x[
                :, first : first + part, i * stride[0] + p * dilation[0], j * stride[1] + q * dilation[1]
            ]
            y[:, o, i, j] += pixel @ w[o, :, p, q]
    return y


@pytest.mark.parametrize(
    "settings, padding",
    [
        ({"kernel_size": 3, "pad_mode": "valid"}, (0, 0, 0, 0)),
        ({"kernel_size": 3}, (1, 1, 1, 1)),
        ({"kernel_size": (2, 4)}, (0, 1, 1, 2)),
        ({"kernel_size": 3, "stride": 2}, (1, 1, 0, 1)),
        ({"kernel_size": 3, "pad_mode": "pad", "padding": (0, 1, 2, 3)}, (0, 1, 2, 3)),
        ({"kernel_size": 2, "dilation": 2, "pad_mode": "pad", "padding": 1, "has_bias": True}, (1, 1, 1, 1)),
        ({"kernel_size": 3, "group": 3}, (1, 1, 1, 1)),
    ],
    ids=str,
)
def test_conv2d(settings, padding):
    layer = nn.Conv2d(3, 6, **settings)
    expected = convolve(IMAGES, layer.weight.asnumpy(), layer.stride, padding, layer.dilation, layer.group)
    if layer.bias is not None:
        expected += layer.bias.asnumpy()[:, None, None]
    np.testing.assert_allclose(layer(Tensor(IMAGES)).asnumpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, (1, 2)], ids=str)
def test_same_convolution_covers_the_image(stride):
    pair = (stride, stride) if isinstance(stride, int) else stride
    y = nn.Conv2d(3, 1, 4, stride)(Tensor(IMAGES))
    assert y.shape == (2, 1, math.ceil(7 / pair[0]), math.ceil(6 / pair[1]))


def test_pooling():
    x = Tensor(IMAGES)
    windows = IMAGES[:, :, :6, :6].reshape(2, 3, 3, 2, 3, 2)
    np.testing.assert_allclose(nn.MaxPool2d(2, 2)(x).asnumpy(), windows.max((3, 5)))
    np.testing.assert_allclose(nn.AvgPool2d(2, 2)(x).asnumpy(), windows.mean((3, 5)), rtol=1e-5, atol=1e-6)
    ones = Tensor(np.ones((1, 1, 5, 5), np.float32))
    assert (nn.AvgPool2d(3, 2, pad_mode="same")(ones) == 1).all().item()  # padding does not count
    assert (nn.MaxPool2d(3, 2, pad_mode="same")(-ones) == -1).all().item()  # padding does not win


def test_dense_keeps_leading_axes():
    x = RNG.standard_normal((2, 5, 3)).astype(np.float32)
    layer = nn.Dense(3, 4, activation="relu")
    expected = np.maximum(x @ layer.weight.asnumpy().T + layer.bias.asnumpy(), 0)
    np.testing.assert_allclose(layer(Tensor(x)).asnumpy(), expected, rtol=1e-5, atol=1e-6)
    assert layer(Tensor(x[0, 0])).shape == (4,)
    assert (
        nn.Dense(3, 4, has_bias=False).bias is None
        and nn.Linear is nn.Dense
        and nn.Sequential is nn.SequentialCell
    )


def test_tensors_as_initialisers():
    weight, bias = np.ones((4, 3), np.float32), np.full(4, 2.0, np.float32)
    layer = nn.Dense(3, 4, Tensor(weight), Tensor(bias))
    np.testing.assert_array_equal(layer.weight.asnumpy(), weight)
    np.testing.assert_array_equal(layer.bias.asnumpy(), bias)
    with pytest.raises(ShapeError, match="another shape"):
        nn.Dense(4, 3, Tensor(weight))


def test_default_initialisation():
    for layer, fan_in in ((nn.Dense(400, 300), 400), (nn.Conv2d(16, 64, 5, has_bias=True), 400)):
        for array in (layer.weight.asnumpy(), layer.bias.asnumpy()):
            bound = 1 / math.sqrt(fan_in)
            assert 0.9 * bound < np.abs(array).max() <= bound
            assert abs(array.mean()) < bound / 5
    with graphrt.set_compat("1.1"):
        layer = nn.Dense(400, 300)
    assert layer.weight.asnumpy().std() == pytest.approx(0.01, rel=0.05) and not layer.bias.asnumpy().any()


def test_set_seed_repeats_initial_values_and_layers_differ():
    graphrt.set_seed(3)
    first = [nn.Dense(5, 5).weight.asnumpy() for _ in range(2)]
    graphrt.set_seed(3)
    second = [nn.Dense(5, 5).weight.asnumpy() for _ in range(2)]
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first[0], first[1])


def test_activations_and_flatten():
    x = Tensor(IMAGES)
    np.testing.assert_allclose(nn.Sigmoid()(x).asnumpy(), 1 / (1 + np.exp(-IMAGES)), rtol=1e-5)
    np.testing.assert_allclose(nn.Tanh()(x).asnumpy(), np.tanh(IMAGES), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(nn.Softmax(1)(x).sum(1).asnumpy(), 1, rtol=1e-5)
    np.testing.assert_allclose(nn.LogSoftmax(1)(x).exp().asnumpy(), nn.Softmax(1)(x).asnumpy(), rtol=1e-5)
    assert nn.Flatten()(x).shape == (2, 126) and nn.Flatten(0, 1)(x).shape == (6, 7, 6)
    assert nn.Identity()(x) is x
    with pytest.raises(ArgumentError, match="unknown activation"):
        nn.Dense(1, 1, activation="rlu")


def test_dropout():
    x = Tensor(np.ones((200, 100), np.float32))
    layer = nn.Dropout(p=0.3)
    assert layer(x) is x  # inference
    layer.set_train()
    first, second = layer(x).asnumpy(), layer(x).asnumpy()
    assert set(np.unique(first)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((first == 0).mean() - 0.3) < 0.02 and not np.array_equal(first, second)
    assert layer.key.asnumpy()[1] == 2 and not layer.key.requires_grad
    graphrt.set_seed(5)
    one = nn.Dropout(0.6).set_train()(x).asnumpy()
    graphrt.set_seed(5)
    other = nn.Dropout(0.6).set_train()
    np.testing.assert_array_equal(one, graphrt.compile(other)(x).asnumpy())
    assert other.p == pytest.approx(0.4) and nn.Dropout().p == 0.5
    with pytest.raises(ArgumentError, match="the rate must be in"):
        nn.Dropout(p=1.0)


class Two(nn.Cell):
    """A layer inside a network, for messages that name it; `line` is where it is called."""

    def __init__(self, layer):
        super().__init__()
        self.conv1 = layer

    def construct(self, x):
        self.line = sys._getframe().f_lineno + 1
        return self.conv1(x)


def message(error, layer, x):
    """The text of the error that `layer` raises, eagerly and compiled, with its line filled in as {line}."""
    texts = []
    for net in (Two(layer), graphrt.compile(Two(layer))):
        with pytest.raises(error) as caught:
            net(Tensor(x))
        texts.append(str(caught.value).replace(f"{HERE}:{net.line}", "{line}"))
    assert texts[0] == texts[1]
    return texts[0]


def test_exact_message_of_wrong_rank_into_conv2d():
    assert message(ShapeError, nn.Conv2d(1, 6, 5), np.zeros((32, 784), np.float32)) == (
        "Conv2d: the input must have 4 axes\n"
        "  cell:     Two.conv1 (Conv2d)\n"
        "  at:       {line}\n"
        "  expected: float32[N, 1, H, W]\n"
        "  given:    float32[32, 784]\n"
        "  fix:      give the images their axes: x.reshape(N, C, H, W)"
    )


def test_exact_message_of_wrong_channels_and_type():
    assert message(ShapeError, nn.Conv2d(3, 6, 5), np.zeros((2, 8, 8, 3), np.float32)) == (
        "Conv2d: the input has another number of channels\n"
        "  cell:     Two.conv1 (Conv2d)\n"
        "  at:       {line}\n"
        "  expected: float32[N, 3, H, W]\n"
        "  given:    float32[2, 8, 8, 3]\n"
        "  fix:      move the channels first: x.transpose(0, 3, 1, 2)"
    )
    assert "fix:      write x.astype(graphrt.float32)" in message(
        DTypeError, nn.Conv2d(3, 6, 5), np.zeros((2, 3, 8, 8), np.uint8)
    )


def test_exact_message_of_mismatched_dense():
    assert message(ShapeError, nn.Dense(400, 120), np.zeros((32, 784), np.float32)) == (
        "Dense: the last axis of the input is not in_channels\n"
        "  cell:     Two.conv1 (Dense)\n"
        "  at:       {line}\n"
        "  expected: float32[..., 400]\n"
        "  given:    float32[32, 784]\n"
        "  fix:      write nn.Dense(784, 120), or change the layer before it"
    )
    assert "fix:      put nn.Flatten() in front" in message(
        ShapeError, nn.Dense(400, 120), np.zeros((32, 16, 5, 5), np.float32)
    )


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: nn.Conv2d(1, 1, 3, padding=1), "padding needs pad_mode='pad'"),
        (lambda: nn.Conv2d(1, 1, 3, pad_mode="full"), "unknown pad_mode"),
        (lambda: nn.Conv2d(3, 4, 3, group=2), "group must divide"),
        (lambda: nn.Conv2d(0, 4, 3), "in_channels must be a positive int"),
        (lambda: nn.Conv2d(1, 4, (3, 3, 3)), "kernel_size must be an int or 2 ints"),
        (lambda: nn.Conv2d(1, 4, 3, data_format="NHWC"), "unknown data_format"),
        (lambda: nn.Dense(3.5, 4), "in_channels must be a positive int"),
        (lambda: nn.MaxPool2d(2, 2, pad_mode="full"), "unknown pad_mode"),
        (lambda: nn.MaxPool2d(9)(Tensor(IMAGES)), "the window is larger than the image"),
    ],
)  # fmt: skip
def test_bad_settings(make, text):
    with pytest.raises((ArgumentError, ShapeError), match=text) as caught:
        make()
    assert HERE in str(caught.value)
