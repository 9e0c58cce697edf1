"""node search and info: what others publish.  Nothing is fetched or changed."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from governance.cli.outcome import Outcome, Part, Table
from governance.truth import workspace

if TYPE_CHECKING:
    from governance.catalogue.answers import Published, Release
    from governance.catalogue.offline import Listed
    from governance.operations.lookup import Answer
    from governance.truth.workspace import Workspace

_SHOWN_TEXT = 60
_SHOWN_VERSIONS = 10
_BAD = ("banned", "deleted", "flagged")


def node_search(arguments: Namespace) -> Outcome:
    from governance.operations import lookup

    space = workspace.find(arguments.root)
    answer = lookup.search(space, arguments.word)
    here = [_here(space, node) for node in answer.nodes]
    rows = [(*_row(node), told) for node, told in zip(answer.nodes, here, strict=True)]
    marks = {n: "bad" for n, row in enumerate(rows) if row[2] in _BAD}
    heads = ("id", "version", "status", "what", "here")
    parts: list[Part] = [Table(_asked(answer), heads, rows, marks)] if rows else []
    if not rows:
        parts.append(f"{_asked(answer)}: nothing is called {arguments.word!r}")
    elif (first := _first(answer)) is not None:
        parts.append(f"next: gov node info {first}")
    found = [{**n.to_json(), "here": h} for n, h in zip(answer.nodes, here, strict=True)]
    data = {"word": arguments.word, "source": answer.source, "found": found}
    return Outcome(data, parts, _warnings(answer))


def node_info(arguments: Namespace) -> Outcome:
    from governance.operations import lookup

    space = workspace.find(arguments.root)
    answer, versions = lookup.info(space, arguments.node_id)
    node = answer.nodes[0]
    installed = lookup.installed(space, node)
    facts = _facts(node)
    parts: list[Part] = [f"{name:14} {value}" for name, value in facts.items() if value]
    parts.append(f"{'installed here':14} {_installed(installed)}")
    if versions:
        parts.append(_versions(versions))
    parts.append(_next(node, installed))
    data = {
        "source": answer.source,
        "node": node.to_json(),
        "versions": [one.to_json() for one in versions],
        "installed": installed,
    }
    return Outcome(data, parts, _warnings(answer))


def _asked(answer: Answer) -> str:
    return "the Comfy Registry" if answer.source == "registry" else "ComfyUI-Manager's list"


def _warnings(answer: Answer) -> list[str]:
    return [f"this is ComfyUI-Manager's list: {answer.why}"] if answer.why else []


def _first(answer: Answer) -> str | None:
    return next((node.id for node in answer.nodes if node.id), None)


def _here(space: Workspace, node: Published | Listed) -> str:
    from governance.operations import lookup

    rows = lookup.installed(space, node)
    return _short(rows[0]) if rows else ""


def _short(row: dict[str, Any]) -> str:
    return str(row["version"] or str(row["commit"] or "?")[:12])


def _row(node: Published | Listed) -> tuple[str, str, str, str]:
    from governance.catalogue.offline import Listed

    if isinstance(node, Listed):
        return node.id or node.url, "-", "-", _cut(node.title or node.description)
    latest = node.latest
    version = latest.version if latest else "(repository)"
    status = (latest.status if latest else "") or node.status
    return node.id, version, status, _cut(node.description or node.name)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_TEXT else text[: _SHOWN_TEXT - 3] + "..."


def _facts(node: Published | Listed) -> dict[str, str]:
    from governance.catalogue.offline import Listed

    if isinstance(node, Listed):
        return {
            "id": node.id,
            "title": node.title,
            "author": node.author,
            "repository": node.url,
            "installed by": node.how,
            "what": node.description,
        }
    latest = node.latest
    facts = {
        "id": node.id,
        "name": node.name,
        "publisher": node.publisher,
        "status": node.status,
        "repository": node.repository,
        "what": node.description,
        "latest": "none: only its repository is known" if latest is None else _release(latest),
    }
    if latest is not None:
        facts["dependencies"] = ", ".join(latest.dependencies)
        facts["ComfyUI"] = latest.comfyui
        facts["systems"] = ", ".join(latest.systems)
        facts["accelerators"] = ", ".join(latest.accelerators)
    return facts


def _release(one: Release) -> str:
    words = [one.status, one.reason, "deprecated" if one.deprecated else ""]
    told = ", ".join(word for word in words if word and word != "active")
    return one.version + (f" ({told})" if told else "")


def _installed(rows: list[dict[str, Any]]) -> str:
    told = [f"{row['id']}: {row['kind']} {_short(row)}, {row['state']}" for row in rows]
    return "; ".join(told) or "no"


def _versions(versions: list[Release]) -> Table:
    shown = versions[:_SHOWN_VERSIONS]
    more = len(versions) - len(shown)
    rows = [(one.version, one.status, one.created_at[:10], _cut(one.changelog)) for one in shown]
    marks = {n: "bad" for n, one in enumerate(shown) if one.status in _BAD}
    title = "versions" + (f" (the newest; {more} more)" if more else "")
    return Table(title, ("version", "status", "published", "what changed"), rows, marks)


def _next(node: Published | Listed, installed: list[dict[str, Any]]) -> str:
    if installed:
        return f"next: gov node update {installed[0]['id']}"
    from governance.catalogue.offline import Listed

    named = node.id if not isinstance(node, Listed) else node.id or node.url
    return f"next: gov node add {named}"
