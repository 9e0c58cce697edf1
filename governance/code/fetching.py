"""What a node's remote has that its clone has not, fetched without touching the clone.

A bare repository of ours borrows the clone's objects and knows its refs, so that only what is new
travels; the clone's configuration is never read, and the remote is named by its URL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from governance.base.errors import GovError, UsageError
from governance.boundaries import process, store
from governance.code.repository import quoted
from governance.git import checkout, remote, tree
from governance.git.call import (
    Limits,
    Progress,
    environment,
    object_format,
    printable,
    run,
    size_of,
)
from governance.git.remote import Refs
from governance.git.source import Source

_SHOWN = 20
_SIDE_BY_SIDE = 8


@dataclass(frozen=True)
class Fetched:
    """`objects` holds what the clone lacks; `subjects` are the first lines of the new commits,
    newest first, `count` how many there are; `branch` is what was followed, None for a tag or a
    commit."""

    commit: str
    branch: str | None
    objects: Path
    notes: tuple[str, ...]
    subjects: tuple[str, ...]
    count: int


def fetch(
    place: Path,
    source: Source,
    *,
    ref: str | None,
    quarantine: Path,
    protocols: Sequence[str],
    timeout: float,
    max_bytes: int,
    progress: Progress | None = None,
) -> Fetched:
    """Fetch into `quarantine` what `ref` stands for; None is the branch that the clone is on.

    Raises as git.clone does, and Refused for a commit that would put unfit things on the disk.
    """
    if ref is not None:
        remote.check_ref(ref)
    shadow = _shadow(place, quarantine)
    alternates = quoted(checkout.objects(place))
    limits = Limits(timeout, max_bytes, progress=progress)
    refs = remote.fetch_into(source, shadow, alternates, protocols=protocols, limits=limits)
    env = environment() | {
        "GIT_DIR": str(shadow),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": alternates,
    }
    before = checkout.head(place)
    wanted, branch, notes = _wanted(place, refs, ref, source)
    commit = _complete(env, wanted)
    if commit is None:
        remote.fetch_commit(source, shadow, alternates, wanted, protocols=protocols, limits=limits)
        commit = _complete(env, wanted)
    if commit is None:
        raise remote.unknown_ref(str(ref), refs, source)
    notes += _inspect(env, limits, shadow, commit)
    subjects, count, rewritten = _news(env, before, commit)
    if rewritten:
        notes.append(f"its history was rewritten: {str(before)[:12]} is no part of it any more")
    return Fetched(commit, branch, shadow / "objects", tuple(notes), subjects, count)


def bare(quarantine: Path, commit: str) -> Path:
    """A new bare repository in the folder, with the kind of names that `commit` has."""
    shadow = quarantine / "shadow.git"
    store.remove_tree(shadow)
    kind = object_format(commit)
    words = ["init", "-q", "--bare", "--template=", f"--object-format={kind}", str(shadow)]
    done = run(words, environment())
    if not done.ok:
        raise GovError(
            f"git cannot make {shadow}: {done.stderr.strip()}",
            hint="free some space, then run the command again",
            code="disk",
        )
    return shadow


def _shadow(place: Path, quarantine: Path) -> Path:
    """A bare repository with the clone's refs and the place where its history was cut."""
    store.make_folder(quarantine)
    head = checkout.head(place) or ""
    shadow = bare(quarantine, head)
    known = dict.fromkeys(name for name, _ in checkout.refs(place))
    rows = [f"{name} refs/clone/{number}" for number, name in enumerate([head, *known]) if name]
    store.write(shadow / "packed-refs", ("\n".join(rows) + "\n").encode())
    cut = checkout.shallow(place)
    if cut.is_file():
        store.write(shadow / "shallow", store.read_bytes(cut))
    return shadow


