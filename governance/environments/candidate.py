"""The candidate of a transaction: a pristine generation seen through a layer that takes every
write, a home, temp and cache folder of its own, and pip; all of the disk but the workspace lies
under layers too, so that a node may write wherever it may in prod.

Where the kernel offers no layer the candidate is a full copy; it is never hardlinked, since an
edit in place would then reach uv's cache, prod and every other generation.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import governance
from governance import observation, sandbox
from governance.base.errors import GovError
from governance.boundaries import process, store, uv
from governance.environments import (
    bounds,
    copied,
    generations,
    reachable,
    secrets,
    surroundings,
    variables,
    written,
)
from governance.truth.resolution import Project
from governance.truth.workspace import GOES, Workspace

_LAY = Path(governance.__file__).parent / "code/lay.py"
# Caches that live in the operator's home where no variable says otherwise: what was downloaded for
# prod need not be downloaded again.  Not all of huggingface's, where its token lies.
_HOME_CACHES = {"HF_HUB_CACHE": ".cache/huggingface/hub", "TORCH_HOME": ".cache/torch"}
_NAMES_TOLD = 12


@dataclass(frozen=True)
class Candidate:
    """`folder` is `.venv-candidate/<txid>`; `generation` names the pristine environment below.

    `other` is the folder of an environment that is not gov's: the layers over the disk keep it as
    it is.
    """

    workspace: Workspace
    folder: Path
    generation: str
    support: sandbox.Support
    sealed: tuple[Path, ...] = ()
    indexes: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    other: Path | None = None

    @property
    def is_layered(self) -> bool:
        return self.support.layer and self.other is None

    @property
    def environment(self) -> Path:
        """Where its Python lies: the generation's own path, or the copy's."""
        if self.other is not None:
            return self.other
        if self.is_layered:
            return generations.path(self.workspace, self.generation)
        return self.folder / "env"

    @property
    def byte_code(self) -> Path:
        """Where what runs inside keeps it, see observation.own_environ."""
        return self.folder / "pycache"

    @property
    def is_scratch(self) -> bool:
        """Layers lie over the disk too: without mounts to seal with, what they leave in sight could
        be written."""
        return self.support.layer and self.support.read_only_mounts

    @property
    def comfyui_dir(self) -> Path:
        """ComfyUI as it is to be started: at its own path, or the copy."""
        copy = self.folder / "ComfyUI"
        return copy if not self.is_scratch and copy.is_dir() else self.workspace.comfyui_dir

    @property
    def python(self) -> Path:
        return generations.python_of(self.environment)

    @cached_property
    def view(self) -> sandbox.View:
        """The workspace is closed but for the candidate's folder and what is ComfyUI's in it."""
        layer = None
        if self.is_layered:
            layer = sandbox.Layer(self.environment, self.folder / "upper", self.folder / "work")
        return sandbox.View(
            layer=layer,
            scratch=self._scratch(),
            writable=(self.folder,),
            read_only=(
                self.workspace.root,
                *map(self._at, self.sealed),
                *([self.contacts] if self.contacts else []),
            ),
            hidden=secrets.places(self.workspace, (self.environment, self.comfyui_dir)),
            strict=True,
            limits=bounds.limits(self.workspace),
            contacts=self.contacts,
            network=self._wanted_network,
        )

    @property
    def contacts(self) -> Path | None:
        """The fence's record of addresses, which nothing inside may write."""
        path = self.folder / "contacts"
        is_wanted = self._policy != "open" and self.support.calls
        return path if is_wanted and path.exists() else None

    @property
    def _policy(self) -> str:
        return self.workspace.config.text("sandbox.network")

    @cached_property
    def _wanted_network(self) -> sandbox.Network | None:
        return reachable.network(self.workspace, self._policy, self.folder, self.indexes)

    @property
    def network(self) -> sandbox.Network | None:
        """Its own, where policy closes the machine's and the kernel can."""
        return self._wanted_network if self.support.network else None

    @property
    def network_in_force(self) -> str:
        if self.network is not None or sandbox.closes_ports(self.view, self.support):
            return self._policy
        return "open" if self.contacts is None else "record"

    def _scratch(self) -> tuple[sandbox.Layer, ...]:
        if not self.is_scratch:
            return ()
        places = surroundings.places(self.workspace, self._variables.passed.values())
        return sandbox.scratch(
            self.folder / "scratch",
            (self.workspace.root,),
            [*places, *([self.other] if self.other else [])],
            whole=not self.support.user_namespace,
        )

    def enter(self, argv: Sequence[str], folder: Path | None = None) -> list[str]:
        """The argv that runs `argv` inside the candidate's layer and fence.

        `folder`: where it begins, also one that is in the layer only.
        """
        return sandbox.wrap(self.view, self.support, argv, folder=folder)

    def behind(self, path: Path) -> Path | None:
        """The file or folder that programs inside see at `path`; None where they see nothing.

        Of a folder in a layer it is the part with the new entries, see `written`.
        """
        if not self.is_scratch:
            copy = self._at(path)
            return copy if os.path.lexists(copy) else None
        return written.behind(self.view.scratch, path)

    def written(self, folder: Path) -> dict[str, Path]:
        """What was made or changed in `folder`: relative path -> the file that holds it.

        Regular files only; byte code is left out, and what was opened for writing and not changed.
        """
        if not self.is_scratch:
            return written.new_files(self._at(folder), folder)
        return written.files(self.view.scratch, folder)

    def _at(self, path: Path) -> Path:
        """Where what lies at `path` of ComfyUI is found inside."""
        moved = copied.moved(str(path), self._moved_places(), str(self.workspace.root))
        return Path(moved)

    def _moved_places(self) -> list[tuple[str, str]]:
        space = self.workspace
        if self.comfyui_dir == space.comfyui_dir:
            return []
        nodes = self.comfyui_dir / "custom_nodes"
        return [
            (os.path.realpath(space.custom_nodes), str(nodes)),
            (str(space.comfyui_dir), str(self.comfyui_dir)),
            (os.path.realpath(space.comfyui_dir), str(self.comfyui_dir)),
        ]

    def limits(self) -> list[str]:
        """In words, what this trial lacks and prod has."""
        return [*self._lacking_variables(), *self._closed_places(), *self._open_roads()]

    def _open_roads(self) -> Iterator[str]:
        """What the fence of this machine leaves open, beyond writes (see isolation)."""
        support = self.support
        if not support.private or not support.read_only_mounts:
            why = support.private_reason or support.read_only_reason
            yield f"it shared memory and sockets with other programs of this machine: {why}"
        if self._policy in ("index", "none") and self.network is None:
            why = support.network_reason
            if sandbox.closes_ports(self.view, support):
                yield f"its network was closed by port, for TCP alone, whatever the host: {why}"
            else:
                yield f"its network was open, though policy says {self._policy}: {why}"
        if not support.calls:
            yield f"its system calls were not filtered: {support.calls_reason}"

    def _lacking_variables(self) -> Iterator[str]:
        names = self._variables.left_out
        if names:
            more = f" and {len(names) - _NAMES_TOLD} more" if len(names) > _NAMES_TOLD else ""
            yield (
                f"{observation.LACKING}: {', '.join(names[:_NAMES_TOLD])}"
                f"{more} (sandbox.pass_environment in config.toml passes them)"
            )

    def _closed_places(self) -> Iterator[str]:
        if not self.is_scratch:
            why = self.support.layer_reason or self.support.read_only_reason
            yield f"it ran in a copy of ComfyUI, since no layer can be had here: {why}"
            return
        layered = self.tried.layered
        for place in surroundings.places(self.workspace, self._variables.passed.values()):
            if not any(place.is_relative_to(folder) for folder in layered):
                yield f"{place} could not be written: no scratch layer can be had over it"

    def isolation(self) -> str:
        return sandbox.isolation(self.view, self.support)

    @cached_property
    def tried(self) -> sandbox.Tried:
        """Try, from inside, to write to prod and the truth, and to read what is hidden: all of it
        must be stopped."""
        space = self.workspace
        protected = [space.pyproject, space.plugins, space.state]
        prod = space.generation
        if prod is not None and prod != self.generation:
            protected.append(generations.path(space, prod) / "pyvenv.cfg")
        found = [path for path in protected if path.exists()]
        return sandbox.self_test(self.view, self.support, found)

    @cached_property
    def _variables(self) -> variables.Sorted:
        asked_for = self.workspace.config.texts("sandbox.pass_environment")
        return variables.sort(os.environ, asked_for)

    def environ(self) -> dict[str, str]:
        """The whole environment of an observed program: nothing of prod's, nothing of ours."""
        kept = self._variables.passed
        return {
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            **self._home_caches(),
            **{name: self._within_reach(name, value) for name, value in kept.items()},
            **observation.own_environ(self.folder),
            "PIP_CACHE_DIR": str(self.folder / "cache/pip"),
            "UV_CACHE_DIR": str(self.folder / "cache/uv"),
            "VIRTUAL_ENV": str(self.environment),
            "PATH": f"{self.environment / 'bin'}:{self.folder / 'bin'}:{kept.get('PATH', '')}",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "UV_NO_CONFIG": "1",
            "UV_LINK_MODE": "copy",
            **_index_variables(self.indexes),
            **bounds.proxies(self.network),
        }

    def _within_reach(self, name: str, value: str) -> str:
        """A cache that the program could not write is replaced by an empty one of its own."""
        if not variables.is_cache(name) or not value.startswith("/"):
            return value
        real = Path(os.path.realpath(value))
        return value if self._takes_writes(real) else str(self.folder / "cache" / name.lower())

    def _home_caches(self) -> dict[str, str]:
        caches = {name: Path.home() / place for name, place in _HOME_CACHES.items()}
        given = self._variables.passed.keys() & {"HF_HOME", "HUGGINGFACE_HUB_CACHE"}
        return {
            name: str(path)
            for name, path in caches.items()
            if path.is_dir() and self._takes_writes(path.resolve())
            if not (name.startswith("HF_") and given)
        }

    def _takes_writes(self, real: Path) -> bool:
        return written.layer_over(self.view.scratch, real) is not None


