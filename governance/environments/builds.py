"""Packages that have to be built: their back ends run inside the fence, as observed programs do.

uv itself builds nothing (boundaries/no_builds).  Where it needs what a package says of itself, the
package's metadata is made here and told to uv as `dependency-metadata`; where it needs the files,
a wheel is made here and the environment is built from it.  So nothing that a back end ran reaches
uv's cache, the lock or an environment by another road than the text of METADATA and the wheel.

What a build asks for is fetched beforehand, by uv, outside, and only as wheels.  Both results are
kept in `.wheels/built/<python>/<name>-<version>/`: one build for a lock, every try of a fix and
every environment, offline too.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import threading
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance import observation, sandbox
from governance.base import clock
from governance.base.errors import GovError, UsageError
from governance.base.names import normalise
from governance.base.progress import Say, quiet
from governance.boundaries import process, store
from governance.boundaries.uv import NOT_BUILT
from governance.catalogue.index_page import credentials
from governance.environments import archives, bounds, reachable, variables
from governance.environments import secrets as secret_places
from governance.environments.archives import Wheel
from governance.truth import lockfile
from governance.truth.workspace import Workspace

if TYPE_CHECKING:
    from governance.boundaries.uv import Uv

_HOOK = Path(__file__).with_name("build_hook.py")
_PYTHON = (
    "import sys, sysconfig;"
    "print(sys.implementation.cache_tag, sysconfig.get_platform(), *sys.version_info[:2])"
)
_LEGACY = "setuptools.build_meta:__legacy__"
_SETUPTOOLS = "setuptools>=40.8.0"
_LIMIT = 4 << 20
_SAID = 16000
_SHORT = 16
_FROM_GIT = re.compile(r"Failed to [^`]*`(?P<name>[\w.-]+)(?:\[[^`]*\])? @ git\+(?P<url>[^`]+)`")
_FETCHED = re.compile(r"(?m)^([0-9a-f]{40})\t.*?(\S+)$")
_LOCKED_GIT = re.compile(
    r'^name = "([^"]+)"\nversion = "([^"]+)"\nsource = \{ git = "[^"#]*#([0-9a-f]+)" \}', re.M
)
# Settings of the project that say where packages come from, and from when.
_OF_INDEXES = ("index", "exclude-newer", "exclude-newer-package", "index-strategy")
_TOLD_TO_UV = re.compile(
    r'\[\[manifest\.dependency-metadata\]\]\nname = "(?P<name>[^"]+)"\n'
    r'(?:version = "(?P<version>[^"]+)"\n)?(?:(?!\[).*\n)*'
)


@dataclass(frozen=True)
class Built:
    """A wheel that was made here: `source` is the sha256 of what it was made of, `wheel` the
    file's name, `isolation` how its build was fenced ("none": it could have done anything)."""

    package: str
    version: str
    source: str
    wheel: str
    sha256: str
    isolation: str
    at: str


