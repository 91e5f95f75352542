"""Where early releases kept mixed precision; it is `graphrt.amp`."""

from ..amp import auto_mixed_precision, build_train_network

__all__ = ["auto_mixed_precision", "build_train_network"]
