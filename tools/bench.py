"""Training speed of graphrt beside other frameworks, from the same weights and batches, in one interleaved run.

In: workload names and a folder of peer scripts (`peer_torch.py lenet` prints one JSON line; `--peers` or the
environment variable GRAPHRT_PEERS). Out: a table per workload, or with `--json` the peers' JSON lines.

Every round runs each contestant once, in a process of its own, one after the other (A B C, A B C, ...), so that a
machine that changes speed changes it for all of them. A process trains an untimed first window (its duration is the
first-call time: tracing and compiling included) and then `--windows` timed ones. Before each round the machine's
FMA ceiling is measured. Ratios are taken within a round; the table shows their median. With `--speed-of-light DIR`
hand-written C programs (see speed_of_light.py) take part in every round too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speed_of_light import VARIANTS

HERE = Path(__file__).resolve().parent
LOSS_TOLERANCE = 1e-3
TIMED_OUT = 1800  # seconds one process may take before it counts as failed


def _convolution(size: int, inputs: int, outputs: int, stride: int = 1) -> int:
    """Multiply-adds of a 3x3 convolution with a border of one pixel, those that fall into the border left out."""
    taps = 3 * size - 2 if stride == 1 else 3 * (size // stride) - 1  # along one axis
    return taps * taps * inputs * outputs


def _resnet20() -> tuple[int, ...]:
    layers, size, inputs = [_convolution(32, 3, 16)], 32, 16
    for outputs in (16, 32, 64):
        for block in range(3):
            stride = 2 if block == 0 and outputs > 16 else 1
            layers.append(_convolution(size, inputs, outputs, stride))
            size //= stride
            layers.append(_convolution(size, outputs, outputs))
            if stride == 2:
                layers.append(size * size * inputs * outputs)  # the 1x1 convolution of the shortcut
            inputs = outputs
    return (*layers, 64 * 10)


def _gpt(layers: int = 4, width: int = 128, block: int = 64, vocabulary: int = 65) -> tuple[int, ...]:
    dense = block * 12 * width * width
    attention = block * (block + 1) * width  # scores and their product with the values, causal half
    return (0, *[dense, attention] * layers, block * width * vocabulary)  # the embedding multiplies nothing


# Multiply-adds of one sample, layer by layer (convolutions: output pixels x kernel x channels).
LAYERS = {
    "lenet": (28 * 28 * 6 * 25, 10 * 10 * 16 * 150, 400 * 120, 120 * 84, 84 * 10),
    "mlp": (784 * 512, 512 * 512, 512 * 10),
    "resnet20": _resnet20(),
    "gpt": _gpt(),
    "tiny": (4 * 64, 64 * 64, 64 * 2),
}
BATCH = {"lenet": 32, "mlp": 64, "resnet20": 128, "gpt": 12, "tiny": 32}


def step_flops(workload: str) -> int:
    """Floating-point operations of one training step's contractions: forward, weight gradient, and input gradient
    of every layer but the first."""
    layers = LAYERS[workload]
    return 2 * BATCH[workload] * (3 * sum(layers) - layers[0])


@dataclass
class Contestant:
    """One framework in one mode. `results` holds the JSON line of every round."""

    name: str
    mode: str
    command: list[str]
    results: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ""
    own_steps: bool = False  # it knows itself how many steps a window has

    @property
    def title(self) -> str:
        return f"{self.name} {self.mode}".strip()

    def run(self, workload: str, options: argparse.Namespace) -> None:
        """One process; a failure is noted and ends this contestant's part in the workload."""
        command = [*self.command, workload, "--windows", str(options.windows)]
        command += ["--mode", self.mode] if self.mode else []
        command += ["--steps", str(options.steps)] if options.steps and not self.own_steps else []
        environment = dict(os.environ, BENCH_THREADS=str(options.threads), GRAPHRT_PEERS=str(options.peers))
        environment.update(options.environment)
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=TIMED_OUT)
        except subprocess.TimeoutExpired:
            self.failure = f"no result within {TIMED_OUT} s"
            return
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            self.failure = said[-1].strip()[:160] if said else f"exit code {done.returncode}"
            return
        self.results.append(json.loads(lines[-1]))


