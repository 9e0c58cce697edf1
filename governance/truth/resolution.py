"""The declared truth as text: pyproject.toml made, read and edited; locked with one `uv lock`.

`uv add` and `uv remove` are not used: uv truncates pyproject.toml in place, and a kill left 0
bytes.  The text is edited with tomlkit in a staged copy, beside a copy of the current lock, whose
versions uv then prefers.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance.base.errors import GovError
from governance.boundaries import store
from governance.boundaries.uv import Locked, Uv

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

# No node can ask for a package that is called like the project: uv takes it for the project itself.
# There is a `comfy-env`, and nodes use it; older workspaces are renamed with the next node.
PROJECT = "gov-workspace-of-comfyui"
_FORMER = "comfy-env"
PROJECTS = (PROJECT, _FORMER)
_NAMED = "named-"  # begins the name of an index that a node named
_DATED = re.compile(r"\d{4}-")
CORE_GROUP = "core"
MANAGER_GROUP = "manager"
NODE_PREFIX = "node-"
SCHEMA = 1
TORCH_FAMILY = ("torch", "torchvision", "torchaudio", "torchsde", "xformers", "triton")

# uv forked the lock at 3.11.5 for one package that has a marker there; the interpreter's own
# version as lower bound keeps one fork.
_ENVIRONMENT = (
    "sys_platform == '{system}' and platform_machine == '{machine}' "
    "and implementation_name == 'cpython' and python_full_version >= '{python}'"
)


@dataclass(frozen=True)
class Index:
    """A package index: `url` of a simple index, or of a flat folder where `flat` is set."""

    url: str
    name: str = "gov"
    flat: bool = False
    default: bool = True
    explicit: bool = False

    def table(self) -> dict[str, Any]:
        made: dict[str, Any] = {"name": self.name, "url": self.url}
        if self.flat:
            made["format"] = "flat"
        if self.default:
            made["default"] = True
        if self.explicit:
            made["explicit"] = True
        return made


@dataclass(frozen=True)
class Settings:
    """What a workspace's pyproject.toml says besides the groups.

    `python` is the interpreter as named (a version or a path), `version` its full version,
    `date` an ISO 8601 time, `named_date` how that was named (auto, none or a day), `sources`
    package name to index name.
    """

    python: str
    version: str
    date: str | None = None
    named_date: str = "auto"
    indexes: Sequence[Index] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    no_build: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Settings:
        return cls(**{**row, "indexes": [Index(**index) for index in row["indexes"]]})

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])


# The keys of [tool.uv] that settings decide, wholly or in part.
_GOVERNED = (
    "package",
    "default-groups",
    "environments",
    "exclude-newer",
    "exclude-newer-package",
    "no-build",
    "sources",
    "index",
)


def new_project(settings: Settings, core: Sequence[str]) -> str:
    """The text of a workspace's pyproject.toml."""
    import tomlkit

    document = tomlkit.document()
    document.add(tomlkit.comment("The declared truth of this ComfyUI environment, kept by gov."))
    document.add(tomlkit.comment("Change it with gov (see docs/04); uv.lock holds the versions."))
    document["project"] = {
        "name": PROJECT,
        "version": "0",
        "requires-python": f"=={settings.minor}.*",
        "dependencies": [],
    }
    document["dependency-groups"] = {CORE_GROUP: _lines(core)}
    document["tool"] = {"uv": _uv_table(settings), "gov": _gov_table(settings)}
    return tomlkit.dumps(document)


@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> Mapping[str, Any]:
    return tomllib.loads(text)


