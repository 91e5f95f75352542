"""The names programs import, by release: every path resolves, from a fresh interpreter, without loading what is heavy."""

import importlib
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import graphrt

# as written in programs of the first releases and of today's, with the package's name replaced
STATEMENTS = """
import graphrt.nn as nn
import graphrt.ops as ops
import graphrt.dataset as ds
import graphrt.common.initializer
import graphrt.dataset.transforms as transforms
import graphrt.dataset.vision as vision
import graphrt.dataset.transforms.c_transforms as CT
import graphrt.dataset.vision.c_transforms as CV
import graphrt.amp
from graphrt import Tensor, Parameter, ParameterTuple, Model, context, nn, ops, dataset, train, common, amp
from graphrt import DatasetHelper, connect_network_with_dataset
from graphrt import save_checkpoint, load_checkpoint, load_param_into_net, export
from graphrt import value_and_grad, grad, vmap, jvp, vjp, jacrev, jacfwd, jit, jit_class, ms_function, compile
from graphrt import set_seed, get_seed, set_context, get_context, set_compat, GRAPH_MODE, PYNATIVE_MODE
from graphrt import int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, float32, float64, bool_, bfloat16
from graphrt import dtype as mstype
from graphrt.common import dtype as mstype
from graphrt.common import set_seed
from graphrt.common.initializer import initializer, TruncatedNormal, Normal, Uniform, XavierUniform, HeUniform, Zero, One
from graphrt.common.tensor import Tensor
from graphrt.common.parameter import Parameter, ParameterTuple
from graphrt.dataset import MnistDataset, vision, transforms
from graphrt.dataset.vision import Inter
from graphrt.dataset.vision.c_transforms import Resize, Rescale, HWC2CHW
from graphrt.dataset.transforms.c_transforms import TypeCast
from graphrt.nn import Cell, Dense, Linear, Conv2d, SequentialCell, Sequential, CellList, ReLU, MaxPool2d, Flatten
from graphrt.nn import SoftmaxCrossEntropyWithLogits, CrossEntropyLoss, MSELoss, Momentum, SGD, Adam
from graphrt.nn import TrainOneStepCell, WithLossCell, WithEvalCell, Accuracy, LossBase, Optimizer
from graphrt.ops import operations as P
from graphrt.ops import composite as C
from graphrt.ops import functional as F
from graphrt.ops.operations import ReLU, MatMul, Conv2D, MaxPool, Softmax, TensorAdd
from graphrt.ops.composite import GradOperation, HyperMap, MultitypeFuncGraph
from graphrt.ops.functional import depend, stop_gradient
from graphrt.ops import GradOperation, HyperMap, stop_gradient, value_and_grad
from graphrt.train import Model, Callback, LossMonitor, TimeMonitor, ModelCheckpoint, CheckpointConfig, EarlyStopping
from graphrt.train.callback import LossMonitor, TimeMonitor, ModelCheckpoint, CheckpointConfig, Callback
from graphrt.train.serialization import save_checkpoint, load_checkpoint, load_param_into_net
from graphrt.train.model import Model
from graphrt.context import set_context, GRAPH_MODE
import graphrt.common.dtype as mstype
from graphrt import Callback, EarlyStopping, History, LambdaCallback, LearningRateScheduler, LossMonitor, TimeMonitor
from graphrt import ModelCheckpoint, CheckpointConfig, ReduceLROnPlateau, RunContext, SummaryCollector, LossScaleManager
from graphrt import set_device, tensor, from_numpy, ms_class, half, single, double, int_, float_
""".strip().splitlines()


@pytest.mark.parametrize("statement", STATEMENTS)
def test_import(statement):
    exec(statement, {})


def test_top_level_names_are_complete():
    for name in graphrt.__all__:
        assert getattr(graphrt, name) is not None
    assert set(graphrt.__all__) <= set(dir(graphrt))
    assert set(graphrt.__all__) - {"__version__"} <= set(graphrt._NAMES)


def test_first_release_spells_the_mode_as_an_attribute_of_context():
    context = importlib.import_module("graphrt").context
    before = context.get_context("mode")
    context.set_context(mode=context.GRAPH_MODE, device_target="CPU")
    assert context.get_context("mode") == graphrt.GRAPH_MODE
    context.set_context(mode=before)


def test_devices_and_tensors_in_todays_spelling():
    graphrt.set_device("CPU")
    with pytest.raises(graphrt.errors.ArgumentError, match="graphrt runs on CPUs only"):
        graphrt.set_device("GPU", 0)
    assert graphrt.tensor([1, 2], graphrt.float32).tolist() == [1.0, 2.0]
    array = np.arange(3, dtype=np.int32)
    copied = graphrt.from_numpy(array)
    array[0] = 7
    assert copied.tolist() == [0, 1, 2] and copied.dtype == graphrt.int32
    assert (graphrt.half, graphrt.double) == (graphrt.float16, graphrt.float64)


def test_every_public_function_of_ops_is_reached():
    from graphrt import ops

    for name in ops.functional.__all__:
        assert callable(getattr(ops, name)), name
    assert {"relu", "ReLU", "GradOperation", "einsum"} <= set(dir(ops))
    with pytest.raises(AttributeError, match="no attribute 'no_such_function'"):
        ops.no_such_function  # noqa: B018


def test_no_module_hides_a_function():
    """An imported submodule becomes an attribute of its package: it would stand in front of a function of its name."""
    from graphrt import ops

    modules = {module.name for module in pkgutil.iter_modules(ops.__path__)}
    assert modules & set(ops.functional.__all__) == set()


def test_a_fresh_interpreter_loads_little():
    """`import graphrt` alone brings in neither NumPy's users nor the compiler; using ops brings no optional package."""
    code = """
import sys, graphrt
assert not any(m in sys.modules for m in ("llvmlite", "graphrt.frontend.tensor", "graphrt.nn"))
from graphrt.ops import composite, functional, operations
assert not any(m in sys.modules for m in ("llvmlite", "networkx", "onnx", "sklearn", "PIL", "graphrt.nn"))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
