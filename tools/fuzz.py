"""Random graphs through native code and the reference interpreter until they differ.

    python tools/fuzz.py --graphs 10000 --seed 0 [--target haswell] [--threads 1 2] [--failures fuzz_failures]

In: how many graphs, from which seed. Out: a line per failure with its seed, and a file with the shrunk graph as IR
text that `tests/native/test_repros.py` replays once it is copied to tests/native/repros. The exit status is 1 after
any failure. Every graph is tried in one of the `PROFILES`; all have forward, gradient and update nodes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--graphs", type=int, default=1000, help="how many graphs to try")
    parser.add_argument("--seed", type=int, default=0, help="the first graph's seed; the next ones count up")
    parser.add_argument("--target", help="a processor graphrt knows (default: this machine)")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1], help="thread counts to try each graph with"
    )
    parser.add_argument(
        "--failures", type=Path, default=Path("fuzz_failures"), help="folder for failing graphs"
    )
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    options = arguments(given)
    if options.target:
        os.environ["GRAPHRT_TARGET"] = options.target
    from differential import PROFILES, failure, smallest_failure, write_repro
    from random_graphs import random_graph

    failed, start = 0, time.monotonic()
    names = list(PROFILES)
    for number in range(options.graphs):
        seed = options.seed + number
        name = names[seed % len(names)]
        profile: dict[str, Any] = PROFILES[name]
        exact = profile.get("exact", False)
        graph = random_graph(seed, **profile)
        for threads in options.threads:
            reason = failure(graph, seed, exact, threads)
            if reason is None:
                continue
            failed += 1
            print(f"seed {seed} ({name}, {threads} threads): {reason.splitlines()[0]}", flush=True)
            small = smallest_failure(graph, seed, exact, threads)
            reason = failure(small, seed, exact, threads) or reason
            print(
                f"  {write_repro(options.failures, f'{name}{seed}', small, seed, reason, exact)}", flush=True
            )
            break
        if (number + 1) % 500 == 0:
            rate = (number + 1) / (time.monotonic() - start)
            print(f"{number + 1} graphs, {failed} failed, {rate:.0f} a second", flush=True)
    print(f"{options.graphs} graphs, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
