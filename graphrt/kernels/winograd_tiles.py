"""What the kernels of Winograd's algorithm share: tiles, chunks of them, scratch buffers, the transform of an image tile.

In: the extents of the results. Out: `Segment`s of equal chunks, the `Tile`s of a chunk, and loop-IR expressions.

Tiles are transformed in three sweeps, one for each pair of rows of the 6x6 result (see `winograd_lines`): the 36
positions are kept in that order, 12 for each sweep, and `place_of` says where a position lies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..dtypes import float32
from ..loops import ir
from ..loops.index import Index, as_index
from ..ops.winograd import SPAN, TAPS, TILE
from ..schedule.group import Group
from ..schedule.plan import Slot
from . import winograd_lines as lines
from .space import SlotComposer

ROWS = 2 * SPAN  # positions of one pair of rows


def place_of(row: int, column: int) -> int:
    """Where position (row, column) of a transformed tile lies among the 36."""
    k, which = lines.PAIR_OF[row]
    return k * ROWS + which * SPAN + column


@dataclass(frozen=True)
class Tile:
    """One 4x4 tile of a chunk: its first result in the image, and how many of its results exist."""

    row: Index
    column: Index
    rows: int
    columns: int


@dataclass(frozen=True)
class Segment:
    """Equal chunks along one axis: `count` of them from result `first` on, each covering `extent` results."""

    count: int
    first: int
    extent: int


def segments(extent: int, tiles: int) -> Iterator[Segment]:
    """Chunks of `tiles` whole tiles, then one chunk of what is left of `extent` results."""
    size = tiles * TILE
    full, rest = divmod(extent, size)
    if full:
        yield Segment(full, 0, size)
    if rest:
        yield Segment(1, full * size, rest)


@dataclass(frozen=True)
class Chunk:
    """Chunk (`row`, `column`) of two segments, for the images that `n` stands for."""

    rows: Segment
    columns: Segment
    n: Index
    row: Index
    column: Index

    @property
    def top(self) -> Index:
        return self.row * self.rows.extent + self.rows.first

    @property
    def left(self) -> Index:
        return self.column * self.columns.extent + self.columns.first

    def tiles(self) -> list[Tile]:
        """Its tiles, row by row."""
        height, width = self.rows.extent, self.columns.extent
        return [
            Tile(self.top + r, self.left + c, min(TILE, height - r), min(TILE, width - c))
            for r in range(0, height, TILE)
            for c in range(0, width, TILE)
        ]

    def next(self, lanes: int) -> Chunk:
        """The chunk after this one: to its right, else below it, else the first of the next block of images (which
        there may not be)."""
        columns, rows = self.columns.count, self.rows.count
        number = self.row * columns + self.column + 1
        block = self.n // lanes + number // (columns * rows)
        row, column = number // columns % rows, number % columns
        return Chunk(self.rows, self.columns, block * lanes, row, column)


@dataclass(frozen=True)
class Scratch:
    """A buffer [outer][middle][inner] whose outer rows are `pad` elements apart beyond that, so that equal places of
    different rows do not fall into one cache set."""

    buffer: ir.Buffer
    middle: int
    inner: int
    pad: int

    @staticmethod
    def of(name: str, outer: int, middle: int, inner: int, pad: int) -> Scratch:
        return Scratch(ir.Buffer(name, float32, outer * (middle * inner + pad)), middle, inner, pad)

    def address(self, outer: Index | int, middle: Index | int, inner: Index | int) -> Index:
        stride = self.middle * self.inner + self.pad
        return as_index(outer) * stride + as_index(middle) * self.inner + as_index(inner)

    def load(self, outer: Index | int, middle: Index | int, inner: Index | int) -> ir.Scalar:
        return ir.Load(self.buffer, self.address(outer, middle, inner))

    def store(
        self, outer: Index | int, middle: Index | int, inner: Index | int, value: ir.Scalar
    ) -> ir.Store:
        return ir.Store(self.buffer, self.address(outer, middle, inner), value)


ReadTile = Callable[[Index, Index], ir.Scalar]  # (row, column) -> an element of one channel of some images


def transformed_inputs(read: ReadTile, tile: Tile, k: int) -> list[ir.Scalar]:
    """The twelve values of sweep `k` of B^T x B, x being the tile's inputs from its first result on."""
    rows, columns = tile.rows + TAPS - 1, tile.columns + TAPS - 1
    x = _block(read, tile, SPAN, rows, columns)
    halves = zip(*(lines.pair(column, k) for column in zip(*x)))
    return [result for half in halves for result in lines.inputs(half)]


def transformed_cotangents(read: ReadTile, tile: Tile, k: int) -> list[ir.Scalar]:
    """The twelve values of sweep `k` of G dy G^T, dy being the tile's cotangents."""
    dy = _block(read, tile, TILE, tile.rows, tile.columns)
    halves = zip(*(lines.gradient_pair(column, k) for column in zip(*dy)))
    return [result for half in halves for result in lines.gradients(half)]


def _block(read: ReadTile, tile: Tile, size: int, rows: int, columns: int) -> list[list[ir.Scalar]]:
    """A square of elements from the tile's corner on, of which only `rows` x `columns` exist."""
    return [
        [read(tile.row + r, tile.column + c) if r < rows and c < columns else lines.ZERO for c in range(size)]
        for r in range(size)
    ]


def winograd_kernel(
    group: Group, composer: SlotComposer, body: list[ir.Statement], lanes: int, scratch: Sequence[Scratch]
) -> tuple[ir.Kernel, list[Slot]]:
    """The kernel and, in argument order, the slots its buffers are bound to."""
    slots = list(composer.buffers)
    buffers = tuple(composer.buffers[s] for s in slots)
    return ir.Kernel(group.name, buffers, body, lanes, scratch=tuple(s.buffer for s in scratch)), slots
