"""What lies in custom_nodes against what the registry says.

Apart from `nodes`, whose imports a rollback need not pay for.
"""

from __future__ import annotations

from governance import comfyui, git
from governance.truth import registry
from governance.truth.workspace import Workspace


def ungoverned(workspace: Workspace) -> list[str]:
    """Folders of custom_nodes that no record names and ComfyUI's own git does not track."""
    known = {plugin.id for plugin in registry.load(workspace)}
    tracked = git.tracked(workspace.comfyui_dir, "custom_nodes")
    found = comfyui.node_folders(workspace.comfyui_dir)
    return [f.name for f in found if f.name not in known and f.name not in tracked]


def mismatches(workspace: Workspace) -> list[str]:
    """Sentences: records without a clone or at another commit, and clones without a record."""
    told = []
    for plugin in registry.load(workspace):
        folder = workspace.custom_nodes / plugin.id
        if not folder.is_dir():
            told.append(f"{plugin.id} is registered, but {folder} is not there")
            continue
        head = git.head(folder)
        if plugin.commit and head != plugin.commit:
            found = f"at {head[:12]}" if head else "no clone that git can read"
            told.append(f"{plugin.id} is {found}, the record says {plugin.commit[:12]}")
    told += [f"{name} is in custom_nodes, but not registered" for name in ungoverned(workspace)]
    return told
