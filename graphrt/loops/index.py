"""Symbolic integers: affine forms over loop variables, with floor division and remainder where shapes demand them.

In: loop variables with known ranges and Python ints. Out: canonical `Index` values whose simplifier knows ranges, so
that `(i // 25) * 25 + i // 5 % 5 * 5 + i % 5` is `i` again and reshapes of contiguous data stay affine.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_serial = itertools.count()


class Var:
    """A loop variable with values 0 <= value < extent. Compares by identity."""

    __slots__ = ("extent", "name", "order")

    def __init__(self, name: str, extent: int):
        self.name, self.extent, self.order = name, extent, next(_serial)

    @property
    def low(self) -> int:
        return 0

    @property
    def high(self) -> int:
        """The largest value."""
        return max(self.extent - 1, 0)

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Quotient:
    """floor(index / divisor)."""

    index: Index
    divisor: int

    @property
    def low(self) -> int:
        return self.index.low // self.divisor

    @property
    def high(self) -> int:
        return self.index.high // self.divisor

    def __repr__(self) -> str:
        return f"({self.index})//{self.divisor}"


@dataclass(frozen=True)
class Remainder:
    """index mod divisor, in 0 .. divisor - 1."""

    index: Index
    divisor: int

    @property
    def low(self) -> int:
        return 0

    @property
    def high(self) -> int:
        return self.divisor - 1

    def __repr__(self) -> str:
        return f"({self.index})%{self.divisor}"


@dataclass(frozen=True, eq=False)
class Computed:
    """An integer computed by the kernel (a gathered row number), known to lie in 0 .. extent - 1."""

    scalar: Any
    extent: int
    order: int = field(init=False, repr=False, default_factory=lambda: next(_serial))

    @property
    def low(self) -> int:
        return 0

    @property
    def high(self) -> int:
        return max(self.extent - 1, 0)

    def __repr__(self) -> str:
        return f"<computed<{self.extent}>"


Atom = Var | Quotient | Remainder | Computed


def _key(atom: Atom) -> tuple:
    """Sorts atoms: total (names may repeat, orders do not) and the same in every run (no memory addresses)."""
    if isinstance(atom, Var):
        return (0, atom.order)
    if isinstance(atom, Computed):
        return (3, atom.order)
    inner = tuple((_key(part), factor) for part, factor in atom.index.terms)
    return (1 if isinstance(atom, Quotient) else 2, atom.divisor, atom.index.constant, inner)


def _term_key(term: tuple[Atom, int]) -> tuple:
    return _key(term[0])


class Index:
    """constant + sum of coefficient * atom, kept sorted and without zero coefficients."""

    __slots__ = ("_hash", "constant", "terms")
    _hash: int

    def __init__(self, terms: Mapping[Atom, int] | tuple[tuple[Atom, int], ...] = (), constant: int = 0):
        if not isinstance(terms, tuple):
            kept = [item for item in terms.items() if item[1]]
            if len(kept) > 1:  # most addresses have few terms, and there are hundreds of thousands of them
                kept.sort(key=_term_key)
            terms = tuple(kept)
        self.terms: tuple[tuple[Atom, int], ...] = terms
        self.constant = constant

    # ------------------------------------------------------------------ ranges
    @property
    def low(self) -> int:
        return self.constant + sum(c * (a.low if c > 0 else a.high) for a, c in self.terms)

    @property
    def high(self) -> int:
        return self.constant + sum(c * (a.high if c > 0 else a.low) for a, c in self.terms)

    @property
    def is_constant(self) -> bool:
        return not self.terms

    def coefficient(self, atom: Atom) -> int:
        """The factor of `atom` in the affine form (0 if absent there; it may still hide in a quotient)."""
        return next((c for a, c in self.terms if a == atom), 0)

    def vars(self) -> set[Var]:
        """Every loop variable the value depends on, through quotients and remainders too."""
        found: set[Var] = set()
        for atom, _ in self.terms:
            if isinstance(atom, Var):
                found.add(atom)
            elif isinstance(atom, Computed):
                found |= getattr(atom.scalar, "vars", frozenset())
            else:
                found |= atom.index.vars()
        return found

    @property
    def is_affine(self) -> bool:
        """No quotient, remainder or computed part."""
        return all(isinstance(a, Var) for a, _ in self.terms)

    # ------------------------------------------------------------------ arithmetic
    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.terms, self.constant + other)
        if not isinstance(other, Index):
            return NotImplemented
        if not other.terms:
            return Index(self.terms, self.constant + other.constant)
        terms = dict(self.terms)
        for atom, factor in other.terms:
            terms[atom] = terms.get(atom, 0) + factor
        return _recombine(terms, self.constant + other.constant)

    __radd__ = __add__

    def __neg__(self) -> Index:
        return self * -1

    def __sub__(self, other: Index | int) -> Index:
        return self + (-other)

    def __rsub__(self, other: int) -> Index:
        return (-self) + other

    def __mul__(self, factor: int) -> Index:
        if not isinstance(factor, int):
            return NotImplemented
        if factor == 0:
            return Index()
        return Index(tuple((a, c * factor) for a, c in self.terms), self.constant * factor)

    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> Index:
        if divisor == 1:
            return self
        whole, rest = self._split(divisor)
        shift = rest.low // divisor
        if rest.high // divisor == shift:
            return whole + shift
        inner = next((a for a, c in rest.terms if c == 1 and isinstance(a, Quotient)), None)
        if inner is not None:
            # (x + y // a) // d = (a * x + y) // (a * d): one canonical form for nested divisions
            others = Index(tuple((a, c) for a, c in rest.terms if a is not inner), rest.constant)
            return whole + (others * inner.divisor + inner.index) // (inner.divisor * divisor)
        coarse = _coarse(rest, divisor)
        if coarse is not None:
            common, large, _ = coarse
            return whole + large // (divisor // common)
        return whole + Index({Quotient(rest, divisor): 1})

    def __mod__(self, divisor: int) -> Index:
        if divisor == 1:
            return Index()
        _, rest = self._split(divisor)
        shift = rest.low // divisor
        if rest.high // divisor == shift:
            return rest - shift * divisor
        if not rest.constant and len(rest.terms) == 1:
            atom, factor = rest.terms[0]
            if isinstance(atom, Remainder) and factor == 1 and atom.divisor % divisor == 0:
                return atom.index % divisor
        coarse = _coarse(rest, divisor)
        if coarse is not None:
            common, large, small = coarse
            return (large % (divisor // common)) * common + small
        return Index({Remainder(rest, divisor): 1})

    def _split(self, divisor: int) -> tuple[Index, Index]:
        """self = divisor * whole + rest, with the constant of rest in 0 .. divisor - 1."""
        whole = tuple((a, c // divisor) for a, c in self.terms if c % divisor == 0)
        rest = tuple((a, c) for a, c in self.terms if c % divisor)
        return Index(whole, self.constant // divisor), Index(rest, self.constant % divisor)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return not self.terms and self.constant == other
        return isinstance(other, Index) and self.constant == other.constant and self.terms == other.terms

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:  # most are never looked up
            self._hash = hash((self.terms, self.constant))
            return self._hash

    def __repr__(self) -> str:
        parts = [f"{a}" if c == 1 else f"{c}*{a}" for a, c in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts)


def _coarse(index: Index, divisor: int) -> tuple[int, Index, Index] | None:
    """(g, x, r) with index = g * x + r, g > 1 a divisor of `divisor` and 0 <= r < g, so that division sees only x:
    (6a + 3b + r) // 12 = (2a + b) // 4 and (16n + lane) // 64 = n // 4."""
    for common in sorted({math.gcd(divisor, factor) for _, factor in index.terms}, reverse=True):
        if common <= 1:
            break
        large = tuple((a, c // common) for a, c in index.terms if c % common == 0)
        small = Index(tuple((a, c) for a, c in index.terms if c % common), index.constant % common)
        if small.low >= 0 and small.high < common:
            return common, Index(large, index.constant // common), small
    return None


def _recombine(terms: dict[Atom, int], constant: int) -> Index:
    """Turns k * (x mod c) + k * c * (x div c) back into k * x, until nothing more combines."""
    changed = True
    while changed:
        changed = False
        for atom, factor in list(terms.items()):
            if not isinstance(atom, Remainder) or not factor:
                continue
            quotient = atom.index // atom.divisor
            if quotient.constant or len(quotient.terms) != 1 or quotient.terms[0][1] != 1:
                continue
            partner = quotient.terms[0][0]
            if terms.get(partner, 0) == factor * atom.divisor:
                del terms[atom], terms[partner]
                for inner, inner_factor in atom.index.terms:
                    terms[inner] = terms.get(inner, 0) + factor * inner_factor
                constant += factor * atom.index.constant
                changed = True
                break
    return Index(terms, constant)


def as_index(value: Var | Index | int | Atom) -> Index:
    """The Index of a variable, an atom or an int."""
    if isinstance(value, Index):
        return value
    if isinstance(value, int):
        return Index((), value)
    return Index({value: 1})


def replace(index: Index, values: Mapping[Var, Index]) -> Index:
    """`index` with loop variables replaced."""
    result = Index((), index.constant)
    for atom, factor in index.terms:
        if isinstance(atom, Var):
            new = values.get(atom, None)
            part = as_index(atom) if new is None else new
        elif isinstance(atom, Quotient):
            part = replace(atom.index, values) // atom.divisor
        elif isinstance(atom, Remainder):
            part = replace(atom.index, values) % atom.divisor
        else:
            part = as_index(atom)
        result = result + part * factor
    return result


def linear(indices: tuple[Index | int, ...] | list, strides: tuple[int, ...]) -> Index:
    """sum of index * stride."""
    result = Index()
    for index, stride in zip(indices, strides):
        result = result + as_index(index) * stride
    return result


def row_major_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides: list[int] = []
    step = 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def unravel(index: Index, shape: tuple[int, ...]) -> tuple[Index, ...]:
    """Coordinates of the row-major linear position `index` in `shape`."""
    result = []
    for extent in reversed(shape):
        result.append(index % extent if extent > 1 else Index())
        index = index // extent if extent > 1 else index
    return tuple(reversed(result))


def iterate(extents: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All coordinates below `extents` in row-major order."""
    return itertools.product(*(range(e) for e in extents))
