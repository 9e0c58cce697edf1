"""What an index tells of a folder of wheels: the pages of the simple API."""

from __future__ import annotations

import hashlib
import html
import json
import re
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from governance.sample.wheels import about_path

JSON_TYPE = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class Told:
    """How the files are told: with their metadata (PEP 658) or not, with hashes, right or wrong,
    and with upload times or not."""

    metadata: bool = True
    wrong_hashes: bool = False
    hashes: bool = True
    times: bool = True


@dataclass(frozen=True)
class Distribution:
    """One file of the folder, as the index tells of it."""

    path: Path
    project: str
    version: str
    size: int
    sha256: str
    metadata: bytes | None
    uploaded: str
    yanked: str
    requires_python: str | None


def distributions(folder: Path) -> list[Distribution]:
    paths = sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")])
    return [_distribution(path, path.stat().st_mtime_ns, _about(path)) for path in paths]


def _about(path: Path) -> str:
    about = about_path(path)
    return about.read_text() if about.exists() else "{}"


@lru_cache(maxsize=1024)
def _distribution(path: Path, _mtime_ns: int, about_text: str) -> Distribution:
    data = path.read_bytes()
    about = json.loads(about_text)
    project, version = path.name.removesuffix(".tar.gz").split("-")[:2]
    return Distribution(
        path=path,
        project=normalised(project),
        version=version,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        metadata=_metadata_of(path),
        uploaded=about.get("uploaded") or "2020-01-01T00:00:00Z",
        yanked=about.get("yanked") or "",
        requires_python=about.get("requires_python"),
    )


def _metadata_of(path: Path) -> bytes | None:
    if path.suffix != ".whl":
        return None
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name)


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def project_json(project: str, files: list[Distribution], told: Told) -> bytes:
    document = {
        "meta": {"api-version": "1.1"},
        "name": project,
        "versions": sorted({file.version for file in files}),
        "files": [_file_json(file, told) for file in files],
    }
    return json.dumps(document).encode()


def _file_json(file: Distribution, told: Told) -> dict[str, object]:
    entry: dict[str, object] = {
        "filename": file.path.name,
        "url": f"/files/{file.path.name}",
        "hashes": {"sha256": _hash(file, told)} if told.hashes else {},
        "size": file.size,
        "yanked": file.yanked or False,
    }
    if told.times:
        entry["upload-time"] = file.uploaded
    if file.requires_python:
        entry["requires-python"] = file.requires_python
    if file.metadata is not None and told.metadata:
        entry["core-metadata"] = {"sha256": hashlib.sha256(file.metadata).hexdigest()}
    return entry


def _hash(file: Distribution, told: Told) -> str:
    return "0" * 64 if told.wrong_hashes else file.sha256


def project_html(project: str, files: list[Distribution], told: Told) -> bytes:
    anchors = "".join(_anchor(file, told) for file in files)
    return page(html.escape(project), anchors)


def page(title: str, body: str) -> bytes:
    head = f"<!DOCTYPE html><html><head><title>{title}</title></head>"
    return f"{head}<body>{body}</body></html>".encode()


def _anchor(file: Distribution, told: Told) -> str:
    fragment = f"#sha256={_hash(file, told)}" if told.hashes else ""
    attributes = f' href="/files/{file.path.name}{fragment}"'
    if file.requires_python:
        attributes += f' data-requires-python="{html.escape(file.requires_python)}"'
    if file.yanked:
        attributes += f' data-yanked="{html.escape(file.yanked)}"'
    if file.metadata is not None and told.metadata:
        digest = hashlib.sha256(file.metadata).hexdigest()
        attributes += f' data-core-metadata="sha256={digest}"'
    return f"<a{attributes}>{file.path.name}</a><br>\n"
