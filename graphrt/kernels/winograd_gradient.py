"""Weight gradients of 3x3 convolutions by Winograd's F(3x3, 4x4): products of transformed tiles, summed over the images.

In: a group whose anchor is a `WinogradWeightProducts`. Out: a kernel that sums each part of the batch by itself:

    for parts, blocks of images in a part, chunks of tiles:
        for three pairs of rows of the transformed tile:
            inputs[12][tile][image][C]   = these rows of B^T x B      transformed with images in lanes, then turned
            filters[12][O][tile][image]  = these rows of G dy G^T     transformed with images in lanes
            result[part][12 of 36][O][C] += sum over tiles and images of filters * inputs      channels in lanes

With channels in the lanes of the sums nothing needs to be folded, and the filters are broadcasts.
"""

from __future__ import annotations

import itertools

from ..dtypes import float32
from ..ir import Node
from ..loops import ir
from ..loops.index import Index, Var, as_index
from ..ops.winograd import POSITIONS, SPAN, TAPS, WinogradWeightProducts
from ..schedule.group import Group
from . import winograd_lines as lines
from .space import Axis, Point, SlotComposer, Slots, lane_of, nest
from .winograd_ahead import is_near, next_tiles
from .winograd_plan import gradient_plan
from .winograd_tiles import (
    ROWS,
    Chunk,
    ReadTile,
    Scratch,
    segments,
    transformed_cotangents,
    transformed_inputs,
    winograd_kernel,
)


def build_winograd_gradient(group: Group, slots: Slots, lanes: int, threads: int):
    """The kernel of a group whose anchor is a WinogradWeightProducts, and the slots of its buffers."""
    builder = _Gradient(group, slots, lanes, threads)
    body = builder.body()
    return winograd_kernel(group, builder.composer, body, lanes, (builder.inputs, builder.filters))


