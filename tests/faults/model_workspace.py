"""A real workspace folder whose neighbours are stand-ins with chosen outcomes.

Everything that gov itself does is real: documents, links, generations, snapshots, locks.  uv is a
few lines that resolve against a small catalogue and write tiny environments; what ComfyUI did in a
candidate is chosen, and so is whether anything fails, is interrupted, or dies, and where.
"""

import base64
import contextlib
import hashlib
import json
import secrets
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version
from support import roads

from governance import git, installation, observation, sandbox
from governance.base import clock
from governance.base.errors import GovError
from governance.boundaries import config, process, store
from governance.boundaries.uv import Locked, Uv
from governance.changes import ending, explanation, nodes
from governance.changes.gates import Approval
from governance.changes.session import Session
from governance.conflict.answer import Report
from governance.environments import candidate
from governance.operations import recovery

CATALOGUE = {
    "numpy": ("1.0", "2.0"),
    "alpha": ("1.0", "1.5", "2.0"),
    "beta": ("1.0", "2.0"),
    "gamma": ("0.9", "1.0"),
    "delta": ("1.0",),
}
CORE_LINES = ("numpy>=1",)
NODES = {
    "needs-alpha": "alpha>=1\n",
    "needs-old-alpha": "alpha<2\nbeta\n",
    "needs-new-alpha": "alpha>=2\n",
    "needs-numpy-one": "numpy<2\n",
    "needs-nothing": "",
    "skips-a-line": "gamma\n--extra-index-url https://example.invalid/simple\n",
}
UNDECLARED = ("", "delta", "beta==1.0")


class Killed(BaseException):
    """The process is gone here, as after kill -9: nothing of ours may catch it."""


@dataclass
class Chosen:
    """What happens next; each is used up by the step that meets it."""

    lock: str = ""
    sync: str = ""
    observed: str = "completed"
    undeclared: str = ""
    smoke: str = "ok"
    strikes_after: int | None = None
    strikes_as: str = "killed"


def _strike(how, doing):
    if how == "fails":
        raise GovError(f"{doing} failed: chosen", hint="none", code="disk")
    if how == "interrupted":
        raise KeyboardInterrupt
    if how == "killed":
        raise Killed


@dataclass(frozen=True)
class StandIn(Uv):
    """uv's door with a catalogue behind it."""

    chosen: Chosen = field(default_factory=Chosen)

    def lock(self, project, *, python, extra=()):
        _strike(self.chosen.lock, "uv lock")
        data = tomllib.loads((project / "pyproject.toml").read_text())
        wanted = demands(data)
        file = project / "uv.lock"
        preferred = locked_versions(file.read_bytes()) if file.is_file() else {}
        picked = {name: pick(name, specs, preferred) for name, specs in wanted.items()}
        impossible = [name for name, version in picked.items() if version is None]
        if impossible:
            return Locked(False, True, f"No solution found: {', '.join(impossible)}")
        file.write_text(lock_text(picked, data["dependency-groups"]))
        return Locked(True, False, "")

    def try_lock(self, project, *, python, offline, timeout):
        locked = self.lock(project, python=str(python))
        return process.Completed((), 0 if locked.ok else 1, "", locked.log)

    def sync(self, project, environment, *, python, link_mode, offline, frozen=False, again=""):
        packages = locked_versions((project / "uv.lock").read_bytes())
        site = environment / "lib/python3.11/site-packages"
        (environment / "bin").mkdir(parents=True)
        (environment / "bin/python").symlink_to(sys.executable)
        site.mkdir(parents=True)
        for number, (name, version) in enumerate(sorted(packages.items())):
            if number == 1:
                _strike(self.chosen.sync, "uv sync")
            install(site, name, version)
        if len(packages) < 2:
            _strike(self.chosen.sync, "uv sync")
        (environment / "pyvenv.cfg").write_text("version_info = 3.11.9\n")

    def clean_packages(self, names):
        pass

    def find_python(self, spec):
        return Path(sys.executable)

    def version(self):
        return "0.0-stand-in"


def demands(data):
    """Package name to its specifiers; an override replaces them all, as with uv."""
    overrides = data.get("tool", {}).get("uv", {}).get("override-dependencies", [])
    replaced = {Requirement(line).name: Requirement(line) for line in overrides}
    found = {}
    for lines in data["dependency-groups"].values():
        for requirement in map(Requirement, lines):
            used = replaced.get(requirement.name, requirement)
            found.setdefault(requirement.name, []).append(used.specifier)
    return found