# Peer script, the module that must be importable, its modes: those that are the fastest on some workload.
PEERS = {
    "torch": ("peer_torch.py", "torch", ("", "compile")),
    "jax": ("peer_jax.py", "optax", ("scan", "jit")),
    "tf": ("peer_tf.py", "tensorflow", ("",)),
    "mindspore": ("peer_mindspore.py", "mindspore", ("",)),
    "tinygrad": ("peer_tinygrad.py", "tinygrad", ("",)),
}


# Other modes where the usual ones are not the best: a scan over convolutions takes JAX seconds per step on a CPU.
MODES = {
    ("torch", "resnet20"): ("", "compile", "channels_last"),
    ("jax", "resnet20"): ("jit",),
}


# What the user of graphrt may ask for beyond float32 and direct convolutions, reported beside them.
OPTIONS = {"resnet20": ("winograd",), "mlp": ("bf16",), "gpt": ("bf16",)}


def contestants(workload: str, options: argparse.Namespace) -> list[Contestant]:
    """graphrt, every peer that is installed for its interpreter, and the C programs if they were asked for."""
    own = [sys.executable, str(HERE / "bench_graphrt.py")]
    result = [Contestant("graphrt", mode, own) for mode in ("", *OPTIONS.get(workload, ()))]
    for name, (script, module, modes) in PEERS.items():
        python = _python(name, options)
        path = options.peers / script
        if (
            (options.only and name not in options.only)
            or not path.exists()
            or not _importable(python, module)
        ):
            continue
        modes = MODES.get((name, workload), modes)
        result += [Contestant(name, mode, [python, str(path)]) for mode in modes]
    if options.speed_of_light is not None and workload in VARIANTS:
        # the reference losses of one program are computed with torch
        command = [_python("torch", options), str(HERE / "speed_of_light.py")]
        result += [Contestant("C", mode, command, own_steps=True) for mode in VARIANTS[workload]]
    return result


def _python(peer: str, options: argparse.Namespace) -> str:
    return options.python.get(peer, options.python.get("", sys.executable))


def _importable(python: str, module: str) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    try:
        return subprocess.run([python, "-c", code], capture_output=True).returncode == 0
    except OSError:
        return False


@dataclass
class Measured:
    """All rounds of one workload."""

    workload: str
    threads: int
    contestants: list[Contestant]
    peaks: list[float]  # measured FMA ceilings, operations per second
    rounds: int

    def rows(self) -> list[dict[str, Any]]:
        """One summary per contestant that finished at least one round; `ratio` is its time over graphrt's."""
        own = self.contestants[0].results
        peak = max(self.peaks)
        rows = []
        for contestant in (c for c in self.contestants if c.results):
            results = contestant.results
            best = min(r["step_ms"] for r in results)
            ratios = [a["step_ms"] / b["step_ms"] for a, b in zip(results, own)]
            rows.append(
                {
                    **results[0],
                    "step_ms": best,
                    "median_ms": statistics.median(r["median_ms"] for r in results),
                    "rounds_ms": [r["step_ms"] for r in results],
                    "ratio": round(statistics.median(ratios), 3) if ratios else None,
                    "first_call_s": min(
                        (r["first_call_s"] for r in results if r["first_call_s"]), default=None
                    ),
                    "samples_per_s": max(r["samples_per_s"] for r in results),
                    "rss_mb": max(r["rss_mb"] for r in results),
                    "fma_gflops": round(peak / 1e9, 1),
                    "peak_percent": round(100 * step_flops(self.workload) / (best * 1e-3) / peak, 2),
                    "losses_agree": abs(results[0]["losses"][0] - own[0]["losses"][0]) <= LOSS_TOLERANCE
                    if own
                    else None,
                }
            )
        return rows

    def table(self) -> str:
        head = ("", "ms/step", "median", "x graphrt", "first call s", "peak MB", "% FMA", "first loss")
        body = [
            (
                f"{row['peer']} {row['mode']}".strip(),
                f"{row['step_ms']:.4f}",
                f"{row['median_ms']:.4f}",
                "" if row["ratio"] is None else f"{row['ratio']:.2f}",
                "" if row["first_call_s"] is None else f"{row['first_call_s']:.2f}",
                f"{row['rss_mb']}",
                f"{row['peak_percent']:.1f}",
                f"{row['losses'][0]:.5f}" + ("  DIFFERS" if row["losses_agree"] is False else ""),
            )
            for row in self.rows()
        ]
        widths = [max(len(line[k]) for line in [head, *body]) for k in range(len(head))]
        lines = [
            "  ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(r, widths)))
            for r in [head, *body]
        ]
        title = (
            f"{self.workload}: {self.rounds} rounds, {self.threads} threads, batch {BATCH[self.workload]}, "
            f"{step_flops(self.workload) / 1e6:.1f} Mflop per step, FMA ceiling {max(self.peaks) / 1e9:.0f} Gflop/s"
        )
        failed = [f"{c.title}: {c.failure}" for c in self.contestants if c.failure]
        return "\n".join([title, lines[0], "-" * len(lines[0]), *lines[1:], *failed])


