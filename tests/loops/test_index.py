"""Symbolic integers equal what they stand for, at every point of their loops."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrt.loops.index import (
    Computed,
    Index,
    Quotient,
    Remainder,
    Var,
    as_index,
    iterate,
    linear,
    replace,
    row_major_strides,
    unravel,
)


def value(index: Index, point: dict[Var, int]) -> int:
    """The number `index` is at a point, from its stored form alone."""

    def atom_value(atom) -> int:
        if isinstance(atom, Var):
            return point[atom]
        inner = value(atom.index, point)
        return inner // atom.divisor if isinstance(atom, Quotient) else inner % atom.divisor

    return index.constant + sum(factor * atom_value(atom) for atom, factor in index.terms)


def points(variables: list[Var]):
    for values in itertools.product(*(range(v.extent) for v in variables)):
        yield dict(zip(variables, values))


# An expression is a nested tuple: ("var", n), ("number", n), ("add", a, b), ("mul" | "div" | "mod", a, n)
expressions = st.recursive(
    st.tuples(st.just("var"), st.integers(0, 2)) | st.tuples(st.just("number"), st.integers(-20, 20)),
    lambda inner: (
        st.tuples(st.sampled_from(["add", "sub"]), inner, inner)
        | st.tuples(st.just("mul"), inner, st.integers(-6, 12))
        | st.tuples(st.sampled_from(["div", "mod"]), inner, st.integers(1, 12))
    ),
    max_leaves=8,
)
extents = st.lists(st.integers(1, 7), min_size=3, max_size=3)


def build(expression, variables: list[Var]) -> Index:
    kind, first, *rest = expression
    if kind == "var":
        return as_index(variables[first])
    if kind == "number":
        return as_index(first)
    left = build(first, variables)
    if kind in ("add", "sub"):
        right = build(rest[0], variables)
        return left + right if kind == "add" else left - right
    return left * rest[0] if kind == "mul" else left // rest[0] if kind == "div" else left % rest[0]


def plain(expression, numbers: list[int]) -> int:
    kind, first, *rest = expression
    if kind == "var":
        return numbers[first]
    if kind == "number":
        return first
    left = plain(first, numbers)
    right = plain(rest[0], numbers) if kind in ("add", "sub") else rest[0]
    return {"add": left + right, "sub": left - right, "mul": left * right}.get(
        kind, left // right if kind == "div" else left % right if kind == "mod" else 0
    )


def loop_variables(sizes: list[int], names: str = "ijk") -> list[Var]:
    return [Var(name, size) for name, size in zip(names, sizes)]


@settings(max_examples=400, deadline=None)
@given(expressions, extents)
def test_simplified_equals_plain_and_lies_in_its_range(expression, sizes):
    variables = loop_variables(sizes)
    index = build(expression, variables)
    for point in points(variables):
        expected = plain(expression, list(point.values()))
        assert value(index, point) == expected
        assert index.low <= expected <= index.high


@settings(max_examples=200, deadline=None)
@given(expressions, expressions, extents)
def test_sums_are_canonical(left, right, sizes):
    """a + b is b + a, as a value and as a key, even where loop variables share a name."""
    variables = loop_variables(sizes, "iii")
    a, b = build(left, variables), build(right, variables)
    assert a + b == b + a
    assert hash(a + b) == hash(b + a)
    assert (a - a) == 0


@settings(max_examples=200, deadline=None)
@given(expressions, expressions, extents)
def test_replace_is_substitution(expression, replacement, sizes):
    variables = loop_variables(sizes)
    inner = build(replacement, variables[1:] + variables[1:2])  # free of the variable it replaces
    substituted = replace(build(expression, variables), {variables[0]: inner})
    assert variables[0] not in substituted.vars()
    for point in points(variables):
        # the replacement may leave the range its variable had: only points inside are promised
        number = value(inner, point)
        if 0 <= number < variables[0].extent:
            assert value(substituted, point) == plain(expression, [number, *list(point.values())[1:]])


@settings(max_examples=200, deadline=None)
@given(expressions, extents)
def test_dependence_covers_everything_that_matters(expression, sizes):
    variables = loop_variables(sizes)
    index = build(expression, variables)
    for position, variable in enumerate(variables):
        if variable in index.vars():
            continue
        for point in points(variables):
            numbers = list(point.values())
            moved = [*numbers[:position], 0, *numbers[position + 1 :]]
            assert plain(expression, numbers) == plain(expression, moved)
    if index.is_affine:
        for variable in variables:
            step = index.coefficient(variable)
            start = dict.fromkeys(variables, 0)
            for number in range(variable.extent):
                assert value(index, start | {variable: number}) == value(index, start) + step * number


shapes = st.lists(st.integers(1, 6), min_size=1, max_size=5).map(tuple)


@settings(max_examples=200, deadline=None)
@given(shapes)
def test_unravel_then_linear_is_the_variable_again(shape):
    i = as_index(Var("i", math.prod(shape)))
    assert linear(unravel(i, shape), row_major_strides(shape)) == (i if i.high else 0)


@settings(max_examples=200, deadline=None)
@given(shapes)
def test_linear_then_unravel_is_the_coordinates_again(shape):
    variables = [Var(f"i{k}", extent) for k, extent in enumerate(shape)]
    coordinates = tuple(as_index(v) if v.extent > 1 else as_index(0) for v in variables)
    assert unravel(linear(coordinates, row_major_strides(shape)), shape) == coordinates


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=5).flatmap(
        lambda s: st.tuples(st.just(s), st.permutations(s))
    )
)
def test_reshapes_there_and_back_stay_affine(pair):
    """A contiguous block seen in one shape, then in another with as many elements, then flat, is one variable."""
    first, second = map(tuple, pair)
    i = as_index(Var("i", math.prod(first)))
    position = linear(unravel(i, first), row_major_strides(first))
    assert linear(unravel(position, second), row_major_strides(second)) == (i if i.high else 0)


@settings(max_examples=200, deadline=None)
@given(shapes, st.integers(0, 10**6))
def test_unravel_agrees_with_counting(shape, number):
    number %= math.prod(shape)
    coordinates = tuple(c.constant for c in unravel(as_index(number), shape))
    assert list(iterate(shape))[number] == coordinates


def test_documented_simplifications():
    i = as_index(Var("i", 4))
    j = as_index(Var("j", 3))
    assert (i * 3 + j) // 3 == i
    assert (i * 3 + j) % 3 == j
    assert (i * 12 + j * 4 + 2) // 4 == i * 3 + j
    assert (i * 6 + j * 3 + 2) // 12 == (i * 2 + j) // 4
    assert (i + 100) // 100 == 1
    assert i % 4 == i
    whole = as_index(Var("n", 125))
    assert (whole // 25) * 25 + whole // 5 % 5 * 5 + whole % 5 == whole
    assert repr(i * 3 + 1) == "3*i + 1"


def test_atoms_of_variables_that_share_a_name_keep_one_order():
    a, b = as_index(Var("lane", 7)), as_index(Var("lane", 7))
    assert a // 3 + b // 3 == b // 3 + a // 3
    assert a % 3 + b % 3 == b % 3 + a % 3
    assert (a // 3 + b // 3) // 2 - (b // 3 + a // 3) // 2 == 0


def test_computed_parts_keep_the_order_they_were_made_in():
    rows = [Computed(object(), 10) for _ in range(50)]
    index = sum((as_index(row) for row in reversed(rows)), as_index(0))
    assert [atom for atom, _ in index.terms] == rows


def test_computed_parts_are_known_by_identity_and_range():
    row = Computed(object(), 10)
    index = as_index(row) * 4 + 1
    assert (index.low, index.high) == (1, 37)
    assert not index.is_affine
    assert index - as_index(row) * 4 == 1
    assert as_index(Computed(object(), 10)) != as_index(row)
    assert index // 4 == as_index(row)


@pytest.mark.parametrize("divisor", [2, 3, 7])
def test_negative_indices_divide_and_wrap_as_python_does(divisor):
    i = Var("i", 9)
    index = as_index(i) - 5
    for k in range(9):
        assert value(index // divisor, {i: k}) == (k - 5) // divisor
        assert value(index % divisor, {i: k}) == (k - 5) % divisor


def test_remainder_type_is_kept_where_nothing_simplifies():
    i = as_index(Var("i", 9))
    (atom, factor), *others = (i % 4).terms
    assert isinstance(atom, Remainder) and factor == 1 and not others