def pick(name, specifiers, preferred):
    fitting = [
        version
        for version in CATALOGUE.get(name, ())
        if all(specifier.contains(version) for specifier in specifiers)
    ]
    if preferred.get(name) in fitting:
        return preferred[name]
    return max(fitting, key=Version, default=None)


def lock_text(picked, groups):
    members = "\n".join(
        f"{group} = [{', '.join(_member(line) for line in lines)}]"
        for group, lines in groups.items()
    )
    packages = "\n".join(
        f'[[package]]\nname = "{name}"\nversion = "{version}"\n'
        'source = { registry = "https://index.invalid/simple" }\n'
        for name, version in sorted(picked.items())
    )
    return (
        'version = 1\nrequires-python = "==3.11.*"\n\n'
        '[[package]]\nname = "comfy-env"\nversion = "0"\nsource = { virtual = "." }\n\n'
        f"[package.dev-dependencies]\n{members}\n\n{packages}"
    )


def _member(line):
    return f'{{ name = "{Requirement(line).name}" }}'


def locked_versions(lock):
    """Read by this module's own eyes: name to version of all but the root."""
    packages = tomllib.loads(lock.decode()).get("package", [])
    return {p["name"]: p["version"] for p in packages if "virtual" not in p["source"]}


def install(site, name, version):
    """One module and its dist-info, with a RECORD that is true."""
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{name}-{version}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        ),
        f"{name}-{version}.dist-info/INSTALLER": "uv",
    }
    rows = []
    for path, text in files.items():
        target = site / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        rows.append(f"{path},sha256={digest.decode()},{len(text)}")
    record = f"{name}-{version}.dist-info/RECORD"
    (site / record).write_text("\n".join([*rows, f"{record},,"]) + "\n")


def installed_versions(environment):
    """Read by this module's own eyes: name to version of every dist-info."""
    found = (environment / "lib/python3.11/site-packages").glob("*.dist-info")
    return dict(path.name.removesuffix(".dist-info").split("-") for path in found)


@dataclass(frozen=True)
class Booth:
    """Stands in for a candidate: a folder, and programs that end as chosen."""

    folder: Path
    environment: Path
    comfyui_dir: Path
    chosen: Chosen
    is_layered: bool = True
    contacts = None
    network = None
    network_in_force = "open"

    @property
    def python(self):
        return self.environment / "bin/python"

    def enter(self, argv, folder=None):
        return ["true" if self.chosen.smoke == "ok" else "false"]

    def environ(self):
        return {}

    def isolation(self):
        return "none"

    @property
    def tried(self):
        return sandbox.Tried((), ())

    @property
    def byte_code(self):
        return self.folder / "pycache"

    def limits(self):
        return []

    def written(self, folder):
        return {}


def node_repositories(folder):
    """One git repository a node, with its requirements."""
    for name, requirements in NODES.items():
        repository = folder / name
        repository.mkdir(parents=True)
        (repository / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}\n")
        if requirements:
            (repository / "requirements.txt").write_text(requirements)
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
            identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
            subprocess.run(["git", *identity, *words], cwd=repository, check=True)
    return folder


