"""What the source of nodes says without being run.

Run by inside.py in the layer, where alone the new code of a candidate can be seen; it imports the
standard library only.  Tells of each place the names that it puts into NODE_CLASS_MAPPINGS (or
gives as node_id to a Schema of the newer API), as far as they are written out, and whether there is
an install.py; of the nodes under observation also which parts they go on without (see parts.py),
which takes seconds with a large node.
"""

from __future__ import annotations

import ast
import importlib
import os
import stat
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

MAPPINGS = "NODE_CLASS_MAPPINGS"
_INSTALL_SCRIPT = "install.py"
_MARKS = (MAPPINGS.encode(), b"node_id")
# Tests put stand-ins for ComfyUI's own nodes into the mapping.
_TESTS = frozenset({"tests", "test", "conftest.py"})
_LEFT_OUT = frozenset({".git", "__pycache__", "node_modules", "site-packages"}) | _TESTS
_MAX_FILES = 5_000
_MAX_BYTES = 1 << 20
_LONGEST = 200

_Found = dict[str, set[str]]


def tell_all(places: Mapping[str, str], subjects: Collection[str]) -> dict[str, dict[str, Any]]:
    """By name, the parts of `subjects` alone."""
    return {name: tell(Path(path), parts=name in subjects) for name, path in places.items()}


def tell(place: Path, *, parts: bool = True) -> dict[str, Any]:
    return {
        "classes": sorted(registered(place)),
        "install_script": (place / _INSTALL_SCRIPT).is_file(),
        "parts": _parts(place) if parts else [],
    }


def _parts(place: Path) -> list[dict[str, Any]]:
    """Beside this file where it is run by path, and has no package around it."""
    if not __package__:
        sys.path.insert(0, str(Path(__file__).parent))
    parts = importlib.import_module("parts" if not __package__ else f"{__package__}.parts")
    found: list[dict[str, Any]] = parts.tell(place, parse, names_of)
    return found


def registered(place: Path) -> set[str]:
    return {name[:_LONGEST] for path in _files(place) for name in _names_in(_text(path))}


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    left = _MAX_FILES
    for folder, inner, files in os.walk(place):
        inner[:] = sorted(name for name in inner if name not in _LEFT_OUT)
        for name in sorted(files):
            if name.endswith(".py") and name not in _LEFT_OUT and left > 0:
                left -= 1
                yield Path(folder, name)


def _text(path: Path) -> bytes:
    """Of a plain file; a node may have put a pipe there, which nobody would ever write to."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as stream:
        try:
            is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
            return stream.read(_MAX_BYTES) if is_file else b""
        except OSError:
            return b""


def _names_in(text: bytes) -> set[str]:
    return names_of(_parsed(text)) if any(mark in text for mark in _MARKS) else set()


def parse(path: Path) -> list[ast.stmt]:
    """The statements of a file; none where it cannot be read."""
    return _parsed(_text(path))


def _parsed(text: bytes) -> list[ast.stmt]:
    try:
        return ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def names_of(statements: list[ast.stmt], roots: Collection[str] = (MAPPINGS,)) -> set[str]:
    """Names that are put into one of the variables `roots`, or given as node_id."""
    keys: _Found = {}  # variable -> keys that are written into it
    parts: _Found = {}  # variable -> variables that go into it
    ids: set[str] = set()
    for node in (inner for statement in statements for inner in ast.walk(statement)):
        for variable, value in _written(node):
            _take(value, keys.setdefault(variable, set()), parts.setdefault(variable, set()))
        ids |= _schema_id(node)
    return ids | _reached(roots, keys, parts)


def _reached(roots: Collection[str], keys: _Found, parts: _Found) -> set[str]:
    """The keys of variables and of all that goes into them."""
    seen: set[str] = set()
    left = list(roots)
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += parts.get(name, ())
    return {key for name in seen for key in keys.get(name, ())}


def _written(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Variable and value of `X = v`, `X |= v`, `X: T = v`, `X["a"] = v` and `X.update(v, a=v)`."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _assigned(target, node.value)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign) and node.value is not None:
        yield from _assigned(node.target, node.value)
    elif isinstance(node, ast.Call) and (name := _updated(node.func)):
        yield from ((name, value) for value in (*node.args, *_keywords(node)))


def _updated(called: ast.expr) -> str | None:
    """X of `X.update`."""
    if isinstance(called, ast.Attribute) and called.attr == "update":
        return _name(called.value)
    return None


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Subscript):
        if name := _name(target.value):
            yield name, ast.Dict(keys=[target.slice], values=[value])
    elif name := _name(target):
        yield name, value


def _name(node: ast.expr) -> str | None:
    """Of a variable; `nodes.NODE_CLASS_MAPPINGS` is ComfyUI's own."""
    if isinstance(node, ast.Attribute):
        return MAPPINGS if node.attr == MAPPINGS else None
    return node.id if isinstance(node, ast.Name) else None


def _take(value: ast.expr, keys: set[str], parts: set[str]) -> None:
    """The literal keys of an expression that makes a dict, and the variables in it."""
    if isinstance(value, ast.Dict):
        for key, inner in zip(value.keys, value.values, strict=True):
            if key is None:
                _take(inner, keys, parts)
            elif isinstance(key, ast.Constant) and isinstance(key.value, str):
                keys.add(key.value)
    elif isinstance(value, ast.BinOp):
        _take(value.left, keys, parts)
        _take(value.right, keys, parts)
    elif isinstance(value, ast.Call) and _name(value.func) == "dict":
        for inner in (*value.args, *_keywords(value)):
            _take(inner, keys, parts)
    elif name := _name(value):
        parts.add(name)


def _keywords(call: ast.Call) -> list[ast.expr]:
    """`a=v` as `{"a": v}`."""
    return [
        ast.Dict(keys=[ast.Constant(word.arg) if word.arg else None], values=[word.value])
        for word in call.keywords
    ]


def _schema_id(node: ast.AST) -> set[str]:
    """The node_id of `io.Schema(node_id="...")`."""
    if not isinstance(node, ast.Call):
        return set()
    called = node.func.attr if isinstance(node.func, ast.Attribute) else _name(node.func)
    if called != "Schema":
        return set()
    given = [word.value for word in node.keywords if word.arg == "node_id"]
    found = [value.value for value in given if isinstance(value, ast.Constant)]
    return {value for value in found if isinstance(value, str)}
