"""Reading another host's repository: its refs, and a clone of one commit that was named first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from governance.base.errors import GovError, UsageError
from governance.boundaries import store
from governance.git import tree
from governance.git.call import (
    FULL_COMMIT,
    Limits,
    Output,
    Progress,
    Setting,
    check_version,
    environment,
    personal_settings,
    printable,
    run,
    size_of,
)
from governance.git.source import Source, actual_protocol

LIST_SECONDS = 60.0

# It answers from the variables of this one call, so that nothing is stored and `ps` shows nothing.
_CREDENTIAL_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" '
    '"$GOV_GIT_USERNAME" "$GOV_GIT_PASSWORD"; }; f'
)
# A local repository is served by a program that reads that repository's own config: it may start
# nothing else (a missing object would be fetched by a command of the config's choice).  Its owner
# may be anybody: the person has named it.
_LOCAL_UPLOAD_PACK = "GIT_ALLOW_PROTOCOL= GIT_NO_LAZY_FETCH=1 git -c 'safe.directory=*' upload-pack"
_SHORT = re.compile(r"[0-9a-f]{4,63}")
# gitrevisions(7) and git-check-ref-format(1): a plain name, nothing that git would compute.
_NO_PLAIN_NAME = re.compile(r"^[-/.]|[\s~^:?*\[\\]|\.\.|@\{|//|/\.|[/.]$|\.lock(/|$)|^@$")
_LISTED = re.compile(r"(ref: refs/heads/(?P<default>.+)|(?P<object>[0-9a-f]{40,64}))\t(?P<name>.+)")
_EMPTY_TALK = re.compile(
    r"Please make sure you have the correct access rights|and the repository exists\.|"
    r"(fatal: )?Could not read from remote repository|Cloning into|\s*$",
    re.IGNORECASE,
)

_AUTHENTICATION = (
    "the host wants credentials, or there is no such repository: check the URL, log in with a "
    "git credential helper or an ssh key, or put a token into the URL (it is not stored)"
)
_DISK = r"No space left on device|Out of diskspace|Read-only file system"
_HINTS = (
    (r"Host key verification failed", "connect once with ssh by hand to accept the host's key"),
    (
        r"Authentication failed|could not read (Username|Password)|Permission denied|"
        r"error: 40[13]|HTTP Basic: Access denied",
        _AUTHENTICATION,
    ),
    (
        r"unable to look up|not resolve host|Failed to connect|unable to connect|refused|"
        r"timed out|unreachable|Operation too slow",
        "the host cannot be reached: check the URL, the network and the proxy settings",
    ),
    (r"SSL|certificate", "set GIT_SSL_CAINFO or http.sslCAInfo to your certificates"),
    (
        r"not found|not appear to be a git repo|not a git repo|does not exist",
        "check the address: there is no git repository there",
    ),
)


# A token that stands in the place of the user is longer.
_LONGEST_PLAIN_NAME = 8
_NO_ROOM = re.compile(r"No space left on device|Out of diskspace|Read-only file system")


@dataclass(frozen=True)
class Refs:
    """What a repository offers, name -> full commit id; `head` is None where it is empty.

    `by_full_name` holds all of them again and the rest, such as refs/pull/7/head.
    """

    head: str | None
    default_branch: str | None
    branches: Mapping[str, str]
    tags: Mapping[str, str]
    by_full_name: Mapping[str, str]


@dataclass(frozen=True)
class Cloned:
    """`kind` is "branch", "tag", "commit" or "default"; `ref` is what was asked for.

    `branch` is checked out and follows origin's; None means a detached commit.
    """

    commit: str
    ref_kind: str
    ref: str | None
    branch: str | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Remote:
    """One source, how to reach it, and what that may take; all calls share both."""

    source: Source
    env: Mapping[str, str]
    limits: Limits
    local: bool

    def call(self, verb: str, *arguments: str, folder: Path | None = None) -> Output:
        env = self.env if folder is None else {**self.env, **_repository(folder)}
        reach = [f"--upload-pack={_LOCAL_UPLOAD_PACK}"] if self.local else []
        return run([verb, *reach, *arguments], env, limits=self.limits)

    def failed(self, output: Output) -> GovError:
        full = _NO_ROOM.search(output.stderr)
        if full is not None:
            return GovError(
                f"cannot write the clone of {self.source.url}: {full[0]}",
                hint="free some space or mend the permissions, then run the same command again",
                code="disk",
            )
        said = self._scrubbed(_last_words(output.stderr))
        hint = next(
            (hint for pattern, hint in _HINTS if re.search(pattern, output.stderr)),
            "try `git ls-remote` on it by hand",
        )
        return GovError(
            f"cannot read {self.source.url}: {said}",
            hint=hint,
            code="git_failed",
            facts={"url": self.source.url, "git": said},
        )

    def _scrubbed(self, text: str) -> str:
        """A server may repeat what it was sent.  A user's name of a few letters is no secret, and
        stands in every other word: each `u` of the sentence became `***`, which tells it."""
        secrets = (self.source.password, self.source.username)
        for secret in filter(None, secrets):
            if secret == self.source.password or len(secret) > _LONGEST_PLAIN_NAME:
                text = text.replace(secret, "***")
        return text


@dataclass(frozen=True)
class _Target:
    """`commit` is full except for a short id, which only the clone can complete."""

    commit: str
    kind: str
    branch: str | None = None
    note: str | None = None


def list_refs(source: Source, *, protocols: Sequence[str], timeout: float = LIST_SECONDS) -> Refs:
    """Raises GovError (git_failed, timed_out) with git's own words and a hint."""
    return _refs(_remote(source, protocols, Limits(timeout)))


