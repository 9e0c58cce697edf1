"""The parts of a node that it goes on without, as its source says: what it imports or registers
inside `try: ... except: ...`, or after asking whether a package is there.

Run beside source.py inside the layer, it imports the standard library only.  Nothing is run: files
are followed from __init__.py along the imports that are written out, or whose names are.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Parse = Callable[[Path], list[ast.stmt]]
NamesOf = Callable[[list[ast.stmt], Collection[str]], set[str]]

_ROOT = "NODE_CLASS_MAPPINGS"
_IMPORTERS = frozenset({"import_module", "__import__", "spec_from_file_location"})
_LISTERS = frozenset(
    {"listdir", "scandir", "walk", "glob", "rglob", "iterdir", "iter_modules", "walk_packages"}
)
# Modules of ComfyUI that a node's own file of the same name does not replace.
_COMFYUI = frozenset(
    {"app", "comfy", "comfy_extras", "execution", "folder_paths", "nodes", "server", "utils"}
)
_MAX_FILES = 2_000


@dataclass(frozen=True)
class _Guard:
    """Where it may be left out, and the modules of others that it needs; line 0: it may not."""

    line: int = 0
    needs: frozenset[str] = frozenset()


_CERTAIN = _Guard()


@dataclass
class _Edge:
    file: Path
    guard: _Guard
    names: set[str]


@dataclass
class _Module:
    """Statements by guard, and what is imported from the node's own files."""

    statements: list[tuple[_Guard, ast.stmt]]
    edges: list[_Edge] = field(default_factory=list)

    def under(self, guard: _Guard) -> list[ast.stmt]:
        return [one for given, one in self.statements if given == guard]

    @property
    def guards(self) -> list[_Guard]:
        found = dict.fromkeys(guard for guard, _ in self.statements)
        return [guard for guard in found if guard != _CERTAIN]


def tell(place: Path, parse: Parse, names_of: NamesOf) -> list[dict[str, Any]]:
    """Rows {file, at, names, needs}: the file that brings the names, the place of the `try`, both
    relative to the node, and the modules of others that the part imports."""
    entry = place / "__init__.py" if place.is_dir() else place
    return list(_Reader(entry, parse, names_of).rows())


