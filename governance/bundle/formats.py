"""`gov export --format`: the installation in the words of other programs.

What uv can say it says itself (`uv export`); whose the packages are and the code of the nodes,
which it does not know, is added.  Two exports of one state are the same bytes here too.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import governance
from governance import git
from governance.boundaries import scratch, store
from governance.bundle import archive, outgoing, portable
from governance.bundle.contents import FOLDER_INDEX
from governance.bundle.outgoing import Source
from governance.changes.session import Session
from governance.code.capture import CLONE, FILE
from governance.truth import lockfile, registry
from governance.truth.documents import Plugin

_UV = {"pylock": "pylock.toml", "requirements": "requirements.txt", "cyclonedx": "cyclonedx1.5"}
NAMES = (*_UV, "manager-snapshot", "dockerfile")


@dataclass(frozen=True)
class Written:
    """`notes` are sentences on what the form cannot hold."""

    path: Path
    sha256: str
    size: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Told:
    """What an installation is, for every form."""

    session: Session
    source: Source
    origin: str | None
    folders: tuple[str, ...]
    python: str


def write(session: Session, path: Path, form: str, *, snapshot_id: str | None = None) -> Written:
    """Raises UsageError where something lies at `path`, GovError as an export of a bundle does."""
    archive.refuse_taken(path)
    source = outgoing.source(session.workspace, snapshot_id)
    told = _Told(
        session,
        source,
        outgoing.comfyui_origin(session.workspace),
        tuple(portable.folder_indexes(source.project)),
        outgoing.version(session.workspace, source),
    )
    notes: list[str] = [*source.left_out]
    text = _FORMS[form](told, notes)
    data = git.stripped(text).encode()
    store.write(path, data)
    return Written(path, store.digest(data), len(data), tuple(notes))


# --- uv's own ---------------------------------------------------------------------------------


def _of_uv(told: _Told, form: str, notes: list[str]) -> str:
    with scratch.folder("export") as folder:
        store.write(folder / "pyproject.toml", told.source.truth.pyproject)
        store.write(folder / "uv.lock", told.source.truth.lock)
        text = told.session.uv.export(folder, _UV[form], python=told.source.project.python)
    if told.folders:
        notes.append(
            f"packages come from the folder {told.folders[0]}: the file calls it {FOLDER_INDEX}/, "
            "which has to lie beside it"
        )
    return text


def _pylock(told: _Told, notes: list[str]) -> str:
    """Groups are flattened in PEP 751: whose a package is stands in [tool.gov]."""
    text = _of_uv(told, "pylock", notes)
    for folder in told.folders:
        text = re.sub(rf'(?m)^index = "file://{re.escape(folder)}"\n', "", text)
        text = text.replace(f'url = "file://{folder}/', f'path = "{FOLDER_INDEX}/')
    import tomlkit

    nodes = [
        {key: value for key, value in row.items() if value is not None} for row in _nodes(told)
    ]
    groups = told.source.project.groups
    table = {"tool": {"gov": {"comfyui": _comfyui(told), "node": nodes, "groups": groups}}}
    return f"{text.rstrip()}\n\n{tomlkit.dumps(table)}"


def _requirements(told: _Told, notes: list[str]) -> str:
    text = _of_uv(told, "requirements", notes)
    head = [f"# packages of a ComfyUI installation, for Python {told.python}, made by gov"]
    comfyui = _comfyui(told)
    if comfyui:
        head.append(f"# ComfyUI {comfyui.get('origin', '')} {comfyui.get('commit', '')}".rstrip())
    head += [f"# node {_line(row)}" for row in _nodes(told)]
    for index in told.source.project.indexes:
        url = str(index.get("url"))
        if url not in told.folders:
            head.append(f"--{'index-url' if index.get('default') else 'extra-index-url'} {url}")
        else:
            head.append(f"--find-links {FOLDER_INDEX}")
    if told.folders:
        notes.append("a folder of packages has no hashes: none stand in the file")
    return "\n".join([*head, text])


def _line(row: Mapping[str, Any]) -> str:
    words = (row["id"], row.get("origin") or row["kind"], row.get("commit") or "")
    return " ".join(words) + ("" if row["enabled"] else " (disabled)")


def _cyclonedx(told: _Told, notes: list[str]) -> str:
    document = json.loads(_of_uv(told, "cyclonedx", notes))
    components = [_without_places(row) for row in document.get("components", [])]
    ours = list(_components(told))
    document["components"] = [*components, *ours]
    root = document["metadata"]["component"]
    root["type"] = "application"
    for row in document.get("dependencies", []):
        if row.get("ref") == root.get("bom-ref"):
            row["dependsOn"] = [*row.get("dependsOn", []), *(one["bom-ref"] for one in ours)]
    document["dependencies"] += _dependencies(told, components, ours)
    document["metadata"].pop("timestamp", None)
    document["metadata"]["tools"].append(
        {"vendor": "gov", "name": "gov", "version": governance.__version__}
    )
    document.pop("serialNumber", None)
    text = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, text)}"
    return json.dumps(document, indent=2) + "\n"


def _without_places(row: dict[str, Any]) -> dict[str, Any]:
    """Files of this machine's folders are nobody else's."""
    kept = [r for r in row.get("externalReferences", []) if str(r.get("url")).startswith("http")]
    row.pop("externalReferences", None)
    return {**row, "externalReferences": kept} if kept else row


def _components(told: _Told) -> Iterable[dict[str, Any]]:
    comfyui = _comfyui(told)
    if comfyui:
        yield _component("ComfyUI", comfyui.get("origin"), comfyui.get("commit"), "ComfyUI")
    for row in _nodes(told):
        made = _component(row["id"], row["origin"], row["commit"], f"node:{row['id']}")
        properties = {"gov:kind": row["kind"], "gov:enabled": str(row["enabled"]).lower()}
        if row["code"] != row["commit"]:
            properties["gov:edited"] = str(row["code"])
        made["properties"] = [{"name": n, "value": v} for n, v in properties.items()]
        yield made


def _component(name: str, origin: str | None, commit: str | None, ref: str) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "application", "bom-ref": ref, "name": name}
    if commit:
        made["version"] = commit
    made["purl"] = _purl(name, origin, commit)
    if origin and origin.startswith("https://"):
        made["externalReferences"] = [{"type": "vcs", "url": origin}]
    return made


def _purl(name: str, origin: str | None, commit: str | None) -> str:
    """As package-url has it: GitHub's repositories by owner and name in lower case, all else as
    generic with the address."""
    at = f"@{commit}" if commit else ""
    parts = urlsplit(origin or "")
    path = parts.path.strip("/").removesuffix(".git")
    if parts.hostname == "github.com" and path.count("/") == 1:
        return f"pkg:github/{path.lower()}{at}"
    address = f"?vcs_url={quote(f'git+{origin}', safe='')}" if origin else ""
    return f"pkg:generic/{quote(name, safe='')}{at}{address}"


def _dependencies(
    told: _Told, components: Iterable[Mapping[str, Any]], ours: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What each node itself asks for."""
    from governance.requirements import requirement_name

    refs = {str(row["name"]): str(row["bom-ref"]) for row in components}
    groups = told.source.project.groups
    owners = {f"node:{plugin.id}": plugin.group for plugin in told.source.plugins}
    owners["ComfyUI"] = "core"
    made = []
    for one in ours:
        names = map(requirement_name, groups.get(owners.get(str(one["bom-ref"]), ""), []))
        found = sorted({refs[name] for name in names if name in refs})
        made.append({"ref": one["bom-ref"], **({"dependsOn": found} if found else {})})
    return made


