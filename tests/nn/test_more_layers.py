"""Layers against PyTorch 2.13's results (float64, same parameters and inputs), stored as the sum of all elements and their
sum weighted by cos(0), cos(1), ...; gradients against finite differences, native code against the interpreter."""

import numpy as np
import pytest

import graphrt
from graphrt import Tensor, nn, ops
from graphrt.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(11)
X = RNG.uniform(-1, 1, (5, 2, 4))
K, V = RNG.uniform(-1, 1, (3, 2, 6)), RNG.uniform(-1, 1, (3, 2, 5))
IMAGES = RNG.uniform(-1, 1, (2, 4, 5, 6))
LARGE = RNG.uniform(-1, 1, (2, 2, 6, 9))
SEQUENCES = np.ascontiguousarray(IMAGES[:, :, 0])
LATER = np.triu(np.ones((5, 5), bool), 1)
PADDED = np.array([[0, 0, 0, 0, 1], [0, 0, 0, 1, 1]], bool)


def filled(cell):
    """The cell with parameters drawn one after the other."""
    rng = np.random.default_rng(3)
    for p in cell.trainable_params():
        p.set_data(rng.uniform(-0.5, 0.5, p.shape).astype(np.float32))
    return cell


def masked(net):
    return lambda x: net(x, x, x, Tensor(PADDED), True, Tensor(LATER), False)