class _Reader:
    def __init__(self, entry: Path, parse: Parse, names_of: NamesOf) -> None:
        self.entry, self.root = entry, entry.parent
        self._parse, self._names_of = parse, names_of
        self._modules: dict[Path, _Module] = {}
        self._roots: dict[Path, set[str]] = {}
        self._adds_to_path = False

    def rows(self) -> Iterator[dict[str, Any]]:
        certain = self._closure([self.entry], set())
        known, left = set(certain), self._optional(certain)
        for file in certain:
            yield from self._own(file)
        while left:
            at, edge = left.pop(0)
            group = self._closure([edge.file], known)
            known |= set(group)
            left += self._optional(group)
            needs = set(edge.guard.needs)
            names: set[str] = set()
            for file in group:
                module = self._module(file)
                names |= self._names(file, module.under(_CERTAIN))
                needs |= _others(module.under(_CERTAIN), self.root)
                yield from self._own(file)
            if names:
                yield _row(self._told(edge.file), at, names, needs)

    def _own(self, file: Path) -> Iterator[dict[str, Any]]:
        """What one file registers only where something is there."""
        module = self._module(file)
        always = module.under(_CERTAIN)
        known = self._names(file, always)
        for guard in module.guards:
            found = self._names(file, [*always, *module.under(guard)]) - known
            if found:
                told = self._told(file)
                yield _row(told, f"{told}:{guard.line}", found, guard.needs)

    def _optional(self, files: Iterable[Path]) -> list[tuple[str, _Edge]]:
        return [
            (f"{self._told(file)}:{edge.guard.line}", edge)
            for file in files
            for edge in self._module(file).edges
            if edge.guard != _CERTAIN
        ]

    def _closure(self, files: list[Path], known: set[Path]) -> list[Path]:
        """These files and all that they always import."""
        found: dict[Path, None] = {}
        left = list(files)
        while left and len(self._modules) < _MAX_FILES:
            file = left.pop()
            if file in known or file in found:
                continue
            found[file] = None
            left += [e.file for e in self._module(file).edges if e.guard == _CERTAIN]
        return list(found)

    def _names(self, file: Path, statements: list[ast.stmt]) -> set[str]:
        return self._names_of(statements, {_ROOT, *self._roots.get(file, ())})

    def _told(self, file: Path) -> str:
        return file.relative_to(self.root).as_posix()

    def _module(self, file: Path) -> _Module:
        if file not in self._modules:
            body = self._parse(file)
            module = _Module(_sorted(body, file == self.entry, self.root))
            self._modules[file] = module
            self._adds_to_path |= any(map(_is_sys_path, _walk(body)))
            for guard, one in module.statements:
                module.edges += self._written(file, guard, one)
            module.edges += self._computed(file, body)
            for edge in module.edges:
                self._roots.setdefault(edge.file, set()).update(edge.names)
        return self._modules[file]

    # --- the node's own files that are imported --------------------------------------------

    def _written(self, file: Path, guard: _Guard, one: ast.stmt) -> Iterator[_Edge]:
        if isinstance(one, ast.ImportFrom):
            names = {alias.name for alias in one.names}
            wanted = {name for name in names if "MAPPING" in name and "DISPLAY" not in name}
            for folder in self._folders(file, one.level, one.module or ""):
                base = folder.joinpath(*(one.module or "").split("."))
                inner = [found for name in sorted(names) if (found := _file(base / name))]
                outer = _file(base) if one.module else None
                yield from (_Edge(found, guard, wanted) for found in (outer, *inner) if found)
        elif isinstance(one, ast.Import):
            for alias in one.names:
                for folder in self._folders(file, 0, alias.name):
                    if found := _file(folder.joinpath(*alias.name.split("."))):
                        yield _Edge(found, guard, set())

    def _folders(self, file: Path, level: int, name: str) -> list[Path]:
        """Where a module may lie; an absolute name only where the node widens sys.path."""
        if level:
            folder = file.parent
            for _ in range(level - 1):
                folder = folder.parent
            return [folder] if folder.is_relative_to(self.root) else []
        if not self._adds_to_path or name.partition(".")[0] in _COMFYUI:
            return []
        return list(dict.fromkeys((self.root, file.parent)))

    def _computed(self, file: Path, body: list[ast.stmt]) -> Iterator[_Edge]:
        """Modules that are imported by name, where a string of the file names them, or its folder
        is listed."""
        guard = _importing(body, self.root)
        if guard is None:
            return
        texts = [text for text in _strings(body) if 0 < len(text) < 100]
        folders = [file.parent, *(f for t in texts if (f := _folder(file.parent, t)))]
        named = {m for f in folders for t in texts if (m := _file(_below(f, t)))}
        if not named and any(_called(node) in _LISTERS for node in _walk(body)):
            listed = folders[1:] or folders
            named = {path for folder in listed for path in sorted(folder.glob("*.py"))}
        for found in sorted(named - {file, self.entry}):
            if found.is_relative_to(self.root):
                yield _Edge(found, guard, set())


def _row(file: str, at: str, names: Collection[str], needs: Collection[str]) -> dict[str, Any]:
    return {"file": file, "at": at, "names": sorted(names), "needs": sorted(needs)}


# --- statements and what they stand under ------------------------------------------------------


def _sorted(body: list[ast.stmt], is_entry: bool, root: Path) -> list[tuple[_Guard, ast.stmt]]:
    return list(_Sorter(is_entry, root).under(body, _CERTAIN))


