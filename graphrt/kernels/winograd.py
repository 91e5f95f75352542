"""3x3 convolutions by Winograd's F(4x4, 3x3): a few tiles of a block of images at a time, in memory of the thread's own.

In: a group whose anchor is a `WinogradConv2d`. Out: a kernel whose lanes are images:

    weights[36][O][C] = G w G^T                                       once per thread
    for blocks of images, chunks of tiles:
        for three pairs of rows of the transformed tile:
            inputs[12][C][tile][lanes] = these rows of B^T x B         from the padded image
            products[12 of 36][O][tile][lanes] = sum over C of weights * inputs, in registers
        results = A^T products A, with the epilogue composed from the graph

The chunk is small enough for the scratch to stay in the L2 cache: 36/16 of the activations never travel to memory.
"""

from __future__ import annotations

import itertools

from ..dtypes import float32
from ..loops import ir
from ..loops.index import Index, Var, as_index
from ..ops.winograd import POSITIONS, SPAN, TAPS, WinogradConv2d
from ..schedule.group import Group
from . import winograd_lines as lines
from .partial_sums import Sums, clear_sums
from .space import Axis, Point, SlotComposer, Slots, choose_parallel, lane_of, nest
from .winograd_ahead import is_near, lines_per_result, next_tiles, results
from .winograd_plan import WinogradPlan, convolution_plan
from .winograd_tiles import (
    ROWS,
    Chunk,
    Scratch,
    Tile,
    place_of,
    segments,
    transformed_inputs,
    winograd_kernel,
)


def build_winograd(group: Group, slots: Slots, lanes: int, threads: int):
    """The kernel of a group whose anchor is a WinogradConv2d, and the slots of its buffers."""
    builder = _Convolution(group, slots, lanes, threads)
    body = builder.body()
    return winograd_kernel(
        group, builder.composer, body, lanes, (builder.weights, builder.inputs, builder.products)
    )


