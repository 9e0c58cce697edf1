"""Code of nodes and of ComfyUI in a bundle: git bundles of the very commits, without history.

`git bundle` itself would walk to parents that the workspace does not keep, and its deltas depend
on how a repository is packed; so the header is written here, as gitformat-bundle(5) has it, and
the pack is made without deltas, which gives the same bytes each time.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from governance import git
from governance.base.errors import GovError
from governance.boundaries import store
from governance.bundle.contents import bad
from governance.code import fetching
from governance.code.repository import Repository
from governance.git import remote, tree
from governance.git.call import Limits, Output, environment, object_format, run, size_of
from governance.git.source import Source

_SECONDS = 600.0
_PLAIN_PACK = ("--window=0", "--no-reuse-delta", "--no-reuse-object", "--threads=1")
_ALL_HEADS = "refs/gov"


def write(repository: Repository, commits: Mapping[str, str], target: Path) -> None:
    """A git bundle of these commits, by the name of their ref below refs/gov/."""
    env = repository.env
    reachable = {name for commit in commits.values() for name in repository.reachable(commit)}
    given = "".join(f"{name}\n" for name in sorted(reachable)).encode()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="pack-") as folder:
        words = ("pack-objects", "-q", *_PLAIN_PACK, f"{folder}/pack")
        repository.ask(env, *words, given=given, limits=Limits(_SECONDS))
        (pack,) = Path(folder).glob("pack-*.pack")
        with open(target, "xb") as stream, open(pack, "rb") as source:
            stream.write(_header(commits))
            shutil.copyfileobj(source, stream)


def _header(commits: Mapping[str, str]) -> bytes:
    kind = object_format(next(iter(commits.values())))
    head = ["# v2 git bundle"]
    if kind != "sha1":
        head = ["# v3 git bundle", f"@object-format={kind}"]
    refs = [f"{commit} {_ALL_HEADS}/{name}" for name, commit in sorted(commits.items())]
    return "\n".join([*head, *refs, "", ""]).encode()


def take(
    repository: Repository,
    bundle: Path,
    commits: Sequence[str],
    quarantine: Path,
    limits: Limits,
    name: str,
) -> None:
    """Take the commits of a git bundle into the repository, once it was seen what they would put
    on the disk.  Raises GovError (code `bad_bundle`), Refused."""
    shadow = _bare(quarantine, commits[0])
    env = environment(settings=[("fetch.fsckObjects", "true")]) | {"GIT_DIR": str(shadow)}
    done = run(["bundle", "unbundle", str(bundle)], env, limits=limits)
    if not done.ok:
        raise bad(name, f"{bundle.name} is no git bundle ({_last(done)})")
    for commit in commits:
        if not _holds(env, commit):
            raise bad(name, f"{bundle.name} does not hold {commit[:12]}")
        inspect(env, commit, limits, shadow)
        repository.take_from(commit, shadow / "objects")


def fetch(
    repository: Repository,
    source: Source,
    commit: str,
    quarantine: Path,
    *,
    protocols: Sequence[str],
    limits: Limits,
) -> None:
    """Take one commit from where it came from: by its id, else with all branches and tags.

    Raises what git.clone raises, and GovError (code `code_unknown`) where the remote has no such
    commit.
    """
    shadow = _bare(quarantine, commit)
    env = environment() | {"GIT_DIR": str(shadow)}
    remote.fetch_commit(source, shadow, None, commit, protocols=protocols, limits=limits, depth=1)
    if not _holds(env, commit):
        remote.fetch_into(source, shadow, None, protocols=protocols, limits=limits)
    if not _holds(env, commit):
        raise GovError(
            f"{source.url} has no commit {commit[:12]}",
            hint="export it once more where it is, with its code: `gov export FILE --with-code`",
            code="code_unknown",
            facts={"url": source.url, "commit": commit},
        )
    inspect(env, commit, limits, shadow)
    repository.take_from(commit, shadow / "objects")


def inspect(env: Mapping[str, str], commit: str, limits: Limits, shadow: Path) -> None:
    found = tree.entries(commit, env, limits)
    limits.check_size(size_of(shadow) + sum(entry.size for entry in found))
    tree.refuse_leading_outside(found, env, limits)


def is_on_remote(clone: Path, commit: str) -> bool:
    """Whether a branch of the remote leads to the commit, as far as the clone knows."""
    if not git.is_repository(clone):
        return False
    return git.is_reachable(clone, commit, "refs/remotes/")


def _bare(quarantine: Path, commit: str) -> Path:
    store.remove_tree(quarantine)
    store.make_folder(quarantine)
    return fetching.bare(quarantine, commit)


def _holds(env: Mapping[str, str], commit: str) -> bool:
    return run(["cat-file", "-e", f"{commit}^{{tree}}"], env).ok


def _last(done: Output) -> str:
    return done.stderr.strip().rpartition("\n")[2].removeprefix("fatal: ") or "no reason given"
