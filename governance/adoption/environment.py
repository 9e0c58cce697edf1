"""The environment that ComfyUI runs in today: found, and asked what it holds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from governance import comfyui
from governance.base import names
from governance.base.errors import GovError, UsageError
from governance.base.shape import Shape, mismatch
from governance.boundaries import process, store
from governance.observation import packages
from governance.requirements import requirement_name
from governance.truth.workspace import Workspace

PROBE = Path(__file__).with_name("probe.py")
MODEL_PATHS = ("extra_model_paths.yaml", "extra_model_paths.yml")
_HINT = "name the environment that ComfyUI runs in: `gov adopt --from-env PATH`"
_SECONDS = 120.0

# Where people keep it, from ComfyUI's folder; the last is that of the portable bundles.
_PLACES = (".venv", "venv", "env", ".env", "conda", "../.venv", "../venv", "../env")
_EMBEDDED = ("python_embeded", "../python_embeded", "python_embedded", "../python_embedded")


_ANSWER: Shape = {
    "version": str,
    "distributions": [
        {
            "name": str,
            "version": str,
            "requires": [str],
            "modules": [str],
            "direct_url": (dict, type(None)),
            "installed_at": (float, int, type(None)),
        }
    ],
    "model_paths": {"*": ([str], type(None))},
}


@dataclass(frozen=True)
class Installed:
    """One distribution; `url` as pip's freeze writes it where it came from a URL, else "".
    `requires` are the lines of its metadata, `modules` what can be imported from it."""

    name: str
    version: str
    url: str = ""
    editable: bool = False
    requires: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        return self.url or self.version


@dataclass(frozen=True)
class Environment:
    """`folder` is its prefix; `found` says in words how it was found; `newest` when the newest
    package was installed; `node_folders` what files of extra model paths name (None: such a file
    could not be read)."""

    folder: Path
    python: Path
    version: str
    found: str
    packages: Mapping[str, Installed]
    newest: datetime | None = None
    node_folders: Mapping[str, list[str] | None] = field(default_factory=dict)

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])

    @property
    def versions(self) -> dict[str, str]:
        """What a lock may prefer: an index may offer the version that came from elsewhere, too."""
        return {name: one.version for name, one in self.packages.items()}

    def owner(self, module: str) -> Installed | None:
        """The distribution that brings a module, by the environment's own metadata."""
        parts = module.split(".")
        for count in range(min(len(parts), 2), 0, -1):
            name = ".".join(parts[:count])
            found = [one for one in self.packages.values() if name in one.modules]
            if found:
                return min(found, key=lambda one: (one.name != names.normalise(name), one.name))
        return None

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "python": self.version,
            "found": self.found,
            "packages": len(self.packages),
        }


def find(workspace: Workspace, named: Path | None) -> Environment:
    """`named`, else that of a running ComfyUI, else one that lies in or beside ComfyUI's folder.

    Raises UsageError (code `bad_environment`, `no_environment`, `many_environments`).
    """
    folder = workspace.comfyui_dir
    files = [str(folder / name) for name in MODEL_PATHS if (folder / name).is_file()]
    if named is not None:
        return ask(python_in(store.typed_path(named)), "it was named", files)
    for python in _running(workspace):
        return ask(python, "ComfyUI runs in it now", files)
    beside = list(_beside(folder))
    if not beside:
        raise UsageError(
            f"no environment was found in or beside {folder}, and no ComfyUI of it runs",
            hint=_HINT,
            code="no_environment",
        )
    if len(beside) == 1:
        return ask(beside[0], "it lies with ComfyUI", files)
    return _best(folder, beside, files)


def python_in(path: Path) -> Path:
    """The interpreter of an environment that is named by its folder or by its interpreter.

    Raises UsageError.
    """
    if path.is_file() and os.access(path, os.X_OK):
        return Path(os.path.abspath(path))  # noqa: PTH100 - its place makes it that environment's
    found = _interpreter(path)
    if found is None:
        raise UsageError(
            f"{path} is no Python environment: it has no bin/python",
            hint=_HINT,
            code="bad_environment",
            facts={"path": str(path)},
        )
    return found


def ask(python: Path, found: str, files: Sequence[str] = ()) -> Environment:
    """Start the interpreter and let it tell.  Raises UsageError (code `bad_environment`)."""
    try:
        argv = [str(python), "-I", "-B", str(PROBE), *files]
        done = process.run(argv, cwd=Path("/"), env=_environ(), timeout=_SECONDS)
        said = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        answer = json.loads(done.stdout) if done.ok else None
        if done.ok and (wrong := mismatch(answer, _ANSWER, "its answer")):
            raise ValueError(wrong)
    except (GovError, ValueError) as error:
        said, answer = getattr(error, "message", str(error)), None
    if answer is None:
        raise UsageError(
            f"the Python of {python.parent.parent} does not start: {said[-300:]}",
            hint="make that environment start again, or name another with --from-env PATH",
            code="bad_environment",
            facts={"python": str(python)},
        )
    return _environment(python, found, answer)


