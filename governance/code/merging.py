"""A user's edits of a node carried over to another commit of it, file by file, three-way."""

from __future__ import annotations

from collections.abc import Mapping

from governance.boundaries import scratch
from governance.code.repository import Repository
from governance.git.call import environment, run
from governance.git.tree import Entry


def carry_over(
    repository: Repository, base: str, mine: str, theirs: str
) -> tuple[str, tuple[str, ...]]:
    """What `mine` changed in `base`, on top of `theirs`: the new commit, or "" and the paths that
    both changed in the same place."""
    before, own, other = (repository.files(commit) for commit in (base, mine, theirs))
    conflicts: list[str] = []
    with repository.index() as env:
        repository.ask(env, "read-tree", theirs)
        for path in repository.differing(base, mine):
            row = _merged(repository, before.get(path), own.get(path), other.get(path))
            if row is None:
                conflicts.append(path)
            else:
                _put(repository, env, path, row)
        if conflicts:
            return "", tuple(conflicts)
        tree = repository.ask(env, "write-tree").text().strip()
        code = repository.commit_tree(tree, theirs, env)
    repository.take_from(code)
    return code, ()


# Mode and object of a file; "" where it is to be gone.
_Row = tuple[str, str]
_GONE: _Row = ("", "")


def _merged(
    repository: Repository, base: Entry | None, mine: Entry | None, theirs: Entry | None
) -> _Row | None:
    if _row(theirs) == _row(base):
        return _row(mine)
    if _row(mine) in (_row(theirs), _row(base)):
        return _row(theirs)
    if base is None or mine is None or theirs is None or "120000" in (mine.mode, theirs.mode):
        return None
    blob = _three_way(repository, base.object, mine.object, theirs.object)
    return None if blob is None else (mine.mode, blob)


def _row(entry: Entry | None) -> _Row:
    return _GONE if entry is None else (entry.mode, entry.object)


def _three_way(repository: Repository, base: str, mine: str, theirs: str) -> str | None:
    with scratch.folder("merge") as name, repository.index() as env:
        paths = []
        for label, blob in (("mine", mine), ("base", base), ("theirs", theirs)):
            path = name / label
            path.write_bytes(repository.ask(env, "cat-file", "blob", blob).stdout)
            paths.append(str(path))
        done = run(["merge-file", "-p", "-q", *paths], environment())
        if done.returncode != 0:
            return None
        made = repository.ask(env, "hash-object", "-w", "--stdin", given=done.stdout)
    return made.text().strip()


def _put(repository: Repository, env: Mapping[str, str], path: str, row: _Row) -> None:
    mode, blob = row
    line = f"0 {'0' * 40}\t{path}\0" if row == _GONE else f"{mode} {blob}\t{path}\0"
    given = line.encode(errors="surrogateescape")
    repository.ask(env, "update-index", "-z", "--index-info", given=given)