class _Gradient:
    def __init__(self, group: Group, slots: Slots, lanes: int, threads: int):
        anchor = group.anchor
        assert (
            anchor is not None and isinstance(anchor.op, WinogradWeightProducts) and group.stores == [anchor]
        )
        self.anchor, self.lanes, self.threads = anchor, lanes, threads
        self.image, self.cotangent = anchor.inputs
        self.parts, _, self.out_channels, self.channels = anchor.shape
        self.images, _, self.height, self.width = self.cotangent.shape
        self.part_images = anchor.op.images
        self.part = Var("part", self.parts)
        self.composer = SlotComposer(group, slots)
        self.result, self.layout = self.composer.buffer(slots[anchor]), slots[anchor].layout
        self.plan = gradient_plan(self.cotangent.shape, self.channels, lanes)
        self.blocks = -(-self.channels // lanes)  # of input channels
        points = self.plan.tiles * lanes  # (tile, image) pairs of a chunk
        self.inputs = Scratch.of("inputs", ROWS, points, self.blocks * lanes, 4 * lanes)
        self.filters = Scratch.of("filters", ROWS, self.out_channels, points, 4 * lanes)
        self._numbers = itertools.count()

    def body(self) -> list[ir.Statement]:
        statements = self._clear()
        blocks = Axis("block", -(-self.part_images // self.lanes), position=0)
        for rows in segments(self.height, self.plan.rows):
            for columns in segments(self.width, self.plan.columns):
                axes = [
                    blocks,
                    Axis("row", rows.count, position=1),
                    Axis("column", columns.count, position=2),
                ]

                def chunk(point: Point, rows=rows, columns=columns) -> list[ir.Statement]:
                    block, row, column = (point.indices[k][0] for k in range(3))
                    first = as_index(self.part) * self.part_images + block * self.lanes
                    return self._chunk(Chunk(rows, columns, first, row, column))

                statements += nest(axes, chunk)
        return [ir.Loop(self.part, statements, "parallel" if self.threads > 1 else "serial")]

    def _address(self, place: Index, o: Index, c: Index) -> Index:
        return self.layout.address(self.anchor.shape, (as_index(self.part), place, o, c))

    def _clear(self) -> list[ir.Statement]:
        axes = [
            Axis("p", self.anchor.shape[1], position=0),
            Axis("o", self.out_channels, position=1),
            Axis("c", self.channels, self.lanes, position=2),
        ]

        def one(point: Point) -> list[ir.Statement]:
            place, o, c = (point.indices[k][0] for k in range(3))
            return [ir.Store(self.result, self._address(place, o, c), lines.ZERO)]

        return nest(axes, one)

    # ------------------------------------------------------------------ one chunk
    def _chunk(self, chunk: Chunk) -> list[ir.Statement]:
        statements: list[ir.Statement] = []
        for k in range(len(lines.PAIRS)):
            statements += self._transform_inputs(chunk, k)
            statements += self._turn_inputs(len(chunk.tiles()))
            statements += self._transform_cotangents(chunk, k)
            statements += self._multiply(chunk, k)
        return statements

    def _reader(self, node: Node, chunk: Chunk, lane: Var, channel: Index) -> ReadTile:
        """Elements of one channel, images in lanes; zero for images beyond the part or the batch."""
        n = chunk.n + as_index(lane)
        inside = [(n - as_index(self.part) * self.part_images, 0, self.part_images), (n, 0, self.images)]

        def read(row: Index, column: Index) -> ir.Scalar:
            return self.composer.builder.where_in_range(
                inside, lambda: self.composer.value(node, (n, channel, row, column)), lines.ZERO
            )

        return read

    def _transform_inputs(self, chunk: Chunk, k: int) -> list[ir.Statement]:
        """inputs[12][tile][channel within its block][block][image]: square blocks, still to be turned."""
        lane, tiles = Var("image", self.lanes), chunk.tiles()

        def one(point: Point) -> list[ir.Statement]:
            c = point.indices[0][0]
            statements: list[ir.Statement] = []
            for number, tile in enumerate(tiles):
                values = transformed_inputs(self._reader(self.image, chunk, lane, c), tile, k)
                row, start = number * self.lanes + c % self.lanes, c // self.lanes * self.lanes
                stores: list[ir.Statement] = [
                    self.inputs.store(place, row, start + as_index(lane), value)
                    for place, value in enumerate(values)
                ]
                statements.append(ir.Loop(Var("tile", 1), stores))
            return statements

        return [ir.Loop(lane, nest([Axis("c", self.channels, position=0)], one), "vector")]

    def _turn_inputs(self, tiles: int) -> list[ir.Statement]:
        """Channels into the lanes, images out of them."""
        axes = [
            Axis("place", ROWS, position=0),
            Axis("tile", tiles, position=1),
            Axis("c_block", self.blocks, position=2),
        ]

        def one(point: Point) -> list[ir.Statement]:
            place, tile, block = (point.indices[k][0] for k in range(3))
            number, lane = next(self._numbers), Var("lane", self.lanes)
            registers = tuple(ir.Register(f"turn{number}_{j}", float32, True) for j in range(self.lanes))
            inner = block * self.lanes + as_index(lane)
            rows = [tile * self.lanes + j for j in range(self.lanes)]
            reads: list[ir.Statement] = [
                ir.Assign(register, self.inputs.load(place, row, inner))
                for row, register in zip(rows, registers)
            ]
            writes: list[ir.Statement] = [
                self.inputs.store(place, row, inner, ir.Read(register, lane))
                for row, register in zip(rows, registers)
            ]
            return [
                ir.Loop(lane, reads, "vector"),
                ir.TransposeLanes(registers),
                ir.Loop(lane, writes, "vector"),
            ]

        return nest(axes, one)

    def _transform_cotangents(self, chunk: Chunk, k: int) -> list[ir.Statement]:
        lane, tiles = Var("image", self.lanes), chunk.tiles()

        def one(point: Point) -> list[ir.Statement]:
            o = point.indices[0][0]
            statements: list[ir.Statement] = []
            for number, tile in enumerate(tiles):
                values = transformed_cotangents(self._reader(self.cotangent, chunk, lane, o), tile, k)
                stores: list[ir.Statement] = [
                    self.filters.store(place, o, number * self.lanes + as_index(lane), value)
                    for place, value in enumerate(values)
                ]
                statements.append(ir.Loop(Var("tile", 1), stores))
            return statements

        return [ir.Loop(lane, nest([Axis("o", self.out_channels, position=0)], one), "vector")]

    def _multiply(self, chunk: Chunk, k: int) -> list[ir.Statement]:
        """Twelve positions: result += sum over tiles and images of filters * inputs."""
        points, unroll = len(chunk.tiles()) * self.lanes, self.plan.unroll
        pairs, size = self.channels * self.out_channels, chunk.rows.extent * chunk.columns.extent
        read = (self.channels + self.out_channels) * size
        near = is_near(POSITIONS * pairs * len(chunk.tiles()), read)
        which, column = Var("which", 2), Var("column", SPAN)
        place = as_index(which) * SPAN + as_index(column)
        low, high = lines.PAIRS[k]
        position = (as_index(which) * (high - low) + low) * SPAN + as_index(column)

        def ahead(outputs: list[Index], channels: list[Index], first: Index) -> list[ir.Statement]:
            """Hints for the step that begins at point `first` of the sums of one register tile."""
            blocks = -(-self.out_channels // len(outputs)), -(-self.blocks // len(channels))
            number = outputs[0] // len(outputs) * blocks[1] + channels[0] // (self.lanes * len(channels))
            step = (place + k * ROWS) * (blocks[0] * blocks[1]) + number
            step = step * (points // unroll) + first // unroll
            steps = POSITIONS * blocks[0] * blocks[1] * (points // unroll)
            inputs = next_tiles(self.composer, self.image, chunk, TAPS - 1, self.lanes, step, steps, near)
            return inputs + next_tiles(self.composer, self.cotangent, chunk, 0, self.lanes, step, steps, near)

        def block(point: Point) -> list[ir.Statement]:
            outputs, channels = point.indices[0], point.indices[1]
            lane = lane_of(channels[0])
            number = next(self._numbers)
            registers = [
                [ir.Register(f"acc{number}_{j}_{i}", float32, True) for i in range(len(channels))]
                for j in range(len(outputs))
            ]
            addresses = [[self._address(position, o, c) for c in channels] for o in outputs]

            def inner(window: Point) -> list[ir.Statement]:
                statements = ahead(outputs, channels, window.indices[2][0])
                for point in window.indices[2]:
                    values = [self.inputs.load(place, point, c) for c in channels]
                    for o, row in zip(outputs, registers):
                        factor = self.filters.load(place, o, point)
                        for value, register in zip(values, row):
                            statements.append(
                                ir.Assign(register, ir.Fma(factor, value, ir.Read(register, lane)))
                            )
                return statements

            cells = [cell for rows in zip(registers, addresses) for cell in zip(*rows)]
            statements: list[ir.Statement] = [
                ir.Assign(register, ir.Load(self.result, address)) for register, address in cells
            ]
            axis = Axis("point", points, tile=unroll, position=2)
            statements += nest([axis], inner)
            statements += [
                ir.Store(self.result, address, ir.Read(register, lane)) for register, address in cells
            ]
            return statements

        outputs, blocks = self.plan.register_tile
        axes = [
            Axis("o", self.out_channels, tile=outputs, position=0),
            Axis("c", self.channels, self.lanes, blocks, position=1),
        ]
        return [ir.Loop(which, [ir.Loop(column, nest(axes, block))])]
