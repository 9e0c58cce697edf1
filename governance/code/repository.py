"""One bare repository of the workspace's own for the code of a node, or of ComfyUI.

It holds every commit that a snapshot names with its trees and files, and no history: what is
brought back from it is exactly what lay there, without the network.  A commit counts once its ref
exists, which is written last.  The `.git` of a clone is hostile input: only its objects are
borrowed, under a git folder of ours.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from governance.base.errors import GovError
from governance.boundaries import scratch, store
from governance.code import glance
from governance.git import checkout, tree
from governance.git.call import Limits, Output, environment, object_format, run
from governance.git.tree import Entry

_SUBMODULE = "160000"
_SECONDS = 600.0
_LEFT_ALONE = 120.0
# Without them the same files would be another commit each time.
_FIXED_AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "gov"), ("EMAIL", "gov@localhost"), ("DATE", "@0 +0000"))
}


class Repository:
    """`path` is made on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def has(self, commit: str) -> bool:
        return self._ref(commit).is_file() or commit in self._packed()

    def commits(self) -> list[str]:
        folder = self.path / "refs/keep"
        loose = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        return sorted(loose | self._packed())

    def _packed(self) -> set[str]:
        """Commits whose names somebody's `git gc` has moved into one file."""
        data = store.read_bytes(self.path / "packed-refs") if self._is_packed else b""
        names = (line.partition(" refs/keep/")[2] for line in data.decode().splitlines())
        return {name for name in names if name}

    @property
    def _is_packed(self) -> bool:
        return (self.path / "packed-refs").is_file()

    def take(self, clone: Path, commit: str) -> None:
        """Copy a commit, its trees and its files from a clone, durably."""
        if not self.has(commit):
            self.take_from(commit, checkout.objects(clone))

    def take_from(self, commit: str, *objects: Path) -> None:
        """As take, from bare folders of objects; none where all of them are here already."""
        if self.has(commit):
            return
        self.make(commit)
        with self.borrowing(*objects) as env:
            missing = self._missing(self._reachable(commit, env))
            if missing:
                self._pack(missing, env, self.path / "objects")
            parents = self.ask(env, "rev-list", "--parents", "--no-walk", commit).text().split()[1:]
        if parents:
            cut_history(self.path / "shallow", commit)
        store.sync_filesystem(self.path)
        store.make_folder(self._ref(commit).parent)
        store.write(self._ref(commit), f"{commit}\n".encode())

    def files(self, commit: str) -> dict[str, Entry]:
        """The files of a commit by their path; what belongs to a submodule is left out."""
        listed = tree.entries(commit, self._env(), Limits(_SECONDS))
        return {entry.path: entry for entry in listed if entry.mode != _SUBMODULE}

    def read(self, commit: str, path: str) -> bytes | None:
        found = run(["cat-file", "blob", f"{commit}:{path}"], self._env())
        return found.stdout if found.ok else None

    def date(self, commit: str) -> datetime:
        """When it was committed, in UTC."""
        told = self.ask(self._env(), "log", "-1", "--format=%ct", commit)
        return datetime.fromtimestamp(int(told.text().strip()), UTC)

    def subject(self, commit: str) -> str:
        """The first line of its message."""
        return run(["log", "-1", "--format=%s", commit], self._env()).text().strip()

    def export(self, commit: str, target: Path, paths: Sequence[str] | None = None) -> None:
        """Its files as they lie in a working tree (line ends by .gitattributes), into a folder."""
        with self.index() as env:
            self.ask(env, "read-tree", commit)
            env = {**env, "GIT_WORK_TREE": str(target)}
            prefix = f"--prefix={target}/"
            if paths is None:
                self.ask(env, "checkout-index", "-a", "-q", "-f", prefix)
            elif paths:
                given = "\0".join(paths).encode(errors="surrogateescape") + b"\0"
                self.ask(env, "checkout-index", "-q", "-f", prefix, "-z", "--stdin", given=given)

    def differing(self, before: str, after: str) -> list[str]:
        """Paths that are not the same in two commits."""
        told = self.ask(
            self._env(), "diff-tree", "-r", "-z", "--name-only", "--no-renames", before, after
        )
        return [name for name in told.text().split("\0") if name]

    def tree_of(self, commit: str, env: Mapping[str, str] | None = None) -> str:
        return self.ask(env or self._env(), "rev-parse", f"{commit}^{{tree}}").text().strip()

    def commit_tree(self, tree_id: str, parent: str | None, env: Mapping[str, str]) -> str:
        """A commit of ours; the same tree and parent give the same one."""
        words = ["commit-tree", tree_id, "-m", "as it lay on the disk"]
        words += ["-p", parent] if parent else []
        return self.ask({**env, **_FIXED_AUTHOR}, *words).text().strip()

    def drop(self, commits: Iterable[str]) -> None:
        """Forget commits, and delete the objects that only they need."""
        gone = [commit for commit in commits if self.has(commit)]
        for commit in gone:
            if commit in self._packed():
                self.ask(self._env(), "update-ref", "-d", f"refs/keep/{commit}")
            store.remove_file(self._ref(commit))
        if gone:
            self.ask(self._env(), "repack", "-a", "-d", "-q", limits=Limits(_SECONDS))
            self.ask(self._env(), "prune", "--expire=now", limits=Limits(_SECONDS))

    def make(self, commit: str) -> None:
        """A bare repository, whole or not there at all."""
        if (self.path / "HEAD").is_file():
            return
        store.make_folder(self.path.parent)
        unfinished = self.path.with_name(f"{store.TEMPORARY}{self.path.name}")
        store.remove_tree(unfinished)
        kind = object_format(commit)
        words = ["init", "-q", "--bare", "--template=", f"--object-format={kind}", str(unfinished)]
        done = run(words, environment())
        if not done.ok:
            raise _failed(self.path, done)
        store.make_folder(unfinished / "refs/keep")
        store.sync_filesystem(unfinished)
        store.remove_tree(self.path)
        store.move(unfinished, self.path)

    @contextmanager
    def index(self, place: Path | None = None) -> Iterator[dict[str, str]]:
        """The variables of calls that share an empty index of their own."""
        with scratch.folder("index") as name:
            env = {**self._env(), "GIT_INDEX_FILE": f"{name}/index"}
            yield env if place is None else {**env, "GIT_WORK_TREE": str(place)}

    @contextmanager
    def seen_index(self, place: Path, commit: str) -> Iterator[dict[str, str]]:
        """As index, read from `commit`, and with what git saw when it read the files there before:
        it reads those again that have another inode, size or time of change now.

        It is kept only where all of them have been left alone for a while: git compares seconds,
        and until its page was written to the disk, a file in somebody's memory changes without
        another time.
        """
        kept = glance.seen_path(self.path, commit)
        with self.index(place) as env:
            own = Path(env["GIT_INDEX_FILE"])
            before = _copied(kept, own)
            if before is None or not self._refreshed(env):
                before = None
                self.ask(env, "read-tree", commit)
                self._refreshed(env)
            if own.stat().st_mtime_ns != before and self._are_old(env, place):
                _keep(own, kept)
            yield env

    def _refreshed(self, env: Mapping[str, str]) -> bool:
        """False for a list that a power loss has torn, which git finds by its digest."""
        done = run(["update-index", "-q", "--refresh"], env, limits=Limits(_SECONDS))
        return done.returncode in (0, 1)

    def _are_old(self, env: Mapping[str, str], place: Path) -> bool:
        limit = time.time() - _LEFT_ALONE
        listed = self.ask(env, "ls-files", "-z").text().split("\0")
        for name in filter(None, listed):
            with suppress(OSError):
                if os.lstat(place / name).st_ctime > limit:
                    return False
        return True

    @contextmanager
    def borrowing(self, *objects: Path) -> Iterator[dict[str, str]]:
        """As index, where objects of other repositories can be read too."""
        with self.index() as env:
            joined = ":".join(map(quoted, objects))
            more = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": joined} if objects else {}
            yield {**env, **more}

    def ask(
        self,
        env: Mapping[str, str],
        *words: str,
        given: bytes = b"",
        limits: Limits | None = None,
    ) -> Output:
        """One call of git; raises GovError (code `code_unreadable`) where it fails."""
        done = run(words, env, given=given, limits=limits or Limits(_SECONDS))
        if not done.ok:
            raise _failed(self.path, done)
        return done

    @property
    def env(self) -> dict[str, str]:
        """The variables of a call that works on it."""
        return self._env()

    def reachable(self, commit: str) -> list[str]:
        """The names of all objects that the commit needs, without its history."""
        return self._reachable(commit, self._env())

    def give(self, commit: str, objects: Path) -> None:
        """Put a commit's objects, as one pack, into a clone's folder of objects."""
        env = self._env()
        self._pack(self._reachable(commit, env), env, objects)

    def _pack(self, names: Sequence[str], env: Mapping[str, str], objects: Path) -> None:
        (objects / "pack").mkdir(exist_ok=True)
        given = "".join(f"{name}\n" for name in names).encode()
        self.ask(env, "pack-objects", "-q", str(objects / "pack/pack"), given=given)

    def _reachable(self, commit: str, env: Mapping[str, str]) -> list[str]:
        """The commit, its trees and its files: what a shallow clone of depth one holds."""
        listed = self.ask(env, "ls-tree", "-r", "-t", "-z", "--full-tree", commit).text()
        heads = [row.partition("\t")[0].split() for row in listed.split("\0") if row]
        inside = [name for mode, _, name in heads if mode != _SUBMODULE]
        return list(dict.fromkeys([commit, self.tree_of(commit, env), *inside]))

    def _missing(self, names: Sequence[str]) -> list[str]:
        given = "".join(f"{name}\n" for name in names).encode()
        told = self.ask(self._env(), "cat-file", "--batch-check=%(objectname)", given=given)
        return [line.split()[0] for line in told.text().splitlines() if line.endswith("missing")]

    def _ref(self, commit: str) -> Path:
        return self.path / "refs/keep" / commit

    def _env(self) -> dict[str, str]:
        return environment() | {"GIT_DIR": str(self.path)}


