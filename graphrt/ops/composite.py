"""`from graphrt.ops import composite as C`: functions that transform functions, under MindSpore's module name."""

from ..frontend.functional import clip_by_global_norm, clip_by_value
from ..frontend.grad_operation import GradOperation
from ..frontend.gradient import grad, value_and_grad
from ..frontend.hyper_map import HyperMap, Map, MultitypeFuncGraph
from ..frontend.jacobian import hessian, jacfwd, jacrev, jvp, vjp
from ..frontend.vmap import vmap

__all__ = [
    "GradOperation", "HyperMap", "Map", "MultitypeFuncGraph", "clip_by_global_norm", "clip_by_value", "grad",
    "hessian", "jacfwd", "jacrev", "jvp", "value_and_grad", "vjp", "vmap",
]  # fmt: skip