def clone(
    source: Source,
    destination: Path,
    *,
    ref: str | None,
    protocols: Sequence[str],
    timeout: float,
    max_bytes: int,
    progress: Progress | None = None,
) -> Cloned:
    """Clone into `destination`, which must not exist and does not exist after any failure.

    `ref` is resolved to a commit before anything is fetched.  A tag wins over a branch of the
    same name, as everywhere in git but in `git clone --branch`: tags are meant to stay.
    Seconds and bytes are limits for everything together.  Raises UsageError (unknown_ref, bad_ref),
    Refused (policy, too_large), GovError (git_failed, timed_out).
    """
    if ref is not None:
        _check_ref(ref)
    limits = Limits(timeout, max_bytes, progress=progress)
    remote = _remote(source, protocols, limits)
    target = _target(_refs(remote), ref, source)
    _make(destination)
    try:
        within = replace(remote, limits=replace(limits, folder=destination))
        cloned = _fill(within, destination, target, ref)
        store.sync_filesystem(destination)
        return cloned
    except BaseException:
        store.remove_tree(destination)
        raise


def fetch_into(
    source: Source,
    folder: Path,
    alternates: str | None,
    *,
    protocols: Sequence[str],
    limits: Limits,
) -> Refs:
    """Fetch all branches and tags into the bare repository `folder`, which may know the objects
    of others; what the remote offers.  Raises what clone raises."""
    remote = _remote(source, protocols, limits)
    found = _refs(remote)
    env = {**remote.env, "GIT_DIR": str(folder)}
    if alternates is not None:
        env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = alternates
    within = replace(remote, env=env, limits=replace(limits, folder=folder))
    words = ["--no-tags", "--force", "--no-write-fetch-head", "--progress", "--", source.url]
    fetched = within.call("fetch", *words, *_ALL_REFS)
    if not fetched.ok:
        raise within.failed(fetched)
    return found


_ALL_REFS = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")


def fetch_commit(
    source: Source,
    folder: Path,
    alternates: str | None,
    commit: str,
    *,
    protocols: Sequence[str],
    limits: Limits,
    depth: int = 0,
) -> None:
    """Ask for one commit by its id, which no branch or tag leads to; a host may refuse that.

    `depth` cuts its history, 0 asks for all of it.
    """
    remote = _remote(source, protocols, limits)
    env = {**remote.env, "GIT_DIR": str(folder)}
    if alternates is not None:
        env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = alternates
    within = replace(remote, env=env)
    cut = [f"--depth={depth}"] if depth else []
    words = ["--no-tags", "--no-write-fetch-head", "--quiet", *cut, "--", source.url, commit]
    within.call("fetch", *words)