# --- other forms ------------------------------------------------------------------------------


def _manager_snapshot(told: _Told, notes: list[str]) -> str:
    """As `cm-cli save-snapshot` writes it."""
    versions = lockfile.versions(lockfile.parse(told.source.truth.lock, Path("uv.lock")))
    document = {
        "comfyui": _comfyui(told).get("commit"),
        "git_custom_nodes": dict(_git_nodes(told, notes)),
        "cnr_custom_nodes": {},
        "file_custom_nodes": [
            {"filename": registry.loader_name(plugin), "disabled": not plugin.enabled}
            for plugin in told.source.plugins
            if plugin.kind == FILE
        ],
        "pips": {_frozen(name, version): "" for name, version in sorted(versions.items())},
    }
    notes.append("the Manager restores no hashes and no index: only a bundle holds the lock")
    return json.dumps(document, indent=4) + "\n"


def _frozen(name: str, version: str) -> str:
    return f"{name} {version}" if version.startswith("@") else f"{name}=={version}"


def _git_nodes(told: _Told, notes: list[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    for plugin in told.source.plugins:
        origin = portable.origin_of(plugin)
        if plugin.kind == CLONE and origin is not None:
            if plugin.code not in (None, plugin.commit):
                notes.append(f"{plugin.id}: its local edits are not in the file")
            yield origin, {"hash": plugin.commit, "disabled": not plugin.enabled}
        elif plugin.kind != FILE:
            notes.append(f"{plugin.id} is left out: the Manager has no form for it ({plugin.kind})")


def _dockerfile(told: _Told, notes: list[str]) -> str:
    """An image that holds the very generation of the bundle and starts ComfyUI with it."""
    minor = ".".join(told.python.split(".")[:2])
    notes.append(
        "the image is built from a bundle beside it: `gov export comfy.gov.tar --with-code`"
    )
    return _DOCKERFILE.format(minor=minor, python=told.python, version=governance.__version__)


_DOCKERFILE = """\
# syntax=docker/dockerfile:1
# Made by gov {version}.  Beside it belongs the bundle of the installation:
#   gov export comfy.gov.tar --with-code            (--with-wheels: no index is needed either)
#   docker build -t comfy --build-arg GOV=<a checkout's URL or a package of gov> .
#   docker run --gpus all -p 8188:8188 -v models:/comfy/ComfyUI/models comfy
FROM python:{python}-slim

RUN apt-get update \\
    && apt-get install -y --no-install-recommends git libgl1 libglib2.0-0 \\
    && rm -rf /var/lib/apt/lists/*

ARG GOV=comfy-env-governance
RUN python -m venv /opt/gov && /opt/gov/bin/pip install --no-cache-dir "$GOV"
ENV PATH=/opt/gov/bin:$PATH

ARG BUNDLE=comfy.gov.tar
WORKDIR /comfy
# The lock is taken byte for byte: the same Python {minor} on the same platform.  What cannot be
# fenced in while an image is built (no layer may be mounted there) is observed in a copy.
RUN --mount=type=bind,source=$BUNDLE,target=/tmp/comfy.gov.tar \\
    gov init /comfy/env --comfyui-dir /comfy/ComfyUI --from /tmp/comfy.gov.tar \\
    && rm -rf /comfy/env/.uv-cache

EXPOSE 8188
ENTRYPOINT ["gov", "--root", "/comfy/env", "run", "--"]
CMD ["--listen", "0.0.0.0", "--port", "8188"]
"""


# --- what is told -----------------------------------------------------------------------------


def _nodes(told: _Told) -> list[dict[str, Any]]:
    return [_node(plugin) for plugin in told.source.plugins]


def _node(plugin: Plugin) -> dict[str, Any]:
    return {
        "id": plugin.id,
        "kind": plugin.kind,
        "origin": portable.origin_of(plugin),
        "commit": plugin.commit,
        "code": plugin.code or plugin.commit,
        "group": plugin.group,
        "enabled": plugin.enabled,
    }


def _comfyui(told: _Told) -> dict[str, str]:
    named = told.source.project.comfyui
    if not named.get("commit"):
        return {}
    return {**({"origin": told.origin} if told.origin else {}), "commit": named["commit"]}


_FORMS: Mapping[str, Callable[[_Told, list[str]], str]] = {
    "pylock": _pylock,
    "requirements": _requirements,
    "cyclonedx": _cyclonedx,
    "manager-snapshot": _manager_snapshot,
    "dockerfile": _dockerfile,
}
