"""One benchmark workload as a hand-written C program: builds it, runs it, and reports like the peers' scripts.

In: a workload, and a folder with `<workload>.c` and `dump.py` (in GRAPHRT_SPEED_OF_LIGHT), which are built and run in a
scratch folder (GRAPHRT_SCRATCH) so that several rounds build once. Out: one JSON line. Modes are variants of a program.
A window has as many steps as the program's own; there is no first call to time, so that is reported as null.
Needs a C compiler and a processor with AVX-512.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

BATCH = {"lenet": 32, "resnet20": 128, "gpt": 12}
# Options of each variant, after the build lines in the programs' first comments; the first variant does all arithmetic.
VARIANTS = {
    "lenet": {"dense": "", "sparse": "-DSPARSE -DOPTB"},
    "resnet20": {"direct": "-DWINO=0 -DBWW=0 -DRB2=8", "winograd": ""},
    "gpt": {"": ""},
}
FLAGS = "-O3 -march=icelake-server -mprefer-vector-width=512 -pthread -w"


def build(source: Path, workload: str, mode: str, scratch: Path) -> Path:
    """The program, built in a folder of its own that also holds the data it reads; CalledProcessError if that fails."""
    folder = scratch / f"{workload}_{mode}"
    program = folder / "program"
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, str(source / "dump.py"), workload], cwd=folder, check=True)
    compiler = shutil.which("clang") or shutil.which("gcc") or "cc"
    options = [*FLAGS.split(), *VARIANTS[workload][mode].split()]
    output = (
        folder / "building"
    )  # renamed when complete: a build that was interrupted is not taken for a program
    command = [compiler, *options, str(source / f"{workload}.c"), "-o", str(output), "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    return output.rename(program)


def parse(text: str) -> dict[str, object]:
    """What a program prints about losses and times, in the peers' words; ValueError if it did not."""
    losses = re.search(r"^losses:((?: \S+)*)", text, re.MULTILINE)
    times = re.search(r"^threads \d+: min ([\d.]+) ms/step, median ([\d.]+)", text, re.MULTILINE)
    if losses is None or times is None:
        raise ValueError("the program printed no losses or no times")
    values = [float(value) for value in re.findall(r"[\d.]+", losses[1].split("(")[0])]
    return {"step_ms": float(times[1]), "median_ms": float(times[2]), "losses": values}


def main() -> None:
    parser = argparse.ArgumentParser(description="A benchmark workload as a hand-written C program.")
    parser.add_argument("workload", choices=list(VARIANTS))
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--mode", default="")
    options = parser.parse_args()
    if options.mode not in VARIANTS[options.workload]:
        parser.error(f"the variants of {options.workload} are {', '.join(VARIANTS[options.workload])}")
    threads = int(os.environ.get("BENCH_THREADS", "2"))
    source, scratch = (Path(os.environ[name]) for name in ("GRAPHRT_SPEED_OF_LIGHT", "GRAPHRT_SCRATCH"))
    program = build(source.resolve(), options.workload, options.mode, scratch)
    # their first window warms up, as the first one of the peers does
    command = [str(program), str(threads), str(options.windows + 1)]
    done = subprocess.run(command, cwd=program.parent, check=True, capture_output=True, text=True)
    found = parse(done.stdout)
    record = {
        "peer": "C", "mode": options.mode, "workload": options.workload, "threads": threads, "first_call_s": None,
        **found, "samples_per_s": round(BATCH[options.workload] / (float(str(found["step_ms"])) * 1e-3)),
        "rss_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }  # fmt: skip
    print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