def check_ref(ref: str) -> None:
    """Raises UsageError (bad_ref) for what cannot be a branch, a tag or a commit."""
    _check_ref(ref)


def unknown_ref(ref: str, refs: Refs, source: Source) -> UsageError:
    return _unknown(ref, refs, source)


def _remote(source: Source, protocols: Sequence[str], limits: Limits) -> _Remote:
    check_version()
    # A redirect may lead from http to https, and nowhere else.
    personal = personal_settings()
    protocol = actual_protocol(source.url, personal, protocols)
    reachable = {protocol, "https"} if protocol == "http" else {protocol}
    settings, secrets = _credentials(source, personal)
    env = environment([name for name in protocols if name in reachable], [*personal, *settings])
    return _Remote(source, env | secrets, limits, protocol == "file")


def _credentials(
    source: Source, personal: Sequence[Setting]
) -> tuple[list[Setting], dict[str, str]]:
    """Settings and variables that give the URL's credentials to its own host, and to no other.

    The empty helper comes first: the user's own helpers would store what they see to work.
    """
    if not source.username:
        return [], {}
    host = "/".join(source.url.split("/")[:3])
    has_helper = any(key.startswith("credential.") and value for key, value in personal)
    if source.password is None and has_helper:
        return [(f"credential.{host}.username", source.username)], {}
    helper = f"credential.{host}.helper"
    secrets = {"GOV_GIT_USERNAME": source.username, "GOV_GIT_PASSWORD": source.password or ""}
    return [(helper, ""), (helper, _CREDENTIAL_HELPER)], secrets


def _refs(remote: _Remote) -> Refs:
    listed = remote.call("ls-remote", "--symref", "--", remote.source.url)
    if not listed.ok:
        raise remote.failed(listed)
    found: dict[str, str] = {}
    default = None
    for line in map(_LISTED.fullmatch, listed.text().splitlines()):
        if line and line["object"]:
            # `v1^{}` is the commit that the annotated tag `v1` stands for, and follows it.
            found[line["name"].removesuffix("^{}")] = line["object"]
        elif line and line["name"] == "HEAD":
            default = line["default"]
    return Refs(
        head=found.pop("HEAD", None),
        default_branch=default if default and not _NO_PLAIN_NAME.search(default) else None,
        branches=_below("refs/heads/", found),
        tags=_below("refs/tags/", found),
        by_full_name=found,
    )


def _below(prefix: str, found: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(prefix): commit
        for name, commit in found.items()
        if name.startswith(prefix)
    }


def _check_ref(ref: str) -> None:
    if not ref or not ref.isprintable() or _NO_PLAIN_NAME.search(ref):
        raise UsageError(
            f"{ref!a} cannot be a branch, tag or commit",
            hint="give the plain name of a branch or tag, or a commit id",
            code="bad_ref",
            facts={"ref": ascii(ref)},
        )


def _target(refs: Refs, ref: str | None, source: Source) -> _Target:
    if ref is None or ref == "HEAD":
        if refs.head is None:
            raise _unknown("HEAD", refs, source)
        return _Target(refs.head, "default", refs.default_branch)
    for name in (f"refs/tags/{ref}", f"refs/heads/{ref}", ref):
        if name in refs.by_full_name:
            return _named(name, refs)
    if FULL_COMMIT.fullmatch(ref.lower()) or _SHORT.fullmatch(ref.lower()):
        return _Target(ref.lower(), "commit")
    raise _unknown(ref, refs, source)


def _named(name: str, refs: Refs) -> _Target:
    commit = refs.by_full_name[name]
    branch, tag = name.removeprefix("refs/heads/"), name.removeprefix("refs/tags/")
    if branch != name:
        return _Target(commit, "branch", branch)
    if tag == name:
        return _Target(commit, "commit")
    both = f"{tag} is a tag and a branch; the tag was taken (refs/heads/{tag} is the branch)"
    return _Target(commit, "tag", note=both if tag in refs.branches else None)


