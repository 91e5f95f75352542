"""The benchmark's networks as Cells with the peers' initial weights, and the optimizers that go with them.

In: a workload's weights by name, as the peers' `common.py` gives them. Out: `NETWORKS[workload](weights)` is a Cell from
a batch to logits, `LOSSES.get(workload)` the loss if it is not the cross entropy of (N, classes),
`OPTIMIZERS[workload](parameters)` the optimizer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import common  # the peers' workloads: found through GRAPHRT_PEERS

from graphrt import Parameter, Tensor, nn, ops

Weights = dict[str, Any]


def dense(weights: Weights, name: str) -> nn.Cell:
    weight, bias = weights[name + "w"], weights[name + "b"]
    return nn.Dense(weight.shape[1], weight.shape[0], weight_init=Tensor(weight), bias_init=Tensor(bias))


def unbiased(weight: Any) -> nn.Cell:
    return nn.Dense(weight.shape[1], weight.shape[0], weight_init=Tensor(weight), has_bias=False)


def convolution(weight: Any, stride: int = 1, padding: int = 0) -> nn.Cell:
    outputs, inputs, size, _ = weight.shape
    mode = "pad" if padding else "valid"
    return nn.Conv2d(inputs, outputs, size, stride, mode, padding, weight_init=Tensor(weight))


def three_dense(weights: Weights) -> list[nn.Cell]:
    return [dense(weights, "f1"), nn.ReLU(), dense(weights, "f2"), nn.ReLU(), dense(weights, "f3")]


def lenet(weights: Weights) -> nn.Cell:
    features = [
        cell for name in ("c1", "c2") for cell in (convolution(weights[name]), nn.ReLU(), nn.MaxPool2d(2, 2))
    ]
    return nn.SequentialCell([*features, nn.Flatten(), *three_dense(weights)])


def mlp(weights: Weights) -> nn.Cell:
    return nn.SequentialCell(three_dense(weights))


def normalized(weights: Weights, name: str, stride: int = 1, scale: str = "") -> nn.Cell:
    """A convolution and its batch normalization, whose scale and offset are `scale`g and `scale`b."""
    weight = weights[name]
    gamma, beta = Tensor(weights[f"{scale or name}g"]), Tensor(weights[f"{scale or name}b"])
    norm = nn.BatchNorm2d(weight.shape[0], gamma_init=gamma, beta_init=beta)
    return nn.SequentialCell([convolution(weight, stride, weight.shape[2] // 2), norm])


class ResidualBlock(nn.Cell):
    """Block number `k` of the ResNet."""

    def __init__(self, weights: Weights, k: int, stride: int):
        super().__init__()
        self.first = normalized(weights, f"b{k}_1", stride)
        self.second = normalized(weights, f"b{k}_2")
        self.shortcut = nn.Identity() if stride == 1 else normalized(weights, f"b{k}_s", stride)

    def construct(self, x: Tensor) -> Tensor:
        return ops.relu(self.second(ops.relu(self.first(x))) + self.shortcut(x))


def resnet20(weights: Weights) -> nn.Cell:
    blocks = [ResidualBlock(weights, k, stride) for k, (_, _, stride) in enumerate(common.RES)]
    stem = normalized(weights, "stem", scale="stem_")
    return nn.SequentialCell(
        [stem, nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense(weights, "fc")]
    )


class Layer(nn.Cell):
    """Layer number `k` of the GPT: causal self-attention and two dense layers."""

    def __init__(self, weights: Weights, k: int):
        super().__init__()
        self.heads = common.GPT["heads"]
        self.norm1, self.norm2 = scale_only(weights[f"h{k}_ln1"]), scale_only(weights[f"h{k}_ln2"])
        self.qkv, self.projection = unbiased(weights[f"h{k}_qkv"]), unbiased(weights[f"h{k}_proj"])
        self.widen, self.narrow = unbiased(weights[f"h{k}_fc"]), unbiased(weights[f"h{k}_out"])
        self.gelu = nn.GELU(approximate=False)

    def construct(self, x: Tensor) -> Tensor:
        count, length, width = x.shape
        parts = self.qkv(self.norm1(x)).reshape(count, length, 3, self.heads, width // self.heads)
        query, key, value = parts.transpose(2, 0, 3, 1, 4)
        seen = ops.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.projection(seen.transpose(0, 2, 1, 3).reshape(count, length, width))
        return x + self.narrow(self.gelu(self.widen(self.norm2(x))))


def scale_only(gamma: Any) -> nn.Cell:
    return nn.LayerNorm(len(gamma), gamma_init=Tensor(gamma), epsilon=1e-5, has_bias=False)


class GPT(nn.Cell):
    """Characters int32 (N, T) to logits (N, T, vocabulary); the embedding's table also predicts."""

    def __init__(self, weights: Weights):
        super().__init__()
        vocabulary, width = weights["wte"].shape
        self.characters = nn.Embedding(vocabulary, width, embedding_table=Tensor(weights["wte"]))
        self.places = Parameter(weights["wpe"])
        self.layers = nn.SequentialCell([Layer(weights, k) for k in range(common.GPT["layers"])])
        self.norm = scale_only(weights["lnf"])

    def construct(self, characters: Tensor) -> Tensor:
        x = self.layers(self.characters(characters) + self.places)
        return ops.matmul(self.norm(x), self.characters.embedding_table.T)


class EveryCharacter(nn.Cell):
    """The mean cross entropy over all positions of all sequences."""

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        return ops.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))


def everything_decays(parameters: Iterable[Parameter]) -> list[dict[str, Any]]:
    """Weight decay of the ResNet, on normalization too as in the peers' scripts (groups leave out nothing)."""
    return [{"params": list(parameters), "weight_decay": 1e-4}]


NETWORKS = {"lenet": lenet, "mlp": mlp, "tiny": mlp, "resnet20": resnet20, "gpt": GPT}
LOSSES = {"gpt": EveryCharacter}
OPTIMIZERS = {
    "lenet": lambda parameters: nn.Momentum(parameters, 0.01, 0.9),
    "mlp": lambda parameters: nn.SGD(parameters, 0.01),
    "tiny": lambda parameters: nn.Adam(parameters, 1e-3),
    "resnet20": lambda parameters: nn.Momentum(everything_decays(parameters), 0.1, 0.9),
    "gpt": lambda parameters: nn.AdamW(parameters, 1e-3, 0.9, 0.99, 1e-8, 0.1),
}
