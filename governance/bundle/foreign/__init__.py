"""Installations that other programs wrote down, read as data: nothing that they name is run.

Formats: ComfyUI-Manager 4.3 (cm-cli save-snapshot), Comfy-Desktop's snapshot envelope, comfygit's
export, cog-comfyui's list of repositories, and a freeze of pip.  None of them holds a lock, so
commits are taken as they are and versions are wishes.
"""