def _wanted(
    place: Path, refs: Refs, ref: str | None, source: Source
) -> tuple[str, str | None, list[str]]:
    """The commit (perhaps the beginning of its id), the branch, and what should be known."""
    if ref is not None:
        return _named(refs, ref, source)
    own = checkout.branch(place)
    if own in refs.branches:
        return refs.branches[str(own)], own, []
    if refs.head is None:
        raise remote.unknown_ref("HEAD", refs, source)
    notes = []
    if own is not None:
        notes.append(f"the remote has no branch {own} any more; {refs.default_branch} is taken")
    return refs.head, refs.default_branch, notes


def _named(refs: Refs, ref: str, source: Source) -> tuple[str, str | None, list[str]]:
    if ref in refs.tags:
        return refs.tags[ref], None, []
    if ref in refs.branches:
        return refs.branches[ref], ref, []
    if ref in refs.by_full_name:
        return refs.by_full_name[ref], None, []
    if len(ref) >= 4 and all(letter in "0123456789abcdef" for letter in ref.lower()):
        return ref.lower(), None, []
    raise remote.unknown_ref(ref, refs, source)


def resolved(folder: Path, refs: Refs, ref: str, source: Source) -> str:
    """The full id of what `ref` stands for, in a bare repository that has all of the remote's
    branches and tags.  Raises UsageError (unknown_ref, bad_ref)."""
    remote.check_ref(ref)
    wanted, _, _ = _named(refs, ref, source)
    commit = _complete(environment() | {"GIT_DIR": str(folder)}, wanted)
    if commit is None:
        raise remote.unknown_ref(ref, refs, source)
    return commit


def _complete(env: Mapping[str, str], wanted: str) -> str | None:
    words = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{wanted}^{{commit}}"]
    found = run(words, env)
    return found.text().strip() if found.ok else None


def _inspect(env: Mapping[str, str], limits: Limits, shadow: Path, commit: str) -> list[str]:
    """As before a clone is written: what the commit would put on the disk."""
    found = tree.entries(commit, env, limits)
    limits.check_size(size_of(shadow) + sum(entry.size for entry in found))
    tree.refuse_leading_outside(found, env, limits)
    return tree.notes(found, env, limits)


def _news(
    env: Mapping[str, str], before: str | None, commit: str
) -> tuple[tuple[str, ...], int, bool]:
    """Subjects and number of the commits that are new, and whether history was rewritten."""
    if before is None or before == commit:
        return (), 0, False
    told = run(["log", "--format=%s", f"--max-count={_SHOWN}", commit, f"^{before}"], env)
    counted = run(["rev-list", "--count", commit, f"^{before}"], env)
    number = int(counted.text().strip()) if counted.ok else 0
    ahead = run(["merge-base", "--is-ancestor", before, commit], env)
    subjects = tuple(printable(line)[:200] for line in told.text().splitlines())
    return subjects, number, ahead.returncode == 1 and _has_history(env, before, commit)


def _has_history(env: Mapping[str, str], before: str, commit: str) -> bool:
    """A clone that holds no history cannot tell; going back to an older commit rewrites nothing."""
    back = run(["merge-base", "--is-ancestor", commit, before], env)
    return back.returncode == 1 and not (Path(env["GIT_DIR"]) / "shallow").is_file()


def newest(
    asked: Mapping[str, tuple[Source, str | None, str | None]], protocols: Sequence[str]
) -> dict[str, str | GovError]:
    """For each id its source, its ref and the branch that it is on: the commit that an update
    would take, or why nobody knows.  The remotes are asked side by side."""

    def ask(row: tuple[Source, str | None, str | None]) -> str | GovError:
        source, ref, branch = row
        try:
            refs = remote.list_refs(source, protocols=protocols)
            found = refs.branches.get(str(branch)) if ref is None else _named(refs, ref, source)[0]
        except (GovError, UsageError) as error:
            return error
        return found or refs.head or GovError("it is empty", hint="look at its page")

    found = process.side_by_side(ask, asked.values(), _SIDE_BY_SIDE)
    return dict(zip(asked, found, strict=True))
