"""Random programs with decisions on tensors: nested `if`s, early returns, assignments to Parameters on either side, Cells
that decide for themselves. The oracle is the same program run op by op, where Python knows every condition; for gradients,
the program with the answers of that run filled in as Python values."""

import numpy as np
import pytest

import graphrt
from graphrt import Parameter, Tensor, nn, ops

UNARY = (ops.tanh, ops.sin, lambda v: v * 0.5 + 0.1, lambda v: v - v.mean(), ops.abs)
BINARY = (ops.add, ops.sub, ops.mul, ops.maximum)


def random_block(draw, depth, length=3):
    """Statements as nested tuples."""
    statements = []
    for _ in range(draw.integers(1, length + 1)):
        kinds = ["unary", "binary", "assign", "read"] + (["if", "if", "cell", "loop"] if depth else [])
        kind = kinds[draw.integers(len(kinds))]
        target, a, b = (int(k) for k in draw.integers(0, 3, 3))
        if kind in ("unary", "binary"):
            functions = UNARY if kind == "unary" else BINARY
            statements.append((kind, target, functions[draw.integers(len(functions))], a, b))
        elif kind in ("assign", "read"):
            statements.append((kind, target))
        elif kind == "cell":
            statements.append((kind, target, random_block(draw, depth - 1, 2)))
        elif kind == "loop":
            statements.append((kind, target, float(draw.normal()), random_block(draw, 0, 1)))
        else:
            early = bool(draw.random() < 0.3)
            sides = random_block(draw, depth - 1, 2), random_block(draw, depth - 1, 2)
            statements.append((kind, a, float(draw.normal() * 0.5), early, sides))
    return statements


class Program:
    """Runs statements on three vectors and two Parameters. `answers`: decide by these instead of by the tensors."""

    def __init__(self, statements, answers=None):
        self.statements, self.answers = statements, answers
        self.states = [Parameter(np.full(3, k + 0.5, np.float32), name=f"s{k}") for k in range(2)]
        self.taken = []

    def decide(self, condition):
        answer = bool(condition) if self.answers is None else self.answers[len(self.taken)]
        self.taken.append(answer)
        return answer

    def block(self, statements, values):
        """The values after the statements, and whether the program has returned."""
        for kind, *rest in statements:
            values = list(values)
            if kind == "unary":
                values[rest[0]] = rest[1](values[rest[2]])
            elif kind == "binary":
                values[rest[0]] = ops.clip_by_value(rest[1](values[rest[2]], values[rest[3]]), -3.0, 3.0)
            elif kind == "assign":
                state = self.states[rest[0] % 2]
                state.set_data(state * 0.5 + values[rest[0]])
            elif kind == "read":
                values[rest[0]] = values[rest[0]] + self.states[rest[0] % 2]
            elif kind == "cell":
                values = list(Block(self, rest[1])(*values))
            elif kind == "loop":
                for _ in range(2):
                    if self.decide(values[rest[0]].mean() > rest[1]):
                        break
                    values, _ = self.block(rest[2], values)
            else:
                position, limit, early, sides = rest
                side = sides[0] if self.decide(values[position].sum() > limit) else sides[1]
                values, over = self.block(side, values)
                if over or (early and side is sides[0]):
                    return values, True
        return values, False

    def __call__(self, *values):
        self.taken = []
        values, _ = self.block(self.statements, values)
        return tuple(values)

    def loss(self, *values):
        a, b, c = self(*values)
        return (a + b * 0.5 + c * 0.25).sum()


class Block(nn.Cell):
    """A part of a program as a Cell: ways through it are merged at its end."""

    def __init__(self, program, statements):
        super().__init__()
        self.run = lambda values: program.block(statements, values)[0]

    def construct(self, *values):
        return tuple(self.run(values))


def inputs(draw):
    return [Tensor(draw.standard_normal(3).astype(np.float32)) for _ in range(3)]


def compare(statements, draw):
    """How many decisions the program took."""
    compiled, eager = Program(statements), Program(statements)
    function = graphrt.compile(compiled.__call__)
    for _ in range(3):
        values = inputs(draw)
        found, expected = function(*values), eager(*values)
        for a, b in zip([*found, *compiled.states], [*expected, *eager.states]):
            np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), rtol=1e-5, atol=1e-5)
    straight = Program(statements, eager.taken)
    for program in (compiled, straight):
        for k, state in enumerate(program.states):
            state.set_data(np.full(3, k + 0.5, np.float32))
    eager = Program(statements)
    eager.loss(*values)
    straight.answers = eager.taken
    weights = compiled.states, straight.states
    found = graphrt.compile(graphrt.grad(compiled.loss, (0, 1, 2), weights[0]))(*values)
    expected = graphrt.grad(straight.loss, (0, 1, 2), weights[1])(*values)
    for part, wanted in zip(found, expected):
        for a, b in zip(part, wanted):
            np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), rtol=1e-4, atol=1e-5)
    return len(eager.taken)


def test_random_programs():
    decisions = refused = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        statements = random_block(draw, 2)
        try:
            decisions += compare(statements, draw)
        except graphrt.errors.TraceError as error:
            assert "more than 16 ways" in error.message
            refused += 1
    assert decisions > 60 and refused < 10


@pytest.mark.parametrize("seed", [1, 5, 9, 14])
def test_random_programs_in_native_code(seed):
    draw = np.random.default_rng(seed)
    with graphrt.set_context(engine="native"):
        compare(random_block(draw, 2), draw)
