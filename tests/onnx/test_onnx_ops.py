"""Every op of the op-case table in ONNX: the emitted model computes what the op's reference rule computes."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from graphrt.errors import ExportError
from graphrt.ir import REGISTRY, Graph, apply, input_node
from graphrt.onnx.emitters import find_emitter
from graphrt.onnx.exporter import build_model, save, say_in_onnx
from graphrt.onnx.symbolic import free_batch
from graphrt.onnx.verify import check_specification, open_model
from graphrt.ops.base import CompositeOp


def _load_cases():
    path = Path(__file__).parents[1] / "ops" / "cases.py"
    spec = importlib.util.spec_from_file_location("op_cases_for_onnx", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.CASES


CASES = _load_cases()

# Ops that networks meet only while training, and what would be needed to say them.
NO_ONNX_FORM = {
    "conv2d_backward_weight_lanes": "made for native code only",
    "pack_pairs": "made for native code only",
    "winograd_conv2d": "made for native code only",
    "winograd_weight_products": "made for native code only",
    "mat_mul_pairs": "made for native code only",
    "multiply_high": "ONNX has no product of double width",
    "random_bits": "ONNX's random numbers are not reproducible",
    "window_arg_max": "MaxPool's indices number the whole tensor, not the window",
    "window_gather": "reads at positions inside a window",
    "window_scatter": "writes at positions inside a window",
    "window_patches": "made while lowering, after export",
    "window_patch_sum": "made while lowering, after export",
    "tap_rows": "made while lowering, after export",
    "tap_starts": "made while lowering, after export",
    "chosen_taps": "made while lowering, after export",
    "chosen_tap_sum": "made while lowering, after export",
    "window_spread": "the gradient of average pooling",
    "window_sum": "AveragePool divides",
}
# Rows whose meaning ONNX leaves open: indices and labels outside the axis.
OPEN = ("clamped", "unsigned", "outside")
# Of the last place kept: native code and the oracle accumulate half precision in float32, runtimes need not.
TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2}


def _has_zero_divisor(case, arrays):
    """ONNX leaves the integer division by zero open."""
    return (
        case.op.name in ("floor_div", "remainder") and arrays[0].dtype.kind in "iu" and (arrays[1] == 0).any()
    )


ROWS = [
    pytest.param(case, case.types[0], id=f"{case.name}-{case.types[0]}")
    for case in CASES
    if not case.name.rsplit("-", 1)[0].endswith(OPEN)
]


def _has_no_form(case, dtype):
    name, is_integer = case.op.name, dtype.startswith("int")
    return (
        name in NO_ONNX_FORM
        or (name.startswith("shift") and is_integer)  # unsigned only
        or (name.startswith("conv2d") and is_integer)
        or (name == "conv2d_backward_weight" and case.op.groups > 1)
    )


def static_model(case, dtype, opset=20):
    inputs = [input_node(f"x{k}", type) for k, type in enumerate(case.operand_types(dtype))]
    graph = say_in_onnx(Graph(tuple(inputs), (apply(case.op, *inputs),)))
    return build_model(free_batch(graph, graph, 2), {}, opset)


@pytest.mark.parametrize(("case", "dtype"), ROWS)
def test_model_computes_what_the_op_computes(tmp_path, case, dtype):
    if _has_no_form(case, dtype):
        with pytest.raises(ExportError):
            static_model(case, dtype)
        return
    arrays = case.draw(dtype)
    if _has_zero_divisor(case, arrays):
        arrays[1][arrays[1] == 0] = 3
    path = tmp_path / "op.onnx"
    save(static_model(case, dtype), path)
    check_specification(path)
    run, _ = open_model(path)
    (result,) = run({f"x{k}": array for k, array in enumerate(arrays)})
    expected = case.op.evaluate(*arrays)
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    tolerance = TOLERANCE.get(expected.dtype.name, 2e-5)
    if expected.dtype.name == "bfloat16":
        result, expected = result.astype(np.float32), expected.astype(np.float32)
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


def test_every_op_has_an_onnx_form_or_a_reason():
    without = {
        name
        for name, op in REGISTRY.items()
        if op.__module__.startswith("graphrt.")
        and name != "input"
        and not issubclass(op, CompositeOp)
        and find_emitter(name, op) is None
    }
    assert without == set(NO_ONNX_FORM)


@pytest.mark.parametrize("opset", [17, 18, 26])
@pytest.mark.parametrize(
    "name", ["reduce_mean", "reduce_max", "pad", "avg_pool2d", "reshape", "cast", "slice", "gelu"]
)
def test_other_opsets(tmp_path, name, opset):
    case = next(
        c for c in CASES if c.op.name == name and c.operands[0].shape and 0 not in c.operands[0].shape
    )
    save(static_model(case, "float32", opset), tmp_path / "op.onnx")
    check_specification(tmp_path / "op.onnx")
    arrays = case.draw("float32")
    (result,) = open_model(tmp_path / "op.onnx")[0]({"x0": arrays[0]})
    np.testing.assert_allclose(result, case.op.evaluate(*arrays), rtol=1e-5, atol=1e-5)


def test_an_operator_newer_than_the_opset_is_named():
    case = next(c for c in CASES if c.op.name == "bitwise_and")
    with pytest.raises(ExportError, match="opset 17 has no BitwiseAnd") as caught:
        static_model(case, "int32", opset=17)
    assert caught.value.fix == "export with opset=18 or later"