class Model:
    """The workspace, its session, and the strings that pull the stand-ins."""

    def __init__(self, folder, repositories, patch):
        self.folder = folder
        self.repositories = repositories
        self.chosen = Chosen()
        self.moment = datetime(2026, 1, 31, 12, tzinfo=UTC)
        self.tokens = 0
        self.comfyui = folder / "ComfyUI"
        (self.comfyui / "custom_nodes").mkdir(parents=True)
        (self.comfyui / "main.py").write_text("")
        (self.comfyui / "requirements.txt").write_text("\n".join(CORE_LINES) + "\n")
        self._stand_in(patch)
        self.space = self._made()
        with self.holding("init"):
            options = installation.Options(python="3.11", date="none")
            installation.initialise(self.session, options)

    def _made(self):
        root = self.folder / "env"
        root.mkdir()
        text = config.template(
            comfyui_dir=str(self.comfyui),
            tx__smoke_test_cmd="chosen",
            policy__core_packages=["numpy"],
            storage__link_mode="copy",
            storage__snapshots_keep=6,
            storage__generations_keep=1,
        )
        (root / "config.toml").write_text(text)
        return installation.prepare(root, self.comfyui)

    def _stand_in(self, patch):
        patch.setattr(candidate, "prepare", self._booth)
        patch.setattr(observation, "observe", self._observe)
        patch.setattr(explanation, "of_project", lambda *_, **__: Report((), (), 0, 0.0, True))
        patch.setattr(git, "clone", self._clone)
        patch.setattr(clock, "now", self._now)
        patch.setattr(secrets, "token_hex", self._token)
        patch.setattr(store, "sync_filesystem", lambda path: None)
        patch.setattr(store.os, "fsync", lambda descriptor: None)
        patch.setattr(store, "move", self._step(store.move))
        patch.setattr(store, "point_link", self._step(store.point_link))
        patch.setattr(store, "write", self._step(store.write))
        patch.setattr(store, "write_folder", self._step(store.write_folder))

    def _step(self, real):
        """One durable act on the workspace, before which it may strike; death is for good."""

        def act(*arguments, **options):
            left = self.chosen.strikes_after
            if left is not None:
                self.chosen.strikes_after = left - 1
                if left == 0 or (left < 0 and self.chosen.strikes_as == "killed"):
                    _strike(self.chosen.strikes_as, "a write")
            return real(*arguments, **options)

        return act

    def _token(self, size):
        self.tokens += 1
        return f"{self.tokens:0{2 * size}x}"

    def _now(self):
        """Every look at the clock is a second later, so that a run can be repeated exactly."""
        self.moment += timedelta(seconds=1)
        return self.moment

    @property
    def session(self):
        uv = StandIn(self.folder / "cache", chosen=self.chosen)
        return Session(self.space, uv)

    @contextlib.contextmanager
    def holding(self, verb):
        with recovery.exclusive(self.space, verb) as told:
            yield told

    def _booth(self, workspace, txid, generation, project, **_):
        folder = workspace.candidates / txid
        store.remove_tree(folder)
        store.make_folder(folder)
        return Booth(folder, workspace.generations / generation, workspace.comfyui_dir, self.chosen)

    def _observe(self, request):
        _strike(self.chosen.observed, "ComfyUI")
        before = observation.freeze(request.environment)
        after = {line.split("==")[0]: line for line in before}
        installs = []
        if self.chosen.undeclared:
            asked = Requirement(self.chosen.undeclared)
            version = pick(asked.name, [asked.specifier], {})
            after[asked.name] = f"{asked.name}=={version}"
            installs = [{"ok": True, "requests": [self.chosen.undeclared]}]
        return observation.Observation(
            verdict=self.chosen.observed,
            reason="chosen",
            run_exit_code=0,
            installed_freeze=before,
            post_freeze=sorted(after.values()),
            installs=installs,
        )

    def _clone(self, source, destination, *, ref, **_):
        _strike(self.chosen.sync, "git clone")
        shutil.copytree(source.url, destination, symlinks=True)
        return git.Cloned(git.head(destination), "default", ref, None)

    def admit(self, name, **luck):
        """Add, run and promote a node; the txid."""
        approval = Approval(core=True, reason="chosen", accept_skipped=True)
        with self.holding("admit"):
            source = str(self.repositories / name)
            nodes.add(self.session, source, ref=None, node_id=None, cwd=self.folder)
            vars(self.chosen).update(vars(Chosen(**luck)))
            txid = roads.run(self.session, name).txid
            roads.promote(self.session, txid, approval)
            ending.clean(self.space, txid)
        return txid

    def records(self):
        return {
            path.stem: json.loads(path.read_text())
            for path in (self.space.transactions).glob("*.json")
        }

    def plugins(self):
        return {row["id"]: row for row in json.loads(self.space.plugins.read_text())}

    def pyproject(self):
        return tomllib.loads(self.space.pyproject.read_text())

    def snapshots(self):
        if not self.space.snapshots_index.is_file():
            return []
        return [r["id"] for r in json.loads(self.space.snapshots_index.read_text())["snapshots"]]

    def forget_process(self):
        """After a simulated death: what was running belonged to a process that is gone."""
        for path in self.space.transactions.glob("*.json"):
            record = json.loads(path.read_text())
            if record["process"]:
                record["process"] = {"pid": 2**22 + 1, "start_time": 1}
                path.write_text(json.dumps(record, indent=2))
