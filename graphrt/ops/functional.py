"""`from graphrt.ops import functional as F`: the functions of `graphrt.ops` under MindSpore's module name."""

from ..frontend.functional import *  # noqa: F403
from ..frontend.functional import __all__  # noqa: F401