def _unknown(ref: str, refs: Refs, source: Source) -> UsageError:
    import difflib

    names = sorted({*refs.tags, *refs.branches})
    near = difflib.get_close_matches(ref, names, n=5, cutoff=0.5) or names[-5:]
    return UsageError(
        f"{source.url} has no branch, tag or commit {ref!a}",
        hint=f"it has {', '.join(near)}" if near else "the repository is empty",
        code="unknown_ref",
        facts={"url": source.url, "ref": ascii(ref), "near": near},
    )


def _make(destination: Path) -> None:
    try:
        destination.mkdir()
    except FileExistsError:
        raise GovError(
            f"{destination} exists already", hint="move it away first", code="exists"
        ) from None
    except OSError as error:
        raise store.disk_error(destination, error) from error


def _fill(remote: _Remote, destination: Path, target: _Target, ref: str | None) -> Cloned:
    """Fetch, look at what would be written, and only then write it."""
    chosen = [f"--branch={target.branch}"] if target.branch else []
    fetched = remote.call(
        "clone",
        "--no-checkout",
        "--no-local",
        "--no-recurse-submodules",
        "--template=",
        "--origin=origin",
        "--progress",
        *chosen,
        "--",
        remote.source.url,
        str(destination),
    )
    if not fetched.ok:
        raise remote.failed(fetched)
    commit = _commit(remote, destination, target)
    notes = _inspect(remote, destination, commit)
    _check_out(remote, destination, commit, target)
    if target.note:
        notes.append(target.note)
    return Cloned(commit, target.kind, ref, target.branch, tuple(notes))


def _commit(remote: _Remote, destination: Path, target: _Target) -> str:
    """The full id; what no branch or tag leads to is asked for once more by its id."""
    wanted = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{target.commit}^{{commit}}"]
    env = {**remote.env, **_repository(destination)}
    found = run(wanted, env, limits=remote.limits)
    if not found.ok and FULL_COMMIT.fullmatch(target.commit):
        remote.call("fetch", "--no-tags", "--quiet", "origin", target.commit, folder=destination)
        found = run(wanted, env, limits=remote.limits)
    if found.ok:
        return found.text().strip()
    raise UsageError(
        f"{remote.source.url} has no commit {target.commit}, or more than one",
        hint="give the full commit id, a branch or a tag",
        code="unknown_ref",
        facts={"url": remote.source.url, "ref": target.commit, "near": []},
    )


def _inspect(remote: _Remote, destination: Path, commit: str) -> list[str]:
    """Refuse a small repository that unpacks to a large one, and links that lead outside."""
    env = {**remote.env, **_repository(destination)}
    limits = remote.limits
    found = tree.entries(commit, env, limits)
    limits.check_size(size_of(destination) + sum(entry.size for entry in found))
    tree.refuse_leading_outside(found, env, limits)
    return tree.notes(found, env, limits)


def _check_out(remote: _Remote, destination: Path, commit: str, target: _Target) -> None:
    place = ["--no-track", "-B", target.branch] if target.branch else ["--detach"]
    env = {**remote.env, **_repository(destination)}
    done = run(
        ["checkout", "--quiet", "--force", *place, commit, "--"],
        env,
        limits=remote.limits,
    )
    if not done.ok:
        raise remote.failed(done)


def _repository(folder: Path) -> dict[str, str]:
    return {"GIT_DIR": str(folder / ".git"), "GIT_WORK_TREE": str(folder)}


def _last_words(stderr: str) -> str:
    """git's last line that says something; what ssh or the server said comes before it."""
    lines = [printable(line) for line in stderr.replace("\r", "\n").splitlines()]
    telling = [line for line in lines if not _EMPTY_TALK.match(line)]
    return telling[-1].removeprefix("fatal: ") if telling else "git gave no reason"
