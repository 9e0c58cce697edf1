"""Nodes that others publish: the Comfy Registry, its archives, and ComfyUI-Manager's own list."""
