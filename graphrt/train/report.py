"""What callbacks share: printing beside the progress bar, and the loss as a number.

In: text, or what a step returned. Out: a printed line; a float32.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def emit(text: str) -> None:
    """Print a line, above the progress bar if one is shown."""
    tqdm = sys.modules.get("tqdm")
    if tqdm is not None:
        tqdm.tqdm.write(text)
        sys.stdout.flush()
    else:
        print(text, flush=True)


def last_loss(net_outputs: Any) -> np.float32:
    """The loss among what a step returned (the first of several), averaged if it is not a scalar."""
    if isinstance(net_outputs, (tuple, list)):
        net_outputs = net_outputs[0]
    return np.float32(np.mean(np.asarray(net_outputs)))
