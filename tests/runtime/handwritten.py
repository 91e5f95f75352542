"""A training step written by hand in LLVM IR, and the same step as a graph for the interpreter.

With x float32[size, width], indices int32[batch], w float32[width], all in float32 and in exactly this order:

    m[d] = (sum over b of x[indices[b], d]) / batch
    loss = fold over b of (s * 0.5 + x[indices[b], 0]), then plus w[d] * m[d] for each d     (depends on sample order)
    w[d] = w[d] - 0.125 * m[d]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphrt import dtypes
from graphrt.codegen.lowered import Binding, LoweredStep
from graphrt.ir import Graph, Op, TensorType, apply, input_node

_LOOP = """\
  br label %{v}
{v}:
  %{v}.i = phi i64 [ {start}, %{before} ], [ %{v}.next, %{v}.end ]
  {carried}
  %{v}.more = icmp slt i64 %{v}.i, {stop}
  br i1 %{v}.more, label %{v}.body, label %{v}.done
{v}.body:
{body}
  br label %{v}.end
{v}.end:
  %{v}.next = add i64 %{v}.i, 1
  br label %{v}
{v}.done:
"""


def _loop(v: str, before: str, start: object, stop: object, body: str, carried: str = "") -> str:
    return _LOOP.format(v=v, before=before, start=start, stop=stop, body=body, carried=carried)


def _sample(width: int, suffix: str, column: str) -> str:
    """x[indices[b], column] for the loop variable %b.i, into %x.<suffix>."""
    return f"""\
  %at.{suffix} = getelementptr i32, ptr %indices, i64 %b.i
  %row32.{suffix} = load i32, ptr %at.{suffix}, align 4
  %row.{suffix} = sext i32 %row32.{suffix} to i64
  %base.{suffix} = mul i64 %row.{suffix}, {width}
  %place.{suffix} = add i64 %base.{suffix}, {column}
  %x.at.{suffix} = getelementptr float, ptr %x, i64 %place.{suffix}
  %x.{suffix} = load float, ptr %x.at.{suffix}, align 4
"""


def step(
    size: int, batch: int, width: int = 5, *, parallel: bool = False, name: str = "step", early: bool = False
) -> LoweredStep:
    """The lowered step. Its kernels deliberately have the same names in every step. Thread 0 knows the loss before the
    last barrier, so that it may be called `early`."""
    mean_body = _loop(
        "b", "d.body", 0, batch,
        _sample(width, "m", "%d.i") + "  %sum.next = fadd float %sum, %x.m",
        "%sum = phi float [ 0.0, %d.body ], [ %sum.next, %b.end ]",
    ) + f"""\
  %m = fdiv float %sum, {float(batch)!r}
  %m.at = getelementptr float, ptr %m.out, i64 %d.i
  store float %m, ptr %m.at, align 4"""  # fmt: skip
    mean = (
        "define internal void @mean(ptr %x, ptr %indices, ptr %m.out, i64 %from, i64 %to) noinline nounwind {\nentry:\n"
        + _loop("d", "entry", "%from", "%to", mean_body)
        + "  ret void\n}\n"
    )
    loss = (
        "define internal void @loss(ptr %x, ptr %indices, ptr %w, ptr %m, ptr %out) noinline nounwind {\nentry:\n"
        + _loop(
            "b", "entry", 0, batch,
            _sample(width, "l", "0") + "  %half = fmul float %s, 0.5\n  %s.next = fadd float %half, %x.l",
            "%s = phi float [ 0.0, %entry ], [ %s.next, %b.end ]",
        )
        + _loop(
            "d", "b.done", 0, width,
            """\
  %w.at = getelementptr float, ptr %w, i64 %d.i
  %w.d = load float, ptr %w.at, align 4
  %m.at = getelementptr float, ptr %m, i64 %d.i
  %m.d = load float, ptr %m.at, align 4
  %wm = fmul float %w.d, %m.d
  %t.next = fadd float %t, %wm""",
            "%t = phi float [ %s, %b.done ], [ %t.next, %d.end ]",
        )
        + "  store float %t, ptr %out, align 4\n  ret void\n}\n"
    )  # fmt: skip
    update = (
        "define internal void @update(ptr %w, ptr %m, i64 %from, i64 %to) noinline nounwind {\nentry:\n"
        + _loop(
            "d", "entry", "%from", "%to",
            """\
  %w.at = getelementptr float, ptr %w, i64 %d.i
  %w.d = load float, ptr %w.at, align 4
  %m.at = getelementptr float, ptr %m, i64 %d.i
  %m.d = load float, ptr %m.at, align 4
  %delta = fmul float %m.d, 0.125
  %new = fsub float %w.d, %delta
  store float %new, ptr %w.at, align 4""",
        )
        + "  ret void\n}\n"
    )  # fmt: skip
    main = f"""\
