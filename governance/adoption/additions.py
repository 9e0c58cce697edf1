"""What nodes import and nobody declares, though it lies in the old environment: each becomes an
addition of the node that imports it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from governance.adoption import imports
from governance.adoption.environment import Environment, Installed
from governance.changes import begin, provenance, steps
from governance.changes.steps import Step
from governance.changes.work import Work
from governance.requirements import requirement_name
from governance.truth import registry

_NO_MODULE = re.compile(r"No module named '?([\w.]+)'?")
# A candidate has a pip of its own, and no node may rely on prod's.
_TOOLS = frozenset({"pip"})


@dataclass(frozen=True)
class Addition:
    """`line` is what the node's group gets for a module that it imports; `module` is "" where
    only the source of a declared package is kept."""

    node: str
    module: str
    line: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def imported(work: Work, environment: Environment) -> list[Addition]:
    """By the source of all nodes, what the staged lock does not hold."""
    found = []
    for node in work.tx.nodes:
        place = registry.place(work.workspace, work.draft.plugin(node))
        found += [(node, module) for module in sorted(imports.modules(place.resolve()))]
    return _wanted(work, environment, found)


def failed_for(work: Work, environment: Environment, lost: Iterable[str]) -> list[Addition]:
    """By what a start said: the modules that nodes failed for, and those of which the log speaks
    where nodes (`lost`) loaded with fewer classes."""
    seen = work.tx.observation
    ids = _ids(work)
    rows = [(ids.get(row["node"], row["node"]), row["module"]) for row in seen["missing_modules"]]
    said = [found[1] for line in seen.get("said", []) if (found := _NO_MODULE.search(line))]
    rows += [(node, module) for node in lost for module in said]
    return _wanted(work, environment, [row for row in rows if row[0] in work.tx.nodes])


def sources(work: Work, environment: Environment) -> tuple[list[Addition], list[str]]:
    """Declared packages that the old environment took from a URL: kept where the policy lets the
    source be named, else a sentence."""
    kept: list[Addition] = []
    told: list[str] = []
    for node in work.tx.nodes:
        for line in work.tx.lines_of(node):
            one = environment.packages.get(requirement_name(line))
            if one is None or not one.url or "@" in line:
                continue
            text, why = _line(work, one)
            if why:
                told.append(f"{node} asks for {line}, and {one.name} {why}: the index's is taken")
            else:
                kept.append(Addition(node, "", text))
    return kept, told


def add(work: Work, found: Sequence[Addition]) -> Work | None:
    """Make them steps of the transaction; None, and nothing is added, where it does not lock with
    them."""
    before = list(work.tx.steps)
    rows = [
        Step(
            steps.WITH,
            node,
            {"lines": list(dict.fromkeys(a.line for a in found if a.node == node))},
        ).to_json()
        for node in dict.fromkeys(one.node for one in found)
    ]
    fresh = begin.restepped(work, [*before, *rows])
    fresh.stages.plan(fresh.draft)
    if fresh.stages.lock(fresh.session.uv).ok:
        return fresh
    fresh = begin.restepped(work, before)
    fresh.stages.plan(fresh.draft)
    return None


def _wanted(
    work: Work, environment: Environment, rows: Iterable[tuple[str, str]]
) -> list[Addition]:
    locked = work.stages.lock_versions()
    comfyui_dir = work.workspace.comfyui_dir
    found: dict[tuple[str, str], Addition] = {}
    for node, module in rows:
        top = module.partition(".")[0]
        owner = environment.owner(module)
        is_own = (comfyui_dir / top).is_dir() or (comfyui_dir / f"{top}.py").is_file()
        if owner is None or is_own or owner.name in locked or owner.name in _TOOLS:
            continue
        text, why = _line(work, owner)
        if not why:
            found.setdefault((node, owner.name), Addition(node, module, text))
    return list(found.values())


def untaken(work: Work, environment: Environment) -> list[str]:
    """Sentences about modules that nodes import and whose package cannot be had again."""
    told = []
    for node in work.tx.nodes:
        place = registry.place(work.workspace, work.draft.plugin(node))
        for module in sorted(imports.modules(place.resolve())):
            owner = environment.owner(module)
            if owner is None or not owner.url or owner.name in work.stages.lock_versions():
                continue
            why = _line(work, owner)[1]
            if why:
                told.append(f"{node} imports {module}, whose {owner.name} {why}: it is left out")
    return list(dict.fromkeys(told))


def _line(work: Work, one: Installed) -> tuple[str, str]:
    """How it is asked for; else why it cannot be."""
    if not one.url:
        return one.name, ""
    url = one.url.removeprefix("@ ")
    if one.editable or url.startswith(("file:", "/")):
        return "", f"was installed from {url}, a place of this machine only"
    text = f"{one.name} @ {url}"
    judged = provenance.judged(work.workspace, [(text, "")])
    if judged.lines:
        return text, ""
    kind = "git" if url.startswith("git+") else "url"
    return "", f"came from {url} (policy.allow_{kind}_requirements in config.toml keeps that)"


def _ids(work: Work) -> dict[str, str]:
    """Node ids by what ComfyUI calls them, with and without the ending of a single file."""
    names = {registry.loader_name(plugin): plugin.id for plugin in work.draft.plugins}
    return {**names, **{name.removesuffix(".py"): node for name, node in names.items()}}
