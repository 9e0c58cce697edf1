"""Questions to a checkout whose own `.git` may have been written by the code we govern.

Its config decides nothing here.  Where HEAD leads is asked with every setting overridden that
names a program, and that question runs none.  All else is asked of a shadow: an empty git folder
of ours that borrows the checkout's objects and index, so that its config (filters, fsmonitor,
promisor remotes), attributes in `info/` and hooks are never read.  Naming the git folder also
means that git neither looks for a repository further up nor minds who owns this one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from governance.base.errors import GovError
from governance.boundaries import scratch, store
from governance.git.call import FULL_COMMIT, Output, environment, object_format, run
from governance.git.source import stripped


@dataclass(frozen=True)
class _Located:
    head: str
    objects: str
    index: str


def is_repository(path: Path) -> bool:
    """Whether `path` itself is the top of a checkout (not merely inside of one)."""
    return (path / ".git").exists() and _ask(path, "rev-parse", "--git-dir").ok


class _Endless(Exception):
    """Where a file should be lies a pipe or a device, which git would wait for."""


def head(checkout: Path) -> str | None:
    """The full id of the commit that is checked out; None where git can find none."""
    try:
        plain = _plain_head(checkout / ".git")
        located = _locate(checkout) if plain is None else None
    except (_Endless, GovError):
        return None
    return located.head if located else plain


def _plain_head(folder: Path) -> str | None:
    """HEAD as two small files tell it, which saves a process a node; None where it is not so
    simple (a worktree, packed refs, reftable), and git is asked."""
    try:
        text = _line(folder / "HEAD")
        if text.startswith("ref: refs/") and ".." not in text:
            text = _line(folder / text.removeprefix("ref: "))
    except (OSError, ValueError):
        return None
    return text if FULL_COMMIT.fullmatch(text) else None


def _line(path: Path) -> str:
    data = store.plain_bytes(path, 1000)
    if data is None and not path.is_dir():
        raise _Endless
    return (data or b"").decode("ascii").strip()


def objects(checkout: Path) -> Path:
    """Where its objects lie.  Raises GovError where there is no commit."""
    return Path(_located(checkout).objects)


def branch(checkout: Path) -> str | None:
    """The branch that HEAD is on; None where it is detached, or git finds none."""
    told = _ask(checkout, "symbolic-ref", "--quiet", "HEAD")
    name = told.text().strip()
    return name.removeprefix("refs/heads/") if told.ok and name.startswith("refs/heads/") else None


def refs(checkout: Path) -> list[tuple[str, str]]:
    """(commit, full name) of every branch, tag and remote branch."""
    told = _ask(checkout, "for-each-ref", "--format=%(objectname) %(refname)")
    rows = [line.partition(" ") for line in told.text().splitlines()]
    return [(name, ref) for name, _, ref in rows if FULL_COMMIT.fullmatch(name)]


def is_reachable(checkout: Path, commit: str, below: str) -> bool:
    """Whether a ref below `below` (refs/remotes/) leads to the commit."""
    tips = [name for name, ref in refs(checkout) if ref.startswith(below)]
    if commit in tips:
        return True
    with _shadow(checkout) as shadow:
        if shadow is None or not tips:
            return False
        known = ["rev-list", "--max-count=1", commit, *(f"^{tip}" for tip in tips)]
        told = run(known, shadow.env)
    return told.ok and not told.stdout.strip()


def shallow(checkout: Path) -> Path:
    """The file that lists where its history was cut; it need not exist."""
    told = _ask(checkout, "rev-parse", "--git-path", "shallow")
    return checkout.absolute() / told.text().strip("\n")


def set_head(checkout: Path, commit: str) -> Output:
    """Move the branch that HEAD is on, or a detached HEAD; no hook runs."""
    return _ask(checkout, "update-ref", "-m", "gov", "HEAD", commit)


def set_ref(checkout: Path, name: str, commit: str) -> Output:
    """Let a ref of the checkout be `commit`; no hook runs."""
    return _ask(checkout, "update-ref", "-m", "gov", name, commit)


@contextmanager
def reading(checkout: Path, index_file: Path) -> Iterator[dict[str, str]]:
    """The environment of calls that work on `index_file` with the checkout's files and objects,
    and read nothing of its configuration."""
    with _shadow(checkout) as shadow:
        if shadow is None:
            raise _no_commit(checkout)
        yield {**shadow.env, "GIT_INDEX_FILE": str(index_file)}


@contextmanager
def new_index(checkout: Path) -> Iterator[dict[str, str]]:
    """As reading, on an index that takes the place of the checkout's own, durably, where nothing
    was raised."""
    with _shadow(checkout) as shadow:
        if shadow is None:
            raise _no_commit(checkout)
        own = Path(shadow.env["GIT_INDEX_FILE"])
        _drop_unfinished(own.parent)  # what a crash left
        # A git that outlives a gov that was killed writes to a name that nobody else uses.
        unfinished = own.with_name(f"{_NEW_INDEX}-{os.urandom(4).hex()}")
        try:
            yield {**shadow.env, "GIT_INDEX_FILE": str(unfinished)}
            unfinished.replace(own)
        finally:
            _drop_unfinished(own.parent)
        store.sync_filesystem(own.parent)


def _drop_unfinished(folder: Path) -> None:
    for path in folder.glob(f"{_NEW_INDEX}*"):
        path.unlink(missing_ok=True)


_NEW_INDEX = "gov-index"


def origin(checkout: Path) -> str | None:
    """The URL of `origin`, without credentials; None where there is none."""
    found = _ask(
        checkout, "config", "--local", "--no-includes", "--null", "--get-all", "remote.origin.url"
    )
    url = found.text().split("\0")[0]
    return stripped(url) if url.isprintable() and url else None


def commit_date(checkout: Path) -> datetime | None:
    """When HEAD was committed, in UTC; None where there is no commit or its date is nonsense."""
    with _shadow(checkout) as shadow:
        if shadow is None:
            return None
        told = shadow.ask("rev-list", "--timestamp", "--no-walk", shadow.head)
    try:
        return datetime.fromtimestamp(int(told.text().split()[0]), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def modified(checkout: Path) -> bool:
    """Whether a file that git tracks differs from HEAD; False where there is no commit."""
    with _shadow(checkout) as shadow:
        if shadow is None:
            return False
        told = shadow.ask(
            "status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all"
        )
    return bool(told.stdout)


def tracked(checkout: Path, subfolder: str) -> set[str]:
    """Names directly below `subfolder` in the commit that is checked out."""
    with _shadow(checkout) as shadow:
        if shadow is None:
            return set()
        below = f"{subfolder.strip('/')}/".lstrip("/")
        places = ["--", below] if below else []
        told = shadow.ask("ls-tree", "-z", "--name-only", "--full-tree", shadow.head, *places)
    return {name.removeprefix(below) for name in told.text().split("\0") if name}


def earlier(
    checkout: Path, names: Sequence[str], *, limit: int
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Commits before HEAD at which the files `names` were otherwise, newest first, with their
    bytes there.  Only as far as the last `limit` changes."""
    with _shadow(checkout) as shadow:
        if shadow is None:
            return
        # %P tells the true parents, where --parents would leave out all that changed other files.
        wanted = ["--first-parent", "--format=%P", f"--max-count={limit}", shadow.head]
        listed = shadow.ask("rev-list", *wanted, "--", *names).text().splitlines()
        for line in listed:
            parents = line.split()
            if parents and parents[0] != "commit":
                yield parents[0], _files(shadow, parents[0], names)