define internal void @{name}(ptr noalias %arena, ptr %bindings, i64 %tid, i64 %nth, ptr %barrier) nounwind {{
entry:
  %x.slot = getelementptr ptr, ptr %bindings, i64 0
  %x = load ptr, ptr %x.slot, align 8
  %indices.slot = getelementptr ptr, ptr %bindings, i64 1
  %indices = load ptr, ptr %indices.slot, align 8
  %w.slot = getelementptr ptr, ptr %bindings, i64 2
  %w = load ptr, ptr %w.slot, align 8
  %out.slot = getelementptr ptr, ptr %bindings, i64 3
  %out = load ptr, ptr %out.slot, align 8
  %tid.next = add i64 %tid, 1
  %from.all = mul i64 %tid, {width}
  %from = sdiv i64 %from.all, %nth
  %to.all = mul i64 %tid.next, {width}
  %to = sdiv i64 %to.all, %nth
  call void @mean(ptr %x, ptr %indices, ptr %arena, i64 %from, i64 %to)
  call void @graphrt_barrier(ptr %barrier, i64 %nth)
  %first = icmp eq i64 %tid, 0
  br i1 %first, label %reduce, label %reduced
reduce:
  call void @loss(ptr %x, ptr %indices, ptr %w, ptr %arena, ptr %out)
  br label %reduced
reduced:
  call void @graphrt_barrier(ptr %barrier, i64 %nth)
  call void @update(ptr %w, ptr %arena, i64 %from, i64 %to)
  ret void
}}
"""
    f32 = dtypes.float32
    return LoweredStep(
        name=name,
        text=mean + loss + update + main,
        declarations=frozenset(),
        bindings=(
            Binding("data", "x", TensorType((size, width), f32)),
            Binding("data", "indices", TensorType((batch,), dtypes.int32)),
            Binding("state", "w", TensorType((width,), f32)),
            Binding("output", "loss", TensorType((), f32)),
        ),
        arena_bytes=4 * width,
        parallel=parallel,
        updates=("w",),
        early=early,
    )


def _means(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    total = np.zeros(x.shape[1], np.float32)
    for row in indices:
        total = total + x[row]
    return total / np.float32(len(indices))


@dataclass(frozen=True)
class HandwrittenLoss(Op):
    def infer(self, x: TensorType, indices: TensorType, w: TensorType) -> TensorType:
        return TensorType((), dtypes.float32)

    def evaluate(self, x: np.ndarray, indices: np.ndarray, w: np.ndarray) -> np.ndarray:
        total = np.float32(0)
        for row in indices:
            total = total * np.float32(0.5) + x[row, 0]
        for term in w * _means(x, indices):
            total = total + term
        return np.float32(total)


@dataclass(frozen=True)
class HandwrittenUpdate(Op):
    def infer(self, x: TensorType, indices: TensorType, w: TensorType) -> TensorType:
        return w

    def evaluate(self, x: np.ndarray, indices: np.ndarray, w: np.ndarray) -> np.ndarray:
        return w - _means(x, indices) * np.float32(0.125)


def graph(size: int, batch: int, width: int = 5) -> Graph:
    """The same step for the interpreter."""
    x = input_node("x", TensorType((size, width), dtypes.float32))
    indices = input_node("indices", TensorType((batch,), dtypes.int32))
    w = input_node("w", TensorType((width,), dtypes.float32), "state")
    loss = apply(HandwrittenLoss(), x, indices, w)
    return Graph((x, indices, w), (loss,), {w: apply(HandwrittenUpdate(), x, indices, w)})


def data(size: int, width: int = 5) -> np.ndarray:
    return np.random.default_rng(7).standard_normal((size, width), np.float32)


def weights(width: int = 5) -> dict[str, np.ndarray]:
    return {"w": np.linspace(-1, 1, width, dtype=np.float32)}
