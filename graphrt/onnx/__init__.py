"""ONNX: `export` writes a network as an ONNX file (see export.py)."""

from .export import export

__all__ = ["export"]