class _Failed(Exception):
    """What a build said when it failed."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


@dataclass(frozen=True)
class _Python:
    """The interpreter that is built for; `name` is part of a path."""

    path: Path
    name: str
    version: str


@dataclass(frozen=True)
class Builds:
    """See boundaries/uv.py for what its functions are for.  With `learns` false nothing is built,
    and what was built before is known all the same."""

    workspace: Workspace
    say: Say = quiet
    learns: bool = True
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def store(self) -> Path:
        return folder(self.workspace)

    # --- metadata, for a lock -----------------------------------------------------------------

    def told(self, python: Path) -> Path | None:
        if not self.store.is_dir():
            return None
        config = self.store / _python(python).name / "config"
        return config if (config / "uv/uv.toml").is_file() else None

    def learn(self, uv: Uv, project: Path, python: Path, log: str) -> str | None:
        if not self.learns:
            return f"{NOT_BUILT}; --build does so"
        with self._one_at_a_time:
            try:
                return self._learn(uv, project, _python(python), log)
            except _Failed as error:
                return error.said
            except GovError as error:
                return error.message

    def _learn(self, uv: Uv, project: Path, python: _Python, log: str) -> str | None:
        source = _asked_for(uv.cache, log)
        kept = self._place(python, source.name, source.version) / "metadata.json"
        if source.version and kept.is_file():
            if not _write_config(kept.parent.parent):
                # Told, and asked for all the same: the build of another package asks for it.
                return f"a build asks for {source.name} {source.version}, which has no wheel"
            return None
        self._keep_metadata(uv, project, python, source)
        return None

    def untold(self, lock: Path, python: Path) -> bool:
        rows = self._rows(_python(python))
        text = store.read_bytes(lock).decode()
        if _forget_moved(self.store / _python(python).name, rows, text):
            return False
        known = {(row["name"], row["version"]) for row in rows}

        def kept(match: re.Match[str]) -> str:
            return "" if (match["name"], match["version"]) in known else match[0]

        clean = re.sub(r"(?m)^\[manifest\]\n+(?=\[|\Z)", "", _TOLD_TO_UV.sub(kept, text))
        if clean != text:
            store.write(lock, clean.encode())
        return True

    def _keep_metadata(self, uv: Uv, project: Path, python: _Python, source: _Source) -> None:
        self.say(f"asking the build of {source.shown} what it needs")
        with self._build(uv, project, python, source.name) as build:
            build.unpack(source.folder)
            row = build.metadata()
            isolation = build.isolation
        wanted = (source.name, source.version or row["version"])
        if (normalise(row["name"]), row["version"]) != wanted:
            raise _Failed(f"it calls itself {row['name']} {row['version']}")
        place = self._place(python, *wanted)
        _make_folders(place)
        more = {"name": source.name, "commit": source.commit, "isolation": isolation}
        store.write_json(place / "metadata.json", {"schema": 1, **row, **more, "at": clock.stamp()})
        _write_config(place.parent)

    def _rows(self, python: _Python) -> list[dict[str, Any]]:
        return _metadata(self.store / python.name)

    def _place(self, python: _Python, name: str, version: str) -> Path:
        return self.store / python.name / _safe(f"{name}-{version}")

    # --- wheels, for an environment -----------------------------------------------------------

    def wheels(self, uv: Uv, project: Path, lock: bytes, python: Path) -> dict[str, list[Wheel]]:
        """A wheel for each package of the lock that has none for this platform, by name.

        Raises GovError (code `build_failed`).
        """
        known = _python(python)
        return {
            str(package["name"]): [self._wheel(uv, project, known, package)]
            for package in _source_only(project, lock, known)
        }

    def kept(self, project: Path, lock: bytes, python: Path) -> dict[str, list[Wheel]]:
        """The same where all of them were built before; empty where one was not."""
        if not self.store.is_dir():
            return {}
        known = _python(python)
        found = {}
        for package in _source_only(project, lock, known):
            place = self._place_of(known, package)
            made = _kept_of(place, package)
            if made is None:
                return {}
            found[str(package["name"])] = [_as_wheel(place, package, made)]
        return found

    def _wheel(self, uv: Uv, project: Path, python: _Python, package: Mapping[str, Any]) -> Wheel:
        place = self._place_of(python, package)
        known = _kept_of(place, package)
        if known is None:
            try:
                known = self._make(uv, project, python, package, place)
            except _Failed as error:
                name, version = normalise(str(package["name"])), str(package.get("version", ""))
                raise _build_failed(name, version, error.said) from None
        return _as_wheel(place, package, known)

    def _place_of(self, python: _Python, package: Mapping[str, Any]) -> Path:
        name, version = normalise(str(package["name"])), str(package.get("version", ""))
        return self._place(python, name, version)

    def _make(
        self, uv: Uv, project: Path, python: _Python, package: Mapping[str, Any], place: Path
    ) -> Built:
        name, version = normalise(str(package["name"])), str(package["version"])
        self.say(f"building {name} {version} from source: it has no wheel for this machine")
        with self._build(uv, project, python, name) as build:
            try:
                archive, source = _obtained(uv, package, project, build.folder)
            except GovError as error:
                return _last_kept(place, error)
            known = _kept(place / source[:_SHORT])
            if known is not None:
                return known
            build.unpack(archive)
            wheel = build.wheel(name, version)
            data = wheel.read_bytes()
            made = Built(
                *(name, version, source, wheel.name, store.digest(data)),
                *(build.isolation, clock.stamp()),
            )
        _make_folders(place)
        _keep_wheel(place / source[:_SHORT], made, data)
        return made

    @contextmanager
    def _build(self, uv: Uv, project: Path, python: _Python, name: str) -> Iterator[_Build]:
        place = self.workspace.candidates / f"build-{secrets.token_hex(4)}"
        for inner in ("", "work", *(f"work/{name}" for name in ("out", "home", "tmp", "pycache"))):
            store.make_folder(place / inner)
        try:
            store.write(place / "pyproject.toml", _settings(project))
            more, indexes = _more_needed(project, name), _indexes(project)
            build = _Build(self.workspace, uv, place, python, more, indexes)
            if build.isolation == "none":
                self.say(
                    f"no fence can be had here ({build.lacks}): {name} is built without one "
                    "(policy.allow_source_builds = false refuses to)"
                )
            yield build
        finally:
            store.remove_tree(place)


def _source_only(project: Path, lock: bytes, python: _Python) -> Iterator[Mapping[str, Any]]:
    """Packages of the lock without a wheel for this platform."""
    ranks = archives.ranking(python.version)
    for package in lockfile.parse(lock, project / "uv.lock").get("package", []):
        kinds = package.get("source", {}).keys()
        if kinds & {"registry", "git"} and archives.choose(package, ranks) is None:
            yield package


def _kept_of(place: Path, package: Mapping[str, Any]) -> Built | None:
    named = _commit(package) or str(package.get("sdist", {}).get("hash", "")).partition(":")[2]
    return _kept(place / named[:_SHORT]) if named else None


def _as_wheel(place: Path, package: Mapping[str, Any], made: Built) -> Wheel:
    path = place / made.source[:_SHORT] / made.wheel
    return Wheel(archives.named(package.get("sdist", {})), path, f"sha256:{made.sha256}")


@dataclass(frozen=True)
class _Build:
    """One build in `folder`, which is thrown away: each step is a program of its own.

    It may write in `work` alone.  The environment lies beside that, since uv, outside of the
    fence, starts what is in it and adds to it.
    """

    workspace: Workspace
    uv: Uv
    folder: Path
    python: _Python
    more: tuple[str, ...]
    indexes: Sequence[Mapping[str, Any]] = ()

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def source(self) -> Path:
        return self.work / "source"

    @property
    def out(self) -> Path:
        return self.work / "out"

    @cached_property
    def _support(self) -> sandbox.Support:
        return sandbox.probe(self.workspace.candidates)

    @cached_property
    def _view(self) -> sandbox.View:
        """Nothing may be written but the build's own folder."""
        needed = (self.folder, self.uv.cache)
        return sandbox.View(
            writable=(self.work,),
            read_only=(self.workspace.root, self.uv.cache),
            hidden=secret_places.places(self.workspace, needed),
            strict=True,
            limits=bounds.limits(self.workspace),
            network=self._wanted_network,
        )

    @property
    def _network(self) -> sandbox.Network | None:
        return self._wanted_network if self._support.network else None

    @cached_property
    def _wanted_network(self) -> sandbox.Network | None:
        policy = self.workspace.config.text("sandbox.build_network")
        return reachable.network(self.workspace, policy, self.work, self.indexes)

    @property
    def isolation(self) -> str:
        return sandbox.isolation(self._view, self._support)

    @property
    def lacks(self) -> str:
        return self._support.read_only_reason or "neither mounts nor Landlock"

    def unpack(self, archive: Path) -> None:
        self._step("unpack", sys.executable, {"archive": str(archive)})

    def metadata(self) -> dict[str, Any]:
        """As METADATA says it."""
        told = self._step("metadata", *self._ready())
        if not told:
            return _of_wheel(self._step_wheel())
        data = self._plain(self.out / _safe(str(told)) / "METADATA")
        return _fields(data.decode(errors="replace"))

    def wheel(self, name: str, version: str) -> Path:
        self._ready()
        made = self._step_wheel()
        row = _of_wheel(made)
        if (normalise(row["name"]), row["version"]) != (name, version):
            raise _Failed(f"it made a wheel of {row['name']} {row['version']}")
        return made

    def _step_wheel(self) -> Path:
        told = self._step("wheel", *self._ready())
        path = self.out / _safe(str(told))
        if path.suffix != ".whl" or not self._is_plain(path):
            raise _Failed(f"it made no wheel: {told!a}")
        return path

    def _ready(self) -> tuple[str, dict[str, Any]]:
        """The Python of an environment with all that the build asks for, and its back end."""
        return self._prepared

    @cached_property
    def _prepared(self) -> tuple[str, dict[str, Any]]:
        system = self._build_system()
        named = system.get("build-backend")
        lines = [str(line) for line in system.get("requires", [])]
        backend = {
            "backend": str(named or _LEGACY),
            "paths": [str(path) for path in system.get("backend-path", [])],
        }
        lines += [] if named else [_SETUPTOOLS]
        environment = self._with([*lines, *self.more])
        python = str(environment / "bin/python")
        self._with([str(line) for line in self._step("requires", python, backend) or []])
        return python, backend

    def _build_system(self) -> dict[str, Any]:
        """PEP 518; none where there is no such file."""
        path = self.source / "pyproject.toml"
        if not os.path.lexists(path):
            return {"requires": [_SETUPTOOLS]}
        try:
            document = tomllib.loads(self._plain(path).decode())
        except ValueError as error:
            raise _Failed(f"its pyproject.toml cannot be read: {error}") from None
        found = document.get("build-system", {"requires": [_SETUPTOOLS]})
        listed = [found.get(key, []) for key in ("requires", "backend-path")]
        if not all(isinstance(one, list) for one in listed):
            raise _Failed("its pyproject.toml has no proper build-system")
        return dict(found)

    def _with(self, lines: Sequence[str]) -> Path:
        """The build's environment with these too.  Requirements are a stranger's words: only what
        an index has is fetched, never an address or an option."""
        from packaging.requirements import InvalidRequirement, Requirement

        wanted = []
        for line in lines:
            try:
                parsed = Requirement(line)
            except InvalidRequirement:
                raise _Failed(f"its build asks for {line!a}, which is no requirement") from None
            if parsed.url:
                raise _Failed(f"its build asks for {line!a}, which comes from no index")
            wanted.append(str(parsed))
        try:
            return self.uv.prepare_build(self.folder, self.python.path, wanted)
        except GovError as error:
            raise _Failed(_cannot_be_had(wanted, error)) from None

    def _step(self, step: str, python: str, more: Mapping[str, Any]) -> Any:
        request = {"step": step, "source": str(self.source), "out": str(self.out)}
        path = self.folder / f"{step}.request.json"
        store.write_json(path, {**request, **more})
        argv = [python, "-I", str(_HOOK), str(path)]
        wrapped = sandbox.wrap(self._view, self._support, argv, folder=self.work)
        done = process.run(wrapped, env=self._environ())
        if not done.ok:
            said = done.stderr.strip() or done.stdout.strip() or "it said nothing"
            raise _Failed(said[-_SAID:])
        try:
            return json.loads(self._plain(self.out / f"{step}.json"))
        except (ValueError, RecursionError):
            raise _Failed("its back end left no answer") from None

    def _environ(self) -> dict[str, str]:
        """What a candidate gets, and no caches: the operator's secrets stay where they are."""
        asked_for = self.workspace.config.texts("sandbox.pass_environment")
        passed = variables.sort(os.environ, asked_for).passed
        kept = {name: value for name, value in passed.items() if not variables.is_cache(name)}
        own = self.folder / "env"
        return {
            **kept,
            **observation.own_environ(self.work),
            "XDG_CACHE_HOME": str(self.work / "home/.cache"),
            "VIRTUAL_ENV": str(own),
            "PATH": f"{own / 'bin'}:{kept.get('PATH', '')}",
            **bounds.proxies(self._network),
        }

    def _plain(self, path: Path) -> bytes:
        """A file that the build left: read only where it really lies in the build's folder."""
        data = store.plain_bytes(path, _LIMIT) if self._is_plain(path) else None
        if data is None:
            raise _Failed(f"it left no {path.name}")
        return data

    def _is_plain(self, path: Path) -> bool:
        real = Path(os.path.realpath(self.work)) / path.relative_to(self.work)
        return Path(os.path.realpath(path)) == real and real.is_file()


