"""Govern the Python environment of a ComfyUI installation (see docs/02)."""

__version__ = "0.1.0"
