"""What is tried: words that a person typed, made into folders of ours.

Nothing that is named is ever written to.  All of it is fetched before the first try, so that a
misspelt name costs nobody an hour.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from governance import comfyui, git
from governance.base import names
from governance.base.errors import UsageError
from governance.base.progress import Say
from governance.boundaries import store
from governance.boundaries.config import Config
from governance.catalogue import archive, ids
from governance.changes import published
from governance.ci.bench import Bench
from governance.code import capture, fetching
from governance.code.repository import Repository
from governance.git import remote
from governance.git.call import Limits

DEFAULT_URL = "https://github.com/comfyanonymous/ComfyUI"

# A URL or `user@host:path`, and what follows its last `@`.
_REMOTE = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*://[^/]*/|(?:[^/@:]+@)?[^/@:]+:)[^@]*)(?:@(.+))?")
_RELEASE = re.compile(r"v?[0-9]+(\.[0-9]+)*")
_NO_ID = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Code:
    """A copy of ours.  `name` is how it is shown, for a node its id; `commit` what its clone is
    at, None for what is no clone."""

    name: str
    place: Path
    commit: str | None
    named: str


class Sources:
    """Reads words; `config` limits what may be cloned, and how much of it."""

    def __init__(self, bench: Bench, config: Config, cwd: Path, say: Say) -> None:
        self._bench = bench
        self._config = config
        self._cwd = cwd
        self._say = say
        self._mirrors: dict[str, tuple[Path, git.Refs]] = {}

    # --- nodes ----------------------------------------------------------------------------------

    def node(self, named: Path) -> Code:
        """The node in a folder, as it lies there.  Raises UsageError (code `not_a_node`)."""
        place = (self._cwd / store.typed_path(named)).resolve()
        _require_node(place)
        target = self._new("node")
        commit = self._copied(place, target)
        return Code(_id_of(place), target, commit, str(named))

    def other(self, text: str) -> Code:
        """A node to stand beside it: a folder, a git URL with or without `@ref`, or an id."""
        found = self._address(text)
        if found is None:
            return self._registered(text)
        address, ref = found
        if ref is None and (folder := self._folder(address)) is not None:
            return self.node(folder)
        source = git.source(address, protocols=self._protocols, cwd=self._cwd)
        target = self._new("node")
        self._say(f"cloning {source.url}")
        cloned = git.clone(
            source,
            target,
            ref=ref,
            protocols=self._protocols,
            timeout=self._timeout,
            max_bytes=self._limit_bytes,
        )
        return Code(names.node_id_from_url(source.url), target, cloned.commit, text)

    def _registered(self, text: str) -> Code:
        """An id of the Comfy Registry, with or without `@version`."""
        typed = ids.parse(text)
        if typed is None:
            raise UsageError(
                f"{text} is neither a folder, nor a git URL, nor an id of the Comfy Registry",
                hint="name a node by its git URL (https://host/owner/name, or with @ref), its "
                "folder, or its id",
                code="not_found",
                facts={"named": text},
            )
        offer = published.look_up(self._config, typed)
        published.require_offered(offer)
        if offer.release is None:
            return self.other(offer.repository)
        target = self._new("node")
        version = offer.release.version
        # A look is no installation, so the registry does not count it.
        archive.fetch(self._config, offer.id, version, target, counted=False, say=self._say)
        return Code(names.node_id(offer.id.lower()), target, None, text)

    # --- ComfyUI --------------------------------------------------------------------------------

    def comfyui(self, text: str | None, default_url: str) -> Code:
        """A folder, a git URL with or without `@ref`, or a tag, branch or commit of the default
        repository; None is its newest release."""
        found = None if text is None else self._address(text)
        if found is None:
            return self._of_repository(default_url, text, text or default_url)
        address, ref = found
        folder = self._folder(address)
        if ref is None and folder is not None:
            if (folder / "main.py").is_file():
                return self._of_folder(folder, str(text))
            if not any((folder / name).exists() for name in (".git", "HEAD")):
                raise _no_comfyui(f"there is no main.py in {folder}")
        return self._of_repository(address, ref, str(text))

    def _of_folder(self, folder: Path, named: str) -> Code:
        target = self._new("comfyui")
        commit = git.head(folder) if git.is_repository(folder) else None
        if commit is None:
            self._copied(folder, target)
        else:
            # A clone, since its date and what it tracks count; then the edits of its owner.
            source = git.source(str(folder), protocols=("file",), cwd=self._cwd)
            self._cloned(source, target, commit)
            self._overlaid(folder, target)
        version = comfyui.version(target) or "?"
        return Code(f"{version} ({folder.resolve().name})", target, commit, named)

    def _of_repository(self, address: str, ref: str | None, named: str) -> Code:
        source = git.source(address, protocols=self._protocols, cwd=self._cwd)
        mirror, refs = self._mirror(source)
        word = ref
        if word is None:
            word = newest_release(refs.tags) or refs.default_branch or str(refs.head)
        commit = fetching.resolved(mirror, refs, word, source)
        target = self._new("comfyui")
        self._cloned(git.source(str(mirror), protocols=("file",), cwd=self._cwd), target, commit)
        if not (target / "main.py").is_file():
            raise _no_comfyui(f"{source.url} at {word} has no main.py")
        is_exact = word in refs.tags or commit.startswith(word)
        return Code(word if is_exact else f"{word} ({commit[:8]})", target, commit, named)

    def _mirror(self, source: git.Source) -> tuple[Path, git.Refs]:
        """A bare repository in the cache that has all that the remote has now; once a command."""
        if source.url not in self._mirrors:
            import filelock

            folder = self._bench.cache / "git" / f"{store.digest(source.url.encode())[-16:]}.git"
            store.make_folder(folder.parent)
            with filelock.FileLock(folder.with_suffix(".lock")):
                self._say(f"fetching {source.url}")
                Repository(folder).make("")
                limits = Limits(self._timeout, self._limit_bytes)
                refs = remote.fetch_into(
                    source, folder, None, protocols=self._protocols, limits=limits
                )
            self._mirrors[source.url] = folder, refs
        return self._mirrors[source.url]

    def _cloned(self, source: git.Source, target: Path, commit: str) -> None:
        git.clone(
            source,
            target,
            ref=commit,
            protocols=("file",),
            timeout=self._timeout,
            max_bytes=self._limit_bytes,
        )

    # --- copies ---------------------------------------------------------------------------------

    def _copied(self, place: Path, target: Path) -> str | None:
        """The files that belong to it, uncommitted edits and new files too; what its .gitignore
        names stays out, as a user would not get it either."""
        repository = Repository(self._new("captured"))
        state = capture.capture(repository, place)
        store.make_folder(target)
        repository.export(state.code, target)
        self._add_untracked(repository, state, place, target)
        return state.head

    def _overlaid(self, place: Path, target: Path) -> None:
        """The edits of a clone put into another clone of the same commit."""
        repository = Repository(self._new("captured"))
        state = capture.capture(repository, place)
        kept = repository.files(state.code)
        repository.export(state.code, target, [n for n in state.modified if n in kept])
        for name in state.modified:
            if name not in kept:
                store.remove_file(target / name)
        self._add_untracked(repository, state, place, target)

    def _add_untracked(
        self, repository: Repository, state: capture.State, place: Path, target: Path
    ) -> None:
        if state.kind != capture.CLONE:
            return
        for name in capture.untracked(repository, place, state.code, ignored=False):
            if not name.endswith("/"):  # a repository of its own
                store.copy_file(place / name, target / name)

    def _new(self, what: str) -> Path:
        taken = sum(1 for _ in self._bench.sources.glob(f"{what}-*"))
        target = self._bench.sources / f"{what}-{taken}"
        if what == "captured":
            store.make_folder(target)  # counted, before git makes its repository in it
            return target / "code.git"
        return target

    # --- words ----------------------------------------------------------------------------------

    def _address(self, text: str) -> tuple[str, str | None] | None:
        """(address, ref) of what is no plain word."""
        found = _REMOTE.fullmatch(text)
        if found:
            return found[1], found[2]
        if self._folder(text) is not None or text.startswith((".", "/", "~")):
            place, at, ref = text.rpartition("@")
            is_whole = not at or self._folder(text) is not None
            return (text, None) if is_whole else (place, ref)
        place, at, ref = text.rpartition("@")
        return (place, ref) if at and self._folder(place) is not None else None

    def _folder(self, text: str) -> Path | None:
        place = self._cwd / store.typed_path(text)
        return place if text and place.is_dir() else None

    @property
    def _protocols(self) -> tuple[str, ...]:
        return self._config.texts("policy.git_protocols")

    @property
    def _timeout(self) -> float:
        return self._config.number("policy.clone_timeout_seconds")

    @property
    def _limit_bytes(self) -> int:
        return int(self._config.number("policy.clone_limit_mb") * 1024 * 1024)


def newest_release(tags: Iterable[str]) -> str | None:
    """The highest version among tags such as v0.3.70; previews do not count."""
    from packaging.version import Version

    releases = [tag for tag in tags if _RELEASE.fullmatch(tag)]
    return max(releases, key=Version, default=None)


def lay(code: Code, target: Path) -> None:
    """A copy of a copy, which a try may change."""
    try:
        shutil.copytree(code.place, target, symlinks=True)
    except OSError as error:
        raise store.disk_error(target, error) from error


def _require_node(place: Path) -> None:
    if not place.is_dir():
        there = "is no folder" if place.exists() else "does not exist"
        raise UsageError(
            f"{place} {there}",
            hint="name the folder of your node, as in `gov ci .`",
            code="not_a_node",
            facts={"path": str(place)},
        )
    if not (place / "__init__.py").is_file():
        raise UsageError(
            f"there is no node in {place}: it has no __init__.py",
            hint="name the folder that ComfyUI would find in custom_nodes",
            code="not_a_node",
            facts={"path": str(place)},
        )


def _no_comfyui(why: str) -> UsageError:
    return UsageError(
        f"no ComfyUI: {why}",
        hint="name a folder of ComfyUI, a git URL with @ref, or one of its tags: --comfyui v0.3.70",
        code="no_comfyui",
    )


def _id_of(place: Path) -> str:
    """What `gov node add` would call it: by its remote, else by its folder."""
    origin = git.origin(place) if git.is_repository(place) else None
    last = re.split(r"[/:]", origin.rstrip("/"))[-1].removesuffix(".git") if origin else ""
    guesses = (_NO_ID.sub("-", text).strip("-.") for text in (last, place.name))
    return next(filter(names.is_node_id, guesses), "node")
