"""Names of parameters: from other frameworks' to ours, and what may have been meant where names do not match.

In: names of a file, a network, a map given by the user. Out: renamed entries, and texts for messages.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, CheckpointError
from ..frontend.cell import Cell
from ..frontend.location import user_source
from ..frontend.parameter import Parameter

NameMap = Mapping[str, str | None] | Callable[[str], str | None]

_SHOWN = 8  # names in one message
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def torch_names(net: Cell) -> dict[str, str | None]:
    """PyTorch's name of every parameter of `net` -> ours, for `load_checkpoint(file, name_map=torch_names(net))`.

    Cells and their attributes are expected to have the same names in both programs. What differs below that:
    BatchNorm, LayerNorm and other norms (weight, bias, running_mean, running_var there; gamma, beta, moving_mean,
    moving_variance here) and Embedding (weight there; embedding_table here). `num_batches_tracked` is left out.
    """
    names: dict[str, str | None] = {}
    for path, cell in net.cells_and_names():
        prefix = f"{path}." if path else ""
        is_norm = "gamma" in cell._params
        for attribute, parameter in cell._params.items():
            theirs = _NORM.get(attribute, attribute) if is_norm else attribute
            theirs = "weight" if theirs == "embedding_table" else theirs
            names[prefix + theirs] = parameter.name
        if is_norm:
            names[f"{prefix}num_batches_tracked"] = None
    return names


def mapped(
    arrays: Mapping[str, np.ndarray], name_map: NameMap | None, path: Path
) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays under their new names. Raises CheckpointError if two would have the same."""
    if name_map is not None and not isinstance(name_map, Mapping) and not callable(name_map):
        raise ArgumentError(
            "load_checkpoint: name_map must be a dict or a function of a name", at=user_source(),
            given=type(name_map).__name__,
        )  # fmt: skip
    origin: dict[str, str] = {}
    for name, array in arrays.items():
        new: Any = name
        if isinstance(name_map, Mapping):
            new = name_map.get(name, name)
        elif name_map is not None:
            new = name_map(name)
        if new is None:
            continue
        if not isinstance(new, str) or not new:
            raise ArgumentError(
                "load_checkpoint: name_map gives no name", at=user_source(),
                expected="a string, or None to leave the entry out", given=f"{new!r} for {name!r}",
            )  # fmt: skip
        if new in origin:
            raise CheckpointError(
                f"name_map gives two entries of {path} the same name", at=user_source(),
                given=f"{origin[new]!r} and {name!r} -> {new!r}",
            )  # fmt: skip
        origin[new] = name
        yield new, array


def look_like_torch(missing: Sequence[str], available: Sequence[str]) -> bool:
    """Whether a missing gamma or embedding_table is there under the name PyTorch gives it."""
    found = set(available)
    return any(
        name.removesuffix(ours) + "weight" in found
        for name in missing
        for ours in ("gamma", "embedding_table")
        if name.endswith(ours)
    )


def is_random_key(parameter: Parameter) -> bool:
    """Whether it is the key of a random stream (uint32[2], see frontend/random.py) and not something learned."""
    return parameter.dtype.name == "uint32" and parameter.shape == (2,) and not parameter.requires_grad


def not_loaded_text(missing: Sequence[str], available: Sequence[str]) -> str:
    """The missing names, each with the name among `available` that comes closest."""
    parts = []
    for name in missing[:_SHOWN]:
        near = closest(name, available)
        parts.append(f"{name} (did you mean {near}?)" if near else name)
    if len(missing) > _SHOWN:
        parts.append(f"and {len(missing) - _SHOWN} more")
    return ", ".join(parts)


def closest(name: str, available: Sequence[str]) -> str | None:
    """The most similar name: one that only differs by a prefix, else by spelling; None if none is similar."""
    for other in available:
        if other.endswith(f".{name}") or name.endswith(f".{other}"):
            return other
    near = difflib.get_close_matches(name, available, n=1, cutoff=0.6)
    return near[0] if near else None
