"""When Winograd's algorithm pays, and in which chunks: the cost model of `kernels/winograd.py` and `winograd_gradient.py`.

In: the shapes of a convolution. Out: a `WinogradPlan` or `GradientPlan`, and the choices of `passes/winograd.py`. This
file is the only place with tuning numbers of Winograd convolutions. Costs are times of one vector FMA.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir import Node
from ..ops.contractions import Conv2dBackwardWeight
from ..ops.winograd import POSITIONS, SPAN, TAPS, TILE, tiles_of
from ..schedule.costs import CACHED_BYTES
from .contraction_plan import MAX_ACCUMULATORS

MAX_TILES = 4  # of one chunk: enough for every weight to meet several vectors
MAX_PARTS = 16  # of a weight gradient's batch: as many threads can share the work
PARTS_BYTES = 32 << 20  # of all parts of a weight gradient
WEIGHTS_BYTES = 16 << 20  # of transformed weights, which every thread has for itself

# Measured on a Zen 4 with vectors of 16 lanes, caches included, per tile (of one vector of images).
INPUT = 250.0  # transforming one input channel
TURN = 150.0  # and turning it, for the weight gradient
OUTPUT = 200.0  # transforming one output channel back
COTANGENT = 310.0  # transforming one channel of cotangents
PRODUCTS = 1.07  # overhead of the products
WEIGHT = 20.0  # transforming the weights of one pair of channels, once
PART = 6.0  # adding up the parts of one pair of channels, per part
DIRECT = 1.07  # overhead of a direct convolution
NEAR_PRODUCTS = 20  # per line fetched ahead into the L1 cache; denser ones only go to L2
GAIN = 0.9  # what share of the direct time is still a gain


def _near_divisor(extent: int, limit: int) -> int:
    """At most `limit`: a divisor of `extent` where one is near."""
    limit = max(1, min(limit, extent))
    divisor = max(d for d in range(1, limit + 1) if extent % d == 0)
    return divisor if 2 * divisor > limit else limit


def _chunk(height: int, width: int, tile_bytes: int) -> tuple[int, int]:
    """Rows and columns of tiles in one chunk, whose scratch should stay in the cache."""
    limit = max(1, min(MAX_TILES, CACHED_BYTES // tile_bytes))
    columns = min(limit, max(1, width // TILE))
    return min(max(1, limit // columns), max(1, height // TILE)), columns


def _unroll(count: int) -> int:
    return next(u for u in (4, 2, 1) if count % u == 0)


@dataclass(frozen=True)
class WinogradPlan:
    """`rows` x `columns` tiles per chunk; `unroll` channels per step of the sums."""

    rows: int
    columns: int
    unroll: int
    accumulators: int
    out_channels: int

    @property
    def tiles(self) -> int:
        return self.rows * self.columns

    def outputs(self, tiles: int) -> int:
        """Output channels of one register tile over `tiles` tiles."""
        return _near_divisor(self.out_channels, self.accumulators // tiles)


def convolution_plan(shape: Sequence[int], channels: int, lanes: int) -> WinogradPlan:
    """The plan of a convolution with results of `shape` (N, O, H, W) from images of `channels` channels."""
    _, out_channels, height, width = shape
    rows, columns = _chunk(height, width, 4 * lanes * (2 * SPAN * channels + POSITIONS * out_channels))
    return WinogradPlan(rows, columns, _unroll(channels), MAX_ACCUMULATORS.get(lanes, 12), out_channels)


@dataclass(frozen=True)
class GradientPlan:
    """`rows` x `columns` tiles per chunk, (output channels, blocks of input channels) of a register tile, and `unroll`
    points (images of tiles) per step of the sums."""

    rows: int
    columns: int
    register_tile: tuple[int, int]
    unroll: int

    @property
    def tiles(self) -> int:
        return self.rows * self.columns


def gradient_plan(shape: Sequence[int], channels: int, lanes: int) -> GradientPlan:
    """The plan of a weight gradient from cotangents of `shape` (N, O, H, W) and images of `channels` channels."""
    _, out_channels, height, width = shape
    rows, columns = _chunk(height, width, 4 * lanes * 2 * SPAN * (channels + out_channels))
    blocks = min(-(-channels // lanes), 2)
    outputs = _near_divisor(out_channels, MAX_ACCUMULATORS.get(lanes, 12) // blocks)
    return GradientPlan(rows, columns, (outputs, blocks), _unroll(lanes))


@dataclass(frozen=True)
class Winograd:
    """The choices of `passes/winograd.py` for vectors of `lanes` float32 elements."""

    lanes: int

    def pays(self, node: Node) -> bool:
        """Whether this convolution, in whichever direction, is faster by Winograd's algorithm than directly."""
        first, second = (n.shape for n in node.inputs)
        if isinstance(node.op, Conv2dBackwardWeight):
            (images, channels), (out_channels, height, width) = first[:2], second[1:]
        else:
            images, channels = first[:2]
            out_channels, height, width = node.shape[1:]
        pairs = channels * out_channels
        blocks = -(-images // self.lanes)
        tiles = blocks * tiles_of(height) * tiles_of(width)
        direct = DIRECT * blocks * height * width * TAPS * TAPS * pairs
        if isinstance(node.op, Conv2dBackwardWeight):
            padded = -(-channels // self.lanes) * self.lanes
            parts = -(-images // self.images_per_part(images, pairs))
            cost = tiles * (PRODUCTS * POSITIONS * padded * out_channels)
            cost += tiles * ((INPUT + TURN) * channels + COTANGENT * out_channels) + PART * parts * pairs
            possible = parts >= min(4, blocks)  # or threads would have too little to share
        else:
            cost = tiles * (PRODUCTS * POSITIONS * pairs + INPUT * channels + OUTPUT * out_channels)
            cost += WEIGHT * pairs
            possible = 4 * POSITIONS * pairs <= WEIGHTS_BYTES
        return possible and images >= self.lanes and cost < GAIN * direct

    def images_per_part(self, images: int, pairs: int) -> int:
        """Parts of whole vectors of images: as many as threads could want, unless that takes too much memory for
        `pairs` pairs of channels."""
        blocks = -(-images // self.lanes)
        parts = max(1, min(MAX_PARTS, PARTS_BYTES // (4 * POSITIONS * pairs)))
        return -(-blocks // parts) * self.lanes