# --- what was built before --------------------------------------------------------------------


def folder(workspace: Workspace) -> Path:
    return workspace.wheels / "built"


def kept(workspace: Workspace) -> Iterator[tuple[tuple[str, str], Path]]:
    """(name, version) and folder of all that was built here."""
    for path in sorted(folder(workspace).glob("*/*-*")):
        name, _, version = path.name.rpartition("-")
        yield (name, version), path


def made_for(workspace: Workspace, locked: Mapping[str, str], python: Path) -> list[Built]:
    """What was built here of the packages of a lock."""
    if not folder(workspace).is_dir():
        return []
    top = folder(workspace) / _python(python).name
    places = [top / _safe(f"{name}-{version}") for name, version in locked.items()]
    found = [_kept(path.parent) for place in places for path in place.glob("[!.]*/built.json")]
    return [one for one in found if one is not None]


def tidy(workspace: Workspace) -> None:
    """What uv is told is what is still kept."""
    for top in sorted(folder(workspace).glob("*/config")):
        _write_config(top.parent)


def _metadata(top: Path) -> list[dict[str, Any]]:
    return [store.read_object(path) for path in sorted(top.glob("*/metadata.json"))]


def _write_config(top: Path) -> bool:
    """`top` is the folder of one Python.  Whether uv is told anything new."""
    _make_folders(top / "config/uv")
    data = "".join(_entry(row) for row in _metadata(top)).encode()
    path = top / "config/uv/uv.toml"
    is_new = not path.is_file() or store.read_bytes(path) != data
    if is_new:
        store.write(path, data)
    return is_new