def _copied(kept: Path, own: Path) -> int | None:
    """Its time, by which git tells which files are too new for it, in nanoseconds; None where there
    is none.  Questions ask without the lock: another may have taken it away meanwhile."""
    try:
        shutil.copy2(kept, own)
    except OSError:
        return None
    return own.stat().st_mtime_ns


def _keep(own: Path, kept: Path) -> None:
    """Of one commit at a time; what cannot be kept is read again."""
    with suppress(OSError):
        store.make_folder(kept.parent)
        fresh = kept.with_name(f"{store.TEMPORARY}{os.getpid()}-{kept.name}")
        shutil.copy2(own, fresh)
        fresh.replace(kept)
        for other in kept.parent.iterdir():
            if other != kept:
                other.unlink(missing_ok=True)


def cut_history(shallow: Path, commit: str) -> None:
    """As in a shallow clone, by its file of that name: git never looks for the parents."""
    known = set(shallow.read_text().split()) if shallow.is_file() else set()
    store.write(shallow, "".join(f"{name}\n" for name in sorted({*known, commit})).encode())


def quoted(path: Path) -> str:
    """As GIT_ALTERNATE_OBJECT_DIRECTORIES takes a path that may hold a colon."""
    text = os.fsdecode(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _failed(path: Path, done: Output) -> GovError:
    return GovError(
        f"git cannot work on {path}: {done.stderr.strip().rpartition(chr(10))[2]}",
        hint="free some space or mend the permissions there, then run the command again",
        code="code_unreadable",
        facts={"path": str(path)},
    )
