"""The module name release 1.1 gave these transforms."""

from . import Compose, OneHot, TypeCast

__all__ = ["Compose", "OneHot", "TypeCast"]
