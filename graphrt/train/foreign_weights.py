"""What a file of weights is that is not safetensors, and how to make one of it.

In: the first bytes of a file. Out: a CheckpointError that names the program it comes from and the lines that convert it
there, or None for a file nobody knows. Nothing of the file is loaded: pickles run code.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import CheckpointError
from ..frontend.location import user_source

_LONGEST_NAME = 4096


def foreign_file(content: bytes, path: Path) -> CheckpointError | None:
    """The error for a file of another program; None if it is not recognised."""
    target = path.with_suffix(".safetensors").name
    first = mindspore_name(content)
    if first is not None:
        kind = f"a checkpoint of MindSpore (protobuf); its first parameter is {first!r}"
        where, lines = "MindSpore", [
            "from mindspore import load_checkpoint",
            "from safetensors.numpy import save_file",
            f'save_file({{name: p.asnumpy() for name, p in load_checkpoint("{path.name}").items()}}, "{target}")',
        ]  # fmt: skip
    elif content.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x04")):
        kind = "a zip archive or pickle: of PyTorch, or of NumPy"
        where, lines = "PyTorch", [
            "import torch",
            "from safetensors.torch import save_file",
            f'save_file(torch.load("{path.name}", weights_only=True), "{target}")',
        ]  # fmt: skip
    else:
        return None
    program = "\n".join(f"              {line}" for line in lines)
    return CheckpointError(
        f"not a safetensors file: {path}", at=user_source(), expected="what graphrt.save_checkpoint writes", given=kind,
        fix=f"where {where} is installed, run\n{program}\n            and load {target}",
    )  # fmt: skip


def mindspore_name(content: bytes) -> str | None:
    """The name of the first parameter, if the file is a MindSpore checkpoint: field 1 of the file is a message whose
    field 1 is a name."""
    length = start = 0
    for _ in range(2):
        if content[start : start + 1] != b"\n":  # field 1, something with a length
            return None
        length, start = _varint(content, start + 1)
        if not 0 < length <= len(content) - start:
            return None
    if length > _LONGEST_NAME:
        return None
    try:
        text = content[start : start + length].decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """The number at a position in protobuf's encoding (7 bits per byte, lowest first), and the position after it."""
    value = 0
    for k, byte in enumerate(content[at : at + 10]):
        value |= (byte & 0x7F) << (7 * k)
        if byte < 0x80:
            return value, at + k + 1
    return 0, at