def newer(
    checkout: Path, names: Sequence[str], *, limit: int
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Commits after HEAD on its remote branch (on all of them where HEAD is detached) at which the
    files `names` changed, newest first, with their bytes there.  Asks no remote."""
    followed = f"refs/remotes/origin/{branch(checkout) or ''}"
    tips = [name for name, ref in refs(checkout) if ref.startswith(followed)]
    with _shadow(checkout) as shadow:
        if shadow is None or not tips:
            return
        wanted = [f"--max-count={limit}", *tips, f"^{shadow.head}", "--", *names]
        for commit in shadow.ask("rev-list", *wanted).text().split():
            yield commit, _files(shadow, commit, names)


def _files(shadow: _Shadow, commit: str, names: Sequence[str]) -> dict[str, bytes]:
    """The plain files of `names` that the commit has."""
    listed = shadow.ask("ls-tree", "-z", "--full-tree", commit, "--", *names).text()
    rows = [row.partition("\t") for row in listed.split("\0") if row]
    plain = [(head.split()[2], name) for head, _, name in rows if head.startswith("100")]
    return {name: shadow.ask("cat-file", "blob", blob).stdout for blob, name in plain}


@dataclass(frozen=True)
class _Shadow:
    checkout: Path
    head: str
    env: dict[str, str]

    def ask(self, *arguments: str) -> Output:
        told = run(arguments, self.env)
        if not told.ok:
            raise GovError(
                f"git cannot read {self.checkout}: {told.stderr.strip().rpartition(chr(10))[2]}",
                hint="look at it with `git fsck`",
                code="git_failed",
                facts={"path": str(self.checkout)},
            )
        return told


@contextmanager
def _shadow(checkout: Path) -> Iterator[_Shadow | None]:

    located = _locate(checkout)
    if located is None:
        yield None
        return
    with scratch.folder("git") as shadow:
        (shadow / "refs").mkdir()
        (shadow / "HEAD").write_text(f"{located.head}\n")
        (shadow / "config").write_text(_config(located.head))
        borrowed = {
            "GIT_DIR": str(shadow),
            "GIT_WORK_TREE": str(checkout),
            "GIT_OBJECT_DIRECTORY": located.objects,
            "GIT_INDEX_FILE": located.index,
        }
        yield _Shadow(checkout, located.head, environment() | borrowed)


def _config(head: str) -> str:
    kind = object_format(head)
    return f"[core]\nrepositoryformatversion = 1\n[extensions]\nobjectformat = {kind}\n"


def _locate(checkout: Path) -> _Located | None:
    return _plainly_located(checkout.absolute() / ".git") or _asked(checkout)


def _plainly_located(folder: Path) -> _Located | None:
    """Where git looks unless `commondir` or a `.git` file sends it elsewhere; None where it is
    not so simple, and git is asked.  A process less each time."""
    try:
        plain = folder.is_dir() and not os.path.lexists(folder / "commondir")
        named = _plain_head(folder) if plain else None
    except _Endless:
        return None
    if named is None or not (folder / "objects").is_dir():
        return None
    return _Located(head=named, objects=str(folder / "objects"), index=str(folder / "index"))


def _asked(checkout: Path) -> _Located | None:
    told = _ask(checkout, "rev-parse", "--git-path", "objects", "--git-path", "index", "HEAD", "--")
    lines = told.text().split("\n")
    if not told.ok or len(lines) < 3 or not FULL_COMMIT.fullmatch(lines[2]):
        return None
    return _Located(head=lines[2], objects=lines[0], index=lines[1])


def _located(checkout: Path) -> _Located:
    found = _locate(checkout)
    if found is None:
        raise _no_commit(checkout)
    return found


def _no_commit(checkout: Path) -> GovError:
    return GovError(
        f"git finds no commit in {checkout}",
        hint="look at it with `git status`",
        code="git_failed",
        facts={"path": str(checkout)},
    )


def _ask(checkout: Path, *arguments: str) -> Output:
    path = checkout.absolute()
    return run(
        arguments, environment() | {"GIT_DIR": str(path / ".git"), "GIT_WORK_TREE": str(path)}
    )
