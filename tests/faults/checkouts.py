"""Checkouts whose code moves, judged by git and by the bytes on the disk."""

import hashlib
import os
import subprocess

from . import checker


class Checkouts:
    """Those of the nodes `moving`, and ComfyUI's; nothing where nothing moves.

    Git is asked again only where a file changed: it is what takes the time.
    """

    def __init__(self, comfyui, moving):
        nodes = {name: comfyui / "custom_nodes" / name for name in moving}
        self.places = {**nodes, checker.COMFYUI: comfyui} if moving else {}
        self._told: dict[str, str] = {}
        self._trees: dict[str, dict[str, str]] = {}

    def seen(self):
        return {name: self._tell(folder) for name, folder in self.places.items()}

    def faults(self, root):
        """What keeps a checkout from being the commit that the truth names."""
        named = checker.commits(root) if self.places else {}
        for name, folder in self.places.items():
            commit = named[name]
            told = self._tell(folder)
            if not told.startswith(f"{commit}  "):  # between the two stands what git status says
                yield f"{name} is not cleanly at {commit}: {told or 'git cannot read it'}"
            for path, blob in self._tree(folder, commit).items():
                if _blob(folder / path) != blob:
                    yield f"{name}: {path} is not what {commit} holds"
            for path in (folder / ".git").rglob("*.lock"):
                yield f"{name}: {path} is left, and stops the user's own git"

    def _tell(self, folder):
        key = f"{folder} {_digest(folder)}"
        if key not in self._told:
            self._told[key] = checker.code(folder)
        return self._told[key]

    def _tree(self, folder, commit):
        """Path to blob, as git has it."""
        if commit not in self._trees:
            argv = ["git", "-C", str(folder), "ls-tree", "-r", "-z", commit]
            listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
            rows = [row.partition("\t") for row in listed.split("\0") if row]
            self._trees[commit] = {path: head.split()[2] for head, _, path in rows}
        return self._trees[commit]


def _digest(folder):
    """Of all that decides what git says: its objects do not change, other nodes are no part."""
    hashed = hashlib.sha256()
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - {"objects", "custom_nodes"})
        for path in sorted(os.path.join(place, name) for name in (*files, *folders)):
            hashed.update(f"{path}\0".encode() + _bytes(path) + b"\0")
    return hashed.hexdigest()


def _blob(path):
    data = _bytes(path)
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _bytes(path):
    """A link is its target, as for git; a folder, and nothing, are nothing."""
    if os.path.islink(path):
        return os.readlink(path).encode()
    if not os.path.isfile(path):
        return b""
    with open(path, "rb") as stream:
        return stream.read()
