"""Networks of normalization, embedding, attention and residual layers in ONNX, with a free batch axis."""

import numpy as np
import onnx
import pytest

import graphrt
from graphrt import Tensor, nn, ops

RNG = np.random.default_rng(12)


class Residual(nn.Cell):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3)
        self.batch = nn.BatchNorm2d(3, moving_mean_init=0.3, moving_var_init=2.0)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.out = nn.Dense(3, 4)

    def construct(self, x):
        return self.out(ops.flatten(self.pool(ops.relu(x + self.batch(self.convolution(x))))))


class Transformer(nn.Cell):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(13, 8)
        self.norm, self.last = nn.LayerNorm(8, has_bias=False), nn.LayerNorm(8)
        self.qkv, self.mix = nn.Dense(8, 24, has_bias=False), nn.Dense(8, 8)
        self.gelu = nn.GELU(False)

    def construct(self, ids):
        x = self.table(ids)
        length = x.shape[1]
        q, k, v = (
            part.reshape(-1, length, 2, 4).transpose(0, 2, 1, 3)
            for part in ops.split(self.qkv(self.norm(x)), 8, axis=-1)
        )
        y = ops.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.gelu(self.mix(y.transpose(0, 2, 1, 3).reshape(-1, length, 8)))
        return ops.matmul(self.last(x), self.table.embedding_table.T)


NETWORKS = {
    "residual": (
        Residual,
        lambda n: RNG.standard_normal((n, 3, 6, 6)).astype(np.float32),
        {"BatchNormalization"},
    ),
    "transformer": (
        Transformer,
        lambda n: RNG.integers(0, 13, (n, 5)).astype(np.int32),
        {"LayerNormalization", "Gather", "Softmax"},
    ),
}


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("name", NETWORKS)
def test_network_at_other_batch_sizes(tmp_path, name, opset):
    runtime = pytest.importorskip("onnxruntime")
    make, draw, operators = NETWORKS[name]
    net = make().set_train()
    path = graphrt.export(net, Tensor(draw(2)), file_name=tmp_path / name, file_format="ONNX", opset=opset)
    model = onnx.load(path)
    assert operators <= {node.op_type for node in model.graph.node}
    assert net.training  # exported as it predicts, put back afterwards
    net.set_train(False)
    session = runtime.InferenceSession(path)
    for batch in (1, 3, 32):
        x = draw(batch)
        (y,) = session.run(None, {session.get_inputs()[0].name: x})
        np.testing.assert_allclose(y, net(Tensor(x)).asnumpy(), rtol=1e-4, atol=1e-5)
