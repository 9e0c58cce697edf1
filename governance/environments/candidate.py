"""The candidate of a transaction: a pristine generation seen through a layer that takes every
write, a home, temp and cache folder of its own, and pip.

Where the kernel offers no layer the candidate is a full copy; it is never hardlinked, since an
edit in place would then reach uv's cache, prod and every other generation.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from governance import observation, sandbox
from governance.base.errors import GovError
from governance.boundaries import process, store, uv
from governance.environments import generations
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace

_DATA_FOLDERS = ("models", "input", "output", "temp", "user", "web")
_FOREIGN = ("PYTHON", "PIP_", "UV_", "VIRTUAL_ENV", "CONDA", "GIT_", "GOV_", "LD_PRELOAD")
# How a child reaches the network and its certificates is the machine's business.
_KEPT = ("PIP_CERT", "PIP_PROXY", "PIP_DEFAULT_TIMEOUT", "PIP_TRUSTED_HOST", "GIT_SSL_CAINFO")


@dataclass(frozen=True)
class Candidate:
    """`folder` is `.venv-candidate/<txid>`; `generation` names the pristine environment below."""

    workspace: Workspace
    folder: Path
    generation: str
    support: sandbox.Support
    writable: tuple[Path, ...] = ()
    indexes: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    @property
    def is_layered(self) -> bool:
        return self.support.layer

    @property
    def environment(self) -> Path:
        """Where its Python lies: the generation's own path, or the copy's."""
        if self.is_layered:
            return generations.path(self.workspace, self.generation)
        return self.folder / "env"

    @property
    def python(self) -> Path:
        return generations.python_of(self.environment)

    @property
    def view(self) -> sandbox.View:
        layer = None
        if self.is_layered:
            layer = sandbox.Layer(self.environment, self.folder / "upper", self.folder / "work")
        whole = self._scratch_all()
        nodes = self.workspace.custom_nodes
        return sandbox.View(
            layer=layer,
            scratch=(*whole, *self._scratch_data(within=not whole)),
            writable=(self.folder, *self.writable),
            read_only=(nodes,) if whole and nodes.is_dir() else (),
        )

    def _scratch_all(self) -> tuple[sandbox.Layer, ...]:
        """ComfyUI's folder but for its nodes: they make folders and settings there at import, and
        would fail under the fence though they load in prod.  Nobody else sees what they write.

        What lies in it and is not of one piece with it stays as it is: the workspace, a disk.
        """
        comfyui, nodes = self.workspace.comfyui_dir.resolve(), self.workspace.custom_nodes
        can_seal = self.support.read_only_mounts and self.support.layer
        inside = (self.workspace.root.resolve(), self.folder.resolve(), *sandbox.mount_points())
        if not can_seal or any(path.is_relative_to(comfyui) for path in inside):
            return ()
        keep = (nodes,) if nodes.is_dir() and nodes.resolve().is_relative_to(comfyui) else ()
        base = self.folder / "scratch/ComfyUI"
        return (sandbox.Layer(comfyui, base / "upper", base / "work", keep),)

    def _scratch_data(self, *, within: bool) -> tuple[sandbox.Layer, ...]:
        """ComfyUI's data folders, those that lie elsewhere, too."""
        base, comfyui = self.folder / "scratch", self.workspace.comfyui_dir.resolve()
        return tuple(
            sandbox.Layer(folder, base / name / "upper", base / name / "work")
            for name in _DATA_FOLDERS
            if (folder := comfyui / name).is_dir()
            and (within or not folder.resolve().is_relative_to(comfyui))
        )

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The argv that runs `argv` inside the candidate's layer and fence."""
        return sandbox.wrap(self.view, self.support, argv)

    def isolation(self) -> str:
        return sandbox.isolation(self.view, self.support)

    def try_fence(self) -> list[sandbox.Canary]:
        """Try, from inside, to write to prod and the truth: all of it must be stopped."""
        space = self.workspace
        protected = [space.pyproject, space.plugins, space.state]
        prod = space.generation
        if prod is not None and prod != self.generation:
            protected.append(generations.path(space, prod) / "pyvenv.cfg")
        found = [path for path in protected if path.exists()]
        return list(sandbox.self_test(self.view, self.support, found))

    def environ(self) -> dict[str, str]:
        """The whole environment of an observed program: nothing of prod's, nothing of ours."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in _KEPT or not name.startswith(_FOREIGN)
        }
        fixed = {
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
        }
        return {**kept, **fixed}


def prepare(
    workspace: Workspace,
    txid: str,
    generation: str,
    project: Project,
    *,
    writable: Sequence[Path] = (),
    copy: Callable[[Path], None],
    pip: bool = True,
) -> Candidate:
    """An empty candidate over `generation`, with pip inside; what was there before is deleted.

    `copy` builds the environment at the given path, where no layer can be had.
    """
    folder = workspace.candidates / txid
    store.remove_tree(folder)
    for name in ("upper", "work", "home", "tmp", "cache", "pycache", "bin", "base"):
        store.make_folder(folder / name)
    candidate = _over(workspace, txid, generation, project, writable)
    if not candidate.is_layered:
        copy(candidate.environment)
    (folder / "bin/uv").symlink_to(uv.executable())
    if pip:
        _put_pip(candidate)
    return candidate


def reopen(
    workspace: Workspace,
    txid: str,
    generation: str,
    project: Project,
    *,
    writable: Sequence[Path] = (),
) -> Candidate:
    """The candidate as its run left it.  Raises GovError where it cannot be entered any more."""
    candidate = _over(workspace, txid, generation, project, writable)
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
    writable: Sequence[Path],
) -> Candidate:
    return Candidate(
        workspace,
        workspace.candidates / txid,
        generation,
        sandbox.probe(workspace.candidates),
        tuple(writable),
        tuple(project.indexes),
    )


def _put_pip(candidate: Candidate) -> None:
    """Nodes call pip at start, and a venv made by uv has none.

    pip lies unpacked beside uv's cache and is reached by a `.pth` of the layer: two small files a
    candidate instead of 1,100, no program started, and no freeze shows it.
    """
    shared = _unpacked_pip(candidate.workspace)
    if shared is None:
        _install_pip(candidate)
        return
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


def _unpacked_pip(workspace: Workspace) -> Path | None:
    """The wheel bundled with Python, unpacked once; None where this Python bundles none."""
    wheel = _bundled_pip()
    if wheel is None:
        return None
    folder = workspace.uv_cache / f"gov-{wheel.stem}"
    if not folder.is_dir():
        store.make_folder(workspace.uv_cache)
        unfinished = folder.with_name(f"{store.TEMPORARY}{folder.name}")
        store.remove_tree(unfinished)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unfinished)
        store.move(unfinished, folder)
    return folder


def _install_pip(candidate: Candidate) -> None:
    argv = [uv.executable(), "pip", "install", "--python", str(candidate.python), "pip"]
    done = process.run(candidate.enter(argv), env=candidate.environ())
    if not done.ok:
        raise uv.failure("putting pip into the candidate", done)


def _bundled_pip() -> Path | None:
    import ensurepip

    found = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    return found[-1] if found else None


def own_packages() -> tuple[str, ...]:
    """What no freeze shows because we put it in: pip, where it could not be kept outside."""
    return () if _bundled_pip() is not None else ("pip",)


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
