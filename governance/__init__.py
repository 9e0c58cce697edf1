"""Govern a ComfyUI installation: its Python environment and its code (see docs/02)."""

__version__ = "0.2.0.dev0"
