"""The `graphrt-dump profile` command: trains a network on made-up data with cycle counters, shows where time goes.

In: command-line arguments. Out: a table, JSON or a Chrome trace as text. What is measured is the time of the step,
which depends on shapes and not on the values of the data.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError
from ..frontend.location import user_line
from ..ir import TensorType
from .target import Target, load_target, parse_input
from .training import make_loss

if TYPE_CHECKING:
    from ..runtime.profile import Profile

BATCHES = 16  # of made-up data: more than the caches see again at once for most inputs
_EPILOG = """\
example:
  graphrt-dump profile examples/lenet_sink.py:net --input 32x1x32x32:f32 --steps 1000
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="graphrt-dump profile",
        description="Measure a network's training step kernel by kernel, on made-up data.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="FILE.py:NAME", help="a Cell or a Cell class in a script")
    parser.add_argument(
        "--input", action="append", required=True, metavar="SHAPE:TYPE",
        help="type of an argument of construct, batch first, such as 32x1x32x32:f32; once per argument",
    )  # fmt: skip
    parser.add_argument(
        "--label", metavar="SHAPE:TYPE",
        help="type of the loss's second argument (default: one i32 class number per sample)",
    )  # fmt: skip
    parser.add_argument(
        "--loss",
        metavar="NAME",
        help="loss class of graphrt.nn (default: the script's loss_fn, else CrossEntropyLoss)",
    )
    parser.add_argument("--steps", type=int, default=100, help="training steps to measure (default: 100)")
    parser.add_argument("--format", choices=["text", "json", "trace"], default="text")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, help="write to this file")
    parser.add_argument("--threads", type=int, help="default: the CPUs this process may use")
    return parser


def profile_command(options: argparse.Namespace) -> str:
    """What the parsed arguments ask for, as text."""
    profile = profile_target(
        load_target(options.target),
        [parse_input(text) for text in options.input],
        parse_input(options.label) if options.label else None,
        options.loss,
        options.steps,
        options.threads,
    )
    if options.format == "json":
        return json.dumps(profile.to_json(), indent=2) + "\n"
    if options.format == "trace":
        return json.dumps(profile.chrome_trace()) + "\n"
    return str(profile)


def profile_target(
    target: Target,
    inputs: Sequence[TensorType],
    label: TensorType | None,
    loss: str | None,
    steps: int,
    threads: int | None,
) -> Profile:
    """Profile the training step of a network. The script's `optimizer` takes part; without one it is
    Momentum(0.01, 0.9). Raises ArgumentError for what is not a Cell or inputs without a common batch axis."""
    from .. import nn
    from ..context import set_context
    from ..dataset import NumpySlicesDataset
    from ..train import Model

    network = target.network
    if not isinstance(network, nn.Cell):
        raise ArgumentError(
            "the training step of a function is not known", given=target.name, fix="name a Cell"
        )
    loss_fn = make_loss(loss) if loss else target.loss_fn or make_loss("CrossEntropyLoss")
    optimizer = target.optimizer or nn.Momentum(network.trainable_params(), 0.01, 0.9)
    label_type, classes = _label(network, inputs, label)
    batch = _batch_size([*inputs, label_type])
    generator = np.random.default_rng(0)
    columns = [_made_up(type, batch, 2, generator) for type in inputs]
    columns.append(_made_up(label_type, batch, classes, generator))
    names = [f"input{k}" for k in range(len(inputs))] + ["label"]
    data = NumpySlicesDataset(tuple(columns), names, shuffle=True).batch(batch)
    with set_context(threads=threads):
        profile = Model(network, loss_fn, optimizer).profile(data, steps)
    # Kernels of the loss and the optimizer come from no line of the script, but from what started this program.
    outside = "{}:{}".format(*user_line())
    kernels = (replace(k, line="") if k.line == outside else k for k in profile.kernels)
    return replace(profile, kernels=tuple(kernels))


def _label(network: Any, inputs: Sequence[TensorType], label: TensorType | None) -> tuple[TensorType, int]:
    """The label's type, and how many classes an integer label may name: the extent of the output's axis 1."""
    from ..dtypes import int32
    from ..frontend.trace import trace

    output = trace(network, list(inputs), name="forward").graph.outputs[0].type
    classes = output.shape[1] if output.rank > 1 else 2
    return label or TensorType(output.shape[:1], int32), classes


def _batch_size(types: Sequence[TensorType]) -> int:
    sizes = {type.shape[0] if type.rank else 0 for type in types}
    if len(sizes) != 1 or 0 in sizes:
        raise ArgumentError(
            "inputs and label must share their first axis, the batch",
            given=", ".join(type.describe() for type in types),
        )
    return sizes.pop()


def _made_up(type: TensorType, batch: int, below: int, generator: np.random.Generator) -> np.ndarray:
    """Samples for BATCHES batches: normal floats, or integers 0 <= n < `below`."""
    shape = (BATCHES * batch, *type.shape[1:])
    if type.dtype.kind == "float":
        return generator.standard_normal(shape, np.float32).astype(type.dtype.numpy)
    return generator.integers(0, below, shape).astype(type.dtype.numpy)