@dataclass(frozen=True)
class Project:
    """The text of a workspace's pyproject.toml; every edit returns a new value."""

    text: str
    path: Path = Path("pyproject.toml")

    @classmethod
    def read(cls, data: bytes, path: Path) -> Project:
        """Raises Damaged for what is not TOML or not ours."""
        project = cls(data.decode(errors="replace"), path)
        if "gov" not in project.data.get("tool", {}):
            raise store.damaged(path, "it has no [tool.gov] table, so gov did not write it")
        return project

    @property
    def data(self) -> Mapping[str, Any]:
        """Nobody changes it: many questions are asked of one text, and it is read once."""
        try:
            return _parsed(self.text)
        except (ValueError, RecursionError) as error:
            raise store.damaged(self.path, str(error)) from None

    @property
    def python(self) -> str:
        """The interpreter as named at init: a version or a path."""
        return str(self.data["tool"]["gov"].get("python", this_minor()))

    @property
    def groups(self) -> dict[str, list[str]]:
        found = self.data.get("dependency-groups", {})
        return {
            name: [line for line in lines if isinstance(line, str)] for name, lines in found.items()
        }

    @property
    def overrides(self) -> list[str]:
        """Those that hold for whoever asks for a package."""
        return [entry for entry in self._override_entries() if isinstance(entry, str)]

    @property
    def scoped(self) -> list[tuple[str, str, str]]:
        """(package, version, dependency) of the overrides for what one package asks for."""
        tables = [entry for entry in self._override_entries() if isinstance(entry, dict)]
        return [
            (str(table["package"]["name"]), str(table["package"].get("version", "")), str(line))
            for table in tables
            for line in table.get("dependencies", [])
        ]

    def _override_entries(self) -> list[Any]:
        return list(self.data.get("tool", {}).get("uv", {}).get("override-dependencies", []))

    @property
    def date(self) -> str | None:
        """Packages newer than this are not considered (uv's exclude-newer); None also where that
        is a span of time, which policy made of it."""
        value = str(self.data.get("tool", {}).get("uv", {}).get("exclude-newer", ""))
        return value if _DATED.match(value) else None

    @property
    def constraints(self) -> list[str]:
        """What `gov pin` holds: ranges that bind every package, whoever asks for it."""
        return list(self.data.get("tool", {}).get("uv", {}).get("constraint-dependencies", []))

    @property
    def comfyui(self) -> dict[str, str]:
        """ComfyUI's `commit` and `code`; empty where gov does not know them yet."""
        return dict(self.data["tool"]["gov"].get("comfyui", {}))

    @property
    def named_date(self) -> str:
        """How the date was named: `auto`, `none` or an ISO 8601 day."""
        return str(self.data["tool"]["gov"].get("resolution-date", "auto"))

    @property
    def indexes(self) -> list[dict[str, Any]]:
        return list(self.data.get("tool", {}).get("uv", {}).get("index", []))

    @property
    def encoded(self) -> bytes:
        return self.text.encode()

    def with_group(self, name: str, lines: Sequence[str]) -> Project:
        """The group holds exactly `lines`; an empty group stays, so that the node is seen."""
        return Project(_with_group(self.text, name, tuple(lines)), self.path)

    def without_group(self, name: str) -> Project:
        document = self._document()
        document["dependency-groups"].pop(name, None)
        return self._of(document)

    def with_overrides(self, lines: Sequence[str]) -> Project:
        return self._with_override_entries([*lines, *scoped_entries(self.scoped)])

    def with_scoped(self, rows: Iterable[tuple[str, str, str]]) -> Project:
        return self._with_override_entries([*self.overrides, *scoped_entries(rows)])

    def _with_override_entries(self, entries: Sequence[str | dict[str, Any]]) -> Project:
        document = self._document()
        table: Any = document["tool"]["uv"]
        if entries:
            table["override-dependencies"] = _lines(entries)
        else:
            table.pop("override-dependencies", None)
        return self._of(document)

    def with_constraints(self, lines: Sequence[str]) -> Project:
        document = self._document()
        table: Any = document["tool"]["uv"]
        if lines:
            table["constraint-dependencies"] = _lines(lines)
        else:
            table.pop("constraint-dependencies", None)
        return self._of(document)

    def with_comfyui(self, commit: str | None, code: str) -> Project:
        document = self._document()
        table: Any = document["tool"]["gov"]
        named = {"commit": commit, "code": code}
        table["comfyui"] = {name: value for name, value in named.items() if value is not None}
        return self._of(document)

    def without_comfyui(self) -> Project:
        document = self._document()
        table: Any = document["tool"]["gov"]
        table.pop("comfyui", None)
        return self._of(document)

    def with_python(self, named: str) -> Project:
        """The interpreter by another name."""
        document = self._document()
        table: Any = document["tool"]["gov"]
        table["python"] = named
        return self._of(document)

    def with_exempt(self, names: Sequence[str]) -> Project:
        """The resolution date does not bind these packages."""
        document = self._document()
        table: Any = document["tool"]["uv"]
        known = dict(table.get("exclude-newer-package", {}))
        table["exclude-newer-package"] = {**known, **dict.fromkeys(names, False)}
        return self._of(document)

    @property
    def sources(self) -> list[tuple[str, str, bool]]:
        """(package, address, flat) of the packages that come from an index that a node named."""
        uv = self.data.get("tool", {}).get("uv", {})
        named = {i["name"]: i for i in uv.get("index", []) if i["name"].startswith(_NAMED)}
        return [
            (package, str(named[name]["url"]), named[name].get("format") == "flat")
            for package, source in uv.get("sources", {}).items()
            if isinstance(source, dict) and (name := str(source.get("index"))) in named
        ]

    def with_sources(self, rows: Iterable[tuple[str, str, bool]]) -> Project:
        """Exactly these packages come from an index that a node named."""
        document = self._document()
        table: Any = document["tool"]["uv"]
        ours = {package for package, _, _ in self.sources}
        plain = {**self.data["tool"]["uv"]}
        plain["index"] = [i for i in self.indexes if not i["name"].startswith(_NAMED)]
        for part in ("sources", "exclude-newer-package"):
            kept = {name: to for name, to in plain.get(part, {}).items() if name not in ours}
            plain[part] = kept
        add_sources(plain, rows)
        for part in ("sources", "exclude-newer-package", "index"):
            table.pop(part, None)
            if plain[part]:
                table[part] = plain[part]
        return self._of(document)

    def with_uv(self, uv: Mapping[str, Any]) -> Project:
        """`[tool.uv]` with exactly these keys; what is the same keeps its text, what is empty is
        left out."""
        wanted = {key: value for key, value in uv.items() if value not in ({}, [])}
        before = self.data["tool"]["uv"]
        if wanted == before:
            return self
        document = self._document()
        table: Any = document["tool"]["uv"]
        for key in before.keys() | wanted.keys():
            if before.get(key) != wanted.get(key) or isinstance(before.get(key), dict):
                table.pop(key, None)
        for key, value in wanted.items():
            if key not in table:
                table[key] = value
        return self._of(document)

    def with_note(self, name: str, note: Mapping[str, Any]) -> Project:
        """What gov keeps under `[tool.gov.<name>]`; nothing where `note` is empty."""
        if dict(self.data["tool"]["gov"].get(name, {})) == note:
            return self
        document = self._document()
        table: Any = document["tool"]["gov"]
        table.pop(name, None)
        if note:
            table[name] = dict(note)
        return self._of(document)

    def with_wheels_only(self, names: Iterable[str]) -> Project:
        """For questions; the truth itself says nothing of what a machine cannot build."""
        document = self._document()
        document["tool"]["uv"]["no-build-package"] = _lines(list(names))
        return self._of(document)

    def with_settings(self, settings: Settings) -> Project:
        """What the settings do not speak of stays: overrides, packages that a resolution freed
        from the date, and what a maintainer added by hand."""
        document = self._document()
        document["project"]["requires-python"] = f"=={settings.minor}.*"
        document["tool"]["uv"] = _merged(self.data["tool"].get("uv", {}), _uv_table(settings))
        before = self.data["tool"]["gov"]
        document["tool"]["gov"] = {**before, **_gov_table(settings)}
        return self._of(document).with_overrides(self.overrides)

    def _document(self) -> TOMLDocument:
        import tomlkit

        return tomlkit.parse(self.text)

    def _of(self, document: TOMLDocument) -> Project:
        import tomlkit

        return Project(tomlkit.dumps(document), self.path)


