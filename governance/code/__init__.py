"""The code that is governed: nodes and ComfyUI, as commits in a store of the workspace's own."""
