"""What the generated code of whole training steps must not contain, for processors this machine need not have.

No integers made into pointers (LLVM may compile arithmetic on them wrongly), no calls of library functions (a vector
`exp` would become one call per lane), no accumulators or addresses that live on the stack in the loops that do the work.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import assembly
import numpy as np
import pytest

import graphrt
from graphrt import compiler, nn, ops
from graphrt.codegen import jit
from graphrt.codegen.target import target
from graphrt.dtypes import float32, int32
from graphrt.ir import TensorType
from graphrt.runtime import program
from graphrt.train.step import Parts, trace_sink_step

TARGETS = ("znver5", "haswell", "neoverse-n1")
CONTRACTIONS = ("mat_mul", "conv2d", "winograd", "window_patch_sum", "chosen_tap_sum")


def dense(*widths: int) -> list[nn.Cell]:
    cells: list[nn.Cell] = []
    for inputs, outputs in pairwise(widths):
        cells += [nn.Dense(inputs, outputs), nn.ReLU()]
    return cells[:-1]


def lenet() -> nn.Cell:
    features = []
    for inputs, outputs in ((1, 6), (6, 16)):
        features += [nn.Conv2d(inputs, outputs, 5, pad_mode="valid"), nn.ReLU(), nn.MaxPool2d(2, 2)]
    return nn.SequentialCell([*features, nn.Flatten(), *dense(400, 120, 84, 10)])


def mlp() -> nn.Cell:
    return nn.SequentialCell(dense(784, 512, 512, 10))


def small_kernels() -> nn.Cell:
    """3x3 convolutions of the kind Winograd's algorithm computes."""
    features = []
    for inputs, outputs in ((16, 16), (16, 64), (64, 32)):
        features += [nn.Conv2d(inputs, outputs, 3, pad_mode="pad", padding=1), nn.ReLU()]
    return nn.SequentialCell([*features, nn.Flatten(), *dense(2048, 10)])


class Transformer(nn.Cell):
    """One layer with causal attention over 64 tokens, wide enough that epilogues are prefetched."""

    def __init__(self):
        super().__init__()
        self.norm, self.projections = nn.LayerNorm((128,)), nn.Dense(128, 384)
        self.widen, self.narrow, self.gelu = (
            nn.Dense(128, 512),
            nn.Dense(512, 128),
            nn.GELU(approximate=False),
        )
        self.head = nn.Dense(128, 10)

    def construct(self, x):
        parts = self.projections(self.norm(x)).reshape(x.shape[0], 64, 3, 4, 32)
        query, key, value = parts.transpose(2, 0, 3, 1, 4)
        seen = ops.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + seen.transpose(0, 2, 1, 3).reshape(x.shape)
        return self.head(x + self.narrow(self.gelu(self.widen(x)))).mean(1)


NETWORKS = {
    "transformer": (Transformer, (64, 128), 4, lambda p: nn.AdamW(p, 1e-3)),
    "lenet": (lenet, (1, 32, 32), 32, lambda p: nn.Momentum(p, 0.01, 0.9)),
    "mlp": (mlp, (784,), 64, lambda p: nn.Adam(p, 1e-3)),
    "winograd": (small_kernels, (16, 8, 8), 32, lambda p: nn.SGD(p, 0.01)),
}


# Kernels whose tiles do not fit into the 16 registers of AVX2, or (16 factors that are all broadcast) the 32 of NEON.
SPILLING = {("transformer", "haswell"): 1, ("transformer", "neoverse-n1"): 2}


@cache
def generated(name: str, processor: str) -> tuple[str, str]:
    """The LLVM IR and the assembly of the training program of a network, for two threads."""
    make, shape, batch, optimizer = NETWORKS[name]
    chosen = target(processor)
    convolution = "winograd" if name == "winograd" else "direct"
    with pytest.MonkeyPatch.context() as patch, graphrt.set_context(cache=False, convolution=convolution):
        patch.setenv("GRAPHRT_TARGET", processor)
        network = make()
        parts = Parts(network, nn.CrossEntropyLoss(), optimizer(network.trainable_params()))
        columns = {
            "image": TensorType((4 * batch, *shape), float32),
            "label": TensorType((4 * batch,), int32),
        }
        graph = trace_sink_step(parts, columns, {}, batch, "step").graph
        text = program.sink_text([compiler.lowered(graph, threads=2)], chosen)
        return text, jit.assembly(text, chosen)


every_program = pytest.mark.parametrize("processor", TARGETS)
every_network = pytest.mark.parametrize("name", sorted(NETWORKS))


@every_network
@every_program
def test_addresses_come_from_pointers_alone(name, processor):
    text, _ = generated(name, processor)
    assert "inttoptr" not in text and "ptrtoint" not in text
    optimised = jit.optimised_text(text, target(processor)) if processor == "znver5" else ""
    assert "inttoptr" not in optimised and "ptrtoint" not in optimised


@every_network
@every_program
def test_nothing_is_called_but_the_scheduler(name, processor):
    _, code = generated(name, processor)
    assert assembly.external_symbols(code) == {"syscall"}


