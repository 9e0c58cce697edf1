"""Generations: environments built at their final path, checked, sealed, durable, never changed.

`.generations/<name>` is a virtual environment, `.generations/<name>.d/` its papers: the truth it
was built from, the list of its files, and manifest.json, written last.  A folder without a
manifest is the rest of an interrupted build and is deleted, never resumed: after a kill, uv was
seen to exit 0 over a broken environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import secrets
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from governance.base import clock
from governance.base.errors import Damaged, GovError
from governance.boundaries import store
from governance.boundaries.uv import Uv
from governance.conflict.shared import same_files
from governance.environments import anchors, builds, compatibility, interpreter, owners, records
from governance.environments.compatibility import Incompatible
from governance.environments.records import Finding as Finding
from governance.environments.records import check_records as check_records
from governance.environments.records import site_packages as site_packages
from governance.truth import lockfile, resolution
from governance.truth.documents import Generation
from governance.truth.workspace import Workspace

MANIFEST = "manifest.json"
FILES = "files.txt"
_FICLONE = 0x40049409
# Files that a venv's own making or a first import leaves behind, and that no RECORD names.
_UNRECORDED = ("__pycache__",)


def path(workspace: Workspace, name: str) -> Path:
    return workspace.generations / name


def papers(workspace: Workspace, name: str) -> Path:
    return workspace.generations / f"{name}.d"


def current(workspace: Workspace) -> str | None:
    """The generation that prod leads to; None where there is no prod."""
    return workspace.generation


def python_of(environment: Path) -> Path:
    return environment / "bin/python"


def manifest(workspace: Workspace, name: str) -> Generation | None:
    """The manifest of a finished generation; None for an unfinished or missing one, and for a
    name that leads out of the folder of generations.  Raises Damaged."""
    if Path(name).name != name:
        return None
    file = papers(workspace, name) / MANIFEST
    try:
        found = Generation.from_json(store.read_json(file), file)
        if found.name != name:
            raise store.damaged(file, f"it is the manifest of {found.name!a}")
    except FileNotFoundError:
        return None
    except Damaged as error:
        hint = "nothing was changed; `gov repair` builds prod anew from the lock"
        raise Damaged(error.message, hint=hint, facts=error.facts) from None
    return found


def usable(workspace: Workspace, name: str) -> Generation | None:
    """As manifest, and None for a damaged one: what gov built it can build again, so that no
    command that could do without this generation stumbles over it."""
    try:
        return manifest(workspace, name)
    except Damaged:
        return None


def prod(workspace: Workspace) -> Generation | None:
    """The manifest of the generation that prod leads to.  Raises Damaged."""
    name = current(workspace)
    return manifest(workspace, name) if name else None


def usable_prod(workspace: Workspace) -> Generation | None:
    """As prod, and None for a damaged manifest."""
    name = current(workspace)
    return usable(workspace, name) if name else None


def lock_of_prod(workspace: Workspace) -> Mapping[str, Any]:
    """The lock that prod was built from, parsed; empty where there is no prod."""
    name = current(workspace)
    if name is None:
        return {}
    return lockfile.read(papers(workspace, name) / "uv.lock")


def incompatible(workspace: Workspace, made: Generation) -> list[Incompatible]:
    """Demands of its packages that the environment does not meet: an override holds a package
    elsewhere.  A manifest of an earlier version of gov does not tell."""
    if made.incompatible is None:
        return find_incompatible(path(workspace, made.name), papers(workspace, made.name))
    return [Incompatible.from_json(row) for row in made.incompatible]


def find_incompatible(environment: Path, project_folder: Path) -> list[Incompatible]:
    """The same from the packages themselves; the project tells which extras were asked for."""
    file = project_folder / "pyproject.toml"
    project = resolution.Project.read(store.read_bytes(file), file)
    lines = [line for group in project.groups.values() for line in group]
    return compatibility.incompatible(environment, [*lines, *project.overrides])


def find(workspace: Workspace, key: str) -> Generation | None:
    """The newest finished generation for this key."""
    found = [m for m in (usable(workspace, n) for n in names(workspace)) if m is not None]
    matching = [m for m in found if m.key == key and path(workspace, m.name).is_dir()]
    return max(matching, key=lambda m: m.created_at, default=None)


def names(workspace: Workspace) -> list[str]:
    """All generations that have papers, finished or not."""
    if not workspace.generations.is_dir():
        return []
    return sorted(entry.name[:-2] for entry in workspace.generations.glob("*.d"))


def key_of(lock: bytes, python: Path, lock_path: Path) -> str:
    """What determines an environment: the lock's content, the interpreter, the platform."""
    content = lockfile.content_digest(lockfile.parse(lock, lock_path))
    text = "\n".join((content, str(python), platform.system(), platform.machine()))
    return hashlib.sha256(text.encode()).hexdigest()


