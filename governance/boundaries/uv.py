"""The door to uv: flags, environment, versions and the meaning of its errors, fenced in here."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from governance.base.errors import GovError, UsageError
from governance.base.progress import During, unseen
from governance.boundaries import process, scratch, store, uv_offline
from governance.boundaries.patience import Patience, Watch
from governance.boundaries.uv_failures import failure, is_conflict, is_unbuildable
from governance.boundaries.uv_progress import Fetching

# Settings that would change what is resolved or where it goes must come from the truth, never
# from the operator's shell; what concerns the road to the index (proxies, certificates,
# credentials, time-outs) is the shell's business.
_KEPT = re.compile(
    r"^UV_(INDEX_.*_(USERNAME|PASSWORD)|HTTP_.*|REQUEST_TIMEOUT|CONCURRENT_.*|NATIVE_TLS"
    r"|SYSTEM_CERTS|OFFLINE|INSECURE_HOST|KEYRING_PROVIDER|PYTHON_INSTALL_DIR|PYTHON_DOWNLOADS"
    r"|PYTHON_PREFERENCE|PYTHON_INSTALL_MIRROR)$"
)
# uv joins the user's and the machine's uv.toml to a project's own settings: an index, constraints
# or a date there would decide what is locked.  `--no-config` leaves out the project's own too, and
# /etc/uv/uv.toml is read where no other is found, so an empty one is put before both.
_NO_CONFIG = str(Path(__file__).with_name("uv_config"))
# No build back end is run by uv itself, which has the operator's environment and may write
# everything: see the file there, and Builds.
_NO_BUILDS = str(Path(__file__).with_name("no_builds"))
_MOST_BUILDS = 100
NOT_BUILT = "gov: what is built is built in the fence"
_FOREIGN = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX", "PYTHONSTARTUP")


@dataclass(frozen=True)
class Locked:
    """What one `uv lock` said.  `conflict` means that the requirements cannot stand together."""

    ok: bool
    conflict: bool
    log: str


class Builds(Protocol):
    """What packages say that have to be built to be read (environments/builds.py)."""

    def told(self, python: Path) -> Path | None:
        """The configuration folder that tells uv what is known of them; None for nothing."""

    def learn(self, uv: Uv, project: Path, python: Path, log: str) -> str | None:
        """Build what `log` says that uv needs.  None: now more is known; else why there is not."""

    def untold(self, lock: Path, python: Path) -> bool:
        """Take out of a lock that `told` was heard.  False: it was wrong, and the lock with it."""

    def wheels(
        self, uv: Uv, project: Path, lock: bytes, python: Path
    ) -> Mapping[str, Sequence[Any]]:
        """archives.Wheel for each package of `lock` that has none for this platform."""

    def kept(self, project: Path, lock: bytes, python: Path) -> Mapping[str, Sequence[Any]]:
        """The same of those that were built before; empty where one was not."""


@dataclass(frozen=True)
class Uv:
    """`cache` is the workspace's own (docs/02 says why); `memory` keeps which interpreter a
    version stood for: uv asks every candidate on PATH anew, 0.4 s a call where one is a script.
    `during` shows how far it is."""

    cache: Path
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    memory: Path | None = None
    during: During = unseen
    patience: Patience = field(default_factory=Patience)
    builds: Builds | None = None

    def lock(self, project: Path, *, python: str, extra: Sequence[str] = ()) -> Locked:
        """One `uv lock` in the folder `project`.

        Raises GovError where another choice of requirements would not mend it.
        """
        found = self.find_python(python)
        if uv_offline.is_on(self.environ):
            uv_offline.require_pages(self.cache, project)
        argv = ["lock", "--project", str(project), "--python", str(found), *extra]
        shown, watch = Fetching("locking", self.cache), self.patience.of_lock(project)
        with self.during(shown.words):
            done = self._resolved(argv, project, found, shown=shown, watch=watch)
        if done.ok:
            return Locked(True, False, done.stderr)
        if is_conflict(done.stderr) or is_unbuildable(done.stderr):
            return Locked(False, True, done.stderr)
        raise failure("uv lock", done, project)

    def try_lock(
        self, project: Path, *, python: Path, offline: bool, timeout: float
    ) -> process.Completed:
        """One `uv lock` whose failure is an answer; its words are nobody's progress.

        Raises GovError (code `timed_out`).
        """
        argv = ["lock", "--project", str(project), "--python", str(python)]
        argv += ["--offline"] if offline else []
        return self._resolved(argv, project, python, timeout=timeout)

    def _resolved(
        self,
        argv: list[str],
        project: Path,
        python: Path,
        *,
        shown: Fetching | None = None,
        watch: Watch | None = None,
        timeout: float | None = None,
    ) -> process.Completed:
        """A lock, once more for each package that has to be built to be read."""
        for _ in range(_MOST_BUILDS):
            told = self.builds.told(python) if self.builds is not None else None
            more = {"XDG_CONFIG_HOME": str(told)} if told is not None else {}
            done = self._run(argv, project, shown=shown, watch=watch, timeout=timeout, **more)
            if self.builds is None or not (done.ok or needs_a_build(done.stderr)):
                return done
            if done.ok:
                if told is None or self.builds.untold(project / "uv.lock", python):
                    return done
                continue
            why = self.builds.learn(self, project, python, done.stderr)
            if why is not None:
                return replace(done, stderr=done.stderr.replace(NOT_BUILT, why))
        raise GovError(
            f"the lock asks for more than {_MOST_BUILDS} packages that have to be built first",
            hint="versions with wheels lock without a build: policy.allow_source_builds = false",
            code="build_failed",
        )

    def prepare_build(self, folder: Path, python: Path, lines: Sequence[str]) -> Path:
        """The environment that a build runs in, made of wheels; its settings are in `folder`.

        Raises GovError.
        """
        environment = folder / "env"
        if not environment.is_dir():
            argv = ["venv", "--no-project", "--python", str(python), str(environment)]
            done = self._run(argv, folder)
            if not done.ok:
                raise failure("uv venv", done)
        if lines:
            store.write(folder / "needed.txt", "".join(f"{line}\n" for line in lines).encode())
            argv = ["pip", "install", "--python", str(environment), "--link-mode", "copy"]
            argv += ["--no-build", "-r", str(folder / "needed.txt")]
            done = self._run(argv, folder)
            if not done.ok:
                raise failure("fetching what the build asks for", done)
        return environment

    def sync(
        self,
        project: Path,
        environment: Path,
        *,
        python: str,
        link_mode: str,
        offline: bool,
        frozen: bool = False,
        again: str = "",
    ) -> None:
        """Build `environment` (a path with nothing there) from the lock of `project`.

        `frozen` takes a lock that names other places than the project's own index.  `again` is
        the package to take out and lay once more, in an environment that was built already.
        """
        found = str(self.find_python(python))
        argv = ["sync", "--project", str(project), "--python", found, "--exact"]
        argv += ["--frozen" if frozen else "--locked"]
        argv += ["--link-mode", link_mode, "--no-progress", "--no-build"]
        argv += ["--offline"] if offline else []
        argv += ["--reinstall-package", again] if again else []

        def foresee(*more: str) -> str:
            """Beside the sync, which holds the lock of its environment: for none that there is."""
            nowhere = str(self.cache / "no-environment")
            return self._run(
                [*argv, "--dry-run", *more], project, timeout=60.0, UV_PROJECT_ENVIRONMENT=nowhere
            ).stderr

        if uv_offline.is_on(self.environ) and not frozen:
            uv_offline.require_files(foresee("-v"))
        watch = self.patience.of_sync(project)
        shown = Fetching("building the environment", self.cache, None if offline else foresee)
        done = self._shown(shown, argv, project, watch, UV_PROJECT_ENVIRONMENT=str(environment))
        if not done.ok:
            raise failure("uv sync", done, project)

    def export(self, project: Path, form: str, *, python: str) -> str:
        """The lock of `project` in another form: pylock.toml, requirements.txt, cyclonedx1.5."""
        found = str(self.find_python(python))
        argv = ["export", "--project", str(project), "--python", found, "--frozen", "--all-groups"]
        done = self._run([*argv, "--no-header", "--format", form], project)
        if not done.ok:
            raise failure("uv export", done)
        return done.stdout

    def audit(self, project: Path, *, service: str, ignored: Sequence[str]) -> process.Completed:
        """`uv audit` of the lock in `project`, as JSON: exit 1 where something is known, 2 where
        the service gave no answer.  It asks the indexes too, whether a project was given up.

        Raises GovError (code `timed_out`) after the time in which something has to get done.
        """
        argv = ["audit", "--project", str(project), "--frozen", "--output-format", "json"]
        argv += ["--preview-features", "audit-command,json-output"]
        argv += ["--service-url", service] if service else []
        argv += [word for one in ignored for word in ("--ignore", one)]
        return self._run(argv, project, timeout=self.patience.stall_seconds)

    def look_up(self, project: Path, *, python: str) -> process.Completed:
        """Ask the indexes for exactly the releases that `project` names, without what they ask
        for; uv's warnings tell which of them are yanked.

        Raises GovError where an index does not come to an end.
        """
        found = str(self.find_python(python))
        argv = ["pip", "compile", "--no-deps", "--no-header", "--no-annotate"]
        argv += ["--python", found, str(project / "pyproject.toml")]
        return self._run(argv, project, watch=self.patience.of_lock(project))

    def clean_packages(self, names: Sequence[str]) -> None:
        """Forget packages in the cache, so that the next build fetches them anew."""
        if names:
            self._run(["cache", "clean", *names], None)

    def forget_page(self, name: str) -> None:
        """What an index once said of a package: asked anew next time.  Its files stay."""
        for page in self.cache.glob(f"simple-v*/**/{name}.rkyv"):
            page.unlink(missing_ok=True)

    def prune(self) -> None:
        """Delete what no entry of the cache leads to any more."""
        self._run(["cache", "prune"], None)

    def find_python(self, spec: str) -> Path:
        """The interpreter for a version or path, as uv finds it.  Raises GovError."""
        known = self._remembered(spec)
        if known is not None:
            return known
        done = self._run(["python", "find", "--system", "--no-project", spec], None)
        if not done.ok and "No interpreter found" in done.stderr:
            raise UsageError(
                f"there is no Python {spec} on this machine",
                hint="install it, or take another: `gov python VERSION` (`gov init`: --python)",
                code="bad_python",
            )
        if not done.ok:
            raise failure(f"looking for Python {spec}", done)
        found = Path(done.stdout.strip())
        if self.memory is not None and self.memory.parent.is_dir():
            store.write_json(self.memory, {"spec": spec, "path": str(found)})
        return found

    def _remembered(self, spec: str) -> Path | None:
        """The interpreter that `spec` stood for last time, while it is still there."""
        try:
            row = store.read_object(self.memory) if self.memory is not None else {}
        except (OSError, GovError):
            return None
        path = Path(str(row.get("path")))
        return path if row.get("spec") == spec and os.access(path, os.X_OK) else None

    def version(self) -> str:
        return self._run(["--version"], None).stdout.split()[1]

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of every uv call: the shell's, less what would change the result."""
        kept = {
            name: value
            for name, value in self.environ.items()
            if name not in _FOREIGN and (not name.startswith("UV_") or _KEPT.match(name))
        }
        fixed = {
            "UV_CACHE_DIR": str(self.cache),
            "UV_NO_ENV_FILE": "1",
            "PYTHONPATH": _NO_BUILDS,
            **self._credentials(),
        }
        return {
            **kept,
            **fixed,
            "XDG_CONFIG_HOME": _NO_CONFIG,
            "XDG_CONFIG_DIRS": _NO_CONFIG,
            **more,
        }

    def _shown(
        self, shown: Fetching, argv: list[str], cwd: Path, watch: Watch | None, **more: str
    ) -> process.Completed:
        with self.during(shown.words):
            return self._run(argv, cwd, shown=shown, timeout=None, watch=watch, **more)

    def _credentials(self) -> dict[str, str]:
        """Those of `uv auth login`.  Where there are none, uv leaves a lock file for them in the
        operator's home at the first package that an index does not have."""
        home = Path(self.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
        if (home / "uv/credentials/credentials.toml").is_file():
            return {}
        return {"UV_CREDENTIALS_DIR": str(self.cache / "credentials")}

    def _run(
        self,
        argv: list[str],
        cwd: Path | None,
        *,
        shown: Fetching | None = None,
        timeout: float | None = None,
        watch: Watch | None = None,
        **more: str,
    ) -> process.Completed:
        # uv leaves a lock file of every project there that it has ever worked on.
        with scratch.folder("uv") as temporary:
            return process.run(
                [executable(), *argv, "--color", "never"],
                cwd=cwd,
                env=self.environment(TMPDIR=str(temporary), **more),
                timeout=timeout,
                watch=watch,
                on_line=None if shown is None else shown.hear,
                on_start=None if shown is None else shown.begins,
            )


def executable() -> str:
    """uv as installed beside this Python (a dependency from the index), else the one on PATH."""
    beside = Path(sys.executable).parent / "uv"
    if beside.is_file():
        return str(beside)
    found = shutil.which("uv")
    if found is None:
        raise GovError(
            "uv is not installed beside gov and not on PATH",
            hint="install gov again (`bin/gov` does so when its .venv is deleted)",
            code="program_missing",
        )
    return found


def needs_a_build(log: str) -> bool:
    return NOT_BUILT in log


def lacks_a_wheel(error: GovError) -> bool:
    """A sync came to a package of which the lock has no wheel that fits."""
    log = str(error.facts.get("log", ""))
    return "no binary distribution" in log or "Building source distributions for" in log
