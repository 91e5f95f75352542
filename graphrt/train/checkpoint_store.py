"""A directory of checkpoints: files of arrays, each sealed by a manifest with its SHA-256.

    CKP-3_120.safetensors    the arrays and, as text beside them, the state of the training run
    CKP-3_120.json           the manifest, written last: what the other file must be for the checkpoint to count

In: contents to save. Out: the newest checkpoint that is whole, and for each newer one why it is not. Manifests are
numbered in the order they were written, so "newest" needs no clock.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..frontend.location import user_source
from . import durable, weights_file
from .checkpoint import not_written
from .weights_file import WeightsFile

FORMAT = 1  # of the manifest; readers refuse what they do not know
_MANIFEST_LIMIT = 1 << 16  # bytes: manifests have some 400
_MANIFEST = re.compile(r"(?P<prefix>.+)-(?P<epoch>\d+)_(?P<step>\d+)\.json")


@dataclass(frozen=True)
class Manifest:
    """`number`: counts the checkpoints of a directory in the order they were saved, from 1. `path`: the file of arrays it seals."""

    path: Path
    prefix: str
    number: int
    epoch: int
    step: int
    size: int
    sha256: str

    @property
    def seal(self) -> Path:
        """The manifest's own file."""
        return self.path.with_suffix(".json")


@dataclass(frozen=True)
class Rejected:
    """A checkpoint that does not count, and why."""

    path: Path
    reason: str
    damaged: bool  # it once was whole; otherwise it was never finished

    def __str__(self) -> str:
        return f"{self.path.name}: {self.reason}"


def save(path: Path, content: bytes, *, epoch: int, step: int, number: int) -> Manifest:
    """Write the arrays `content` to `path` (PREFIX-EPOCH_STEP.safetensors) and seal them.

    Raises CheckpointError if the system refuses; all other checkpoints are then as they were.
    """
    digest = hashlib.sha256(content).hexdigest()
    manifest = Manifest(path, prefix_of(path) or "", number, epoch, step, len(content), digest)
    try:
        durable.publish(path.parent, [(path.name, content), (manifest.seal.name, _text(manifest))])
    except OSError as error:
        raise not_written(path, len(content), error) from error
    return manifest


def _text(manifest: Manifest) -> bytes:
    facts = {
        "format": FORMAT, "number": manifest.number, "epoch": manifest.epoch, "step": manifest.step,
        "file": manifest.path.name, "bytes": manifest.size, "sha256": manifest.sha256,
    }  # fmt: skip
    return json.dumps({**facts, "seal": _digest(facts)}, indent=1).encode() + b"\n"


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_manifest(seal: Path) -> Manifest:
    """A manifest's content. Raises CheckpointError saying what is wrong with it."""
    try:
        facts = json.loads(weights_file.read_bytes(seal, _MANIFEST_LIMIT))
        claimed = facts.pop("seal")
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise _unsealed(seal, "the manifest is damaged") from error
    if facts.get("format") != FORMAT:
        raise _unsealed(seal, f"a manifest of format {facts.get('format')!r}, this version knows {FORMAT}")
    match = _MANIFEST.fullmatch(seal.name)
    path = seal.with_suffix(weights_file.SUFFIX)
    if match is None or claimed != _digest(facts) or facts.get("file") != path.name:
        raise _unsealed(seal, "the manifest is damaged, or was renamed")
    numbers = [facts.get(name) for name in ("number", "epoch", "step", "bytes")]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise _unsealed(seal, "the manifest is damaged")
    number, epoch, step, size = numbers
    return Manifest(path, match["prefix"], number, epoch, step, size, str(facts.get("sha256")))


def _unsealed(seal: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"not a whole checkpoint: {seal}", at=user_source(), given=reason)


def manifests(directory: Path) -> tuple[list[Manifest], list[Rejected]]:
    """The manifests in a directory, newest first, and what only looks like a checkpoint. Contents are not read."""
    found: list[Manifest] = []
    rejected: list[Rejected] = []
    try:
        names = sorted(entry.name for entry in directory.iterdir())
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise CheckpointError(
            f"the directory of checkpoints cannot be read: {directory}", at=user_source(),
            given=error.strerror or str(error),
        ) from error  # fmt: skip
    present = set(names)
    for name in names:
        path = directory / name
        if _MANIFEST.fullmatch(name) and path.with_suffix(weights_file.SUFFIX).name in present:
            try:
                found.append(read_manifest(path))
            except CheckpointError as error:
                rejected.append(Rejected(path, str(error.given), damaged=True))
        elif (
            path.suffix == weights_file.SUFFIX
            and _MANIFEST.fullmatch(path.with_suffix(".json").name)
            and path.with_suffix(".json").name not in present
        ):
            rejected.append(Rejected(path, "it has no manifest: saving was not finished", damaged=False))
    found.sort(key=lambda manifest: manifest.number, reverse=True)
    return found, rejected