# name: (layer, what is called, inputs, PyTorch's sums)
CASES = {
    "LSTM": (lambda: nn.LSTM(4, 3, 2), None, (X,), (1.468001, 0.796704)),
    "LSTM both ways": (lambda: nn.LSTM(4, 3, 2, bidirectional=True), None, (X,), (-10.959461, -1.286893)),
    "GRU": (lambda: nn.GRU(4, 3), None, (X,), (4.323127, 1.913467)),
    "RNN": (lambda: nn.RNN(4, 3, nonlinearity="relu", has_bias=False), None, (X,), (4.46751, 0.718287)),
    "attention": (lambda: nn.MultiheadAttention(4, 2), lambda n: lambda x: n(x, x, x), (X,), (3.725153, -1.062415)),
    "attention masks": (lambda: nn.MultiheadAttention(4, 2), masked, (X,), (14.38334, 1.571045)),
    "attention kdim": (
        lambda: nn.MultiheadAttention(4, 2, has_bias=False, kdim=6, vdim=5),
        lambda n: lambda x, k, v: n(x, k, v, need_weights=False)[0], (X, K, V), (2.496145, 0.071023),
    ),
    "encoder": (lambda: nn.TransformerEncoderLayer(4, 2, 8, 0.0), None, (X,), (-8.24847, -0.206813)),
    "encoder norm first": (
        lambda: nn.TransformerEncoderLayer(4, 2, 8, 0.0, norm_first=True), None, (X,), (-10.90213, -3.075477),
    ),
    "Conv2dTranspose": (
        lambda: nn.Conv2dTranspose(4, 6, 3, 2, "pad", 1, 1, has_bias=True), None, (IMAGES,), (-58.778412, -2.937219),
    ),
    "Conv2dTranspose dilation": (
        lambda: nn.Conv2dTranspose(4, 6, 3, (2, 1), "valid", dilation=2, has_bias=True), None, (IMAGES,),
        (-71.720656, 2.523118),
    ),
    "Conv2dTranspose groups": (
        lambda: nn.Conv2dTranspose(4, 6, 3, group=2, has_bias=True), None, (IMAGES,), (-7.496451, 4.184615),
    ),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, 2, "pad", 1, has_bias=True), None, (SEQUENCES,), (-3.098203, 1.141263)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), None, (IMAGES,), (-47.52946, 5.660601)),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4), None, (IMAGES,), (-50.037252, 5.732311)),
    "RMSNorm": (lambda: nn.RMSNorm(6), None, (IMAGES,), (0.189875, -0.574767)),
    "nearest": (lambda: nn.Upsample((7, 9)), None, (IMAGES,), (-45.329632, -13.397353)),
    "nearest scale": (lambda: nn.Upsample(scale_factor=1.7), None, (IMAGES,), (-42.949687, -8.63796)),
    "bilinear": (lambda: nn.Upsample((7, 9), mode="bilinear"), None, (IMAGES,), (-22.495457, -0.603593)),
    "bilinear corners": (
        lambda: nn.Upsample((7, 9), None, "bilinear", True), None, (IMAGES,), (-22.835466, 1.055385),
    ),
    "bilinear scale": (
        lambda: nn.Upsample(scale_factor=2, mode="bilinear"), None, (IMAGES,), (-35.165124, -16.020419),
    ),
    "ResizeBilinear": (
        lambda: nn.ResizeBilinear(True), lambda n: lambda x: n(x, (7, 9)), (IMAGES,), (-22.495457, -0.603593),
    ),
    "linear": (lambda: nn.Upsample(9, mode="linear"), None, (SEQUENCES,), (-13.001346, -4.94068)),
    "ReflectionPad2d": (lambda: nn.ReflectionPad2d((1, 2, 3, 0)), None, (IMAGES,), (-12.141132, -1.395419)),
    "Pad reflect": (
        lambda: nn.Pad(((0, 0), (0, 0), (3, 0), (1, 2)), "REFLECT"), None, (IMAGES,), (-12.141132, -1.395419),
    ),
    "ReplicationPad2d": (lambda: nn.ReplicationPad2d((1, 2, 3, 0)), None, (IMAGES,), (-62.435026, -2.190499)),
    "ReflectionPad1d": (lambda: nn.ReflectionPad1d(3), None, (SEQUENCES,), (-14.749346, 0.792427)),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), None, (IMAGES,), (-8.791281, 6.188917)),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(3), None, (LARGE,), (5.484807, -7.174533)),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d((3, 4)), None, (IMAGES,), (60.029072, 4.567873)),
    "AdaptiveMaxPool2d even": (lambda: nn.AdaptiveMaxPool2d((None, 3)), None, (IMAGES,), (35.04722, 0.339647)),
    "AdaptiveAvgPool1d": (lambda: nn.AdaptiveAvgPool1d(4), None, (SEQUENCES,), (-5.691138, 0.063118)),
    "MaxPool1d": (lambda: nn.MaxPool1d(3, 2), None, (SEQUENCES,), (7.736168, 0.428224)),
    "AvgPool1d": (lambda: nn.AvgPool1d(2, 2), None, (SEQUENCES,), (-4.333782, -0.388213)),
    "MaxPool2d padding": (
        lambda: nn.MaxPool2d(3, 2, "pad", 1), None, (IMAGES,), (49.595815, 1.165892),
    ),
    "AvgPool2d padding": (
        lambda: nn.AvgPool2d(3, 2, "pad", (1, 0)), None, (IMAGES,), (-0.196705, 0.545774),
    ),
    "AvgPool2d padding not counted": (
        lambda: nn.AvgPool2d(3, 2, "pad", 1, count_include_pad=False), None, (IMAGES,), (0.207763, -0.153938),
    ),
    "CELU": (lambda: nn.CELU(0.7), None, (IMAGES,), (13.132848, 2.95155)),
    "SeLU": (lambda: nn.SeLU(), None, (IMAGES,), (-24.098116, 3.761994)),
    "LogSigmoid": (lambda: nn.LogSigmoid(), None, (IMAGES,), (-180.236592, 1.0334)),
    "Softsign": (lambda: nn.Softsign(), None, (IMAGES,), (-4.842054, 2.044373)),
    "Tanhshrink": (lambda: nn.Tanhshrink(), None, (IMAGES,), (-1.704756, 0.5703)),
    "HShrink": (lambda: nn.HShrink(), None, (IMAGES,), (-9.538364, 2.88154)),
    "SoftShrink": (lambda: nn.SoftShrink(0.3), None, (IMAGES,), (-5.106112, 2.447904)),
    "Hardtanh": (lambda: nn.Hardtanh(-0.3, 0.5), None, (IMAGES,), (9.344406, 1.887308)),
    "Threshold": (lambda: nn.Threshold(0.2, -1), None, (IMAGES,), (-101.698105, 9.000392)),
    "Softmin": (lambda: nn.Softmin(1), None, (IMAGES,), (60.0, -1.014251)),
    "GLU": (lambda: nn.GLU(1), None, (IMAGES,), (-2.580602, 1.204989)),
    "PReLU": (lambda: nn.PReLU(4), None, (IMAGES,), (59.789339, 3.089003)),
}  # fmt: skip
COMPILED_ALREADY = (
    "LSTM both ways",
    "encoder norm first",
    "attention kdim",
)  # as parts of the cases before them
JUMPS = ("Threshold", "HShrink")  # not continuous: no finite differences


def everything(result):
    """All tensors of a result as one vector."""
    if isinstance(result, Tensor):
        return ops.reshape(result, (-1,))
    return ops.concat([everything(part) for part in result if part is not None], 0)


