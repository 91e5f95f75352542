"""A part of the kernel tests again, in a process that generates code for eight lanes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from graphrt.codegen.target import target

FOLDER = Path(__file__).parent
SUBSET = " or ".join(
    [
        "test_matrix_products", "at_every_batch", "every_set_of_axes", "element_types", "views_of_views", "test_windows",
        "that_test_their_edges", "depthwise", "masks_and_bits", "bias_gradients", "training_steps_with_pooling",
    ]
)  # fmt: skip


@pytest.mark.skipif(not target("haswell").is_host_compatible, reason="this machine cannot run AVX2 code")
def test_eight_lanes() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(FOLDER), "-k", SUBSET]
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "GRAPHRT_TARGET": "haswell"},
        cwd=FOLDER.parents[1],
    )
    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-1000:]
    assert "passed" in found.stdout