def _environ() -> dict[str, str]:
    """A shell's PYTHONPATH or active environment says nothing of this one."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _environment(python: Path, found: str, answer: Mapping[str, Any]) -> Environment:
    rows = answer["distributions"]
    times = [row["installed_at"] for row in rows if row["installed_at"]]
    return Environment(
        folder=python.parent.parent,
        python=python,
        version=str(answer["version"]),
        found=found,
        packages={one.name: one for one in map(_installed, rows)},
        newest=datetime.fromtimestamp(max(times), UTC) if times else None,
        node_folders=answer["model_paths"],
    )


def _installed(row: Mapping[str, Any]) -> Installed:
    direct = row["direct_url"] or {}
    line = packages.freeze_line(row["name"], row["version"], row["direct_url"])
    _, at, url = line.partition(" @ ")
    return Installed(
        names.normalise(row["name"]),
        str(row["version"]),
        f"@ {url}" if at else "",
        bool(dict(direct.get("dir_info") or {}).get("editable")),
        tuple(row["requires"]),
        tuple(row["modules"]),
    )


# --- where it may lie -------------------------------------------------------------------------


def _interpreter(folder: Path) -> Path | None:
    for name in ("bin/python", "bin/python3"):
        if os.access(folder / name, os.X_OK):
            return Path(os.path.abspath(folder / name))  # noqa: PTH100 - as above
    return None


def _beside(folder: Path) -> Iterator[Path]:
    seen = set()
    for place in (*_PLACES, *_EMBEDDED):
        path = folder / place
        is_environment = (path / "pyvenv.cfg").is_file() or (path / "conda-meta").is_dir()
        if not is_environment and place not in _EMBEDDED:
            continue
        found = _interpreter(path)
        # A link to an environment is that environment; its interpreter is a link as well.
        if found is not None and os.path.realpath(found.parent) not in seen:
            seen.add(os.path.realpath(found.parent))
            yield found


def _best(folder: Path, beside: Sequence[Path], files: Sequence[str]) -> Environment:
    """Of several the one that holds most of what ComfyUI asks for."""
    asked = _asked_by_comfyui(folder)
    tried = [_or_none(python, files) for python in beside]
    found = sorted(filter(None, tried), key=lambda one: -_held(one, asked))
    if not found:
        return ask(beside[0], "it lies with ComfyUI", files)
    if len(found) > 1 and _held(found[0], asked) == _held(found[1], asked):
        shown = " and ".join(str(one.folder) for one in found[:2])
        raise UsageError(
            f"{shown} both could be the environment that ComfyUI runs in",
            hint=_HINT,
            code="many_environments",
            facts={"paths": [str(one.folder) for one in found]},
        )
    return found[0]


def _or_none(python: Path, files: Sequence[str]) -> Environment | None:
    try:
        return ask(python, "it lies with ComfyUI", files)
    except UsageError:
        return None


def _held(environment: Environment, asked: Collection[str]) -> int:
    return sum(name in environment.packages for name in asked)


def _asked_by_comfyui(folder: Path) -> set[str]:
    path = comfyui.requirements_path(folder)
    lines = store.read_bytes(path).decode(errors="replace").splitlines() if path else []
    return {requirement_name(line) for line in lines if line.strip()[:1].isalpha()}


def _running(workspace: Workspace) -> Iterator[Path]:
    """Interpreters of programs that run this ComfyUI's main.py, but for those that gov started.

    Of programs of one's own user only: the interpreter is started, and another user could name
    this main.py to have a program of theirs run.
    """
    main = os.path.realpath(comfyui.main_path(workspace.comfyui_dir))
    for entry in sorted(Path("/proc").glob("[0-9]*")):
        try:
            if entry.stat().st_uid != os.getuid():
                continue
            words = (entry / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
            cwd = str((entry / "cwd").readlink())
            if not any(os.path.realpath(_joined(cwd, word)) == main for word in words[1:4]):
                continue
            python = _program(entry, words[0], cwd)
        except OSError:
            continue  # it has ended, or is another user's
        inside = python is not None and python.is_relative_to(workspace.root)
        if python is not None and not inside and python.name.startswith("python"):
            yield python


def _joined(cwd: str, word: str) -> str:
    return os.path.join(cwd, word) if word.endswith("main.py") else "/"  # noqa: PTH118


def _program(entry: Path, word: str, cwd: str) -> Path | None:
    """The interpreter as it was called: what /proc calls `exe` is the one behind the links."""
    if "/" in word:
        return Path(os.path.normpath(Path(cwd, word)))
    variables = (entry / "environ").read_bytes().decode(errors="surrogateescape").split("\0")
    paths = [text.removeprefix("PATH=") for text in variables if text.startswith("PATH=")]
    found = shutil.which(word, path=paths[0]) if paths else None
    return Path(found) if found else None
