"""Lowered steps kept in the compile cache: a graph seen before skips passes, scheduling and code emission.

In: the text of a graph, the target, the thread count and settings (`step_key`); a `LoweredStep`
(`encode`). Out: the entry's name; the step from its bytes (`decode`), or None where the bytes are no step.

The key holds the source code of the compiler itself: any edit of it makes all entries unreachable.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from functools import cache as once
from pathlib import Path
from typing import Any

import numpy as np

from ..dtypes import as_dtype
from ..errors import GraphrtError
from ..ir import Graph, TensorType
from ..ir.text import to_text
from . import cache
from .lowered import Binding, LoweredStep
from .target import Target

# What decides the text of a step, from the graph on.
_SOURCES = ("compiler.py", "dtypes.py", "ir", "ops", "passes", "loops", "schedule", "kernels", "codegen")


def step_key(graph: Graph, target: Target, threads: int, settings: Sequence[str] = ()) -> str | None:
    """The name of the entry for `graph` as traced, or None if its step must not be kept. `settings`: whatever else the
    compiler was told."""
    source = source_digest()
    if source is None:
        return None
    facts = (target.triple, target.cpu, target.features, str(target.lanes), str(threads), *settings)
    return cache.key("step", to_text(graph), *facts, cache.product_version(), source)


@once
def source_digest() -> str | None:
    """SHA-256 of the compiler's source code; None if it cannot be read or is newer than this process, which then
    runs something else than what the files say."""
    package = sys.modules[__name__.partition(".")[0]]
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    try:
        for name in _SOURCES:
            place = root / name
            files = [place] if place.suffix else sorted(place.rglob("*.py"))
            for file in files:
                if file.stat().st_mtime_ns >= package._imported_at:
                    return None
                content = file.read_bytes()
                digest.update(f"{file.relative_to(root)} {len(content)}\n".encode() + content)
    except OSError:  # the package is not made of files
        return None
    return digest.hexdigest()


def encode(step: LoweredStep) -> bytes:
    """One line of JSON, then the bytes of the constants."""
    values = [np.ascontiguousarray(b.value).tobytes() for b in step.bindings if b.value is not None]
    facts: dict[str, Any] = {
        "name": step.name,
        "text": step.text,
        "declarations": sorted(step.declarations),
        "bindings": [
            [b.kind, b.label, b.type.dtype.name, list(b.type.shape), b.value is not None]
            for b in step.bindings
        ],
        "arena_bytes": step.arena_bytes,
        "parallel": step.parallel,
        "updates": list(step.updates),
        "scratch_bytes": step.scratch_bytes,
        "threads": step.threads,
        "early": step.early,
        "tentative": step.tentative,
        "kernels": list(step.kernels),
    }
    return b"\n".join([json.dumps(facts).encode(), b"".join(values)])


def decode(data: bytes) -> LoweredStep | None:
    """The step `encode` was given; None for anything else."""
    try:
        line, _, rest = data.partition(b"\n")
        facts = json.loads(line)
        bindings = []
        position = 0
        for kind, label, dtype, shape, has_value in facts["bindings"]:
            type = TensorType(tuple(shape), as_dtype(dtype))
            value = None
            if has_value:
                value = np.frombuffer(rest, type.dtype.numpy, type.size, position).reshape(type.shape)
                position += type.bytes
            bindings.append(Binding(kind, label, type, value))
        return LoweredStep(
            name=facts["name"],
            text=facts["text"],
            declarations=frozenset(facts["declarations"]),
            bindings=tuple(bindings),
            arena_bytes=facts["arena_bytes"],
            parallel=facts["parallel"],
            updates=tuple(facts["updates"]),
            scratch_bytes=facts["scratch_bytes"],
            threads=facts["threads"],
            early=facts["early"],
            tentative=facts["tentative"],
            kernels=tuple(facts["kernels"]),
        )
    except (ValueError, TypeError, KeyError, GraphrtError):
        return None
