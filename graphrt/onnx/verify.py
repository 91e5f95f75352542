"""Proof that an exported file is valid and computes what the network computes.

In: the written file, the network's prediction function, example inputs. Out: nothing, or an ExportError whose text
is the report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..errors import ExportError
from .symbolic import SymbolicGraph

BATCHES = (1, 3)
# of the largest output, by the least precise type anything is computed in; every other type: 1e-5
TOLERANCES = {"float16": 1e-2, "bfloat16": 5e-2}
DEFAULT_TOLERANCE = 1e-5

Predict = Callable[[list[np.ndarray]], list[np.ndarray]]


def verify_model(
    path: Path, predict: Predict, examples: Sequence[np.ndarray], graph: SymbolicGraph, opset: int
) -> None:
    """Check the file against the specification, then run it at batch 1 and 3 against `predict`.

    Raises ExportError naming what failed: the specification's complaint, or the output, batch size and difference.
    """
    check_specification(path)
    run, engine = open_model(path)
    names = [node.op.label for node in graph.inputs if node.op.kind == "data"]
    tolerance = max(
        (TOLERANCES.get(node.dtype.name, DEFAULT_TOLERANCE) for node in graph.nodes),
        default=DEFAULT_TOLERANCE,
    )
    for batch in BATCHES:
        data = [sample_like(example, batch, seed) for seed, example in enumerate(examples)]
        actual = run(dict(zip(names, data)))
        for position, (ours, theirs) in enumerate(zip(predict(data), actual)):
            compare(ours, theirs, f"output {position} at batch {batch} ({engine}, opset {opset})", tolerance)


def check_specification(path: Path) -> None:
    """onnx's full check and strict shape inference; raises ExportError with the complaint."""
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
        with_weights = onnx.load(str(path), load_external_data=False)
        onnx.shape_inference.infer_shapes(with_weights, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            "export: the written model breaks the ONNX specification", given=str(error)
        ) from error


def open_model(path: Path) -> tuple[Callable[[dict[str, np.ndarray]], list[np.ndarray]], str]:
    """A function that runs the file, and the name of what runs it: onnxruntime, or ONNX's reference implementation
    where onnxruntime is not installed, cannot handle an element type, or is older than the file's format.

    Raises ExportError with onnxruntime's complaint when it refuses the file for any other reason.
    """
    try:
        import onnxruntime
    except ImportError:
        return _reference(path)
    refusals = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except refusals.NotImplemented:
        return _reference(path)
    except (refusals.Fail, refusals.InvalidGraph, refusals.InvalidArgument) as error:
        if "Unsupported model IR version" in str(error):
            return _reference(path)
        raise ExportError("export: onnxruntime cannot load the written model", given=str(error)) from error
    values = [*session.get_inputs(), *session.get_outputs()]
    if any("bfloat16" in value.type for value in values):  # which its Python interface has no arrays for
        return _reference(path)
    return lambda feeds: session.run(None, feeds), "onnxruntime"


def _reference(path: Path) -> tuple[Callable[[dict[str, np.ndarray]], list[np.ndarray]], str]:
    import onnx
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(onnx.load(str(path)))
    return lambda feeds: list(evaluator.run(None, feeds)), "onnx.reference"


def sample_like(example: np.ndarray, batch: int, seed: int) -> np.ndarray:
    """`batch` samples of the example's type: random normals for floats; for other types (class or token numbers,
    pixels) the example's own samples repeated, because only those are known to be valid."""
    shape = (batch, *example.shape[1:]) if example.ndim else ()
    if example.dtype.kind == "f" or example.dtype.name == "bfloat16":
        return np.random.default_rng(seed).standard_normal(shape).astype(example.dtype)
    return example[np.arange(batch) % example.shape[0]] if example.ndim else example


def compare(ours: np.ndarray, theirs: np.ndarray, what: str, tolerance: float = DEFAULT_TOLERANCE) -> None:
    """Raises ExportError unless shapes and types are equal and values differ by at most `tolerance` of the largest
    one."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        raise ExportError(
            f"export: the written model gives another type for {what}",
            expected=f"{ours.dtype}{list(ours.shape)}", given=f"{theirs.dtype}{list(theirs.shape)}",
        )  # fmt: skip
    if not ours.size:
        return
    if ours.dtype.kind in "biu":
        wrong = int(np.count_nonzero(ours != theirs))
        if wrong:
            raise ExportError(
                f"export: the written model computes other values for {what}",
                expected="equal values", given=f"{wrong} of {ours.size} differ",
            )  # fmt: skip
        return
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    special = ~np.isfinite(a)
    same_special = np.array_equal(a[special], b[special], equal_nan=True)
    limit = tolerance * max(1.0, float(np.max(np.abs(a[~special]), initial=0.0)))
    difference = np.abs(np.where(special, 0.0, a) - np.where(special, 0.0, b))
    worst = int(np.argmax(np.nan_to_num(difference, nan=np.inf)))
    largest = difference.ravel()[worst]
    if not same_special or not largest <= limit:
        place = tuple(int(k) for k in np.unravel_index(worst, a.shape))
        raise ExportError(
            f"export: the written model computes other values for {what}",
            expected=f"a difference of at most {limit:.2g}",
            given=f"{largest:.3g} at {place}: {a[place]:.8g} here, {b[place]:.8g} there",
        )  # fmt: skip