def load(manifest: Manifest) -> WeightsFile:
    """The arrays a manifest seals. Raises CheckpointError if they are not what was saved."""
    content = weights_file.read_bytes(manifest.path)
    if len(content) != manifest.size:
        raise weights_file.damaged(manifest.path, f"it has {len(content)} bytes, {manifest.size} were saved")
    if hashlib.sha256(content).hexdigest() != manifest.sha256:
        raise weights_file.damaged(manifest.path, "its content is not what was saved (SHA-256 differs)")
    return weights_file.decode(content, manifest.path)


def load_for_resume(place: Path) -> tuple[Manifest, WeightsFile] | None:
    """The checkpoint `place`, or the newest whole one of the directory `place`.

    None if the directory is missing or holds no finished checkpoint: training then begins at the beginning. Warns of
    everything newer that was skipped, with the reason. Raises CheckpointError if checkpoints are there and all of them
    are damaged, or if the file asked for is not a whole checkpoint.
    """
    if place.suffix in (weights_file.SUFFIX, ".json") and not place.is_dir():
        manifest = _manifest_of(place)
        return manifest, load(manifest)
    found, rejected = manifests(place)
    for manifest in found:
        try:
            content = load(manifest)
        except CheckpointError as error:
            rejected.append(Rejected(manifest.path, str(error.given), damaged=True))
            continue
        _warn_skipped(rejected)
        return manifest, content
    if any(one.damaged for one in rejected):
        raise CheckpointError(
            f"no checkpoint in {place} is whole", at=user_source(), expected="at least one",
            given="; ".join(map(str, rejected)),
            fix="restore one from another copy, or name another directory to begin anew",
        )  # fmt: skip
    _warn_skipped(rejected)
    return None


def _manifest_of(place: Path) -> Manifest:
    seal = place.with_suffix(".json")
    if not place.exists() or not seal.exists():
        raise CheckpointError(
            f"training cannot be resumed from {place}", at=user_source(),
            expected=f"{place.with_suffix(weights_file.SUFFIX).name} and {seal.name}, as ModelCheckpoint writes them",
            given="no such file" if not place.exists() else f"{seal.name} is missing",
            fix="name the directory of the checkpoints, or load weights alone with graphrt.load_checkpoint",
        )  # fmt: skip
    return read_manifest(seal)


def _warn_skipped(rejected: list[Rejected]) -> None:
    if rejected:
        warnings.warn(f"checkpoints skipped: {'; '.join(map(str, rejected))}", RuntimeWarning, stacklevel=6)


def prune(directory: Path, prefix: str, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints of a run. Seals go first: what is half deleted does not count."""
    found, _ = manifests(directory)
    for manifest in [one for one in found if one.prefix == prefix][keep:]:
        discard(manifest)


def clear_unfinished(directory: Path, prefix: str, mark: str) -> None:
    """Delete what a process left that was killed between a file and its seal: unsealed files of this prefix whose
    text has the entry `mark` (other files of such names belong to somebody else)."""
    for one in manifests(directory)[1]:
        if not one.damaged and prefix_of(one.path) == prefix:
            try:
                if mark in weights_file.read(one.path).metadata:
                    durable.remove([one.path])
            except (CheckpointError, OSError):
                continue  # it stays, and is skipped


def prefix_of(path: Path) -> str | None:
    """The prefix in the name of a checkpoint; None for other names."""
    match = _MANIFEST.fullmatch(path.with_suffix(".json").name)
    return None if match is None else match["prefix"]


def discard(manifest: Manifest) -> None:
    """Delete one checkpoint; a warning if the system refuses."""
    try:
        durable.remove([manifest.seal, manifest.path])
    except OSError as error:
        warnings.warn(
            f"an old checkpoint could not be deleted: {manifest.path}: {error.strerror}", stacklevel=2
        )
