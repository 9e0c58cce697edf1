"""A clone's HEAD, index and objects follow its files; a folder that is gone comes back whole.

Everything is done so that the clone stays an ordinary one, with the user's remote and branch.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from governance.base.errors import GovError
from governance.boundaries import store
from governance.code.repository import Repository, cut_history
from governance.git import checkout
from governance.git.call import environment, object_format, run

_PATIENCE_SECONDS = 2.0


def move_head(place: Path, commit: str) -> None:
    """HEAD is `commit`, by its branch or detached, and the index that commit's; idempotent.

    Raises GovError where the clone does not hold the commit.
    """
    real = place.resolve()
    _set(real, commit)  # where HEAD is there already too: git alone tells whether a lock was left
    with checkout.new_index(real) as env:
        done = run(["read-tree", commit], env)
        if not done.ok:
            raise _failed(place, done.stderr)
        run(["update-index", "-q", "--refresh"], env)  # its exit code tells of edits only


def _set(real: Path, commit: str) -> None:
    """A git that was killed leaves its lock files: nobody holds one for longer than a moment."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while not (done := checkout.set_head(real, commit)).ok:
        if ".lock" not in done.stderr:
            raise _failed(real, done.stderr)
        if time.monotonic() > until:
            _drop_locks(real)
            until = time.monotonic() + _PATIENCE_SECONDS
        time.sleep(0.1)


def _drop_locks(real: Path) -> None:
    branch = checkout.branch(real)
    names = ["HEAD.lock", *([f"refs/heads/{branch}.lock"] if branch else [])]
    for name in names:
        (checkout.objects(real).parent / name).unlink(missing_ok=True)


def give_objects(place: Path, source: Path | Repository, commit: str) -> None:
    """Put the objects of a commit into a clone that lacks them; harmless by itself.

    `source` is a folder of objects with all that the clone needs (a fetch), or the workspace's
    own repository: then the clone's history ends at the commit.
    """
    real = place.resolve()
    if _holds(real, commit):
        return
    objects = checkout.objects(real)
    if isinstance(source, Repository):
        source.give(commit, objects)
        cut_history(checkout.shallow(real), commit)
    else:
        _copy(source, objects)
    store.sync_filesystem(objects)
    if not _holds(real, commit):
        raise _failed(place, f"the objects of {commit[:12]} are not there")


def note_remote(place: Path, branch: str, commit: str) -> None:
    """The clone's own note of where its remote's branch is, as `git fetch` would keep it."""
    checkout.set_ref(place.resolve(), f"refs/remotes/origin/{branch}", commit)


def _holds(real: Path, commit: str) -> bool:
    with checkout.reading(real, Path(os.devnull)) as env:
        return run(["cat-file", "-e", f"{commit}^{{tree}}"], env).ok


def _copy(source: Path, target: Path) -> None:
    """Packs before their indexes, which make them count; then what is loose."""
    packs = sorted((source / "pack").glob("pack-*"), key=lambda path: path.suffix == ".idx")
    loose = [p for folder in source.glob("[0-9a-f][0-9a-f]") for p in folder.iterdir()]
    for path in [*packs, *loose]:
        to = target / path.relative_to(source)
        if not to.exists():
            to.parent.mkdir(exist_ok=True)
            temporary = to.with_name(f"tmp_gov_{os.urandom(4).hex()}")
            shutil.copy(path, temporary)
            temporary.replace(to)


def restore(
    repository: Repository, code: str, head: str | None, url: str | None, target: Path
) -> None:
    """A new folder, or a single file, at `target`: what `code` holds; a clone at `head`, where
    that is given, whose remote is `url`.  Durable."""
    names = list(repository.files(code))
    if len(names) == 1 and target.name.endswith(names[0]) and names[0].endswith(".py"):
        _restore_file(repository, code, names[0], target)
        return
    store.make_folder(target)
    repository.export(code, target)
    if head is not None:
        _make_clone(repository, head, url, target)
    store.sync_filesystem(target)


def _restore_file(repository: Repository, code: str, name: str, target: Path) -> None:
    folder = target.with_name(f"{target.name}.d")
    store.make_folder(folder)
    repository.export(code, folder)
    store.move(folder / name, target)
    store.remove_tree(folder)


def _make_clone(repository: Repository, head: str, url: str | None, target: Path) -> None:
    kind = object_format(head)
    git = target / ".git"
    env = environment() | {"GIT_DIR": str(git)}
    steps = [["init", "-q", "--template=", f"--object-format={kind}", str(target)]]
    if url:
        steps.append(["config", "remote.origin.url", url])
        steps.append(["config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"])
    for words in steps:
        done = run(words, env if words[0] != "init" else environment())
        if not done.ok:
            raise _failed(target, done.stderr)
    repository.give(head, git / "objects")
    (git / "shallow").write_text(f"{head}\n")
    (git / "HEAD").write_text(f"{head}\n")
    move_head(target, head)


def _failed(place: Path, said: str) -> GovError:
    return GovError(
        f"git cannot move {place}: {said.strip().rpartition(chr(10))[2]}",
        hint=f"look at it with `git -C {place} status`, then run the command again",
        code="git_failed",
        facts={"path": str(place)},
    )
