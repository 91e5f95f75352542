"""Random graphs for property tests and fuzzing: the same seed always gives the same graph.

In: a seed. Out: `random_graph(seed)`, a training step of forward, gradient and update nodes (or the forward part
only), and `random_values(graph, seed)`, arrays for its inputs by label.

`exact=True` makes graphs whose every intermediate value is a small whole number (or a few binary digits behind the
point), so that sums have one right answer in any order and results can be compared bit for bit. `network=True` adds
the operations of networks: convolution, pooling, cross entropy, random masks, batched products, argmax.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import numpy as np

from graphrt.dtypes import DType, float32, int32, uint32
from graphrt.ir import Graph, Node, Source, TensorType, input_node, source_scope
from graphrt.ops import build
from graphrt.passes.append_updates import append_updates

EXTENTS = (1, 2, 3, 4, 5, 7, 8)
LARGE_EXTENTS = (
    1,
    3,
    8,
    16,
    17,
    33,
    40,
)  # around the number of vector lanes, full blocks with and without a rest
MAX_ELEMENTS = 600
MAX_PRODUCTS = 4  # of an exact graph: values and gradients stay far below 2**53
LIMIT = 8  # of the values of an exact graph


class _Maker:
    def __init__(self, seed: int, dtype: DType, exact: bool, extents: Sequence[int], max_elements: int):
        self.random, self.dtype, self.exact, self.products = random.Random(seed), dtype, exact, 0
        self.extents, self.max_elements = extents, max_elements
        self.inputs: list[Node] = []
        self.pool: list[Node] = []

    def shape(self, rank: int | None = None) -> tuple[int, ...]:
        rank = self.random.choice((0, 1, 2, 2, 3)) if rank is None else rank
        while True:
            found = tuple(self.random.choice(self.extents) for _ in range(rank))
            if math.prod(found) <= self.max_elements:
                return found

    def fits(self, *shape: int) -> bool:
        return math.prod(shape) <= self.max_elements

    def broadcasts(self, a: Sequence[int], b: Sequence[int]) -> bool:
        pairs = list(zip(reversed(a), reversed(b)))
        extents = [*a[: len(a) - len(pairs)], *b[: len(b) - len(pairs)], *(max(p) for p in pairs)]
        return all(x == y or 1 in (x, y) for x, y in pairs) and self.fits(*extents)

    def input(self, kind: str, dtype: DType | None = None, shape: tuple[int, ...] | None = None) -> Node:
        type = TensorType(self.shape() if shape is None else shape, dtype or self.dtype)
        node = input_node(f"{kind}{len(self.inputs)}", type, kind)
        self.inputs.append(node)
        if type.dtype == self.dtype:
            self.pool.append(node)
        return node

    def pick(self, accept: Callable[[Node], bool] = lambda n: True) -> Node | None:
        """A node of the pool, a recent one more likely than an old one."""
        usable = [n for n in self.pool if accept(n)]
        return self.random.choice(usable[-6:] if self.random.random() < 0.6 else usable) if usable else None

    def partner(self, x: Node) -> Node | float:
        """Something that broadcasts with x."""
        y = self.pick(lambda n: self.broadcasts(n.shape, x.shape))
        if y is None or self.random.random() < 0.2:
            return float(self.random.choice((-2, -1, 0, 1, 2, 4)))
        return y

    def limited(self, x: Node) -> Node:
        return build.clip(x, float(-LIMIT), float(LIMIT)) if self.exact else x

    def may_multiply(self) -> bool:
        self.products += 1
        return not self.exact or self.products <= MAX_PRODUCTS


def _binary(m: _Maker) -> Node | None:
    x = m.pick()
    op = m.random.choice((build.add, build.sub, build.minimum, build.maximum))
    return m.limited(op(x, m.partner(x)))


def _multiply(m: _Maker) -> Node | None:
    x = m.pick()
    return m.limited(build.mul(x, m.partner(x))) if m.may_multiply() else None


def _unary(m: _Maker) -> Node | None:
    exact = (build.neg, build.abs, build.relu)
    smooth = (build.tanh, build.sigmoid, build.sin, build.erf, lambda x: build.exp(build.minimum(x, 1.0)))
    return m.random.choice(exact if m.exact else exact + smooth)(m.pick())


def _divide(m: _Maker) -> Node | None:
    if m.exact:
        return None
    x = m.pick()
    return m.random.choice(
        (build.div(x, 4.0), build.div(x, 3.0), build.div(x, build.add(build.abs(m.partner(x)), 1.0)))
    )


def _select(m: _Maker) -> Node | None:
    x = m.pick()
    # the condition reads an input: it cannot flip because of a rounding error somewhere before it
    tested = m.random.choice([n for n in m.inputs if m.broadcasts(n.shape, x.shape)] or [None])
    if tested is None:
        return None
    y = m.pick(lambda n: m.broadcasts(n.shape, x.shape) and m.broadcasts(n.shape, tested.shape))
    return build.where(build.greater(tested, m.random.choice((0, 1))), x, 0.0 if y is None else y)


def _transpose(m: _Maker) -> Node | None:
    x = m.pick(lambda n: len(n.shape) > 1)
    return x and build.transpose(x, m.random.sample(range(len(x.shape)), len(x.shape)))


def _reshape(m: _Maker) -> Node | None:
    x = m.pick()
    size = math.prod(x.shape)
    first = m.random.choice([d for d in range(1, size + 1) if size % d == 0])
    return build.reshape(x, m.random.choice([(size,), (first, size // first), (1, *x.shape), (*x.shape, 1)]))


def _broadcast(m: _Maker) -> Node | None:
    x = m.pick()
    shape = (m.random.choice(m.extents), *(m.random.choice(m.extents) if e == 1 else e for e in x.shape))
    return build.broadcast_to(x, shape) if m.fits(*shape) else None


def _slice(m: _Maker) -> Node | None:
    x = m.pick(lambda n: len(n.shape) > 0)
    if x is None:
        return None
    index = []
    for extent in x.shape:
        start = m.random.randrange(extent)
        stop = m.random.randint(start + 1, extent)
        index.append(slice(start, stop, m.random.choice((1, 1, 2))))
    return build.getitem(x, tuple(index))


def _reverse(m: _Maker) -> Node | None:
    x = m.pick(lambda n: len(n.shape) > 0)
    return x and build.reverse(x, m.random.randrange(len(x.shape)))


def _pad(m: _Maker) -> Node | None:
    x = m.pick(lambda n: len(n.shape) > 0 and m.fits(*(e + 3 for e in n.shape)))
    if x is None:
        return None
    low, high, interior = (
        [m.random.choice(choice) for _ in x.shape] for choice in ((0, 0, 1), (0, 1, 2), (0, 0, 0, 1))
    )
    padded = build.pad_interior(x, low, high, interior)
    return padded if m.fits(*padded.shape) else None


def _concat(m: _Maker) -> Node | None:
    x = m.pick(lambda n: len(n.shape) > 0 and m.fits(n.type.size, 2))
    if x is None:
        return None
    axis = m.random.randrange(len(x.shape))
    return build.concat([x, m.pick(lambda n: n.shape == x.shape)], axis)


def _reduce(m: _Maker) -> Node | None:
    x = m.pick(lambda n: len(n.shape) > 0)
    if x is None or not m.may_multiply():
        return None
    axes = m.random.sample(range(len(x.shape)), m.random.randint(1, len(x.shape)))
    choices = (
        [build.reduce_sum]
        if m.exact
        else [build.reduce_sum, build.reduce_mean, build.reduce_max, build.reduce_min]
    )
    return m.limited(m.random.choice(choices)(x, axes, m.random.random() < 0.4))


def _matmul(m: _Maker) -> Node | None:
    x = m.pick(lambda n: len(n.shape) == 2)
    if x is None or not m.may_multiply():
        return None
    y = m.pick(lambda n: len(n.shape) == 2 and n.shape[0] == x.shape[1])
    if y is None:
        y = m.input("state", shape=(x.shape[1], m.random.choice(m.extents)))
    return m.limited(build.matmul(x, y))


def _gather(m: _Maker) -> Node | None:
    x = m.pick(lambda n: len(n.shape) > 0)
    if x is None:
        return None
    indices = m.input("data", int32, m.shape(1))
    taken = build.gather(x, indices, m.random.randrange(len(x.shape)))
    return taken if m.fits(*taken.shape) else None


STEPS = (
    _binary, _binary, _binary, _multiply, _unary, _unary, _divide, _select, _transpose, _reshape, _broadcast, _slice,
    _reverse, _pad, _concat, _reduce, _matmul, _gather,
)  # fmt: skip


# ---- operations of networks ------------------------------------------------------------------------------------


def _image(m: _Maker) -> Node:
    """A node with four axes: one there is, or a new input."""
    x = m.pick(lambda n: len(n.shape) == 4)
    if x is not None and m.random.random() < 0.7:
        return x
    small = [e for e in m.extents if e <= 17]
    while True:
        channels = m.random.choice([e for e in small if e <= 8])
        shape = (m.random.choice(m.extents), channels, m.random.choice(small), m.random.choice(small))
        if m.fits(*shape):
            return m.input("data", shape=shape)


def _pair(m: _Maker, *choices: int) -> tuple[int, int]:
    return m.random.choice(choices), m.random.choice(choices)


def _output_extent(extent: int, low: int, high: int, window: int, stride: int) -> int:
    return (extent + low + high - window) // stride + 1


def _conv2d(m: _Maker) -> Node | None:
    x = _image(m)
    kernel, stride, dilation = _pair(m, 1, 2, 3, 5), _pair(m, 1, 1, 2, 3), _pair(m, 1, 1, 2)
    padding = tuple(m.random.choice((0, 0, 1, 2)) for _ in range(4))
    groups = m.random.choice([g for g in range(1, x.shape[1] + 1) if x.shape[1] % g == 0])
    out_channels = groups * m.random.choice([1, 2, 3, 6] if groups == 1 else [1, 2])
    size = [
        _output_extent(
            x.shape[2 + k], padding[2 * k], padding[2 * k + 1], (kernel[k] - 1) * dilation[k] + 1, stride[k]
        )
        for k in range(2)
    ]
    if min(size) < 1 or not m.fits(x.shape[0], out_channels, *size) or not m.may_multiply():
        return None
    weight = m.input("state", shape=(out_channels, x.shape[1] // groups, *kernel))
    bias = m.input("state", shape=(out_channels,)) if m.random.random() < 0.5 else None
    return m.limited(build.conv2d(x, weight, bias, stride, padding, dilation, groups))


def _pool(m: _Maker) -> Node | None:
    x = _image(m)
    window, strides = _pair(m, 1, 2, 2, 4) if m.exact else _pair(m, 1, 2, 3), _pair(m, 1, 2, 3)
    padding = tuple(m.random.randrange((window[k // 2] + 1) // 2 + (window[k // 2] > 1)) for k in range(4))
    padding = tuple(min(p, window[k // 2] // 2) for k, p in enumerate(padding))
    size = [
        _output_extent(x.shape[2 + k], padding[2 * k], padding[2 * k + 1], window[k], strides[k])
        for k in range(2)
    ]
    if min(size) < 1 or not m.fits(*x.shape[:2], *size):
        return None
    if m.random.random() < 0.6:
        return build.max_pool2d(x, window, strides, padding)
    if not m.may_multiply():
        return None
    return m.limited(build.avg_pool2d(x, window, strides, padding, m.exact or m.random.random() < 0.5))


def _cross_entropy(m: _Maker) -> Node | None:
    logits = m.pick(lambda n: len(n.shape) == 2)
    if logits is None or m.exact:
        return None
    labels = m.input("data", int32, logits.shape[:1])
    return build.softmax_cross_entropy_sparse(logits, build.minimum(labels, logits.shape[1] - 1))


def _softmax(m: _Maker) -> Node | None:
    x = m.pick(lambda n: len(n.shape) > 0)
    if x is None or m.exact:
        return None
    return m.random.choice((build.softmax, build.log_softmax))(x, m.random.randrange(len(x.shape)))


def _dropout(m: _Maker) -> Node | None:
    x = m.pick()
    return m.limited(build.dropout(x, 0.5, m.input("data", uint32, (2,))))


def _batched_matmul(m: _Maker) -> Node | None:
    x = m.pick(lambda n: len(n.shape) == 3)
    if x is None or not m.may_multiply():
        return None
    columns = m.random.choice(m.extents)
    if not m.fits(*x.shape[:2], columns) or not m.fits(x.shape[0], x.shape[2], columns):
        return None
    return m.limited(build.matmul(x, m.input("state", shape=(x.shape[0], x.shape[2], columns))))


def _transposed_matmul(m: _Maker) -> Node | None:
    """x @ w.T, as dense layers do."""
    x = m.pick(lambda n: len(n.shape) == 2)
    if x is None or not m.may_multiply():
        return None
    rows = m.random.choice(m.extents)
    bias = m.input("state", shape=(rows,)) if m.random.random() < 0.5 else None
    return m.limited(build.dense(x, m.input("state", shape=(rows, x.shape[1])), bias))


def _argmax(m: _Maker) -> Node | None:
    x = m.random.choice(m.inputs)  # of an input: a rounding error cannot move it
    if not x.shape or x.dtype != m.dtype:
        return None
    found = m.random.choice((build.argmax, build.argmin))(x, m.random.randrange(len(x.shape)))
    return build.cast(build.minimum(found, 4), m.dtype)


NETWORK_STEPS = (
    _conv2d, _conv2d, _pool, _pool, _cross_entropy, _softmax, _dropout, _batched_matmul, _transposed_matmul, _argmax,
)  # fmt: skip


def random_graph(
    seed: int,
    nodes: int | None = None,
    *,
    exact: bool = False,
    dtype: DType = float32,
    training: bool = True,
    network: bool = False,
    extents: Sequence[int] = EXTENTS,
    max_elements: int = MAX_ELEMENTS,
) -> Graph:
    """A graph of about `nodes` (default: 5 to 30) user-level operations over data and state inputs of `dtype`.

    Axes have one of `extents`; tensors made on the way have at most `max_elements` elements.
    """
    m = _Maker(seed, dtype, exact, extents, max_elements)
    steps = STEPS + NETWORK_STEPS if network else STEPS
    for _ in range(m.random.randint(1, 2)):
        m.input("data")
    for _ in range(m.random.randint(1, 3)):
        m.input("state")
    wanted = m.random.randint(5, 30) if nodes is None else nodes
    for step in range(wanted):
        with source_scope(m.random.choice((None, Source("net.py", step + 1, f"net.layer{step % 3}")))):
            made = m.random.choice(steps)(m)
        if made is not None:
            m.pool.append(made)
    ends = m.pool[-2:]
    loss = build.add(*(build.reduce_sum(n if exact else build.tanh(n)) for n in (ends * 2)[:2]))
    graph = Graph(tuple(m.inputs), (loss, *ends), {}, f"random{seed}")
    if not training:
        return graph
    states = [n for n in graph.inputs if n.is_state]
    return append_updates(graph, states, _descend)


def _descend(parameters: Sequence[Node], gradients: Sequence[Node]) -> dict[Node, Node]:
    """w - 0.5 g with a momentum for the first state."""
    updates = {w: build.sub(w, build.mul(g, 0.5)) for w, g in zip(parameters, gradients)}
    first = parameters[0]
    moment = input_node("moment", first.type, "state")
    updates[moment] = build.add(build.mul(moment, 0.5), gradients[0])
    updates[first] = build.sub(first, build.mul(updates[moment], 0.25))
    return updates


def random_values(graph: Graph, seed: int, *, exact: bool = False) -> dict[str, np.ndarray]:
    """Arrays for the inputs of `graph` by label: whole numbers if `exact`, zeros of both signs among them."""
    generator = np.random.default_rng(seed)
    values = {}
    for node in graph.inputs:
        if node.dtype.is_float:
            drawn = generator.integers(-3, 4, node.shape) if exact else generator.normal(size=node.shape)
            array = np.asarray(drawn, dtype=node.dtype.numpy)
            values[node.op.label] = np.where(generator.random(node.shape) < 0.1, -np.abs(array * 0), array)
        else:
            values[node.op.label] = generator.integers(0, 5, node.shape).astype(node.dtype.numpy)
    return values