def build(
    workspace: Workspace,
    uv: Uv,
    project_folder: Path,
    *,
    fresh: bool = False,
    offline: bool = False,
) -> Generation:
    """The generation for the lock in `project_folder`: an existing sound one, else a new one.

    One `uv sync`.  Prod is not touched.  `fresh` builds even where one exists, and hashes every
    file once more (repair).
    """
    lock = (project_folder / "uv.lock").read_bytes()
    pyproject = (project_folder / "pyproject.toml").read_bytes()
    project = resolution.Project.read(pyproject, project_folder / "pyproject.toml")
    python = uv.find_python(project.python)
    key = key_of(lock, python, project_folder / "uv.lock")
    existing = None if fresh else find(workspace, key)
    if existing is not None and is_sound(workspace, existing.name):
        return existing
    name = f"{key[:12]}-{secrets.token_hex(2)}"
    try:
        known = {} if fresh else _sealed(workspace)
        return _build(workspace, uv, project_folder, name, key, project.python, known, offline)
    except BaseException:
        discard(workspace, name)
        raise


def discard(workspace: Workspace, name: str) -> None:
    """Delete a generation: its manifest first, so that half a folder never counts as one."""
    if (papers(workspace, name) / MANIFEST).is_file():
        store.remove_file(papers(workspace, name) / MANIFEST)
    store.remove_tree(path(workspace, name))
    store.remove_tree(workspace.generations / f"{name}.pycache")
    store.remove_tree(papers(workspace, name))


def discard_unfinished(workspace: Workspace) -> list[str]:
    """Delete what interrupted builds left; part of recovery.

    Never what prod leads to or what runs: it was finished once and has lost its manifest since,
    which `gov verify` tells and `gov repair` mends.
    """
    prod_name = current(workspace)
    bare = (n for n in names(workspace) if not os.path.lexists(papers(workspace, n) / MANIFEST))
    left = [n for n in bare if n != prod_name and not is_in_use(workspace, n)]
    for name in left:
        discard(workspace, name)
    return left


@contextlib.contextmanager
def in_use(workspace: Workspace, name: str) -> Iterator[None]:
    """Hold a generation against clean-up while a program runs in it."""
    with open(_hold(workspace, name), "a") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        yield


