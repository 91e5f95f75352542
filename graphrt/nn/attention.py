"""Attention with several heads, and the encoder of a transformer made of it.

In: sequences of vectors, (L, N, E) or with `batch_first` (N, L, E). Out: sequences of that shape.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ..dtypes import as_dtype
from ..errors import ArgumentError, ShapeError
from ..frontend import functional as ops
from ..frontend import random
from ..frontend.cell import Cell
from ..frontend.parameter import Parameter, assign
from ..frontend.tensor import Tensor
from .activation import get_activation
from .container import CellList
from .dense import Dense, here, positive_int
from .dropout import Dropout
from .normalization import LayerNorm


class MultiheadAttention(Cell):
    """`num_heads` attentions of embed_dim / num_heads features each, side by side, and a linear map of the result (Vaswani
    and others 2017).

    `construct(query, key, value)`: query (L, N, embed_dim), key (S, N, kdim), value (S, N, vdim), with `batch_first`
    (N, L, ...), or without N. Returns (output like query, weights). The weights (N, L, S) are the mean over the heads, or
    (N, num_heads, L, S) with `average_attn_weights=False`, or None with `need_weights=False`, which is faster.
    `key_padding_mask` (N, S): True, or -inf, where a key is not to be seen. `attn_mask` (L, S) or (N * num_heads, L, S):
    bool, True where not to be seen, or a float to be added to the scores. `dropout`: the probability with
    which a weight becomes zero in training. `kdim`, `vdim`: features of keys and values (embed_dim). Raises
    ArgumentError for `add_bias_kv` and `add_zero_attn`.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        has_bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: object = "float32",
    ):
        super().__init__()
        from ..common.initializer import XavierUniform, initializer

        positive_int("MultiheadAttention", embed_dim=embed_dim, num_heads=num_heads)
        if add_bias_kv or add_zero_attn:
            raise ArgumentError(
                "MultiheadAttention: add_bias_kv and add_zero_attn are not supported", **here(),
                fix="leave them out, or append the rows to key and value",
            )  # fmt: skip
        if embed_dim % num_heads:
            raise ArgumentError(
                "MultiheadAttention: num_heads must divide embed_dim", **here(),
                given=f"embed_dim={embed_dim}, num_heads={num_heads}",
            )  # fmt: skip
        self.embed_dim, self.num_heads, self.batch_first = int(embed_dim), int(num_heads), bool(batch_first)
        self.kdim, self.vdim = int(kdim or embed_dim), int(vdim or embed_dim)
        element_type = as_dtype(dtype)

        def weight(rows: int, columns: int) -> Parameter:
            return Parameter(initializer(XavierUniform(), (rows, columns), element_type))

        self._together = self.kdim == self.vdim == self.embed_dim
        if self._together:
            self.in_proj_weight = weight(3 * self.embed_dim, self.embed_dim)
        else:
            self.q_proj_weight = weight(self.embed_dim, self.embed_dim)
            self.k_proj_weight = weight(self.embed_dim, self.kdim)
            self.v_proj_weight = weight(self.embed_dim, self.vdim)
        self.in_proj_bias: Parameter | None = None
        if has_bias:
            self.in_proj_bias = Parameter(initializer("zeros", (3 * self.embed_dim,), element_type))
        self.out_proj = Dense(
            self.embed_dim, self.embed_dim, bias_init="zeros", has_bias=has_bias, dtype=dtype
        )
        self.dropout = Dropout(p=dropout) if dropout else None

    def construct(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        self._check(query, key, value)
        batched = query.ndim == 3
        if not batched:
            query, key, value = (ops.expand_dims(x, 0) for x in (query, key, value))
            if key_padding_mask is not None:
                key_padding_mask = ops.expand_dims(key_padding_mask, 0)
        elif not self.batch_first:
            query, key, value = (ops.swapaxes(x, 0, 1) for x in (query, key, value))
        q, k, v = (self._heads(x) for x in self._projections(query, key, value))
        mask = self._mask(query, key, key_padding_mask, attn_mask)
        dropped = self.dropout is not None and self.training
        if need_weights or dropped:
            scores = ops.matmul(q, ops.swapaxes(k, -1, -2)) * (q.shape[-1] ** -0.5)
            weights = ops.softmax(scores if mask is None else scores + mask, -1)
            found = ops.matmul(self.dropout(weights) if self.dropout is not None else weights, v)
        else:
            found = ops.scaled_dot_product_attention(q, k, v, mask)
        merged = ops.reshape(ops.transpose(found, (0, 2, 1, 3)), query.shape)
        output = self.out_proj(merged)
        if not batched:
            output = ops.squeeze(output, 0)
        elif not self.batch_first:
            output = ops.swapaxes(output, 0, 1)
        if not need_weights:
            return output, None
        if average_attn_weights:
            weights = ops.reduce_mean(weights, 1)
        return output, weights if batched else ops.squeeze(weights, 0)

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        extents = [x.shape[-1] if x.ndim else 0 for x in (query, key, value)]
        rank = query.ndim
        if (
            rank not in (2, 3)
            or {key.ndim, value.ndim} != {rank}
            or extents != [self.embed_dim, self.kdim, self.vdim]
        ):
            raise ShapeError(
                "MultiheadAttention: query, key and value do not fit", **here(),
                expected=f"(L, N, {self.embed_dim}), (S, N, {self.kdim}), (S, N, {self.vdim})"
                if not self.batch_first else f"(N, L, {self.embed_dim}), (N, S, {self.kdim}), (N, S, {self.vdim})",
                given=", ".join(x.type.describe() for x in (query, key, value)),
            )  # fmt: skip

    def _projections(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        """Three (N, length, embed_dim)."""
        e, bias = self.embed_dim, self.in_proj_bias
        if self._together and query is key is value:  # one product for all three
            return list(ops.split(ops.dense(query, self.in_proj_weight, bias), e, -1))
        if self._together:
            weights: Any = ops.split(self.in_proj_weight, e, 0)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = (None,) * 3 if bias is None else ops.split(bias, e, 0)
        return [ops.dense(x, w, b) for x, w, b in zip((query, key, value), weights, biases)]

    def _heads(self, x: Tensor) -> Tensor:
        """(N, length, embed_dim) -> (N, num_heads, length, features)."""
        parts = ops.reshape(x, (x.shape[0], x.shape[1], self.num_heads, self.embed_dim // self.num_heads))
        return ops.transpose(parts, (0, 2, 1, 3))

    def _mask(self, query: Tensor, key: Tensor, padding: Any, mask: Any) -> Tensor | None:
        """What is added to the scores, broadcast to (N, num_heads, L, S)."""
        (n, rows), columns = query.shape[:2], key.shape[1]
        total: Tensor | None = None
        if mask is not None:
            mask = mask if isinstance(mask, Tensor) else Tensor(mask)
            if mask.shape == (n * self.num_heads, rows, columns):
                mask = ops.reshape(mask, (n, self.num_heads, rows, columns))
            elif mask.shape != (rows, columns):
                raise ShapeError(
                    "MultiheadAttention: attn_mask has another shape", **here(),
                    expected=f"({rows}, {columns}) or ({n * self.num_heads}, {rows}, {columns})",
                    given=mask.type.describe(),
                )  # fmt: skip
            total = _added(mask, query)
        if padding is not None:
            padding = padding if isinstance(padding, Tensor) else Tensor(padding)
            if padding.shape != (n, columns):
                raise ShapeError(
                    "MultiheadAttention: key_padding_mask has another shape", **here(),
                    expected=f"({n}, {columns})", given=padding.type.describe(),
                )  # fmt: skip
            hidden = _added(ops.reshape(padding, (n, 1, 1, columns)), query)
            total = hidden if total is None else total + hidden
        return total

    def extend_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, batch_first={self.batch_first}"


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A bool mask (True: not seen) as a float to add; float masks as they are."""
    if mask.dtype.kind != "bool":
        return ops.cast(mask, like.dtype)
    return ops.where(mask, ops.cast(float("-inf"), like.dtype), ops.cast(0.0, like.dtype))


class TransformerEncoderLayer(Cell):
    """Self-attention and two Dense layers, each with dropout, a residual and layer normalization after it, or before it
    with `norm_first` (Vaswani and others 2017).

    Input and output (L, N, d_model), or (N, L, d_model) with `batch_first`. `activation`: a name, a Cell or a
    function. `nhead`: the number of attentions; `dim_feedforward`: the features between the two Dense layers;
    `layer_norm_eps`: added to the variance.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Any = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        dtype: object = "float32",
    ):
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, batch_first=batch_first, dtype=dtype)
        self.linear1 = Dense(d_model, dim_feedforward, dtype=dtype)
        self.dropout = Dropout(p=dropout)
        self.linear2 = Dense(dim_feedforward, d_model, dtype=dtype)
        self.norm1 = LayerNorm(d_model, epsilon=layer_norm_eps, dtype=dtype)
        self.norm2 = LayerNorm(d_model, epsilon=layer_norm_eps, dtype=dtype)
        self.dropout1, self.dropout2 = Dropout(p=dropout), Dropout(p=dropout)
        is_function = callable(activation) and not isinstance(activation, (Cell, type))
        self.activation = activation if is_function else get_activation(activation)
        self.norm_first = bool(norm_first)

    def construct(self, src: Tensor, src_mask: Any = None, src_key_padding_mask: Any = None) -> Tensor:
        if self.norm_first:
            src = src + self._attend(self.norm1(src), src_mask, src_key_padding_mask)
            return src + self._feed(self.norm2(src))
        src = self.norm1(src + self._attend(src, src_mask, src_key_padding_mask))
        return self.norm2(src + self._feed(src))

    def _attend(self, x: Tensor, mask: Any, padding: Any) -> Tensor:
        found, _ = self.self_attn(x, x, x, padding, False, mask)
        return self.dropout1(found)

    def _feed(self, x: Tensor) -> Tensor:
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))  # type: ignore[misc]


class TransformerEncoder(Cell):
    """`num_layers` copies of `encoder_layer` one after the other, then `norm` if given. The copies start with the same
    weights but have random streams of their own."""

    def __init__(self, encoder_layer: Cell, num_layers: int, norm: Cell | None = None):
        super().__init__()
        positive_int("TransformerEncoder", num_layers=num_layers)
        layers = [copy.deepcopy(encoder_layer) for _ in range(num_layers)]
        for layer in layers[1:]:
            for _, cell in layer.cells_and_names():
                key = cell.__dict__.get("key")
                if isinstance(key, Parameter) and key.dtype.name == "uint32":
                    assign(key, np.asarray(random.new_key()))
        self.layers = CellList(layers)
        self.num_layers, self.norm = int(num_layers), norm

    def construct(self, src: Tensor, src_mask: Any = None, src_key_padding_mask: Any = None) -> Tensor:
        for layer in self.layers:
            src = layer(src, src_mask, src_key_padding_mask)
        return src if self.norm is None else self.norm(src)
