"""Embedding: rows of a table by integer index.

In: integers of any shape. Out: floats of that shape with one more axis, the features.
"""

from __future__ import annotations

from ..dtypes import as_dtype
from ..errors import ArgumentError, DTypeError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.parameter import Parameter
from ..frontend.tensor import Tensor
from .dense import here, positive_int


class Embedding(Cell):
    """`embedding_table` (vocab_size, embedding_size) taken at the given indices.

    `use_one_hot`: as a product with one-hot rows instead of reading rows. `embedding_table`: anything `initializer`
    takes; row `padding_idx` starts at zero. Indices outside the table take the nearest row. The gradient adds up the
    rows an index names more than once, in a fixed order.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        use_one_hot: bool = False,
        embedding_table: object = "normal",
        dtype: object = "float32",
        padding_idx: int | None = None,
    ):
        super().__init__()
        from ..common.initializer import initializer

        positive_int("Embedding", vocab_size=vocab_size, embedding_size=embedding_size)
        self.vocab_size, self.embedding_size = int(vocab_size), int(embedding_size)
        self.use_one_hot, self.padding_idx = bool(use_one_hot), padding_idx
        self.dtype = as_dtype(dtype)
        table = initializer(embedding_table, (self.vocab_size, self.embedding_size), self.dtype)
        if padding_idx is not None:
            is_row = isinstance(padding_idx, int) and not isinstance(padding_idx, bool)
            if not is_row or not 0 <= padding_idx < self.vocab_size:
                raise ArgumentError(
                    "Embedding: padding_idx is no row of the table", **here(),
                    expected=f"0 to {self.vocab_size - 1}", given=repr(padding_idx),
                )  # fmt: skip
            rows = table.asnumpy()
            rows[padding_idx] = 0
            table = Tensor(rows)
        self.embedding_table = Parameter(table)

    def construct(self, ids: Tensor) -> Tensor:
        if not ids.dtype.is_integer:
            raise DTypeError(
                "Embedding: the indices must be integers", **here(), expected="int32[...]",
                given=ids.type.describe(), fix="write ids.astype(graphrt.int32)",
            )  # fmt: skip
        if self.use_one_hot:
            rows = ops.one_hot(ops.clip(ids, 0, self.vocab_size - 1), self.vocab_size, dtype=self.dtype)
            return ops.matmul(rows, self.embedding_table)
        return ops.gather(self.embedding_table, ids, 0)

    def extend_repr(self) -> str:
        return (
            f"vocab_size={self.vocab_size}, embedding_size={self.embedding_size}, use_one_hot={self.use_one_hot}, "
            f"padding_idx={self.padding_idx}"
        )