def is_in_use(workspace: Workspace, name: str) -> bool:
    file = _hold(workspace, name)
    if not file.is_file():
        return False
    with open(file, "a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _hold(workspace: Workspace, name: str) -> Path:
    return papers(workspace, name) / ".in-use"


def _build(
    workspace: Workspace,
    uv: Uv,
    folder: Path,
    name: str,
    key: str,
    python: str,
    known: Mapping[str, str],
    offline: bool,
) -> Generation:
    store.make_folder(papers(workspace, name))
    mode = link_mode(workspace)
    laid = owners.Laid(workspace, uv, folder, path(workspace, name), python, mode)
    laid.lay(offline=offline)
    with uv.during(lambda: "checking the files of the environment"):
        started = time.monotonic()
        misrecorded = _checked(laid, known)
        checked = time.monotonic() - started
        made = _described(workspace, uv, folder, name, key, mode)
        whole = replace(
            made,
            misrecorded=[row.to_json() for row in misrecorded],
            check_seconds=round(checked, 3),
        )
        return _finish(workspace, whole, folder)


def _checked(laid: owners.Laid, known: Mapping[str, str]) -> list[records.Misrecorded]:
    """What came otherwise than its package's RECORD says.  Raises GovError for damage.

    A damaged file came from uv's cache, and so did a package that came otherwise than before:
    those are cleaned out and fetched once more.  uv compares what it fetches with the lock's hash,
    so a file that comes the same twice is as it was published, and its RECORD is wrong (decord
    0.6.0).
    """
    space = laid.workspace
    damaged = check_records(laid.environment, sealed=known)
    packages = anchors.laid(space, laid.environment, laid.lock)
    strangers = anchors.strangers(space, packages)
    first = records.misrecorded(laid.environment, damaged) if damaged else []
    if not strangers and set(first) <= _known_misrecorded(space):
        anchors.remember(space, packages)
        return first
    again = _fetched_anew(laid, [*damaged, *strangers], first)
    anchors.remember(space, anchors.laid(space, laid.environment, laid.lock))
    return again


def _sealed(workspace: Workspace) -> dict[str, str]:
    """Facts of prod's files by path, as its list has them; none where that is not the list of its
    manifest.  What came otherwise than recorded is left out: each build tells of it."""
    made = usable_prod(workspace)
    if made is None:
        return {}
    try:
        listed = store.read_bytes(papers(workspace, made.name) / FILES)
    except FileNotFoundError:
        return {}
    if store.digest(listed) != made.files_sha256:
        return {}
    found = _by_path(listed)
    odd = {row["path"] for row in made.misrecorded}
    return {name: facts for name, facts in found.items() if _in_site_packages(name) not in odd}


def _in_site_packages(name: str) -> str:
    return name.partition("/site-packages/")[2]


def _fetched_anew(
    laid: owners.Laid, strange: Sequence[Finding], first: Sequence[records.Misrecorded]
) -> list[records.Misrecorded]:
    laid.uv.clean_packages(sorted({finding.detail for finding in strange}))
    store.remove_tree(laid.environment)
    laid.lay(offline=False)
    still = check_records(laid.environment)
    again = records.misrecorded(laid.environment, still)
    hashed = lockfile.hashed(lockfile.parse(laid.lock, laid.folder / "uv.lock"))
    if not set(again) <= {row for row in first if row.package in hashed}:
        raise GovError(
            f"{still[0].path} is not what its package's RECORD names, even when fetched anew",
            hint="the package on the index is broken, or the disk is; try another version of it",
            code="broken_package",
            facts={"findings": [finding.to_json() for finding in still[:20]]},
        )
    return again


def _known_misrecorded(workspace: Workspace) -> set[records.Misrecorded]:
    """From the manifests of earlier builds: what was looked at once need not be fetched again."""
    made = [usable(workspace, name) for name in names(workspace)]
    rows = [row for one in made if one is not None for row in one.misrecorded]
    return {records.Misrecorded(**row) for row in rows}


def _described(
    workspace: Workspace, uv: Uv, folder: Path, name: str, key: str, mode: str
) -> Generation:
    environment = path(workspace, name)
    lock = (folder / "uv.lock").read_bytes()
    locked = lockfile.versions(lockfile.parse(lock, folder / "uv.lock"))
    own = builds.made_for(workspace, locked, python_of(environment))
    return Generation(
        name=name,
        key=key,
        lock_sha256=store.digest(lock),
        pyproject_sha256=store.digest((folder / "pyproject.toml").read_bytes()),
        created_at=clock.stamp(),
        parent=current(workspace),
        python=interpreter_version(environment),
        interpreter=interpreter.facts(environment),
        uv=uv.version(),
        platform=f"{platform.system()}-{platform.machine()}",
        link_mode=mode,
        packages=freeze(environment),
        locked=locked,
        built=[asdict(one) for one in own],
        incompatible=[one.to_json() for one in find_incompatible(environment, folder)],
        shared_files=[entry.to_json() for entry in same_files(site_packages(environment))],
    )


def _finish(workspace: Workspace, made: Generation, folder: Path) -> Generation:
    """The papers, everything made durable, and last the manifest."""
    own = papers(workspace, made.name)
    listing = file_list(path(workspace, made.name), sealing=made.link_mode != "copy")
    for name in ("uv.lock", "pyproject.toml"):
        (own / name).write_bytes((folder / name).read_bytes())
    (own / FILES).write_bytes(listing)
    anchored = anchors.listing(path(workspace, made.name))
    (own / anchors.FILE).write_bytes(anchored)
    store.sync_filesystem(workspace.generations)
    done = replace(
        made,
        files=listing.count(b"\n"),
        files_sha256=store.digest(listing),
        anchors_sha256=store.digest(anchored),
    )
    store.write_json(own / MANIFEST, done.to_json())
    return done


def freeze(environment: Path) -> list[str]:
    """`name==version` (or `name @ url`) of every distribution, sorted; read from the folder itself.

    No program is started, so no ambient Python can be read by mistake.
    """
    from governance import observation

    return observation.freeze(environment)


def interpreter_version(environment: Path) -> str:
    told = interpreter.configuration(environment)
    return told.get("version_info") or told.get("version", "")


def file_list(environment: Path, *, sealing: bool = False) -> bytes:
    """One line a file: size, mtime in ns, inode, mode, path; links: their target.

    `sealing` takes write permission from every file on the way (one walk through 49,000 files is
    enough): with hardlinks an edit in place would reach uv's cache and every other generation.
    """
    lines = sorted(_describe_all(environment, sealing))
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")


def check_files(workspace: Workspace, name: str) -> list[Finding]:
    """The generation's files are those of its list (0.3 s for 49,000 files).

    An edit in place, by whatever road, moves the mtime or the size; a replaced file the inode.
    """
    environment = path(workspace, name)
    if not environment.is_dir():
        return [Finding("missing", str(environment), "the environment is gone")]
    file = papers(workspace, name) / FILES
    try:
        listed = store.read_bytes(file)
    except FileNotFoundError:
        return [Finding("missing", str(file), "the list of its files is gone")]
    now = file_list(environment)
    return [] if now == listed else list(_differences(environment, listed, now))


def is_sound(workspace: Workspace, name: str) -> bool:
    """It can be switched to: its files are as they were built, and its Python starts."""
    return not check_files(workspace, name) and interpreter.problem(workspace, name) is None


def require_sound(workspace: Workspace, name: str) -> float:
    """Raises GovError (code `generation_damaged`) before anything relies on a changed file.

    Returns the seconds that the check took.
    """
    started = time.monotonic()
    findings = check_files(workspace, name)
    if findings:
        is_prod = name == current(workspace)
        again = "run the command again: the environment is then built anew"
        raise GovError(
            f"{findings[0].path} was changed after the environment was built",
            hint="`gov repair` builds prod anew" if is_prod else again,
            code="generation_damaged",
            facts={"findings": [finding.to_json() for finding in findings[:20]]},
        )
    return time.monotonic() - started


def _differences(environment: Path, listed: bytes, now: bytes) -> Iterator[Finding]:
    before, after = _by_path(listed), _by_path(now)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            kind = "missing" if name not in after else "extra" if name not in before else "changed"
            yield Finding(kind, str(environment / name), "")


def _by_path(listing: bytes) -> dict[str, str]:
    lines = listing.decode(errors="surrogateescape").splitlines()
    return {name: facts for name, _, facts in (line.partition("\t") for line in lines)}


def _describe_all(environment: Path, sealing: bool) -> Iterator[str]:
    prefix = len(str(environment)) + 1
    for entry in _walk(environment):
        name = entry.path[prefix:]
        if "\n" in name:
            name = name.replace("\n", "\\n")
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            yield f"{name}\t-> {os.readlink(entry.path)}"  # noqa: PTH115 (an os.DirEntry)
        elif stat.S_ISREG(found.st_mode):
            if sealing and found.st_mode & 0o222:
                os.chmod(entry.path, stat.S_IMODE(found.st_mode) & ~0o222)  # noqa: PTH101
                found = os.lstat(entry.path)
            yield f"{name}\t{records.facts(found)}"


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every entry below, links not followed, byte code folders left out: Python may write them
    into prod when an operator starts it by hand, and they decide nothing."""
    stack = [str(folder)]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in _UNRECORDED:
                        stack.append(entry.path)
                else:
                    yield entry


def link_mode(workspace: Workspace) -> str:
    """The configured mode; `auto` is a reflink where a probe succeeds, else a hardlink."""
    chosen = workspace.config.text("storage.link_mode")
    if chosen != "auto":
        return chosen
    return "clone" if can_clone(workspace.generations) else "hardlink"


def can_clone(folder: Path) -> bool:
    """Probe for reflinks: uv's `clone` falls back to hardlinks in silence (ext4, tmpfs)."""
    source = folder / f"{store.TEMPORARY}clone-{secrets.token_hex(4)}"
    target = source.with_suffix(".copy")
    try:
        source.write_bytes(b"x" * 4096)
        with open(source, "rb") as old, open(target, "wb") as new:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        return True
    except OSError:
        return False
    finally:
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
