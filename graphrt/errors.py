"""Every error graphrt raises on purpose: one readable block that names the place, the facts and the fix.

In: what went wrong, and where known the Cell path, the user's line, what was expected, what was given, the fix.
Out: an exception whose text is exactly

    <what went wrong>
      cell:     LeNet5.conv1 (Conv2d)
      at:       model.py:14
      expected: float32[N, 1, H, W]
      given:    float32[32, 784]
      fix:      ...

with the lines that are not known left out.
"""

from __future__ import annotations

from typing import Any


class GraphrtError(Exception):
    """Base of all graphrt errors.

    `cell` is a Cell path, `at` a "file:line" of the user's code (an `ir.Source` also works: it fills both).
    """

    def __init__(
        self,
        message: str,
        *,
        cell: str | None = None,
        at: object | None = None,
        expected: object | None = None,
        given: object | None = None,
        fix: str | None = None,
    ):
        if at is not None and hasattr(at, "cell"):
            source: Any = at
            cell = cell or source.cell or None
            at = f"{source.file}:{source.line}" if source.file else None
        self.message, self.cell, self.at = message, cell, at
        self.expected, self.given, self.fix = expected, given, fix
        super().__init__(self._text())

    def _text(self) -> str:
        fields = {
            "cell": self.cell,
            "at": self.at,
            "expected": self.expected,
            "given": self.given,
            "fix": self.fix,
        }
        lines = [self.message]
        lines += [f"  {name + ':':<10}{value}" for name, value in fields.items() if value not in (None, "")]
        return "\n".join(lines)


class ShapeError(GraphrtError, ValueError):
    """Shapes do not fit together."""


class DTypeError(GraphrtError, TypeError):
    """An element type is not accepted here."""


class ArgumentError(GraphrtError, ValueError):
    """An argument has an unusable value."""


class TraceError(GraphrtError, TypeError):
    """`construct` did something that cannot become part of a graph."""


class DataError(GraphrtError, ValueError):
    """A dataset is missing, empty, damaged or inconsistent."""


class DataWarning(UserWarning):
    """A dataset can be used, but not as it seems to be meant: it is slow, or shorter than it promised."""


class NonFiniteError(GraphrtError, ValueError):
    """Training produced NaN or infinity."""


class CheckpointError(GraphrtError, ValueError):
    """A file of weights or training state cannot be written, is damaged, or does not fit what it is loaded into."""


class ExportError(GraphrtError, ValueError):
    """A network cannot be exported, or the exported file does not reproduce it."""


class CompileError(GraphrtError, RuntimeError):
    """The compiler cannot lower a graph to native code; the message names the op."""


class VerifyError(GraphrtError, ValueError):
    """A graph breaks a rule of the IR (raised after the pass that broke it)."""


class ParseError(GraphrtError, ValueError):
    """Text is not a graph in graphrt's IR syntax."""