def measure(workload: str, options: argparse.Namespace, peaks: list[float]) -> Measured:
    """Run all rounds of one workload; says on stderr what it is doing. Ceilings measured are added to `peaks`: the
    highest of the whole run counts, for a busy machine can only make it look lower."""
    from graphrt.codegen.machine import FmaProbe

    probe, running = FmaProbe(), contestants(workload, options)
    for number in range(options.rounds):
        peaks.append(probe.measure(options.threads))
        for contestant in running:
            if not contestant.failure:
                print(f"{workload}: round {number + 1}/{options.rounds}: {contestant.title}", file=sys.stderr)
                contestant.run(workload, options)
    return Measured(workload, options.threads, running, peaks, options.rounds)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.py", description="Training speed of graphrt beside its peers."
    )
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(LAYERS)} (default: all)"
    )
    parser.add_argument("--peers", type=Path, help="folder with common.py and the peer scripts")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="interpreter of a peer, or of all peers",
    )
    parser.add_argument(
        "--only", action="append", default=[], choices=list(PEERS), help="measure only these peers"
    )
    parser.add_argument(
        "--speed-of-light", type=Path, metavar="DIR", help="also run the C programs in this folder"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--windows", type=int, default=5, help="timed windows per process")
    parser.add_argument("--steps", type=int, help="steps per window (default: the workload's own)")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON line per contestant instead of tables"
    )
    options = parser.parse_args(argv)
    unknown = [name for name in options.workloads if name not in LAYERS]
    if unknown:
        parser.error(f"unknown workload {unknown[0]!r} (choose from {', '.join(LAYERS)})")
    for name in ("threads", "rounds", "windows"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    options.workloads = options.workloads or list(LAYERS)
    options.peers = options.peers or _default_peers()
    if options.peers is None or not (options.peers / "common.py").exists():
        parser.error(
            "no peers' folder: give --peers DIR or set GRAPHRT_PEERS (the folder that holds common.py)"
        )
    if options.speed_of_light is not None and not (options.speed_of_light / "dump.py").exists():
        parser.error(f"--speed-of-light: {options.speed_of_light} holds no dump.py")
    options.environment = {}
    named = [item.split("=", 1) if "=" in item else ["", item] for item in options.python]
    wrong = [name for name, _ in named if name and name not in PEERS]
    if wrong:
        parser.error(f"--python names {wrong[0]!r}; the peers are {', '.join(PEERS)}")
    options.python = dict(named)
    return options


def _default_peers() -> Path | None:
    if "GRAPHRT_PEERS" in os.environ:
        return Path(os.environ["GRAPHRT_PEERS"])
    beside = HERE.parent.parent / "shared" / "bench" / "peers"
    return beside if beside.exists() else None


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 when graphrt finished everywhere and every first-window loss agrees with it."""
    options = parse(argv)
    with tempfile.TemporaryDirectory(prefix="graphrt-bench-") as scratch:
        if options.speed_of_light is not None:
            options.environment = {
                "GRAPHRT_SPEED_OF_LIGHT": str(options.speed_of_light), "GRAPHRT_SCRATCH": scratch,
            }  # fmt: skip
        return run(options)


def run(options: argparse.Namespace) -> int:
    """Measure and print every workload; the exit code."""
    agreed, peaks = True, []
    for workload in options.workloads:
        measured = measure(workload, options, peaks)
        rows = measured.rows()
        agreed = agreed and bool(measured.contestants[0].results) and all(row["losses_agree"] for row in rows)
        if options.json:
            for row in rows:
                print(json.dumps(row), flush=True)
        else:
            print(measured.table(), end="\n\n", flush=True)
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
