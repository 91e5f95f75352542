"""`graphrt.common.dtype`: the element types where early releases kept them; they are `graphrt.dtype`'s."""

from ..dtype import *  # noqa: F403
from ..dtype import __all__ as __all__