def prepared(case, dtype=np.float32):
    make, call, inputs, _ = CASES[case]
    net = filled(make())
    function = net if call is None else call(net)
    return net, lambda *x: everything(function(*x)), [Tensor(x.astype(dtype)) for x in inputs]


@pytest.mark.parametrize("case", CASES)
def test_value(case):
    _, function, inputs = prepared(case)
    y = function(*inputs).asnumpy().astype(np.float64)
    assert (y.sum(), (y * np.cos(np.arange(y.size))).sum()) == pytest.approx(
        CASES[case][3], rel=2e-5, abs=2e-5
    )


@pytest.mark.parametrize("case", CASES)
def test_gradient_and_native_code(case):
    net, function, inputs = prepared(case)
    weights = net.trainable_params() or None

    def loss(*x):
        y = function(*x)
        return ops.sum(y * np.cos(np.arange(y.size)).astype(y.dtype.numpy))

    gradient = graphrt.value_and_grad(loss, 0, weights)
    value, slopes = gradient(*inputs)
    native, native_slopes = value, slopes
    if case not in COMPILED_ALREADY:
        with graphrt.set_context(engine="native"):
            native, native_slopes = graphrt.compile(graphrt.value_and_grad(loss, 0, weights))(*inputs)
    np.testing.assert_allclose(native.asnumpy(), value.asnumpy(), rtol=1e-5, atol=1e-5)
    pairs = [(native_slopes, slopes)] if weights is None else [(native_slopes[0], slopes[0])]
    pairs += [] if weights is None else list(zip(native_slopes[1], slopes[1]))
    for found, expected in pairs:
        np.testing.assert_allclose(found.asnumpy(), expected.asnumpy(), rtol=2e-4, atol=2e-5)
    if case in JUMPS:
        return
    x = inputs[0].asnumpy().astype(np.float64)
    direction = np.random.default_rng(1).standard_normal(x.shape)
    ends = [
        loss(
            Tensor(x + step * direction), *[Tensor(i.asnumpy().astype(np.float64)) for i in inputs[1:]]
        ).item()
        for step in (1e-6, -1e-6)
    ]
    found = (pairs[0][1].asnumpy() * direction).sum()
    assert found == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=2e-3, abs=2e-3)


def test_cells_of_one_step_are_layers_of_one_step():
    x = Tensor(X[:1].astype(np.float32))
    for layer, cell in (
        (nn.LSTM(4, 3), nn.LSTMCell(4, 3)),
        (nn.GRU(4, 3), nn.GRUCell(4, 3)),
        (nn.RNN(4, 3), nn.RNNCell(4, 3)),
    ):
        for own, other in zip(filled(layer).trainable_params(), filled(cell).trainable_params()):
            assert own.name == f"{other.name}_l0" and np.array_equal(own.asnumpy(), other.asnumpy())
        first = Tensor(np.full((2, 3), 0.3, np.float32))
        state = (first, first) if isinstance(cell, nn.LSTMCell) else first
        begin = (
            tuple(ops.expand_dims(s, 0) for s in state)
            if isinstance(state, tuple)
            else ops.expand_dims(state, 0)
        )
        whole, after = layer(x, begin), cell(x[0], state)
        np.testing.assert_allclose(
            everything(whole[1]).asnumpy(), everything(after).asnumpy(), rtol=1e-6, atol=1e-7
        )


def test_recurrent_batch_first():
    layer = filled(nn.LSTM(4, 3, bidirectional=True))
    by_time, state = layer(Tensor(X.astype(np.float32)))
    layer.batch_first = True
    by_sample, other = layer(Tensor(X.swapaxes(0, 1).astype(np.float32)))
    np.testing.assert_array_equal(by_sample.asnumpy().swapaxes(0, 1), by_time.asnumpy())
    np.testing.assert_array_equal(everything(other).asnumpy(), everything(state).asnumpy())
    assert by_time.shape == (5, 2, 6) and state[0].shape == (2, 2, 3)


