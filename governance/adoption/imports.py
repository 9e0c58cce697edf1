"""What a node imports, as its source says without being run: modules by name.

Followed are the files that its import reaches: `__init__.py`, `prestartup_script.py`, and what
these import of the node itself.  A node that imports its files by code of its own is read whole.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from governance.base.errors import GovError
from governance.boundaries import store

_STARTS = ("prestartup_script.py", "__init__.py")
_LEFT_OUT = frozenset({".git", "__pycache__", "node_modules", "tests", "test", "examples", "docs"})
_BY_CODE = frozenset({"import_module", "spec_from_file_location", "__import__"})
_MAX_FILES = 2_000
_MAX_BYTES = 1 << 20


def modules(place: Path) -> set[str]:
    """Dotted names of all modules that are neither Python's own nor the node's."""
    top = place.parent if place.is_file() else place
    reader = _Reader(top)
    for start in [place] if place.is_file() else [place / name for name in _STARTS]:
        reader.read(start)
    own = {path.stem for path in top.glob("*.py")} | {p.name for p in top.glob("*/")}
    known = sys.stdlib_module_names | (own if top == place else set())
    return {name for name in reader.found if name.partition(".")[0] not in known}


class _Reader:
    """`found` are the absolute names, `seen` the files that were read."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.found: set[str] = set()
        self.seen: set[Path] = set()

    def read(self, path: Path) -> None:
        """A file, and those of the node that it imports."""
        left = [path]
        while left and len(self.seen) < _MAX_FILES:
            one = left.pop()
            if one not in self.seen and one.is_file():
                self.seen.add(one)
                left += self._of_file(one)

    def _of_file(self, path: Path) -> list[Path]:
        try:
            data = store.plain_bytes(path, _MAX_BYTES) or b""
            tree = ast.parse(data)
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError, GovError):
            return []
        more: list[Path] = []
        for node in _walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    more += self._absolute(path, alias.name, ())
            elif isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names]
                more += self._from(path, node, names)
            elif isinstance(node, ast.Call) and _called(node) in _BY_CODE:
                more += self._everything()
        return more

    def _from(self, path: Path, node: ast.ImportFrom, names: list[str]) -> list[Path]:
        if not node.level:
            return self._absolute(path, node.module or "", names)
        folder = path.parent
        for _ in range(node.level - 1):
            folder = folder.parent
        return self._inside(folder, node.module or "", names)

    def _absolute(self, path: Path, name: str, names: list[str] | tuple[()]) -> list[Path]:
        """A module of the node's own, which it put on the path, or somebody else's."""
        for folder in dict.fromkeys((path.parent, self.top)):
            own = self._inside(folder, name, list(names))
            if any(one.is_file() for one in own):
                return own
        self.found.add(name)
        return []

    def _inside(self, folder: Path, name: str, names: list[str]) -> list[Path]:
        base = folder.joinpath(*name.split(".")) if name else folder
        found = [base.with_name(f"{base.name}.py"), base / "__init__.py"] if name else []
        if not name:
            found.append(base / "__init__.py")
        for inner in names:
            found += [base / f"{inner}.py", base / inner / "__init__.py"]
        return [one for one in found if one.is_relative_to(self.top)]

    def _everything(self) -> list[Path]:
        return [
            path
            for path in sorted(self.top.rglob("*.py"))
            if not _LEFT_OUT & set(path.relative_to(self.top).parts) and path.name != "setup.py"
        ][:_MAX_FILES]


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but what is read by type checkers alone."""
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            left += node.orelse
            continue
        yield node
        left += ast.iter_child_nodes(node)


def _called(node: ast.Call) -> str:
    called = node.func
    if isinstance(called, ast.Attribute):
        return called.attr
    return called.id if isinstance(called, ast.Name) else ""
