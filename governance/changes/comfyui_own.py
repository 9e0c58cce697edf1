"""A module or a name of ComfyUI's own that a node failed for, explained by version.

A young node on an old ComfyUI, or an old node on a young one: which version has it is looked up
in the commits that the checkout holds already, for a few seconds at most.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance.base.errors import GovError
from governance.changes import comfyui_fit
from governance.git import past
from governance.git.past import Past
from governance.observation import Observation
from governance.requirements import PYPROJECT
from governance.truth import registry
from governance.truth.documents import Plugin, Transaction
from governance.truth.workspace import Workspace

if TYPE_CHECKING:
    from packaging.version import Version

_NO_MODULE = re.compile(r"No module named '?([\w.]+)'?")
_NO_NAME = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")
_NO_ATTRIBUTE = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")
# Parts of ComfyUI that an old checkout may lack as a whole; packages of PyPI have no such module.
_KNOWN = frozenset(
    {
        "comfy",
        "comfy_api",
        "comfy_api_nodes",
        "comfy_config",
        "comfy_execution",
        "comfy_extras",
        "comfyui_version",
        "execution",
        "folder_paths",
        "latent_preview",
        "node_helpers",
        "nodes",
    }
)
_SECONDS = 5.0
_MOST_COMMITS = 60
_MOST_EARLIER = 20


@dataclass(frozen=True)
class Wanted:
    """A module of ComfyUI, or the `name` in it."""

    module: str
    name: str = ""

    @property
    def words(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


@dataclass(frozen=True)
class Lacking:
    """What a node failed for, whose folder or file is `place`.

    `since` and `until` are versions of ComfyUI that have it, or "commit <id>", "" where the
    checkout does not tell; `requires` is the range of versions that the node asks for, where this
    one is not in it; `fits` is an earlier commit of the node that does not need it.
    """

    node: str
    place: str
    wanted: str
    version: str
    since: str = ""
    until: str = ""
    requires: str = ""
    fits: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def sentence(self) -> str:
        """After the error itself."""
        if self.since:
            return f"which ComfyUI has since {self.since}; yours is {self.version}"
        if self.until:
            return f"which ComfyUI had until {self.until}; yours is {self.version}"
        if self.requires:
            return (
                f"which is ComfyUI's own; the node asks for ComfyUI {self.requires}, "
                f"and yours is {self.version}"
            )
        return f"which is ComfyUI's own and not in ComfyUI {self.version}"


def wanted_in(error: str) -> Wanted | None:
    """What the error of a node names, of whomever it may be."""
    if found := _NO_NAME.search(error):
        return Wanted(found[2], found[1])
    if found := _NO_ATTRIBUTE.search(error):
        return Wanted(found[1], found[2])
    found = _NO_MODULE.search(error)
    return Wanted(found[1]) if found else None


def is_own(comfyui_dir: Path, module: str) -> bool:
    top = module.partition(".")[0]
    there = (comfyui_dir / top).is_dir() or (comfyui_dir / f"{top}.py").is_file()
    return there or top in _KNOWN


def lacking(workspace: Workspace, tx: Transaction, seen: Observation) -> list[Lacking]:
    """Of each node under observation that failed for something of ComfyUI's own."""
    ids = {registry.loader_name(p): p for p in registry.parse_or_none(workspace)}
    return [
        _lacking(workspace, tx, name, ids.get(name), wanted)
        for name, wanted in _failed_for(workspace, seen)
    ]


def _failed_for(workspace: Workspace, seen: Observation) -> Iterator[tuple[str, Wanted]]:
    for name in seen.subjects:
        report = seen.nodes.get(name)
        if report is None or report.loaded is not False:
            continue
        texts = [report.error or "", *reversed(report.causes)]
        wanted = next(filter(None, map(wanted_in, texts)), None)
        if wanted is not None and is_own(workspace.comfyui_dir, wanted.module):
            yield name, wanted


def _lacking(
    workspace: Workspace, tx: Transaction, name: str, plugin: Plugin | None, wanted: Wanted
) -> Lacking:
    node = plugin.id if plugin else name.removesuffix(".py")
    version = comfyui_fit.version_with(workspace, tx.comfyui)
    part = tx.nodes.get(node, {})
    asked = comfyui_fit.required_at(workspace, node, part["code"]) if part.get("code") else ""
    since = until = fits = ""
    # What git cannot tell is left out; the rest of the sentence stands without it.
    with suppress(GovError):
        since, until = versions_with(workspace.comfyui_dir, version, wanted)
    if plugin is not None and part.get("commit"):
        with suppress(GovError):
            place = registry.place(workspace, plugin)
            fits = _earlier(place, str(part["commit"]), wanted, version) or ""
    requires = "" if comfyui_fit.admits(asked, version) else asked
    told = version or "of this version"
    return Lacking(node, name, wanted.words, told, since, until, requires, fits)


# --- ComfyUI's history ------------------------------------------------------------------------