def prepare(
    workspace: Workspace,
    txid: str,
    generation: str,
    project: Project,
    *,
    sealed: Sequence[Path] = (),
    copy: Callable[[Path], None],
    pip: bool = True,
    code: Sequence[Path] = (),
) -> Candidate:
    """An empty candidate over `generation`, with pip inside; what was there before is deleted.

    `sealed` are folders of ComfyUI that stay read-only inside.  `copy` builds the environment at
    the given path, where no layer can be had.  `code` are plans of what code is to lie where:
    it is laid inside, before anything else is started there.
    """
    folder = _fresh(workspace, txid)
    candidate = _over(workspace, txid, generation, project, sealed)
    if not candidate.is_layered:
        copy(candidate.environment)
    if not candidate.is_scratch:
        copied.copy(workspace.comfyui_dir, folder / "ComfyUI", apart=(workspace.root,))
    (folder / "bin/uv").symlink_to(uv.executable())
    for plan in code:
        _lay_code(candidate, plan)
    if pip:
        _put_pip(candidate)
    return candidate


def beside(workspace: Workspace, name: str, environment: Path) -> Candidate:
    """An environment that is not gov's, to be started where nothing of it can change.

    Raises GovError (code `no_layer`) where no layers can be had: a copy of it would run from
    another place than it was made for.
    """
    support = sandbox.probe(workspace.candidates)
    made = Candidate(workspace, workspace.candidates / name, "", support, other=environment)
    if not made.is_scratch:
        raise GovError(
            f"{environment} cannot be started without touching it: "
            f"{support.layer_reason or support.read_only_reason}",
            hint="`gov adopt` goes on without it",
            code="no_layer",
        )
    _fresh(workspace, name)
    return made


