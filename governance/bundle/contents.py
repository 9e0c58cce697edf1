"""bundle.json: what a bundle says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from governance.base import names
from governance.base.errors import GovError
from governance.base.shape import TEXT_OR_NONE, Shape, mismatch
from governance.git.call import FULL_COMMIT

FILE = "bundle.json"
SCHEMA = 1
PYPROJECT, LOCK, PLUGINS, STORY = "pyproject.toml", "uv.lock", "plugins.json", "story.json"
TRUTH = (PYPROJECT, LOCK, PLUGINS)
CODE, NODES, WHEELS = "code", "code/nodes", "wheels"
# A folder of packages is called so in a bundle's pyproject.toml and uv.lock, wherever it lay.
FOLDER_INDEX = WHEELS
# The place of ComfyUI's own code, see changes/provenance.py.
COMFYUI = "@ComfyUI"
# How a bundle names its interpreter: a version, never a file to be started.
PYTHON_VERSION = re.compile(r"3(\.[0-9]{1,3}){1,2}")

_NODE: Shape = {
    "id": str,
    "kind": str,
    "origin": TEXT_OR_NONE,
    "commit": TEXT_OR_NONE,
    "ref": TEXT_OR_NONE,
    "code": TEXT_OR_NONE,
    "enabled": bool,
    "additions?": [str],
}
_SHAPE: Shape = {
    "schema": int,
    "made_by": str,
    "platform": str,
    "python": str,
    "comfyui": {"origin?": TEXT_OR_NONE, "commit?": TEXT_OR_NONE, "code?": TEXT_OR_NONE},
    "nodes": [_NODE],
    "files": {"*": str},
}


@dataclass(frozen=True)
class Node:
    """One governed node: `code` is the commit that holds its files, `commit` a clone's HEAD.

    `additions` are lines that it needs and does not declare; `origin` is None where it came from
    a folder of the machine that made the bundle.
    """

    id: str
    kind: str
    origin: str | None
    commit: str | None
    ref: str | None
    code: str | None
    enabled: bool
    additions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Contents:
    """`python` is a full version, `files` the SHA-256 of every other member, by name."""

    made_by: str
    platform: str
    python: str
    comfyui: Mapping[str, str | None]
    nodes: tuple[Node, ...]
    files: Mapping[str, str]

    @property
    def minor(self) -> str:
        return ".".join(self.python.split(".")[:2])

    @property
    def has_code(self) -> bool:
        return any(name.startswith(f"{CODE}/") for name in self.files)

    @property
    def wheels(self) -> list[str]:
        """The names of its wheels."""
        start = f"{WHEELS}/"
        return sorted(n.removeprefix(start) for n in self.files if n.startswith(start))

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "made_by": self.made_by,
            "platform": self.platform,
            "python": self.python,
            "comfyui": dict(self.comfyui),
            "nodes": [asdict(node) for node in self.nodes],
            "files": dict(sorted(self.files.items())),
        }


def code_of(place: str) -> str:
    """The member that holds the code of a node, or of ComfyUI."""
    return f"{CODE}/ComfyUI.bundle" if place == COMFYUI else f"{NODES}/{place}.bundle"


def read(value: Any, name: str) -> Contents:
    """Raises GovError: code `newer_bundle`, or `bad_bundle` where it is not what gov writes."""
    schema = value.get("schema") if isinstance(value, dict) else None
    if type(schema) is int and schema > SCHEMA:
        raise GovError(
            f"{name} was made by a newer gov ({printable(value.get('made_by'))}): "
            f"its schema is {schema}, this gov reads {SCHEMA}",
            hint="install a newer gov here, then run the command again",
            code="newer_bundle",
            facts={"schema": schema},
        )
    wrong = mismatch(value, _SHAPE, FILE)
    if wrong is not None:
        raise bad(name, wrong)
    for row in value["nodes"]:
        if not names.is_node_id(row["id"]):
            raise bad(name, f"{row['id']!a} is no id of a node")
    for row in (value["comfyui"], *value["nodes"]):
        require_commits(row, name)
    known = Node.__dataclass_fields__
    nodes = [Node(**{k: v for k, v in row.items() if k in known}) for row in value["nodes"]]
    return Contents(
        value["made_by"],
        value["platform"],
        value["python"],
        value["comfyui"],
        tuple(nodes),
        value["files"],
    )


def require_commits(row: Mapping[str, Any], name: str) -> None:
    """They become names of files and words of commands: whole commits, nothing else."""
    for field_name in ("commit", "code"):
        found = row.get(field_name)
        if found is not None and not (isinstance(found, str) and FULL_COMMIT.fullmatch(found)):
            raise bad(name, f"{printable(found)!r} is no commit")


def printable(text: Any) -> str:
    return ascii(text)[1:-1][:60]


def bad(name: str, why: str) -> GovError:
    return GovError(
        f"{name} cannot be imported: {why}",
        hint="nothing was changed; copy the file again, or make it anew with `gov export FILE`",
        code="bad_bundle",
        facts={"file": name, "why": why},
    )
