"""What of the live tree a power loss is played on: which files, and what stands for the others."""

import os

from . import disk

ENVIRONMENT, CODE = "environment", "code"


class View:
    """An environment stands for one file, and so does the code of a node.  With `moving`, nodes
    whose code moves, their files and ComfyUI's are what they are, `.git` too."""

    def __init__(self, moving=()):
        self.moving = moving

    def stands_for(self, parts):
        if len(parts) == 3 and parts[:2] == ("comfy_env", ".generations"):
            return None if parts[2].endswith(".d") else ENVIRONMENT
        is_node = len(parts) == 3 and parts[:2] == ("ComfyUI", "custom_nodes")
        return CODE if is_node and parts[2] not in self.moving else None

    def is_watched(self, parts):
        """Caches, logs and rests that decide nothing are no part of the story."""
        if parts[0] == "ComfyUI":
            return self._is_watched_code(parts)
        name = parts[-1]
        if name.startswith((".doit.db", ".lock", "transactions_index")) or len(parts) < 2:
            return len(parts) < 2
        if parts[1:3] == ("state", "work") and len(parts) > 3:
            return parts[3].startswith(("add-", "purge-")) or self._is_staged(parts)
        if parts[1] == ".generations" and len(parts) > 2 and not parts[2].endswith(".d"):
            return len(parts) == 3 or parts[3] == ENVIRONMENT
        # What git writes below .code is synced by git itself (core.fsync).
        return parts[1:3] != ("state", "logs") and parts[1] not in (".venv-candidate", ".code")

    def _is_watched_code(self, parts):
        if self.moving:
            return "hooks" not in parts  # git's samples
        return len(parts) < 2 or parts[1] in ("custom_nodes", "main.py", "requirements.txt", ".gov")

    def _is_staged(self, parts):
        """The new bytes of code that moves; the other receipts of a stage are made anew."""
        return bool(self.moving) and (len(parts) == 4 or parts[4] == "code")

    def made_by_children(self, parts):
        """uv builds beside the papers; git clones into the nursery."""
        papers = parts[:2] == ("comfy_env", ".generations") and parts[-1].endswith(".d")
        if papers and len(parts) == 3:
            whole = (*parts[:2], parts[2].removesuffix(".d"), ENVIRONMENT)
            yield whole, ENVIRONMENT.encode(), False
        if parts[:3] == ("comfy_env", "state", "work") and parts[-1].startswith("add-"):
            yield (*parts, CODE), CODE.encode(), True

    def sync_of_all(self, place):
        """Its name.  Where children are stand-ins each one would make up for the next: they are
        left out together."""
        return f"all, by {place}" if self.moving else "syncfs"

    def read(self, live):
        """The tree as it is."""
        tree = disk.Tree()
        for place, folders, files in os.walk(live):
            parts = os.path.relpath(place, live).split(os.sep)
            parts = () if parts == ["."] else tuple(parts)
            inside = self.stands_for(parts)
            if inside:
                tree.put((*parts, inside), inside.encode())
                folders[:] = []
                continue
            if parts and tree.find(parts) is None:
                tree.put(parts, {})
            links = [name for name in folders if os.path.islink(os.path.join(place, name))]
            for name in (*files, *links):
                path, whole = os.path.join(place, name), (*parts, name)
                if self.is_watched(whole):
                    tree.put(whole, _value(path))
            folders[:] = [n for n in folders if n not in links and self.is_watched((*parts, n))]
        return tree


def _value(path):
    if os.path.islink(path):
        return os.readlink(path)
    with open(path, "rb") as stream:
        return stream.read()