def _forget_moved(top: Path, rows: Iterable[Mapping[str, Any]], lock: str) -> bool:
    """Of repositories that the lock has at another commit: what they say may be another thing."""
    known = {(row["name"], row["version"]): row.get("commit") for row in rows}
    moved = [
        (name, version)
        for name, version, commit in _LOCKED_GIT.findall(lock)
        if known.get((name, version)) not in (None, commit)
    ]
    for name, version in moved:
        store.remove_file(top / _safe(f"{name}-{version}") / "metadata.json")
    if moved:
        _write_config(top)
    return bool(moved)


def _make_folders(place: Path) -> None:
    missing = [folder for folder in (place, *place.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        store.make_folder(folder)


def _keep_wheel(final: Path, made: Built, data: bytes) -> None:
    """Whole, or not at all; what another command has put there meanwhile is as good."""
    unfinished = final.with_name(f"{store.TEMPORARY}{final.name}-{secrets.token_hex(4)}")
    record = store.dump_json({"schema": 1, **asdict(made)})
    store.write_folder(unfinished, {made.wheel: data, "built.json": record})
    if _kept(final) is None:
        store.remove_tree(final)
        store.move(unfinished, final)
    else:
        store.remove_tree(unfinished)


def _last_kept(place: Path, error: GovError) -> Built:
    """A folder of packages names no hash: where it has the source no more, the wheel stands."""
    found = [one for path in place.glob("[!.]*/built.json") if (one := _kept(path.parent))]
    if error.code == "bad_download" or not found:
        raise error
    return max(found, key=lambda one: one.at)


def _kept(place: Path) -> Built | None:
    """Whole, with the wheel as it was made; None is built again."""
    try:
        row = store.read_object(place / "built.json")
        found = Built(**{name: row[name] for name in Built.__dataclass_fields__})
    except (OSError, GovError, KeyError):
        return None
    return found if store.file_digest(place / found.wheel) == found.sha256 else None


# --- reading ----------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _python(path: Path) -> _Python:
    done = process.run([str(path), "-I", "-S", "-c", _PYTHON], env={})
    if not done.ok:
        raise UsageError(
            f"{path} does not run: {done.stderr.strip()[-300:]}",
            hint="`gov python VERSION` takes another",
            code="bad_python",
        )
    tag, platform, major, minor = done.stdout.split()
    return _Python(path, _safe(f"{tag}-{platform}"), f"{major}.{minor}")


def _safe(name: str) -> str:
    """As one part of a path."""
    return re.sub(r"[^\w.+!-]", "_", name).lstrip(".") or "_"


@dataclass(frozen=True)
class _Source:
    """What uv fetched and could not read: of a repository `commit` is known and not `version`."""

    name: str
    version: str
    folder: Path
    commit: str = ""

    @property
    def shown(self) -> str:
        return f"{self.name} {self.version or self.commit[:12]}"


def _asked_for(cache: Path, log: str) -> _Source:
    """The first of what uv's `log` says was not built."""
    from governance.conflict import message

    for name, version in message.failed_builds(log):
        if version:
            return _Source(name, version, _fetched_source(cache, name, version))
    asked = _FROM_GIT.search(log)
    if asked is None:
        raise _Failed("only what comes from an index or a repository is built in the fence")
    address, _, fragment = asked["url"].partition("#")
    checkout, commit = _checkout(cache, address, log)
    return _Source(normalise(asked["name"]), "", _within(checkout, fragment), commit)


def _fetched_source(cache: Path, name: str, version: str) -> Path:
    """Where uv has just unpacked a source distribution; the newest where there are several."""
    found = [
        path
        for index in ("pypi", "index/*", "flat-index/*")
        for path in cache.glob(f"sdists-v*/{index}/{name}/{version}/*/src")
    ]
    if not found:
        raise _Failed(f"the source of {name} {version} is not in {cache}")
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def _checkout(cache: Path, address: str, log: str = "", commit: str = "") -> tuple[Path, str]:
    """What uv checked out of a repository, and the whole commit; `commit` where it is known."""
    plain = _without_revision(address)
    told = re.search(rf"Updated {re.escape(plain)}\S* \(([0-9a-f]{{40}})\)", log)
    wanted = commit or (told[1] if told else "")
    for place in sorted(cache.glob("git-v*/db/*/.git/FETCH_HEAD")):
        fetched = _FETCHED.findall(place.read_text(errors="replace"))
        database = place.parents[1]
        for whole, url in fetched:
            if _without_revision(url) == plain and whole.startswith(wanted):
                found = _checked_out(cache, database, whole)
                if found is not None:
                    return found, whole
    raise _Failed(f"uv's checkout of {plain} is not in {cache}")


def _checked_out(cache: Path, database: Path, commit: str) -> Path | None:
    for path in cache.glob(f"git-v*/checkouts/*/{commit[:7]}*"):
        config = path / ".git/config"
        if config.is_file() and f"url = {database}\n" in config.read_text(errors="replace"):
            return path
    return None


def _without_revision(address: str) -> str:
    """`https://host/owner/name`, as uv names it whatever was asked for."""
    plain = re.sub(r"[?#].*", "", address).removeprefix("git+")
    return re.sub(r"(?<=[^/:])@[^/@]+$", "", plain)


def _within(folder: Path, fragment: str) -> Path:
    inner = re.search(r"subdirectory=([^&]+)", fragment)
    path = folder / inner[1] if inner else folder
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise _Failed(f"its subdirectory leads out of it: {fragment}")
    return path


def _commit(package: Mapping[str, Any]) -> str:
    """Of a repository; "" for what comes from an index."""
    return str(package.get("source", {}).get("git", "")).rpartition("#")[2]


def _obtained(uv: Uv, package: Mapping[str, Any], project: Path, folder: Path) -> tuple[Path, str]:
    """The source that the lock names, and its digest or commit."""
    commit = _commit(package)
    if commit:
        address = str(package["source"]["git"]).rpartition("#")[0]
        checkout, _ = _checkout(uv.cache, address, commit=commit)
        return _within(checkout, address.partition("?")[2]), commit
    wanted = _sdist(package, project)
    archive = folder / _safe(wanted.name)
    return archive, archives.fetch(
        wanted, archive, credentials(_indexes(project)), uv.patience.stall_seconds
    )


def _sdist(package: Mapping[str, Any], project: Path) -> archives.Wanted:
    """A folder of packages is named from where the lock lies."""
    row = package.get("sdist", {})
    address = archives.named(row)
    if not address:
        raise _Failed("the lock names no source of it")
    if "://" not in address:
        address = os.path.normpath(project / str(package["source"]["registry"]) / address)
    return archives.Wanted(str(package["name"]), address, str(row.get("hash", "")))


def _of_wheel(path: Path) -> dict[str, Any]:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)]
            if len(names) != 1:
                raise _Failed("its wheel has no METADATA")
            with archive.open(names[0]) as stream:
                return _fields(stream.read(_LIMIT).decode(errors="replace"))
    except (OSError, zipfile.BadZipFile) as error:
        raise _Failed(f"its wheel cannot be read: {error}") from None