@dataclass
class _Sorter:
    """`flags` are names that tell whether a `try` worked."""

    is_entry: bool
    root: Path
    flags: dict[str, _Guard] = field(default_factory=dict)

    def under(self, body: list[ast.stmt], guard: _Guard) -> Iterator[tuple[_Guard, ast.stmt]]:
        """Simple statements; those under a condition that no package decides are left out."""
        for one in body:
            opened = self._opened(one, guard)
            if opened is None:
                yield guard, one
            else:
                inner, parts = opened
                for part in parts:
                    yield from self.under(part, inner)

    def _opened(self, one: ast.stmt, guard: _Guard) -> tuple[_Guard, list[list[ast.stmt]]] | None:
        """What stands inside a statement, and under which guard."""
        if isinstance(one, ast.Try):
            if _goes_on(one):
                guard = self._guard(one)
                self.flags.update(dict.fromkeys(_bound(one), guard))
            return guard, [one.body, one.orelse]
        if isinstance(one, ast.If):
            found = _asked(one, self.flags)
            return (found, [one.body]) if found else (guard, [])
        if isinstance(one, ast.With):
            suppresses = any(_called(item.context_expr) == "suppress" for item in one.items)
            return self._guard(one) if suppresses else guard, [one.body]
        if isinstance(one, ast.For | ast.While):
            return guard, [one.body]
        if isinstance(one, ast.FunctionDef) and self.is_entry:
            return guard, [one.body]
        return None

    def _guard(self, one: ast.Try | ast.With) -> _Guard:
        return _Guard(one.lineno, frozenset(_others(one.body, self.root)))


def _goes_on(one: ast.Try) -> bool:
    """Some `except` does not end in `raise`."""
    return any(not isinstance(handler.body[-1], ast.Raise) for handler in one.handlers)


def _bound(one: ast.Try) -> Iterator[str]:
    """Names that tell afterwards whether it worked."""
    inner = [*one.body, *one.orelse, *(s for handler in one.handlers for s in handler.body)]
    for node in inner:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _asked(one: ast.If, flags: dict[str, _Guard]) -> _Guard | None:
    """The guard that the condition stands for."""
    for node in ast.walk(one.test):
        if isinstance(node, ast.Name) and node.id in flags:
            return _Guard(one.lineno, flags[node.id].needs)
        if isinstance(node, ast.Call) and _called(node) == "find_spec":
            needs = {t.partition(".")[0] for t in _texts(node.args)}
            return _Guard(one.lineno, frozenset(needs))
    return None


def _importing(body: list[ast.stmt], root: Path) -> _Guard | None:
    """How modules are imported by computed names, if they are."""
    found: _Guard | None = None
    for node in _walk(body):
        if isinstance(node, ast.Try) and _goes_on(node):
            if any(_called(inner) in _IMPORTERS for inner in _walk(node.body)):
                return _Guard(node.lineno)
        elif _called(node) in _IMPORTERS:
            found = _CERTAIN
    return found


# --- words of the syntax tree ------------------------------------------------------------------


def _walk(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for one in body:
        yield from ast.walk(one)


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _is_sys_path(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "path"
        and isinstance(node.value, ast.Name)
        and node.value.id == "sys"
    )


def _texts(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _strings(body: list[ast.stmt]) -> Iterator[str]:
    return _texts(_walk(body))


def _others(body: list[ast.stmt], root: Path) -> set[str]:
    """Modules of neither Python nor the node that statements import."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    own = {name for name in found if _file(root / name)}
    return found - own - _COMFYUI - sys.stdlib_module_names


def _file(path: Path) -> Path | None:
    """The file of a module: `path.py` or `path/__init__.py`."""
    inner = path / "__init__.py"
    try:
        single = path.with_name(f"{path.name}.py")
        return single if single.is_file() else inner if inner.is_file() else None
    except (OSError, ValueError):
        return None


def _folder(base: Path, text: str) -> Path | None:
    """A folder of the node that a string names, alone or as the start of a module's name."""
    words = [word for word in text.strip("./").replace(".", "/").split("/") if word.isidentifier()]
    try:
        path = base.joinpath(*words)
        return path if words and path.is_dir() else None
    except (OSError, ValueError):
        return None


def _below(folder: Path, text: str) -> Path:
    """Where a module of that name would lie; a text that is no name names none."""
    words = text.removesuffix(".py").strip("./").replace("/", ".").split(".")
    return folder.joinpath(*words) if all(w.isidentifier() for w in words) else folder / "-"
