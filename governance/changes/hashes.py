"""The hashes of a staged lock: the ones that nodes' own `--hash` asks for, and those that no index
told.

uv takes what the index says of a file for true, and asks for no hash where the index tells none.
A node's line names every file that it may come as; one of them has to be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from governance.base.errors import GovError, Refused
from governance.boundaries import store
from governance.changes.work import Work
from governance.truth import lockfile

_HASH = re.compile(r"--hash[=\s]\s*(\w+:[0-9A-Fa-f]+)")
_FILE = re.compile(r'\{ url = "https?://(?![^}\n]*\bhash = ")')
_NAMED = 3


def check(work: Work) -> list[str]:
    """Sentences about packages of which no hash is known.  Raises GovError (code
    `hash_contradicted`), and Refused (code `hash_missing`) where policy wants every hash."""
    wanted = _wanted(work) if _setting(work, "node_hashes") == "check" else []
    path = work.stages.folder / "uv.lock"
    data = store.read_bytes(path)
    # Parsing a large lock takes a tenth of a second, which nearly every change can do without.
    if not wanted and not _FILE.search(data.decode()):
        return []
    packages = {str(row["name"]): row for row in lockfile.parse(data, path).get("package", [])}
    for node, line, hashes in wanted:
        _compare(node, line, hashes, packages.get(str(line["name"]), {}))
    return _missing(work, packages)


def _wanted(work: Work) -> list[tuple[str, Mapping[str, Any], set[str]]]:
    """(node, line, its hashes), where a line has any."""
    return [
        (node, line, {found.lower() for found in _HASH.findall(line["raw"])})
        for node, part in work.tx.nodes.items()
        for line in part.get("declared", {}).get("lines", [])
        if "--hash" in line["raw"]
    ]


def _compare(node: str, line: Mapping[str, Any], hashes: set[str], row: Mapping[str, Any]) -> None:
    version = str(row.get("version", ""))
    # Of a version that somebody else chose, the line says nothing.
    if not version or not re.search(rf"==\s*{re.escape(version)}(?![\w.])", line["text"]):
        return
    told = {str(file.get("hash", "")).lower() for file in lockfile.package_files(row)}
    if told & hashes:
        return
    place = f"{line['origin']['file']}:{line['origin']['line']}"
    what = (
        f"has other files of {line['name']} {version} than {node} asks for: none has the --hash of "
        f"{place}"
        if any(told)
        else f"tells no hash of {line['name']} {version}, so the --hash of {place} ({node}) cannot "
        "be checked"
    )
    raise GovError(
        f"the index at {_host(row)} {what}",
        hint=f'`gov node update {node}` may bring a newer line; `node_hashes = "ignore"` below '
        "[policy] in config.toml takes what the index has",
        code="hash_contradicted",
        facts={"package": line["name"], "version": version, "wanted": sorted(hashes)},
    )


def _missing(work: Work, packages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One sentence for each index; a folder of packages tells no hashes, and needs none."""
    by_host: dict[str, list[str]] = {}
    for name, row in packages.items():
        files = [
            file
            for file in lockfile.package_files(row)
            if str(file.get("url", "")).startswith("http")
        ]
        if files and not any(file.get("hash") for file in files):
            by_host.setdefault(_host(row), []).append(name)
    sentences = list(_sentences(by_host))
    if sentences and _setting(work, "missing_hashes") == "refuse":
        raise Refused(
            sentences[0],
            hint='`missing_hashes = "allow"` below [policy] in config.toml takes such packages; '
            "`gov init --index URL` takes another index",
            code="hash_missing",
            facts={"packages": by_host},
        )
    return sentences


def _sentences(by_host: Mapping[str, list[str]]) -> Iterator[str]:
    for host, names in by_host.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        listed = ", ".join(names[:_NAMED])
        yield f"the index at {host} tells no hash of {listed}{more}: what it sends is not checked"


def _host(row: Mapping[str, Any]) -> str:
    url = str(row.get("source", {}).get("registry", ""))
    return urlsplit(url).netloc.rpartition("@")[2] or url


def _setting(work: Work, name: str) -> str:
    return work.workspace.config.text(f"policy.{name}")
