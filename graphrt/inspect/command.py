"""The `graphrt-dump` command: shows what the compiler makes of a network, stage by stage.

In: command-line arguments. Out: text, JSON or DOT on standard output or in a file; exit code 0, or 2 with one
readable message.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import ArgumentError, GraphrtError
from . import profile
from .render import FORMATS
from .stages import STAGES, Request, collect
from .target import load_target, parse_input

_EPILOG = """\
example:
  graphrt-dump examples/lenet_sink.py:net --input 32x1x32x32:f32 --stage grad
  graphrt-dump examples/lenet_sink.py:net --input 32x1x32x32:f32 --pass . --changed-only
  graphrt-dump profile examples/lenet_sink.py:net --input 32x1x32x32:f32    (see graphrt-dump profile --help)
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="graphrt-dump",
        description="Show what the compiler makes of a network, stage by stage.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "target", metavar="FILE.py:NAME", help="a Cell, a Cell class or a function in a script"
    )
    parser.add_argument(
        "--input", action="append", required=True, metavar="SHAPE:TYPE",
        help="type of an argument of construct, such as 32x1x32x32:f32; once per argument",
    )  # fmt: skip
    parser.add_argument(
        "--stage", choices=[*STAGES, "all"],
        help="graph: as traced; grad: the training step; fused: kernels and memory plan; loops: loop IR; "
        "llvm: LLVM IR; asm: assembly; all: these and every pass (default: graph)",
    )  # fmt: skip
    parser.add_argument(
        "--pass", dest="passes", metavar="REGEX", help="the graph after the passes with such a name"
    )
    parser.add_argument("--changed-only", action="store_true", help="leave out passes that changed nothing")
    parser.add_argument("--format", choices=list(FORMATS), default="text")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, help="write to this file")
    parser.add_argument(
        "--label", action="append", default=[], metavar="SHAPE:TYPE",
        help="type of an argument of the loss after the prediction (default: one i32 class number per sample)",
    )  # fmt: skip
    parser.add_argument(
        "--loss",
        metavar="NAME",
        help="loss class of graphrt.nn (default: the script's loss_fn, else CrossEntropyLoss)",
    )
    parser.add_argument(
        "--inference", action="store_true", help="compile the forward pass instead of the training step"
    )
    parser.add_argument("--threads", type=int, help="threads the native code is made for")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0, or 2 for arguments that cannot be used."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    measures = arguments[:1] == ["profile"]
    options = (
        profile.build_parser().parse_args(arguments[1:]) if measures else build_parser().parse_args(arguments)
    )
    try:
        _write(profile.profile_command(options) if measures else _dump(options), options.output)
    except GraphrtError as error:
        print(f"graphrt-dump: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _dump(options: argparse.Namespace) -> str:
    pattern = _pattern(options.passes)
    target = load_target(options.target)
    wanted = _wanted_kinds(options.stage, pattern)
    request = Request(
        wanted=wanted,
        inputs=[parse_input(text) for text in options.input],
        labels=[parse_input(text) for text in options.label],
        loss=options.loss,
        training=wanted != {"graph"} and not options.inference and hasattr(target.network, "construct"),
        threads=options.threads,
    )
    if wanted == {"grad"} and not request.training:
        raise ArgumentError(
            "there is no training step to show",
            given=options.target,
            fix="name a Cell and leave out --inference",
        )
    shown = [
        stage
        for stage in collect(target, request)
        if (stage.changed or not options.changed_only)
        and (stage.kind != "pass" or pattern is None or pattern.search(stage.name))
    ]
    if not shown:
        raise ArgumentError("no such pass, or none that changed anything", given=f"--pass {options.passes}")
    return FORMATS[options.format](shown)


def _wanted_kinds(stage: str | None, pattern: re.Pattern[str] | None) -> frozenset[str]:
    """Kinds of stages: --stage alone, --pass alone, or both together."""
    if stage == "all":
        return frozenset((*STAGES, "pass"))
    kinds = {stage} if stage else set()
    if pattern is not None:
        kinds.add("pass")
    return frozenset(kinds or {"graph"})


def _pattern(text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise ArgumentError(f"--pass is not a regular expression: {error}", given=repr(text)) from None


def _write(text: str, path: Path | None) -> None:
    if path is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ArgumentError(f"cannot write the file: {error.strerror}", given=str(path)) from None


if __name__ == "__main__":
    sys.exit(main())
