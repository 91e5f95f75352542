"""Further products and normalizations of `graphrt.ops`, composed of the functions in `functional.py`.

In: Tensors, Parameters, numbers, arrays. Out: Tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, ShapeError
from . import functional as base
from .location import user_source
from .tensor import Tensor


def _expect_rank(name: str, rank: int, *tensors: Any) -> None:
    for x in tensors:
        if x.ndim != rank:
            raise ShapeError(
                f"{name}: an operand has another number of axes", at=user_source(), expected=f"{rank} axes",
                given=x.type.describe() if isinstance(x, Tensor) else list(x.shape),
            )  # fmt: skip


def mm(input: Any, mat2: Any) -> Tensor:
    """The product of two matrices. `mat2`: the second matrix."""
    _expect_rank("mm", 2, input, mat2)
    return base.matmul(input, mat2)


def bmm(input_x: Any, mat2: Any) -> Tensor:
    """The products of two stacks of matrices, (B, M, K) and (B, K, N). `mat2`: the second stack."""
    _expect_rank("bmm", 3, input_x, mat2)
    return base.matmul(input_x, mat2)


def mv(mat: Any, vec: Any) -> Tensor:
    """The product of a matrix and a vector. `vec`: the vector."""
    _expect_rank("mv", 2, mat)
    _expect_rank("mv", 1, vec)
    return base.matmul(mat, vec)


def dot(input: Any, other: Any) -> Tensor:
    """The inner product of two vectors. `other`: the second vector."""
    _expect_rank("dot", 1, input, other)
    return base.matmul(input, other)


def inner(input: Any, other: Any) -> Tensor:
    """The inner products along the last axes: input.shape[:-1] + other.shape[:-1]."""
    return tensordot(input, other, ((-1,), (-1,)))


def outer(input: Any, vec2: Any) -> Tensor:
    """The products of all pairs of elements of two vectors. `vec2`: the second vector."""
    _expect_rank("outer", 1, input, vec2)
    return base.mul(base.expand_dims(input, 1), base.expand_dims(vec2, 0))


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2)."""
    product = base.matmul(mat1, mat2)
    return base.add(
        input if beta == 1 else base.mul(input, beta), product if alpha == 1 else base.mul(product, alpha)
    )


