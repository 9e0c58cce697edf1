"""What nodes import and nobody declares, though it lies in the old environment: each becomes an
addition of the node that imports it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from governance.adoption import imports
from governance.adoption.environment import Environment, Installed
from governance.changes import batch, begin, provenance, steps
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
    only the source of a declared package is kept.  `loss` says what is not kept of the source."""

    node: str
    module: str
    line: str
    loss: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def sentence(self) -> str:
        return f"{self.node} uses {self.line}, which {self.loss}: that of the index is taken"


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


def sources(work: Work, environment: Environment) -> list[Addition]:
    """Declared packages that the old environment took from a URL, where the policy lets the
    source be named; else with what is lost."""
    found = []
    for node in work.tx.nodes:
        for line in work.tx.lines_of(node):
            one = environment.packages.get(requirement_name(line))
            if one is not None and one.url and "@" not in line:
                found.append(Addition(node, "", *_line(work, one)))
    return found


def add(work: Work, found: Sequence[Addition]) -> list[Addition]:
    """Make them steps of the transaction, and lock; those with which it does lock."""
    before = list(work.tx.steps)

    def fails(tried: Sequence[Addition]) -> str | None:
        fresh = begin.restepped(work, [*before, *_steps(tried)])
        return None if batch.locks(fresh) else "it does not lock"

    bad = [one for one, _ in batch.culprits(found, fails)]
    good = [one for one in found if one not in bad]
    if bad:
        fails(good)
    return good


def _steps(found: Sequence[Addition]) -> list[dict[str, Any]]:
    """A declared line stays as it is where nothing better is known."""
    found = [one for one in found if one.module or not one.loss]
    return [
        Step(steps.WITH, node, {"lines": lines}).to_json()
        for node in dict.fromkeys(one.node for one in found)
        if (lines := list(dict.fromkeys(one.line for one in found if one.node == node)))
    ]


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
        found.setdefault((node, owner.name), Addition(node, module, *_line(work, owner)))
    return list(found.values())


def _line(work: Work, one: Installed) -> tuple[str, str]:
    """How it is asked for, and what that loses."""
    if not one.url:
        return one.name, ""
    url = one.url.removeprefix("@ ")
    if one.editable or url.startswith(("file:", "/")):
        return one.name, f"was installed from {url}, a place of this machine"
    text = f"{one.name} @ {url}"
    if provenance.judged(work.workspace, [(text, "")]).lines:
        return text, ""
    kind = "git" if url.startswith("git+") else "url"
    setting = f"policy.allow_{kind}_requirements"
    return one.name, f"came from {url} ({setting} in config.toml lets that be kept)"


def _ids(work: Work) -> dict[str, str]:
    """Node ids by what ComfyUI calls them, with and without the ending of a single file."""
    names = {registry.loader_name(plugin): plugin.id for plugin in work.draft.plugins}
    return {**names, **{name.removesuffix(".py"): node for name, node in names.items()}}
