"""Exported networks load in onnxruntime, agree with the network at every batch size, and read well."""

import numpy as np
import onnx
import onnxruntime
import pytest

import graphrt
from graphrt import Tensor, nn, ops
from graphrt.errors import ArgumentError, ExportError
from graphrt.onnx import verify


class LeNet(nn.Cell):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, pad_mode="valid")
        self.conv2 = nn.Conv2d(6, 16, 5, pad_mode="valid", has_bias=True)
        self.pool = nn.MaxPool2d(2, 2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Dense(400, 120, activation="relu")
        self.fc2 = nn.Dense(120, 10, has_bias=False)

    def construct(self, x):
        x = self.pool(ops.relu(self.conv1(x)))
        x = self.pool(ops.relu(self.conv2(x)))
        return self.fc2(self.fc1(self.flatten(x)))


def mlp():
    return nn.SequentialCell([nn.Dense(12, 16), nn.Tanh(), nn.Dropout(p=0.5), nn.Dense(16, 5), nn.Softmax()])


def random(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def export(net, *arrays, path, **options) -> onnx.ModelProto:
    """Export without the built-in verification (the tests compare by themselves) and load the file."""
    options.setdefault("verify", False)
    return onnx.load(graphrt.export(net, *map(Tensor, arrays), file_name=path, **options))


def run(model: onnx.ModelProto, *arrays: np.ndarray) -> list[np.ndarray]:
    """The model's outputs by onnxruntime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: a for i, a in zip(session.get_inputs(), arrays)})


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.fixture(autouse=True)
def seed():
    graphrt.set_seed(0)


@pytest.mark.parametrize("opset", [17, 18, 20, 26])
@pytest.mark.parametrize("make, shape", [(LeNet, (1, 32, 32)), (mlp, (12,))])
def test_agrees_at_every_batch_size(tmp_path, make, shape, opset):
    net = make()
    model = export(net, random(2, *shape), path=tmp_path / "net.onnx", opset=opset)
    assert model.opset_import[0].version == opset
    assert model.ir_version == onnx.helper.find_min_ir_version_for(list(model.opset_import))
    run_file, engine = verify.open_model(tmp_path / "net.onnx")
    assert engine == "onnxruntime" or opset > 20  # released runtimes may be older than the newest format
    for batch in (1, 3, 17, 32):
        x = random(batch, *shape, seed=batch)
        theirs = run_file({model.graph.input[0].name: x})[0]
        np.testing.assert_allclose(theirs, net(Tensor(x)).asnumpy(), rtol=1e-5, atol=1e-5)


def test_reads_like_the_network(tmp_path):
    model = export(LeNet(), random(4, 1, 32, 32), path=tmp_path / "lenet.onnx")
    assert operators(model) == [
        "Conv", "Relu", "MaxPool", "Conv", "Relu", "MaxPool", "Flatten", "Gemm", "Relu", "Gemm",
    ]  # fmt: skip
    assert {i.name for i in model.graph.initializer} == {
        "conv1.weight", "conv2.weight", "conv2.bias", "fc1.weight", "fc1.bias", "fc2.weight",
    }  # fmt: skip
    assert [i.name for i in model.graph.input] == ["x"]
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        1,
        32,
        32,
    ]
    assert [d.dim_param or d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [
        "batch",
        10,
    ]
    first = model.graph.node[0]
    assert first.name == "conv1/Conv"
    properties = {p.key: p.value for p in first.metadata_props}
    assert properties["cell"] == "LeNet.conv1"
    assert properties["class"] == "Conv2d"
    assert properties["source"].startswith("test_onnx_export.py:")


def test_weights_keep_their_values(tmp_path):
    net = LeNet()
    model = export(net, random(2, 1, 32, 32), path=tmp_path / "lenet.onnx")
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    for parameter in net.get_parameters():
        np.testing.assert_array_equal(stored[parameter.name], parameter.asnumpy())


def test_dropout_is_gone_and_training_flags_are_restored(tmp_path):
    net = mlp()
    net.set_train(True)
    model = export(net, random(2, 12), path=tmp_path / "mlp.onnx")
    assert operators(model) == ["Gemm", "Tanh", "Gemm", "Softmax"]
    assert all(cell.training for _, cell in net.cells_and_names())


def test_several_inputs_and_outputs(tmp_path):
    def both(left, right):
        return left + right, left

    model = export(both, random(3, 2), random(3, 2, seed=1), path=tmp_path / "both.onnx")
    assert [i.name for i in model.graph.input] == ["left", "right"]
    assert [o.name for o in model.graph.output] == ["output_0", "output_1"]
    a, b = random(5, 2, seed=2), random(5, 2, seed=3)
    total, first = run(model, a, b)
    np.testing.assert_array_equal(total, a + b)
    np.testing.assert_array_equal(first, a)


def _split_heads(x):  # the batch is neither first nor alone in the middle
    y = x.reshape((x.shape[0] * 2, 3, 4)).transpose((1, 0, 2))
    return y.reshape((3, x.shape[0], 8)).transpose((1, 0, 2))


ODD = {
    "broadcast of a scalar": lambda x: x * 2.0 + 1.0,
    "mean and variance": lambda x: (
        (x - x.mean(1, keep_dims=True)) / ops.sqrt(ops.square(x).mean(1, keep_dims=True) + 1.0)
    ),
    "over the batch": lambda x: x - x.mean(0),
    "slices": lambda x: x[:, 2:20:3] + x[:, :6],
    "reversed": lambda x: x[:, ::-1],
    "without the first sample": lambda x: x[1:],
    "all but the last sample": lambda x: x[:-1],
    "heads": _split_heads,
    "padded": lambda x: ops.concat([x, x[:, :1] * 0], 1),
    "where": lambda x: ops.where(x > 0, x, ops.exp(x) - 1.0),
    "logarithms": lambda x: ops.log(ops.abs(x) + 1.0) * ops.sigmoid(x),
    "argmax": lambda x: x.argmax(1),
    "largest": lambda x: ops.maximum(x.max(1, keepdims=True), 0.5) + x.sum(),
    "outer product": lambda x: ops.matmul(x.reshape((x.shape[0], 24, 1)), x.reshape((x.shape[0], 1, 24))),
    "gram matrix": lambda x: ops.matmul(x, x.transpose((1, 0))),
    "new ones": lambda x: x + ops.ones((x.shape[0], 24), graphrt.float32),
    "cast": lambda x: (x * 10).astype(graphrt.int32) // 3,
}


@pytest.mark.parametrize("name", ODD)
def test_odd_operations_keep_the_batch_free(tmp_path, name):
    function = ODD[name]
    model = export(function, random(4, 24), path=tmp_path / "odd.onnx")
    for batch in (2, 3, 17):
        x = random(batch, 24, seed=batch)
        np.testing.assert_allclose(run(model, x)[0], function(Tensor(x)).asnumpy(), rtol=1e-5, atol=1e-5)


def test_convolution_geometry(tmp_path):
    net = nn.SequentialCell(
        [
            nn.Conv2d(4, 6, (3, 5), stride=2, pad_mode="pad", padding=(1, 2, 0, 3), dilation=(2, 1), group=2),
            nn.AvgPool2d(3, 2, pad_mode="valid"),
            nn.MaxPool2d(2, 1, pad_mode="same"),
        ]
    )
    model = export(net, random(2, 4, 21, 24), path=tmp_path / "conv.onnx")
    x = random(3, 4, 21, 24, seed=5)
    np.testing.assert_allclose(run(model, x)[0], net(Tensor(x)).asnumpy(), rtol=1e-5, atol=1e-5)


def test_bytes_in(tmp_path):
    def scaled(image):
        return image.astype(graphrt.float32) / 255.0

    x = np.arange(24, dtype=np.uint8).reshape(4, 6)
    np.testing.assert_array_equal(
        run(export(scaled, x, path=tmp_path / "u8.onnx"), x)[0], x.astype(np.float32) / 255
    )


def test_a_baked_batch_size_is_reported_with_the_line(tmp_path):
    def baked(x):
        return x.reshape((4, 2, 12))

    with pytest.raises(ExportError, match="cannot be traced with a batch of 5") as caught:
        export(baked, random(4, 24), path=tmp_path / "baked.onnx")
    assert caught.value.at.endswith(f"test_onnx_export.py:{baked.__code__.co_firstlineno + 1}")
    assert not (tmp_path / "baked.onnx").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"file_format": "MINDIR"}, "unknown file format"),
        ({"opset": 16}, "opset not supported"),
        ({"opset": 27}, "opset"),
    ],
)
def test_unusable_arguments(tmp_path, options, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        export(mlp(), random(2, 12), path=tmp_path / "net.onnx", **options)
    assert "test_onnx_export.py" in caught.value.at


def test_no_inputs(tmp_path):
    with pytest.raises(ArgumentError, match="example inputs are needed"):
        graphrt.export(mlp(), file_name=tmp_path / "net.onnx")


def test_suffix_is_added_and_verification_passes(tmp_path):
    path = graphrt.export(LeNet(), Tensor(random(2, 1, 32, 32)), file_name=tmp_path / "lenet")
    assert path == tmp_path / "lenet.onnx"
    assert path.exists()


def test_verification_notices_changed_weights(tmp_path):
    net = mlp()
    path = graphrt.export(net, Tensor(random(2, 12)), file_name=tmp_path / "net.onnx")
    model = onnx.load(path)
    weight = next(i for i in model.graph.initializer if i.name == "0.weight")
    changed = onnx.numpy_helper.to_array(weight).copy()
    changed[0, 0] += 0.01
    weight.CopyFrom(onnx.numpy_helper.from_array(changed, weight.name))
    onnx.save_model(model, path)
    run_file, _ = verify.open_model(path)
    x = random(3, 12)
    theirs = run_file({model.graph.input[0].name: x})[0]
    with pytest.raises(ExportError, match=r"computes other values for output 0 at batch 3"):
        verify.compare(net(Tensor(x)).asnumpy(), theirs, "output 0 at batch 3")


def test_a_model_that_fails_verification_replaces_nothing(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"the old model")
    monkeypatch.setattr("graphrt.onnx.verify.DEFAULT_TOLERANCE", -1.0)
    with pytest.raises(ExportError) as caught:
        graphrt.export(mlp(), Tensor(random(2, 12)), file_name=path)
    assert "computes other values for output 0 at batch 1 (onnxruntime, opset 20)" in str(caught.value)
    assert path.read_bytes() == b"the old model"
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


def test_verification_notices_a_broken_file(tmp_path):
    path = graphrt.export(mlp(), Tensor(random(2, 12)), file_name=tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.node[1].input[0] = "nowhere"
    onnx.save_model(model, path)
    with pytest.raises(ExportError, match="breaks the ONNX specification"):
        verify.check_specification(path)


def test_a_format_newer_than_the_runtime_is_left_to_the_reference_implementation(tmp_path):
    path = graphrt.export(mlp(), Tensor(random(2, 12)), file_name=tmp_path / "net.onnx")
    model = onnx.load(path)
    assert verify.open_model(path)[1] == "onnxruntime"
    model.ir_version = 99
    path.write_bytes(model.SerializeToString())
    run_file, engine = verify.open_model(path)
    assert engine == "onnx.reference"
    assert run_file({model.graph.input[0].name: random(3, 12)})[0].shape == (3, 5)


def test_a_file_the_runtime_refuses(tmp_path):
    path = graphrt.export(mlp(), Tensor(random(2, 12)), file_name=tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.node[1].op_type = "Nonsense"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match=r"onnxruntime cannot load the written model(.|\n)*Nonsense"):
        verify.open_model(path)


def test_large_weights_go_beside_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr("graphrt.onnx.exporter.EXTERNAL_DATA_BYTES", 1000)
    net = LeNet()
    for _ in range(2):  # writing again replaces the data file
        path = graphrt.export(net, Tensor(random(2, 1, 32, 32)), file_name=tmp_path / "lenet.onnx")
    data = tmp_path / "lenet.onnx.data"
    assert path.stat().st_size < 20_000
    assert 190_000 < data.stat().st_size < 250_000