def baddbmm(input: Any, batch1: Any, batch2: Any, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2) for stacks of matrices."""
    return addmm(input, batch1, batch2, beta=beta, alpha=alpha)


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """input @ weight.T + bias: input (..., in), weight (out, in), bias (out,)."""
    return base.dense(input, weight, bias)


def bias_add(input_x: Any, bias: Any) -> Tensor:
    """input_x (N, C, ...) plus bias (C,) on every channel."""
    return base.add(input_x, base.reshape(bias, (bias.shape[0], *(1,) * (input_x.ndim - 2))))


def tensordot(x1: Any, x2: Any, axes: int | Sequence[Any]) -> Tensor:
    """The sum of products over `axes`: a number n (the last n of x1 with the first n of x2), or two lists of axes. The
    other axes of x1 come first, then those of x2."""
    if isinstance(axes, int):
        left, right = list(range(x1.ndim - axes, x1.ndim)), list(range(axes))
    else:
        left, right = ([a] if isinstance(a, int) else list(a) for a in axes)
    left, right = [a % x1.ndim for a in left], [a % x2.ndim for a in right]
    if [x1.shape[a] for a in left] != [x2.shape[a] for a in right]:
        raise ShapeError(
            "tensordot: the summed axes differ in extent", at=user_source(),
            expected=[x1.shape[a] for a in left], given=[x2.shape[a] for a in right],
        )  # fmt: skip
    own = [a for a in range(x1.ndim) if a not in left]
    other = [a for a in range(x2.ndim) if a not in right]
    summed = math.prod(x1.shape[a] for a in left)
    rows = [x1.shape[a] for a in own]
    columns = [x2.shape[a] for a in other]
    product = base.matmul(
        base.reshape(base.transpose(x1, [*own, *left]), (math.prod(rows), summed)),
        base.reshape(base.transpose(x2, [*right, *other]), (summed, math.prod(columns))),
    )
    return base.reshape(product, (*rows, *columns))


def einsum(equation: str, *operands: Any) -> Tensor:
    """Products summed as Einstein wrote them: einsum("bij,bjk->bik", x, y). Letters missing from the result are summed
    over; a letter twice in one operand takes its diagonal; "..." stands for any further axes, which broadcast. Without
    "->" the result has the axes of "..." and then the letters that occur once, in alphabetical order.

    Operands are multiplied from left to right, each product as one (batched) matrix product. Raises ArgumentError or
    ShapeError for an `equation` that does not fit the `operands`.
    """
    inputs, arrow, result = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    letters = "".join(terms).replace("...", "")
    if not arrow:
        result = "..." * ("..." in inputs) + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    named = result.replace("...", "", 1)
    problem = None
    if len(terms) != len(operands):
        problem = f"{len(terms)} terms for {len(operands)} operands"
    elif any(not t.isalpha() for term in (*terms, result) if (t := term.replace("...", "", 1))):
        problem = "only letters, '...', ',' and '->' can be used"
    elif len(set(named)) != len(named):
        problem = "a letter occurs twice in the result"
    elif set(named) - set(letters):
        problem = "the result has a letter that no operand has"
    elif "..." in result and "..." not in inputs:
        problem = "the result has '...' but no operand has"
    if problem:
        raise ArgumentError(f"einsum: {problem}", at=user_source(), given=repr(equation))
    values, terms, further = _expand_ellipses(operands, terms)
    result = result.replace("...", further)
    diagonals = [_diagonal(x, term) for x, term in zip(values, terms)]
    operands, terms = tuple(x for x, _ in diagonals), [term for _, term in diagonals]
    extents: dict[str, int] = {}
    for term, x in zip(terms, operands):
        for letter, extent in zip(term, x.shape):
            _same_extent(letter, extents.setdefault(letter, extent), extent)
    value, term = operands[0], terms[0]
    for k, (other, other_term) in enumerate(zip(operands[1:], terms[1:])):
        kept = set(result).union(*terms[k + 2 :])
        value, term = _pair_product(value, term, other, other_term, kept, extents)
    value, term = _sum_out(value, term, set(result))
    return base.transpose(value, [term.index(c) for c in result])


def _same_extent(letter: str, known: int, extent: int) -> None:
    if known != extent:
        name = repr(letter) if letter.isalpha() else "of '...'"
        raise ShapeError(
            f"einsum: axis {name} has two extents", at=user_source(), expected=known, given=extent
        )


def _expand_ellipses(operands: Sequence[Any], terms: Sequence[str]) -> tuple[list[Any], list[str], str]:
    """Operands and terms with a character (no letter) of its own for every axis of "...", and these characters. Axes of
    extent 1 that broadcast are dropped."""
    counts = [x.ndim - len(term.replace("...", "")) for x, term in zip(operands, terms)]
    for x, term, count in zip(operands, terms, counts):
        if count < 0 or (count and "..." not in term):
            _expect_rank("einsum", x.ndim - count, x)
    further = "".join(chr(ord("0") + k) for k in range(max(counts)))
    full = [term.replace("...", further[len(further) - n :]) for term, n in zip(terms, counts)]
    wide = {c for x, term in zip(operands, full) for c, extent in zip(term, x.shape) if extent != 1}
    values, kept = [], []
    for x, term in zip(operands, full):
        gone = [k for k, c in enumerate(term) if c in further and c in wide and x.shape[k] == 1]
        values.append(base.squeeze(x, gone) if gone else x)
        kept.append("".join(c for k, c in enumerate(term) if k not in gone))
    return values, kept, further


def _diagonal(x: Any, term: str) -> tuple[Any, str]:
    """x with only the elements where axes of the same letter have the same position, one axis for each letter."""
    for letter in sorted(set(term)):
        while term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            extent = x.shape[first]
            _same_extent(letter, extent, x.shape[second])
            order = [k for k in range(x.ndim) if k not in (first, second)]
            square = base.transpose(x, [first, second, *order])
            flat = base.reshape(square, (extent * extent, *square.shape[2:]))
            x = base.gather(flat, base.mul(base.arange(extent), extent + 1), 0)
            term = letter + "".join(term[k] for k in order)
    return x, term


def _sum_out(x: Any, term: str, kept: set[str]) -> tuple[Any, str]:
    """x summed over the letters nobody needs any more."""
    gone = [axis for axis, letter in enumerate(term) if letter not in kept]
    return (base.reduce_sum(x, gone), "".join(c for c in term if c in kept)) if gone else (x, term)


def _pair_product(
    x: Any, left: str, y: Any, right: str, kept: set[str], extents: dict[str, int]
) -> tuple[Tensor, str]:
    """The product of two operands with the letters in `kept`, as one batched matrix product, and its term."""
    x, left = _sum_out(x, left, kept | set(right))
    y, right = _sum_out(y, right, kept | set(left))
    shared = [c for c in left if c in right]
    batch = [c for c in shared if c in kept]
    summed = [c for c in shared if c not in kept]
    rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]

    def arranged(value: Any, term: str, *groups: list[str]) -> Tensor:
        order = [term.index(c) for group in groups for c in group]
        sizes = [extents[c] for c in groups[0]] + [math.prod(extents[c] for c in g) for g in groups[1:]]
        return base.reshape(base.transpose(value, order), sizes)

    product = base.matmul(arranged(x, left, batch, rows, summed), arranged(y, right, batch, summed, columns))
    term = "".join([*batch, *rows, *columns])
    return base.reshape(product, [extents[c] for c in term]), term


# --------------------------------------------------------------------------------------------- normalization


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """input / max(|input|_p, eps) along `dim`. `p`: of the norm."""
    if p == 2.0:
        length = base.norm(input, dim, True)
    else:
        length = base.pow(base.reduce_sum(base.pow(base.abs(input), p), dim, True), 1.0 / p)
    return base.div(input, base.maximum(length, eps))


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """input (N, C, ...) normalized over each of `num_groups` groups of channels, times weight (C,) plus bias (C,)."""
    count, channels, *rest = input.shape
    if num_groups < 1 or channels % num_groups:
        raise ArgumentError(
            "group_norm: the groups must divide the channels", at=user_source(),
            expected=f"a divisor of {channels}", given=num_groups,
        )  # fmt: skip
    grouped = base.reshape(input, (count, num_groups, -1))
    normalized = base.reshape(base.layer_norm(grouped, None, None, -1, -1, eps), input.shape)
    shape = (channels, *(1,) * len(rest))
    if weight is not None:
        normalized = base.mul(normalized, base.reshape(weight, shape))
    return normalized if bias is None else base.add(normalized, base.reshape(bias, shape))


def rms_norm(input: Any, weight: Any, eps: float = 1e-6) -> Tensor:
    """input / sqrt(mean(input^2) + eps) over the last axis, times weight (features,)."""
    scale = base.rsqrt(base.add(base.reduce_mean(base.square(input), -1, True), eps))
    return base.mul(base.mul(input, scale), weight)


__all__ = [
    "addmm", "baddbmm", "bias_add", "bmm", "dot", "einsum", "group_norm", "inner", "linear", "mm", "mv", "normalize",
    "outer", "rms_norm", "tensordot",
]  # fmt: skip
