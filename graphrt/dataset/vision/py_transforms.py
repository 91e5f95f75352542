"""The module name release 1.1 gave these transforms."""

from . import *  # noqa: F403
from . import __all__ as __all__