def _fields(text: str) -> dict[str, Any]:
    """What uv takes as dependency-metadata."""
    from email.parser import HeaderParser

    head = HeaderParser().parsestr(text)
    if not head.get("Name") or not head.get("Version"):
        raise _Failed("its METADATA has no name or no version")

    def every(name: str) -> list[str]:
        return [" ".join(str(value).split()) for value in head.get_all(name, [])]

    return {
        "name": str(head["Name"]).strip(),
        "version": str(head["Version"]).strip(),
        "requires_dist": every("Requires-Dist"),
        "requires_python": " ".join(str(head.get("Requires-Python", "")).split()),
        "provides_extra": every("Provides-Extra"),
    }


def _entry(row: Mapping[str, Any]) -> str:
    lines = [("name", row["name"]), ("version", row["version"])]
    lines += [("requires-dist", row["requires_dist"])]
    lines += [("requires-python", row["requires_python"])] if row["requires_python"] else []
    lines += [("provides-extra", row["provides_extra"])] if row["provides_extra"] else []
    body = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines)
    return f"[[dependency-metadata]]\n{body}\n"


def _tool_uv(project: Path) -> dict[str, Any]:
    document = tomllib.loads(store.read_bytes(project / "pyproject.toml").decode())
    return dict(document.get("tool", {}).get("uv", {}))


