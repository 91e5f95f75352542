"""The functions of a step's kernels, each different one once.

In: kernels, as they are built. Out: the name of the function of each, the texts of all, and what these need declared.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection

from ..loops import ir
from .emit import emit
from .target import PORTABLE, Instructions

NewFunction = Callable[[str, set[str]], None]  # its text and its declarations


class KernelFunctions:
    """Kernels of equal text share a function, which has the name of the first of them."""

    def __init__(self, instructions: Instructions = PORTABLE, on_new: NewFunction | None = None):
        """`instructions` of the processor. `on_new` hears of every function as soon as there is its text."""
        self._instructions, self._on_new = instructions, on_new
        self._names: dict[ir.Kernel, str] = {}
        self._known: dict[str, str] = {}  # function text without its name -> name
        self.texts: list[str] = []
        self.declarations: set[str] = set()

    def name(self, kernel: ir.Kernel) -> str:
        """The name of the function of `kernel`."""
        if kernel not in self._names:
            text, declarations = emit(kernel, self._instructions)
            anonymous = text.replace(f"@{kernel.name}(", "@(", 1)
            if anonymous not in self._known:
                name = _free_name(kernel.name, self._known.values())
                self._known[anonymous] = name
                text = anonymous.replace("@(", f"@{name}(", 1)
                self.texts.append(text)
                self.declarations |= declarations
                if self._on_new is not None:
                    self._on_new(text, declarations)
            self._names[kernel] = self._known[anonymous]
        return self._names[kernel]


def _free_name(name: str, taken: Collection[str]) -> str:
    """`name`, with a number if it is taken: a kernel may be divided in two ways."""
    numbered = (f"{name}.{number}" for number in itertools.count(2))
    return name if name not in taken else next(other for other in numbered if other not in taken)
