"""ONNX: `export` writes a network as an ONNX file (see exporter.py)."""

from .exporter import export

__all__ = ["export"]
