"""graphrt: a static-graph training compiler and runtime for CPUs.

Public names are loaded when first used, so that `import graphrt` stays fast.
"""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
_imported_at = time.time_ns()  # before any other module of the package: see codegen/stored_step.py

# public name -> (module, attribute); attribute None means the module itself
_NAMES: dict[str, tuple[str, str | None]] = {
    "Tensor": ("frontend.tensor", "Tensor"),
    "Parameter": ("frontend.parameter", "Parameter"),
    "ParameterTuple": ("frontend.parameter", "ParameterTuple"),
    "compile": ("frontend.compile", "compile"),
    "jit": ("frontend.compile", "compile"),
    "value_and_grad": ("frontend.gradient", "value_and_grad"),
    "grad": ("frontend.gradient", "grad"),
    "get_grad": ("frontend.gradient", "get_grad"),
    "vmap": ("frontend.vmap", "vmap"),
    "jvp": ("frontend.jacobian", "jvp"),
    "vjp": ("frontend.jacobian", "vjp"),
    "jacrev": ("frontend.jacobian", "jacrev"),
    "jacfwd": ("frontend.jacobian", "jacfwd"),
    "hessian": ("frontend.jacobian", "hessian"),
    "jit_class": ("frontend.compile", "jit_class"),
    "ms_class": ("frontend.compile", "jit_class"),
    "tensor": ("frontend.tensor", "tensor"),
    "from_numpy": ("frontend.tensor", "from_numpy"),
    "ms_function": ("frontend.compile", "compile"),
    "set_seed": ("context", "set_seed"),
    "get_seed": ("context", "get_seed"),
    "set_context": ("context", "set_context"),
    "get_context": ("context", "get_context"),
    "set_compat": ("context", "set_compat"),
    "set_device": ("context", "set_device"),
    "GRAPH_MODE": ("context", "GRAPH_MODE"),
    "PYNATIVE_MODE": ("context", "PYNATIVE_MODE"),
    "Model": ("train", "Model"),
    "DatasetHelper": ("train", "DatasetHelper"),
    "connect_network_with_dataset": ("train", "connect_network_with_dataset"),
    "data_sink": ("train", "data_sink"),
    "save_checkpoint": ("train", "save_checkpoint"),
    "load_checkpoint": ("train", "load_checkpoint"),
    "load_param_into_net": ("train", "load_param_into_net"),
    "torch_names": ("train", "torch_names"),
    "ModelCheckpoint": ("train", "ModelCheckpoint"),
    "CheckpointConfig": ("train", "CheckpointConfig"),
    "Callback": ("train", "Callback"),
    "EarlyStopping": ("train", "EarlyStopping"),
    "History": ("train", "History"),
    "LambdaCallback": ("train", "LambdaCallback"),
    "LearningRateScheduler": ("train", "LearningRateScheduler"),
    "LossMonitor": ("train", "LossMonitor"),
    "ReduceLROnPlateau": ("train", "ReduceLROnPlateau"),
    "RunContext": ("train", "RunContext"),
    "SummaryCollector": ("train", "SummaryCollector"),
    "TimeMonitor": ("train", "TimeMonitor"),
    "export": ("onnx", "export"),
    "GraphrtError": ("errors", "GraphrtError"),
    "errors": ("errors", None),
    "context": ("context", None),
    "dtype": ("dtype", None),
    "nn": ("nn", None),
    "amp": ("amp", None),
    "DynamicLossScaleManager": ("amp", "DynamicLossScaleManager"),
    "FixedLossScaleManager": ("amp", "FixedLossScaleManager"),
    "LossScaleManager": ("amp", "LossScaleManager"),
    "build_train_network": ("amp", "build_train_network"),
    "ops": ("ops", None),
    "common": ("common", None),
    "dataset": ("dataset", None),
    "train": ("train", None),
    "onnx": ("onnx", None),
}  # fmt: skip
_DTYPES = (
    "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "bfloat16", "float16", "float32", "float64",
)  # fmt: skip
_NAMES.update({name: ("dtypes", name) for name in _DTYPES})
_NAMES.update({name: ("dtype", name) for name in ("double", "float_", "half", "int_", "single")})

__all__ = [
    "GRAPH_MODE",
    "PYNATIVE_MODE",
    "Callback",
    "CheckpointConfig",
    "DatasetHelper",
    "DynamicLossScaleManager",
    "EarlyStopping",
    "FixedLossScaleManager",
    "GraphrtError",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "LossMonitor",
    "LossScaleManager",
    "Model",
    "ModelCheckpoint",
    "Parameter",
    "ParameterTuple",
    "ReduceLROnPlateau",
    "RunContext",
    "SummaryCollector",
    "Tensor",
    "TimeMonitor",
    "__version__",
    "amp",
    "bfloat16",
    "bool_",
    "build_train_network",
    "common",
    "compile",
    "connect_network_with_dataset",
    "context",
    "data_sink",
    "dataset",
    "dtype",
    "errors",
    "export",
    "float16",
    "float32",
    "float64",
    "from_numpy",
    "get_context",
    "get_grad",
    "get_seed",
    "grad",
    "hessian",
    "int8",
    "int16",
    "int32",
    "int64",
    "jacfwd",
    "jacrev",
    "jit",
    "jit_class",
    "jvp",
    "load_checkpoint",
    "load_param_into_net",
    "nn",
    "onnx",
    "ops",
    "save_checkpoint",
    "set_compat",
    "set_context",
    "set_device",
    "set_seed",
    "tensor",
    "torch_names",
    "train",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "value_and_grad",
    "vjp",
    "vmap",
]  # fmt: skip

if TYPE_CHECKING:
    from . import amp, common, context, dataset, dtype, errors, nn, onnx, ops, train
    from .amp import DynamicLossScaleManager, FixedLossScaleManager, LossScaleManager, build_train_network
    from .context import (
        GRAPH_MODE,
        PYNATIVE_MODE,
        get_context,
        get_seed,
        set_compat,
        set_context,
        set_device,
        set_seed,
    )  # fmt: skip
    from .dtypes import (
        bfloat16,
        bool_,
        float16,
        float32,
        float64,
        int8,
        int16,
        int32,
        int64,
        uint8,
        uint16,
        uint32,
        uint64,
    )  # fmt: skip
    from .errors import GraphrtError
    from .frontend.compile import compile, jit_class
    from .frontend.compile import compile as jit
    from .frontend.gradient import get_grad, grad, value_and_grad
    from .frontend.jacobian import hessian, jacfwd, jacrev, jvp, vjp
    from .frontend.parameter import Parameter, ParameterTuple
    from .frontend.tensor import Tensor, from_numpy, tensor
    from .frontend.vmap import vmap
    from .onnx import export
    from .train import (
        Callback,
        CheckpointConfig,
        DatasetHelper,
        EarlyStopping,
        History,
        LambdaCallback,
        LearningRateScheduler,
        LossMonitor,
        Model,
        ModelCheckpoint,
        ReduceLROnPlateau,
        RunContext,
        SummaryCollector,
        TimeMonitor,
        connect_network_with_dataset,
        data_sink,
        load_checkpoint,
        load_param_into_net,
        save_checkpoint,
        torch_names,
    )  # fmt: skip


def __getattr__(name: str) -> Any:
    try:
        module_name, attribute = _NAMES[name]
    except KeyError:
        raise AttributeError(f"module 'graphrt' has no attribute {name!r}") from None
    module = importlib.import_module(f"{__name__}.{module_name}")
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_NAMES))