def test_attention_without_batch_and_with_batch_first():
    net = filled(nn.MultiheadAttention(4, 2, batch_first=True))
    x = Tensor(X.swapaxes(0, 1).astype(np.float32))
    both, weights = net(x, x, x)
    one, one_weights = net(x[0], x[0], x[0])
    np.testing.assert_allclose(one.asnumpy(), both.asnumpy()[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one_weights.asnumpy(), weights.asnumpy()[0], rtol=1e-5, atol=1e-6)
    fused, nothing = net(x, x, x, need_weights=False)
    np.testing.assert_allclose(fused.asnumpy(), both.asnumpy(), rtol=1e-5, atol=1e-6)
    assert nothing is None


def test_encoder_copies_have_names_and_random_streams_of_their_own():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2, nn.LayerNorm(4))
    names = [p.name for p in encoder.trainable_params()]
    assert (
        len(set(names)) == len(names)
        and "layers.1.self_attn.in_proj_weight" in names
        and "norm.gamma" in names
    )
    keys = [p.asnumpy().tolist() for p in encoder.untrainable_params()]
    assert len({tuple(k) for k in keys}) == len(keys) == 8
    assert encoder(Tensor(X.astype(np.float32))).shape == X.shape


def test_channel_dropout():
    x = Tensor(np.ones((200, 5, 3, 2), np.float32))
    layer = nn.Dropout2d(0.4)
    np.testing.assert_array_equal(layer(x).asnumpy(), x.asnumpy())
    y = layer.set_train()(x).asnumpy()
    channels = y.reshape(1000, 6)
    assert np.array_equal(channels, np.repeat(channels[:, :1], 6, 1))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.6], rtol=1e-6)
    assert abs((channels[:, 0] == 0).mean() - 0.4) < 0.05
    assert nn.Dropout1d(0.5).set_train()(Tensor(np.ones((5, 3), np.float32))).shape == (5, 3)


def test_small_layers():
    x = Tensor(IMAGES.astype(np.float32))
    assert nn.Unflatten(1, (2, -1))(x).shape == (2, 2, 2, 5, 6)
    np.testing.assert_allclose(nn.Norm((1, 2))(x).asnumpy(), np.sqrt((IMAGES**2).sum((1, 2))), rtol=1e-5)
    hot = nn.OneHot(depth=3, on_value=2.0)(Tensor(np.array([0, 2], np.int32)))
    assert hot.asnumpy().tolist() == [[2, 0, 0], [0, 0, 2]]
    padded = nn.ZeroPad2d((1, 2, 3, -1))(x).asnumpy()
    np.testing.assert_array_equal(
        padded, np.pad(IMAGES[:, :, :-1], [(0, 0)] * 2 + [(3, 0), (1, 2)]).astype(np.float32)
    )
    mirrored = nn.Pad(((0, 0), (0, 0), (2, 1), (0, 6)), "SYMMETRIC")(x).asnumpy()
    np.testing.assert_array_equal(
        mirrored, np.pad(IMAGES, [(0, 0)] * 2 + [(2, 1), (0, 6)], "symmetric").astype(np.float32)
    )
    repeated = nn.ReplicationPad1d((2, 1))(Tensor(SEQUENCES.astype(np.float32))).asnumpy()
    np.testing.assert_array_equal(
        repeated, np.pad(SEQUENCES, [(0, 0)] * 2 + [(2, 1)], "edge").astype(np.float32)
    )
    cells = nn.CellDict({"a": nn.Dense(2, 3), "b": nn.ReLU()})
    assert (
        list(cells) == ["a", "b"]
        and "a" in cells
        and [p.name for p in cells.get_parameters()] == ["a.weight", "a.bias"]
    )
    assert isinstance(cells.pop("b"), nn.ReLU) and len(cells) == 1
    assert nn.Conv2dTranspose(4, 3, 3, 2)(x).shape == (2, 3, 10, 12)  # "same": size * stride
    assert nn.Conv2dTranspose(4, 3, 2, 3, "valid")(x).shape == (2, 3, 15, 18)
    assert nn.PReLU().w.name == "a" and nn.Conv1d(4, 6, 3).weight.shape == (6, 4, 1, 3)


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: nn.GroupNorm(3, 4), ArgumentError, "num_groups must divide num_channels"),
        (lambda: nn.InstanceNorm2d(4)(Tensor(SEQUENCES)), ShapeError, "InstanceNorm2d: the input must have 4 axes"),
        (lambda: nn.RMSNorm(5)(Tensor(X)), ShapeError, "RMSNorm: the last axes of the input are not normalized_shape"),
        (lambda: nn.Conv1d(4, 6, 3)(Tensor(IMAGES)), ShapeError, "Conv1d: the input must hold sequences"),
        (lambda: nn.Conv1d(4, 6, 3, pad_mode="pad", padding=(1, 2, 3)), ArgumentError, "Conv1d: padding must be"),
        (lambda: nn.Conv2dTranspose(4, 6, 3, output_padding=1), ArgumentError, "output_padding must be smaller"),
        (lambda: nn.MultiheadAttention(4, 2, add_zero_attn=True), ArgumentError, "add_zero_attn are not supported"),
        (lambda: nn.MaxPool2d(3, dilation=2), ArgumentError, "MaxPool2d: dilation and return_indices"),
        (lambda: nn.AvgPool2d(3, ceil_mode=True), ArgumentError, "AvgPool2d: ceil_mode is not supported"),
        (lambda: nn.AvgPool2d(3, divisor_override=2), ArgumentError, "divisor_override is not supported"),
        (lambda: nn.MaxPool2d(2, pad_mode="pad", padding=2), ArgumentError, "padding is larger than half the window"),
        (lambda: nn.MultiheadAttention(4, 3), ArgumentError, "num_heads must divide embed_dim"),
        (lambda: nn.MultiheadAttention(6, 3)(*[Tensor(X)] * 3), ShapeError, "query, key and value do not fit"),
        (lambda: nn.LSTM(3, 3)(Tensor(X)), ShapeError, "LSTM: the input must hold sequences"),
        (lambda: nn.GRU(4, 3)(Tensor(X), Tensor(X)), ShapeError, "GRU: the first states do not fit"),
        (lambda: nn.RNN(4, 3, nonlinearity="sigmoid"), ArgumentError, "RNN: unknown nonlinearity"),
        (lambda: nn.LSTMCell(4, 3)(Tensor(X[0]), Tensor(X[0])), ShapeError, "LSTMCell: input and state do not fit"),
        (lambda: nn.Upsample(), ArgumentError, "Upsample: give size or scale_factor"),
        (lambda: nn.Upsample(3, mode="cubic"), ArgumentError, "Upsample: unknown mode"),
        (lambda: nn.PixelShuffle(3)(Tensor(IMAGES)), ShapeError, "PixelShuffle: the channels are no multiple"),
        (lambda: nn.ReflectionPad2d(6)(Tensor(IMAGES)), ShapeError, "the padding must be smaller than the axis"),
        (lambda: nn.ConstantPad1d((1, 2, 3), 0), ArgumentError, "ConstantPad1d: padding must be an int or 2"),
        (lambda: nn.Pad(((0, 0),), "WRAP"), ArgumentError, "Pad: unknown mode"),
        (lambda: nn.Unflatten(1, (3, 2))(Tensor(IMAGES)), ShapeError, "Unflatten: the axis does not have that many"),
        (lambda: nn.GLU(2)(Tensor(IMAGES)), ShapeError, "GLU: the axis must have an even extent"),
        (lambda: nn.PReLU(3)(Tensor(IMAGES)), ShapeError, "PReLU: the input has another number of channels"),
        (lambda: nn.Dropout2d(1.0), ArgumentError, r"Dropout2d: the rate must be in \[0, 1\)"),
        (lambda: nn.CellDict({"construct": nn.ReLU()}), ArgumentError, "CellDict: not a usable name"),
    ],
)  # fmt: skip
def test_messages(call, error, text):
    with pytest.raises(error, match=text):
        call()