def _fresh(workspace: Workspace, name: str) -> Path:
    folder = workspace.candidates / name
    store.remove_tree(folder)
    for inner in ("upper", "work", "home", "tmp", "cache", "pycache", "bin", "base"):
        store.make_folder(folder / inner)
    (folder / "contacts").touch()
    return folder


def _lay_code(candidate: Candidate, plan: Path) -> None:
    """Also into a folder that is sealed for what runs later."""
    open_view = replace(candidate, sealed=())
    if not candidate.is_scratch:
        places, root = candidate._moved_places(), str(candidate.workspace.root)
        moved = copied.moved(store.read_json(plan), places, root)
        plan = candidate.folder / f"code-{plan.name}"
        store.write_json(plan, moved)
    argv = [sys.executable, "-I", "-S", str(_LAY), str(plan)]
    done = process.run(open_view.enter(argv, Path("/")), env=candidate.environ())
    if not done.ok:
        last_line = done.stderr.strip().rpartition("\n")[2]
        raise GovError(
            f"the new code could not be laid into the candidate: {last_line or done.returncode}",
            hint="`gov verify` shows whether the stored code is whole",
            code="code_not_laid",
            facts={"plan": str(plan)},
        )


def reopen(
    workspace: Workspace,
    txid: str,
    generation: str,
    project: Project,
    *,
    sealed: Sequence[Path] = (),
) -> Candidate:
    """The candidate as its run left it.  Raises GovError where it cannot be entered any more."""
    candidate = _over(workspace, txid, generation, project, sealed)
    if (candidate.folder / "env").is_dir():
        as_copy = replace(candidate.support, layer=False, layer_reason="the candidate is a copy")
        return replace(candidate, support=as_copy)
    if not candidate.is_layered:
        raise GovError(
            f"the candidate of {txid} lies in a layer: {candidate.support.layer_reason}",
            hint="`gov tx run` makes a new one, as a copy",
            code="no_layer",
        )
    if not candidate.environment.is_dir():
        raise GovError(
            f"generation {generation}, which the candidate of {txid} lies over, is gone",
            hint="`gov tx run` builds it again",
            code="no_candidate",
        )
    return candidate