def add_sources(uv: dict[str, Any], rows: Iterable[tuple[str, str, bool]]) -> None:
    """Into a `[tool.uv]`: an explicit index serves the packages that name it and no other, so
    that it can bring nothing else in.  Such an index seldom tells upload times, and uv would then
    see none of its files where there is a resolution date."""
    for package, url, flat in rows:
        name = _NAMED + hashlib.sha256(url.encode()).hexdigest()[:8]
        index = Index(url, name, flat, default=False, explicit=True).table()
        known = [one for one in uv.get("index", []) if one.get("name") != name]
        uv["index"] = [*known, index]
        uv["sources"] = {**uv.get("sources", {}), package: {"index": name}}
        if "exclude-newer" in uv:
            dates = uv.get("exclude-newer-package", {})
            uv["exclude-newer-package"] = {**dates, package: False}


def scoped_entries(rows: Iterable[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """As uv reads them: one table for each version of a package, with all its dependencies."""
    found: dict[tuple[str, str], list[str]] = {}
    for package, version, dependency in rows:
        lines = found.setdefault((package, version), [])
        if dependency not in lines:
            lines.append(dependency)
    return [
        {
            "package": {"name": package, **({"version": version} if version else {})},
            "dependencies": lines,
        }
        for (package, version), lines in found.items()
    ]


@lru_cache(maxsize=256)
def _with_group(text: str, name: str, lines: tuple[str, ...]) -> str:
    """A command makes its draft several times, and tomlkit takes 20 ms for each node of each."""
    import tomlkit

    document: Any = tomlkit.parse(text)
    if name.startswith(NODE_PREFIX) and document["project"]["name"] == _FORMER:
        document["project"]["name"] = PROJECT
    document["dependency-groups"][name] = _lines(lines)
    return tomlkit.dumps(document)


def stage(folder: Path, project: Project, lock: bytes | None) -> None:
    """Lay the project, and the lock whose versions are preferred, into a work folder."""
    store.make_folder(folder)
    store.write(folder / "pyproject.toml", project.encoded)
    if lock is not None:
        store.write(folder / "uv.lock", lock)


def lock(
    uv: Uv,
    folder: Path,
    project: Project,
    upgrade: Sequence[str] = (),
    wheels_only: Sequence[str] = (),
) -> Locked:
    """One `uv lock` of a staged project; its `uv.lock` is new and durable when it succeeded.

    `upgrade` names packages whose versions in the staged lock are not preferred; `*` all of them.
    Of `wheels_only` no version is taken that has to be built.
    """
    extra = ["--upgrade"] if "*" in upgrade else []
    extra += [word for name in upgrade if name != "*" for word in ("--upgrade-package", name)]
    extra += [word for name in wheels_only for word in ("--no-build-package", name)]
    locked = uv.lock(folder, python=project.python, extra=extra)
    if locked.conflict:
        from governance.truth import lying_index  # with urllib, which few commands need

        lying_index.require_honest(uv, folder, locked.log)
    if locked.ok:
        store.sync_file(folder / "uv.lock")
        if (folder / "pyproject.toml").read_bytes() != project.encoded:
            raise GovError(
                "uv changed the staged pyproject.toml",
                hint="this is not expected of this uv; report it with its version",
                code="uv_failed",
            )
    return locked


def _uv_table(settings: Settings) -> dict[str, Any]:
    marker = _ENVIRONMENT.format(
        system=sys.platform, machine=platform.machine(), python=settings.version
    )
    table: dict[str, Any] = {
        "package": False,
        "default-groups": "all",
        "environments": [marker],
    }
    if settings.date:
        table["exclude-newer"] = settings.date
    if settings.date and settings.sources:
        # An index of torch's own tells no upload times, and uv would then see none of its files.
        # From the ordinary index the family obeys the date like all else: freed from it, torch
        # stayed at 2.9 for its CUDA packages' sake while torchaudio went to 2.11, which it does
        # not load.
        table["exclude-newer-package"] = dict.fromkeys(TORCH_FAMILY, False)
    if settings.no_build:
        table["no-build"] = True
    if settings.sources:
        table["sources"] = {name: {"index": index} for name, index in settings.sources.items()}
    if settings.indexes:
        table["index"] = [index.table() for index in settings.indexes]
    return table


def _merged(before: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """`table` in place of what it speaks of in `before`."""
    kept = {key: value for key, value in before.items() if key not in _GOVERNED}
    indexes = [i for i in before.get("index", []) if not i.get("default") and i["name"] != "torch"]
    sources = {
        name: source
        for name, source in before.get("sources", {}).items()
        if source != {"index": "torch"}
    }
    freed = before.get("exclude-newer-package", {}) if "exclude-newer" in table else {}
    more = {"index": indexes, "sources": sources, "exclude-newer-package": freed}
    for key, rest in more.items():
        if isinstance(rest, dict) and rest:
            kept[key] = {**rest, **table.pop(key, {})}
        elif rest:
            kept[key] = [*table.pop(key, []), *rest]
    return {**table, **kept}


def _gov_table(settings: Settings) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "python": settings.python,
        "resolution-date": settings.named_date,
    }


def _lines(lines: Sequence[str | dict[str, Any]]) -> Any:
    import tomlkit

    array = tomlkit.array()
    array.extend(lines)
    return array.multiline(len(lines) > 0)


def this_minor() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