@every_network
@every_program
def test_contraction_loops_stay_in_registers(name, processor):
    _, code = generated(name, processor)
    checked, spilled = 0, []
    for part in assembly.functions(code):
        if not any(kind in part.name for kind in CONTRACTIONS):
            continue
        loops = [loop for loop in part.loops() if assembly.fused_multiplications(loop)]
        if "winograd" in part.name:  # transforms of whole tiles may spill a little, sums of products may not
            loops = [loop for loop in loops if not part.vector_stores(loop)]
        checked += bool(loops)
        for loop in loops:
            touching = part.stack_references(loop)
            if touching:
                count = assembly.fused_multiplications(loop)
                spilled.append(
                    f"{part.name}: {len(touching)} of {len(loop)} instructions, {count} FMAs: {touching[0]}"
                )
    assert checked >= 8, "the loops of the contractions were not found"
    assert len(spilled) <= SPILLING.get((name, processor), 0), "\n".join(spilled)


# The checks see what they should


def kernel(accumulators: int, lanes: int) -> str:
    """A loop of FMAs over more or fewer accumulators, in the shape of a contraction's."""
    vector, count = f"<{lanes} x float>", range(accumulators)
    fma = f"@llvm.fma.v{lanes}f32"
    lines = [
        f"declare {vector} {fma}({vector}, {vector}, {vector})",
        "define void @mat_mul(ptr %x, ptr %y, i64 %n) {",
    ]
    lines += ["entry:", "  br label %loop", "loop:", "  %i = phi i64 [ 0, %entry ], [ %j, %loop ]"]
    lines += [f"  %a{k} = phi {vector} [ zeroinitializer, %entry ], [ %b{k}, %loop ]" for k in count]
    lines += ["  %p = getelementptr float, ptr %x, i64 %i", f"  %v = load {vector}, ptr %p, align 4"]
    lines += [f"  %b{k} = call {vector} {fma}({vector} %a{k}, {vector} %v, {vector} %v)" for k in count]
    lines += [
        "  %j = add i64 %i, 1",
        "  %m = icmp slt i64 %j, %n",
        "  br i1 %m, label %loop, label %done",
        "done:",
    ]
    for k in count:
        lines += [
            f"  %q{k} = getelementptr {vector}, ptr %y, i64 {k}",
            f"  store {vector} %b{k}, ptr %q{k}, align 4",
        ]
    return "\n".join([*lines, "  ret void", "}", ""])


@pytest.mark.parametrize(
    "processor, fit, spill", [("znver5", 28, 40), ("haswell", 12, 20), ("neoverse-n1", 26, 40)]
)
def test_a_spill_is_seen(processor, fit, spill):
    chosen = target(processor)
    touching = []
    for accumulators in (fit, spill):
        (part,) = assembly.functions(jit.assembly(kernel(accumulators, chosen.lanes), chosen))
        (loop,) = part.loops()
        assert assembly.fused_multiplications(loop) == accumulators
        touching.append(len(part.stack_references(loop)))
    assert touching[0] == 0 and touching[1] > 0


@pytest.mark.parametrize("processor", TARGETS)
def test_a_library_call_is_seen(processor):
    chosen = target(processor)
    text = (
        "declare <4 x float> @llvm.exp.v4f32(<4 x float>)\n"
        "define internal void @own() noinline {\n  ret void\n}\n"
        "define <4 x float> @f(<4 x float> %x) {\n  call void @own()\n"
        "  %y = call <4 x float> @llvm.exp.v4f32(<4 x float> %x)\n  ret <4 x float> %y\n}\n"
        "define double @g(ptr %x) {\n  %y = call double %x()\n  ret double %y\n}\n"
        "declare float @last(float)\n"
        "define float @tail(float %x) {\n  %y = tail call float @last(float %x)\n  ret float %y\n}\n"
    )
    found = assembly.external_symbols(jit.assembly(text, chosen))
    assert {"expf", "last"} < found and len(found) == 3  # and the register of the indirect call


def test_every_innermost_loop_is_found():
    """Nested loops count once, the inner one; a loop beside it counts too."""
    part = assembly.Function(
        "f",
        ("a", "b", "jne .LBB0_2", "jl .LBB0_1", "c", "jne .LBB0_3"),
        {".LBB0_1": 0, ".LBB0_2": 1, ".LBB0_3": 4},
    )
    assert part.loops() == [("b", "jne .LBB0_2"), ("c", "jne .LBB0_3")]
    framed = assembly.Function("f", ("movq %rsp, %rbp", "movq 8(%rbp), %rax", "addq %rbp, %rcx"), {})
    assert len(framed.stack_references(framed.instructions)) == 3
    plain = assembly.Function("f", ("vmovups (%rbp), %zmm0", "str q0, [sp, #16]", "add x0, x1, x29"), {})
    assert plain.stack_references(plain.instructions) == ["str q0, [sp, #16]"]
    assert np.all(
        [assembly.fused_multiplications((i,)) for i in ("vfmadd231ps %a", "fmla v0.4s", "vfnmadd213ss x")]
    )