def _over(
    workspace: Workspace,
    txid: str,
    generation: str,
    project: Project,
    sealed: Sequence[Path],
) -> Candidate:
    return Candidate(
        workspace,
        workspace.candidates / txid,
        generation,
        sandbox.probe(workspace.candidates),
        tuple(sealed),
        tuple(project.indexes),
    )


def _put_pip(candidate: Candidate) -> None:
    """Nodes call pip at start, and a venv made by uv has none.

    pip lies unpacked beside uv's cache and is reached by a `.pth` of the layer: two small files a
    candidate instead of 1,100, no program started, and no freeze shows it.
    """
    shared = _unpacked_pip(candidate.workspace)
    top = candidate.folder / "upper" if candidate.is_layered else candidate.environment
    site = generations.site_packages(candidate.environment).relative_to(candidate.environment)
    (top / site).mkdir(parents=True, exist_ok=True)
    (top / site / "gov-pip.pth").write_text(f"{shared}\n")
    (top / "bin").mkdir(exist_ok=True)
    for name in ("pip", "pip3"):
        script = top / "bin" / name
        script.write_text(_PIP_SCRIPT.format(python=candidate.python))
        script.chmod(0o755)


_PIP_SCRIPT = """#!/bin/sh
exec '{python}' -m pip "$@"
"""


def _unpacked_pip(workspace: Workspace) -> Path:
    """The pip that gov itself depends on, once beside uv's cache: Debian's ensurepip bundles none.

    Raises GovError where gov was installed without it.
    """
    import importlib.metadata

    try:
        pip = importlib.metadata.distribution("pip")
    except importlib.metadata.PackageNotFoundError:
        raise GovError(
            "pip, which observed nodes call, is not installed beside gov",
            hint="install gov again (`bin/gov` does so when its .venv is deleted)",
            code="program_missing",
        ) from None
    folder = workspace.uv_cache / f"gov-pip-{pip.version}"
    with _unpacking:
        if not folder.is_dir():
            store.make_folder(workspace.uv_cache)
            unfinished = folder.with_name(f"{store.TEMPORARY}{folder.name}")
            store.remove_tree(unfinished)
            for name in ("pip", f"pip-{pip.version}.dist-info"):
                _copy_without_byte_code(Path(str(pip.locate_file(name))), unfinished / name)
            store.move(unfinished, folder)
    return folder


# Candidates are made side by side where fixes are tried, and the first ones all find no pip.
_unpacking = threading.Lock()


def _copy_without_byte_code(source: Path, target: Path) -> None:
    """Byte code is another Python's."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


def let_go(workspace: Workspace, txid: str, *, keep: bool = False) -> None:
    """Note, before its transaction ends, that the candidate goes with it: a kill in between leaves
    nobody who would delete it.  Without the note it was kept on purpose."""
    note = workspace.candidates / txid / GOES
    if keep:
        note.unlink(missing_ok=True)
    elif note.parent.is_dir():
        note.touch()


def discard(workspace: Workspace, txid: str) -> str | None:
    """Delete a candidate; the warning where that failed."""
    try:
        store.remove_tree(workspace.candidates / txid)
    except (OSError, GovError) as error:
        return f"the candidate {workspace.candidates / txid} could not be deleted: {error}"
    return None


def _index_variables(indexes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The truth's default index, said to pip and to uv."""
    for index in indexes:
        if index.get("default"):
            url = str(index["url"])
            if index.get("format") == "flat":
                return {
                    "PIP_NO_INDEX": "1",
                    "PIP_FIND_LINKS": url,
                    "UV_NO_INDEX": "1",
                    "UV_FIND_LINKS": url,
                }
            return {"PIP_INDEX_URL": url, "UV_DEFAULT_INDEX": url}
    return {}