def versions_with(comfyui_dir: Path, version: str | None, wanted: Wanted) -> tuple[str, str]:
    """(since, until): the first newer version that has it, else the last older one, as far as the
    checkout holds them; both "" where this one has it, or none.  Raises GovError."""
    with past.past(comfyui_dir, _SECONDS) as commits:
        if _has(commits, "HEAD", wanted):
            return "", ""
        older, newer = _releases(comfyui_dir, version)
        since = _first(newer, lambda one: _has(commits, one, wanted))
        if not since:
            since = _first_commit(commits, past.tips(comfyui_dir), wanted)
        until = "" if since else _first(older[::-1], lambda one: _has(commits, one, wanted))
    return since, until


_Release = tuple[str, str]


def _releases(comfyui_dir: Path, version: str | None) -> tuple[list[_Release], list[_Release]]:
    """(commit, version) of the tags before and after this version, in order."""
    from packaging.version import InvalidVersion, Version

    found: list[tuple[Version, str]] = []
    for commit, name in past.tags(comfyui_dir):
        with suppress(InvalidVersion):
            found.append((Version(name), commit))
    try:
        now = Version(version or "")
    except InvalidVersion:
        return [], []
    ordered = [(commit, str(one), one) for one, commit in sorted(found)]
    before = [(commit, text) for commit, text, one in ordered if one < now]
    return before, [(commit, text) for commit, text, one in ordered if one > now]


def _first(releases: Sequence[_Release], has: Callable[[str], bool]) -> str:
    """By halves: what came in one release is in those behind it."""
    low, high = 0, len(releases)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if has(releases[middle][0]) else (middle + 1, high)
    return releases[low][1] if low < len(releases) else ""


def _first_commit(commits: Past, tips: Sequence[str], wanted: Wanted) -> str:
    """Of the commits that were fetched and are in no release yet."""
    if not tips:
        return ""
    paths = [*_files(wanted.module), *(_files(f"{wanted.module}.{wanted.name}"))]
    which = ["--reverse", *tips, "^HEAD", "--", *paths]
    for commit in commits.commits(*which)[:_MOST_COMMITS]:
        if _has(commits, commit, wanted):
            return f"commit {commit[:12]}"
    return ""


def _files(module: str) -> tuple[str, str]:
    path = module.rstrip(".").replace(".", "/")
    return f"{path}.py", f"{path}/__init__.py"


def _has(commits: Past, commit: str, wanted: Wanted) -> bool:
    folder = wanted.module.replace(".", "/")
    if not wanted.name:
        return commits.holds(commit, f"{folder}.py") or commits.holds(commit, folder)
    texts = (commits.read(commit, path) for path in _files(wanted.module))
    if any(defines(text, wanted.name) for text in texts if text is not None):
        return True
    return _has(commits, commit, Wanted(f"{wanted.module}.{wanted.name}"))


def defines(source: bytes, name: str) -> bool:
    """Whether a module binds the name at its top level, without running it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return any(name in _bound(node) for node in _top_level(tree.body))


def _top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """With what stands in `if` and `try`."""
    for node in body:
        yield node
        for part in ("body", "orelse", "finalbody"):
            if isinstance(node, ast.If | ast.Try | ast.With):
                yield from _top_level(getattr(node, part, []))
        if isinstance(node, ast.Try):
            for handler in node.handlers:
                yield from _top_level(handler.body)


def _bound(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(one.asname or one.name).partition(".")[0] for one in node.names}
    if isinstance(node, ast.Assign):
        return {
            n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)
        }
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return set()


# --- the node's history -----------------------------------------------------------------------


def _earlier(place: Path, commit: str, wanted: Wanted, version: str | None) -> str | None:
    """The newest commit before `commit` at which the node neither imports it nor asks for another
    ComfyUI; None where there is none near.  Raises GovError."""
    pattern = _pattern(wanted)
    with past.past(place, _SECONDS) as commits:
        most = f"--max-count={_MOST_EARLIER}"
        drops = ["--diff-merges=first-parent", "--no-patch", "--no-textconv", f"-G{pattern}"]
        changed = commits.parents(*drops, most, commit, "--", "*.py")
        asking = commits.parents(most, commit, "--", PYPROJECT)
        for one in dict.fromkeys((*changed, *asking)):
            asked = comfyui_fit.required(commits.read(one, PYPROJECT))
            if comfyui_fit.admits(asked, version) and not commits.mentions(one, pattern, "*.py"):
                return one
    return None


_END = r"([^A-Za-z0-9_]|$)"


def _pattern(wanted: Wanted) -> str:
    """An extended expression for lines that need it."""
    if wanted.name:
        return rf"(^|[^A-Za-z0-9_]){wanted.name}{_END}"
    parent, _, last = wanted.module.rpartition(".")
    whole = wanted.module.replace(".", r"\.")
    if not parent:
        return rf"(import|from) +{whole}{_END}"
    split = parent.replace(".", r"\.")
    return rf"{whole}{_END}|from +{split} +import.*[^A-Za-z0-9_]{last}{_END}"
