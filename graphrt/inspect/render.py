"""Stages as text, JSON or DOT.

In: the stages chosen. Out: one string. A single graph stage in text form is exactly the graph's text, which parses
back (`graphrt.ir.text.parse`); several stages are separated by lines that begin with "# ====".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError
from ..ir import Graph
from .stages import Stage

JSON_VERSION = 1


def as_text(stages: Sequence[Stage]) -> str:
    """The stages' own text, with a heading each if there are several."""
    if len(stages) == 1:
        return stages[0].text
    parts = []
    for number, stage in enumerate(stages):
        state = "" if stage.changed else " (no change)"
        kind = f"{stage.kind} {stage.name}" if stage.kind == "pass" else stage.name
        parts.append(f"# ==== {number} {kind}{state}\n{stage.text}")
    return "\n".join(parts)


def as_json(stages: Sequence[Stage]) -> str:
    """{"graphrt dump": 1, "stages": [{"kind", "name", "changed", "graph" or "data" or "text"}]}"""
    return (
        json.dumps({"graphrt dump": JSON_VERSION, "stages": [_stage_json(s) for s in stages]}, indent=1)
        + "\n"
    )


def _stage_json(stage: Stage) -> dict[str, Any]:
    result: dict[str, Any] = {"kind": stage.kind, "name": stage.name, "changed": stage.changed}
    if isinstance(stage.value, Graph):
        from ..ir.export import to_json

        result["graph"] = to_json(stage.value)
    elif hasattr(stage.value, "to_json"):
        result["data"] = stage.value.to_json()
    else:
        result["text"] = stage.text
    return result


def as_dot(stages: Sequence[Stage]) -> str:
    """One `digraph` per stage that is a graph: nodes with op, type and the user's line, edges numbered by operand.

    Raises ArgumentError when none of the stages is one (loop IR, LLVM IR and assembly are not).
    """
    drawn = [(stage, graph) for stage in stages if (graph := _networkx(stage)) is not None]
    if not drawn:
        names = ", ".join(stage.name for stage in stages)
        raise ArgumentError(
            "no graph to draw", given=f"stage {names}", fix="use --stage graph, grad or fused"
        )
    return "\n".join(_digraph(stage.name, graph) for stage, graph in drawn)


def _networkx(stage: Stage) -> Any:
    if isinstance(stage.value, Graph):
        from ..ir.export import to_networkx

        return to_networkx(stage.value)
    return stage.value.to_networkx() if hasattr(stage.value, "to_networkx") else None


def _digraph(name: str, graph: Any) -> str:
    lines = [f"digraph {quote(name)} {{", '  node [shape=box, fontname="monospace"];']
    for key, data in graph.nodes(data=True):
        label = data.get("label", str(key))
        if data.get("source"):
            label += f"\n{data['source']}"
        style = ", style=filled" if "output" in data or "updates" in data else ""
        lines.append(f"  {quote(str(key))} [label={quote(label)}{style}];")
    for producer, consumer, data in graph.edges(data=True):
        label = data.get("label", data.get("operand"))
        shown = "" if label is None else f" [label={quote(str(label))}]"
        lines.append(f"  {quote(str(producer))} -> {quote(str(consumer))}{shown};")
    return "\n".join([*lines, "}"]) + "\n"


def quote(text: str) -> str:
    """A DOT string: line breaks become left-aligned ones."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "\\l".join(escaped.split("\n")) + ("\\l" if "\n" in text else "") + '"'


FORMATS = {"text": as_text, "json": as_json, "dot": as_dot}
