"""A machine with nothing on it: ComfyUI comes from the bundle, or from where it came from."""

from __future__ import annotations

import secrets
import shlex
from pathlib import Path

from governance import git
from governance.base.errors import GovError, UsageError
from governance.base.progress import During, Say, following, unseen
from governance.boundaries import config, store
from governance.bundle import archive, code, contents
from governance.bundle.contents import COMFYUI, Contents
from governance.code import head
from governance.code.repository import Repository
from governance.git.call import Limits
from governance.installation import folder as folders
from governance.truth import registry
from governance.truth.workspace import Workspace


def comfyui(path: Path, named: Path, say: Say, during: During = unseen) -> list[str]:
    """ComfyUI at `named`, where nothing is; sentences to tell.

    Raises UsageError where something else lies there, GovError where the bundle neither holds
    ComfyUI nor names where it came from.
    """
    target = Path.cwd() / store.typed_path(named)
    if (target / "main.py").is_file():
        return []
    if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
        raise UsageError(
            f"{target} is no ComfyUI, and it is not empty",
            hint="name an empty or a new folder with --comfyui-dir",
            code="no_comfyui",
            facts={"path": str(target)},
        )
    if not target.parent.is_dir():
        raise UsageError(
            f"there is no folder {target.parent}",
            hint=f"make it first: mkdir -p {shlex.quote(str(target.parent))}",
            code="not_found",
        )
    scratch = target.parent / f"{store.TEMPORARY}comfyui-{secrets.token_hex(4)}"
    try:
        return _laid(path, target, scratch, say, during)
    finally:
        store.remove_tree(scratch)


def _laid(path: Path, target: Path, scratch: Path, say: Say, during: During) -> list[str]:
    member = contents.code_of(COMFYUI)
    found = archive.unpack(path, scratch, lambda name: name == member)
    held = found.comfyui.get("code") or found.comfyui.get("commit")
    made = scratch / "ComfyUI"
    if held and member in found.files:
        say("laying out ComfyUI from the bundle")
        _from_bundle(found, scratch, str(held), made, path.name)
    else:
        _from_origin(found, made, path.name, say, during)
    if target.is_dir():
        target.rmdir()
    store.move(made, target)
    return [f"ComfyUI was put at {target}"]


def _from_bundle(found: Contents, scratch: Path, held: str, made: Path, name: str) -> None:
    repository = Repository(scratch / "code.git")
    commit = found.comfyui.get("commit")
    commits = list(dict.fromkeys(one for one in (held, commit) if one))
    member = scratch / contents.code_of(COMFYUI)
    code.take(repository, member, commits, scratch / "quarantine", _limits(), name)
    head.restore(repository, held, commit, found.comfyui.get("origin"), made)


def _from_origin(found: Contents, made: Path, name: str, say: Say, during: During) -> None:
    origin, commit = found.comfyui.get("origin"), found.comfyui.get("commit")
    if not origin or not commit:
        raise GovError(
            f"{name} neither holds ComfyUI nor says where it came from",
            hint="clone ComfyUI first and name it with --comfyui-dir",
            code="code_unknown",
        )
    settings = _defaults()
    protocols = settings.texts("policy.git_protocols")
    with following(say, during, f"cloning {origin}") as show:
        git.clone(
            git.source(origin, protocols=protocols, cwd=Path("/")),
            made,
            ref=commit,
            protocols=protocols,
            timeout=settings.number("policy.clone_timeout_seconds"),
            max_bytes=int(settings.number("policy.clone_limit_mb") * 1024 * 1024),
            progress=show,
        )


def _limits() -> Limits:
    settings = _defaults()
    return Limits(
        settings.number("policy.clone_timeout_seconds"),
        int(settings.number("policy.clone_limit_mb") * 1024 * 1024),
    )


def _defaults() -> config.Config:
    """There is no config.toml yet."""
    return config.load(Path("/nonexistent/config.toml"))


def begin(space: Workspace) -> None:
    """A workspace without a truth, as an import fills it."""
    folders.mark_governed(space)
    if not space.plugins.is_file():
        store.write(space.plugins, registry.dump([]))