def _indexes(project: Path) -> list[dict[str, Any]]:
    return list(_tool_uv(project).get("index", []))


def _settings(project: Path) -> bytes:
    """Build requirements come from where the project's come from; no override of it holds."""
    import tomlkit

    told = _tool_uv(project)
    settings = {name: told[name] for name in _OF_INDEXES if name in told}
    settings["constraint-dependencies"] = told.get("build-constraint-dependencies", [])
    return tomlkit.dumps({"tool": {"uv": settings}}).encode()


def _more_needed(project: Path, name: str) -> tuple[str, ...]:
    told: Mapping[str, Iterable[Any]] = _tool_uv(project).get("extra-build-dependencies", {})
    rows = [row for key, lines in told.items() if normalise(key) == name for row in lines]
    return tuple(str(row) for row in rows if isinstance(row, str))


def _build_failed(name: str, version: str, said: str) -> GovError:
    """In uv's own words, as what reads them knows them."""
    log = (
        f"error: Failed to build `{name}=={version}`\n"
        "  cause: The build backend returned an error\n\n"
        f"         [stderr]\n{_indented(said)}\n\nhint: it was built in the fence\n"
    )
    return GovError(
        f"{name} {version} has no wheel for this machine and its build failed",
        hint="the log says why; another version may have a wheel",
        code="build_failed",
        facts={"log": log},
    )


def _cannot_be_had(lines: Sequence[str], error: GovError) -> str:
    """As uv says it of a build of its own."""
    said = str(error.facts.get("log") or error.message)
    _, found, why = said.partition("No solution found when resolving dependencies")
    if not found:
        return said
    asked = f"No solution found when resolving: `{'`, `'.join(lines)}`"
    return f"Failed to resolve requirements from `build-system.requires`\n  cause: {asked}{why}"


def _indented(text: str) -> str:
    return "\n".join(f"         {line}" for line in text.splitlines())
