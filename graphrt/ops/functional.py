"""`from graphrt.ops import functional as F`: the functions of `graphrt.ops` under MindSpore's module name."""

from functools import partial

from ..frontend import (
    functional,
    functional_arrays,
    functional_inverse,
    functional_linear,
    functional_losses,
    functional_math,
    functional_random,
)
from ..frontend.functional import *  # noqa: F403
from ..frontend.functional_arrays import *  # noqa: F403
from ..frontend.functional_inverse import *  # noqa: F403
from ..frontend.functional_linear import *  # noqa: F403
from ..frontend.functional_losses import *  # noqa: F403
from ..frontend.functional_math import *  # noqa: F403
from ..frontend.functional_random import *  # noqa: F403

__all__ = ["partial"]
__all__ += functional.__all__
__all__ += functional_arrays.__all__
__all__ += functional_inverse.__all__
__all__ += functional_linear.__all__
__all__ += functional_losses.__all__
__all__ += functional_math.__all__
__all__ += functional_random.__all__
