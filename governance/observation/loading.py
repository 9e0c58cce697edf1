"""How far a start is: which node's code is running, by what the recorder has written so far."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from governance import comfyui
from governance.observation import events


def words(folder: Path, expected: Collection[str], log: comfyui.Log) -> str:
    """`starting ComfyUI: loading node 7 of 20 (name)`; `folder` holds the events of this start."""
    if log.stopping:
        return "ending ComfyUI"
    if log.listed:  # ComfyUI lists its nodes once it has loaded them all
        loaded = [name for name, line in list(log.imports.items()) if not line.failed]
        known = [name for name in loaded if name in expected]
        return f"starting ComfyUI: {len(known)} of {len(expected)} nodes loaded"
    begun = events.begun(folder, expected)
    if not begun:
        return "starting ComfyUI"
    return f"starting ComfyUI: loading node {len(begun)} of {len(expected)} ({begun[-1]})"