class _Convolution:
    def __init__(self, group: Group, slots: Slots, lanes: int, threads: int):
        anchor = group.anchor
        assert anchor is not None and isinstance(anchor.op, WinogradConv2d)
        self.anchor, self.lanes, self.threads = anchor, lanes, threads
        self.image, self.kernel = anchor.inputs
        self.channels = self.image.shape[1]
        self.images, self.out_channels, self.height, self.width = anchor.shape
        self.composer = SlotComposer(group, slots)
        plan: WinogradPlan = convolution_plan(anchor.shape, self.channels, lanes)
        self.plan = plan
        self.weights = Scratch.of("weights", POSITIONS, self.out_channels, self.channels, 5 * lanes)
        self.inputs = Scratch.of("inputs", ROWS, self.channels, plan.tiles * lanes, 4 * lanes)
        self.products = Scratch.of("products", POSITIONS, self.out_channels, plan.tiles * lanes, 4 * lanes)
        self._numbers = itertools.count()

    def body(self) -> list[ir.Statement]:
        statements = self._transform_weights() + self._clear_sums()
        for rows in segments(self.height, self.plan.rows):
            for columns in segments(self.width, self.plan.columns):
                axes = [
                    Axis("n", self.images, self.lanes, position=0),
                    Axis("row", rows.count, position=1),
                    Axis("column", columns.count, position=2),
                ]
                choose_parallel(axes, self.threads, barred=(1, 2) if self.composer.group.sums else ())

                def chunk(point: Point, rows=rows, columns=columns) -> list[ir.Statement]:
                    n, row, column = (point.indices[k][0] for k in range(3))
                    return self._chunk(Chunk(rows, columns, n, row, column))

                statements += nest(axes, chunk)
        return statements

    def _clear_sums(self) -> list[ir.Statement]:
        """Divided by images, as are then the chunks that add to the sums."""
        axes = [
            Axis("n", self.images, self.lanes, position=0),
            Axis("o", self.out_channels, position=1),
            Axis("h", self.height, position=2),
            Axis("w", self.width, position=3),
        ]
        choose_parallel(axes, self.threads, barred=(1, 2, 3))
        return clear_sums(self.composer, axes)

    # ------------------------------------------------------------------ weights
    def _transform_weights(self) -> list[ir.Statement]:
        axes = [
            Axis("o", self.out_channels, position=0),
            Axis("c", self.channels, self.lanes, position=1),
        ]

        def one(point: Point) -> list[ir.Statement]:
            o, c = point.indices[0][0], point.indices[1][0]
            taps = [
                [self.composer.value(self.kernel, (o, c, i, j)) for j in range(TAPS)] for i in range(TAPS)
            ]
            half = [lines.weights(row) for row in taps]
            statements: list[ir.Statement] = []
            for column in range(SPAN):
                for row, value in enumerate(lines.weights([half[i][column] for i in range(TAPS)])):
                    statements.append(self.weights.store(place_of(row, column), o, c, value))
            return statements

        return nest(axes, one)

    # ------------------------------------------------------------------ one chunk
    def _chunk(self, chunk: Chunk) -> list[ir.Statement]:
        n, tiles = chunk.n, chunk.tiles()
        statements: list[ir.Statement] = []
        for k in range(len(lines.PAIRS)):
            statements += self._transform_inputs(n, tiles, k)
            statements += self._multiply(chunk, k)
        return statements + self._results(n, tiles)

    def _transform_inputs(self, n: Index, tiles: list[Tile], k: int) -> list[ir.Statement]:
        lane = as_index(lane_of(n))

        def one(point: Point) -> list[ir.Statement]:
            c = point.indices[0][0]

            def read(row: Index, column: Index) -> ir.Scalar:
                return self.composer.value(self.image, (n, c, row, column))

            statements: list[ir.Statement] = []
            for number, tile in enumerate(tiles):
                values = transformed_inputs(read, tile, k)
                stores: list[ir.Statement] = [
                    self.inputs.store(place, c, number * self.lanes + lane, value)
                    for place, value in enumerate(values)
                ]
                statements.append(ir.Loop(Var("tile", 1), stores))
            return statements

        return nest([Axis("c", self.channels, position=0)], one)

    def _multiply(self, chunk: Chunk, k: int) -> list[ir.Statement]:
        """Twelve positions: products = sum over channels of weights * inputs."""
        lane, tiles = lane_of(chunk.n), len(chunk.tiles())
        position = Var("position", ROWS)
        place = as_index(position) + k * ROWS
        unroll = self.plan.unroll
        steps = -(-self.channels // unroll)
        read = self.channels + self.out_channels * lines_per_result(self.composer, self.anchor, chunk)
        size = chunk.rows.extent * chunk.columns.extent
        near = is_near(POSITIONS * self.channels * self.out_channels * tiles, read * size)

        def ahead(outputs: list[Index], c: Index) -> list[ir.Statement]:
            """Hints for the step that begins at channel c of the sums of `outputs`."""
            step, blocks = place * steps + c // unroll, -(-self.out_channels // len(outputs))
            own = results(self.composer, self.anchor, chunk, outputs, step, POSITIONS * steps, near)
            step = step * blocks + outputs[0] // len(outputs)
            all_steps = POSITIONS * steps * blocks
            return own + next_tiles(
                self.composer, self.image, chunk, TAPS - 1, self.lanes, step, all_steps, near
            )

        def block(point: Point) -> list[ir.Statement]:
            outputs = point.indices[0]
            number = next(self._numbers)
            registers = [
                [ir.Register(f"acc{number}_{j}_{t}", float32, True) for t in range(tiles)]
                for j in range(len(outputs))
            ]
            flat = [register for row in registers for register in row]

            def inner(window: Point) -> list[ir.Statement]:
                statements = ahead(outputs, window.indices[1][0])
                for c in window.indices[1]:
                    values = [
                        self.inputs.load(as_index(position), c, t * self.lanes + as_index(lane))
                        for t in range(tiles)
                    ]
                    for o, row in zip(outputs, registers):
                        weight = self.weights.load(place, o, c)
                        for value, register in zip(values, row):
                            statements.append(
                                ir.Assign(register, ir.Fma(weight, value, ir.Read(register, lane)))
                            )
                return statements

            statements: list[ir.Statement] = [ir.Assign(r, lines.ZERO) for r in flat]
            statements += nest([Axis("c", self.channels, tile=unroll, position=1)], inner)
            for o, row in zip(outputs, registers):
                for t, register in enumerate(row):
                    inside = t * self.lanes + as_index(lane)
                    statements.append(self.products.store(place, o, inside, ir.Read(register, lane)))
            return statements

        axis = Axis("o", self.out_channels, tile=self.plan.outputs(tiles), position=0)
        return [ir.Loop(position, nest([axis], block))]

    def _results(self, n: Index, tiles: list[Tile]) -> list[ir.Statement]:
        lane = as_index(lane_of(n))

        def one(point: Point) -> list[ir.Statement]:
            o = point.indices[0][0]
            places = [
                (n, o, tile.row + row, tile.column + column)
                for tile in tiles
                for row in range(tile.rows)
                for column in range(tile.columns)
            ]
            sums = Sums(self.composer, places, lane_of(n), lambda: f"sum{next(self._numbers)}")
            statements = sums.begin()
            for number, tile in enumerate(tiles):
                results = self._tile_results(n, o, number * self.lanes + lane, tile, sums)
                statements.append(ir.Loop(Var("tile", 1), results))
            return statements + sums.end()

        return nest([Axis("o", self.out_channels, position=0)], one)

    def _tile_results(self, n: Index, o: Index, inside: Index, tile: Tile, sums: Sums) -> list[ir.Statement]:
        half = []
        for column in range(SPAN):
            line = [self.products.load(place_of(row, column), o, inside) for row in range(SPAN)]
            half.append(lines.outputs(line, tile.rows))
        statements: list[ir.Statement] = []
        for row in range(tile.rows):
            results = lines.outputs([column[row] for column in half], tile.columns)
            places = [(n, o, tile.row + row, tile.column + column) for column in range(tile.columns)]
            self.composer.overrides = {(self.anchor, at): value for at, value in zip(places, results)}
            for at in places:
                statements += [*sums.add(at), *self.composer.stores(at)]
        return statements