EXPORTED = {
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, 2), SEQUENCES),
    "Conv2dTranspose": (lambda: nn.Conv2dTranspose(4, 6, 3, 2, has_bias=True), IMAGES),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), IMAGES),
    "RMSNorm": (lambda: nn.RMSNorm(6), IMAGES),
    "Upsample": (lambda: nn.Upsample((7, 9), mode="bilinear"), IMAGES),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), IMAGES),
    "ReflectionPad2d": (lambda: nn.ReflectionPad2d(2), IMAGES),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d((3, 4)), IMAGES),
    "PReLU": (lambda: nn.PReLU(4), IMAGES),
    "GLU": (lambda: nn.GLU(1), IMAGES),
    "encoder": (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), X),
    "LSTM": (lambda: nn.SequentialCell(nn.LSTM(4, 3, batch_first=True), First()), X),
    "GRU": (lambda: nn.SequentialCell(nn.GRU(4, 3, batch_first=True, bidirectional=True), First()), X),
}


class First(nn.Cell):
    def construct(self, pair):
        return pair[0]


@pytest.mark.parametrize("case", EXPORTED)
def test_export(case, tmp_path):
    """The exporter compares what onnxruntime computes with the interpreter, at two batch sizes."""
    pytest.importorskip("onnxruntime")
    make, x = EXPORTED[case]
    path = graphrt.export(filled(make()), Tensor(x.astype(np.float32)), file_name=str(tmp_path / "net"))
    assert path.stat().st_size > 0
