"""A schedule and its memory plan as the dump shows them: text, JSON, and the kernels' dependency graph.

In: Schedule and MemoryPlan. Out: what `str`, `to_json` and `to_networkx` return.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..ir import Node
from .memory import MemoryPlan
from .plan import Schedule

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True)
class FusedKernels:
    """Which operations share a kernel, in which order kernels run, and where tensors live."""

    schedule: Schedule
    memory: MemoryPlan

    def __str__(self) -> str:
        return self.schedule.report(self.memory)

    def to_json(self) -> dict[str, Any]:
        """Kernels with what they read and store, and the arena: its size and each buffer's place and lifetime."""
        slots = self.schedule.slots
        return {
            "kernels": [
                {
                    "name": group.name,
                    "domain": list(group.domain),
                    "reads": sorted(
                        slots[node].label for node in {*group.reads, *group.anchor_reads} if node in slots
                    ),
                    "stores": [self._store_json(node) for node in group.stores],
                }
                for group in self.schedule.groups
            ],
            "memory": {
                "arena_bytes": self.memory.arena_bytes,
                "unshared_bytes": self.memory.unshared_bytes,
                "buffers": [
                    {
                        "label": slots[p.node].label,
                        "offset": p.offset,
                        "bytes": p.bytes,
                        "first_kernel": p.first,
                        "last_kernel": p.last,
                    }
                    for p in sorted(self.memory.placements, key=lambda p: (p.first, p.offset))
                ],
            },
        }

    def _store_json(self, node: Node) -> dict[str, Any]:
        slot, source = self.schedule.slots[node], node.source
        return {
            "label": slot.label,
            "kind": slot.kind,
            "layout": str(slot.layout),
            "type": str(node.type),
            "bytes": slot.bytes,
            "op": node.op.name,
            "source": {"file": source.file, "line": source.line, "cell": source.cell} if source else None,
        }

    def to_networkx(self) -> networkx.MultiDiGraph:
        """Kernels as nodes; an edge for every stored tensor another kernel reads, with its label and bytes."""
        import networkx

        result = networkx.MultiDiGraph(name="kernels")
        slots, writer = self.schedule.slots, {}
        for group in self.schedule.groups:
            stores = [f"{slots[node].label}: {node.type} = {node.op.name}" for node in group.stores]
            result.add_node(group.name, label="\n".join([f"{group.name} over {list(group.domain)}", *stores]))
            writer.update(dict.fromkeys(group.stores, group.name))
        for group in self.schedule.groups:
            for node in dict.fromkeys(
                [*group.reads, *sorted(group.anchor_reads, key=lambda n: slots[n].label)]
            ):
                if node in writer and writer[node] != group.name:
                    slot = slots[node]
                    result.add_edge(writer[node], group.name, label=slot.label, bytes=slot.bytes)
        return result
