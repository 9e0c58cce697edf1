"""A node is removed; what of it runs again?  Worlds, removals, and what an operator does next.

Everything lies in one folder: the workspace, ComfyUI, a home, uv's cache, and a copy of gov itself
with an environment of its own, so that an attempt which works harms nothing else.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import filelock
from support.worlds import own_classes

from governance.boundaries import config, store
from governance.boundaries.uv import executable
from governance.sample import packages, wheels, world
from governance.sample.nodes import NODES
from governance.truth.workspace import CHECKOUT

from . import remnants

NAMES = tuple(remnants.ATTEMPTS)
SECONDS = 120
DAEMON_WAIT = 0.6
EVIL, OTHER, NEXT = "evil", "sample-captioner", "next-node"
# How the attempts are made: by a plain process that nobody fences, by a node in a trial that is
# then given up, by a promoted node under `gov run`, by the build of a package that a node asks for.
PLAIN, OBSERVED, PROMOTED, BUILT = "plain", "observed", "promoted", "built"
# As PROMOTED, with `[run] writes = "data"`.
DATA_ALONE = "data alone"
KINDS = (PLAIN, OBSERVED, PROMOTED, DATA_ALONE, BUILT)
# As PLAIN, and no node is there to be removed.
LOOSE = "loose"

_EVIL = """\
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import remnants

del sys.path[0]
print(remnants.tell({scene!r}), flush=True)
"""
# What became of it lies in the wheel that is built, with its line in RECORD.
_BACKEND = """\
import base64, hashlib, pathlib, shutil, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    import remnants
    made = remnants.tell({scene!r}).encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(made).digest()).rstrip(b"=").decode()
    wheel = next(pathlib.Path(__file__).parent.glob("*.whl"))
    target = pathlib.Path(wheel_directory, wheel.name)
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(target, "w") as new:
        new.writestr("planter_made.txt", made)
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("/RECORD"):
                data = f"planter_made.txt,sha256={{digest}},{{len(made)}}\\n".encode() + data
            new.writestr(entry, data)
    return wheel.name
"""
# Set by who has mounted a /var/spool of its own there (benchmarks/persistence.py, as root).
SPOOL_VARIABLE = "GOV_TEST_SPOOL"


@dataclass
class Outcome:
    """Of one attempt.  `ran` is the first step after the removal that ran it; `told` the one whose
    words name what was left, and what is named is taken away before the next.  `at_once`: it ran
    before the removal, where it lies."""

    name: str
    error: str | None = None
    ran: str | None = None
    told: str | None = None
    left: list[str] = field(default_factory=list)
    at_once: bool = False

    @property
    def survived(self):
        return self.ran is not None

    def __str__(self):
        if self.survived:
            return f"SURVIVED ({self.ran})"
        if self.error is not None:
            return "failed at the write"
        if self.told:
            return f"named by {self.told}"
        return "lies there, does not run" if self.left else "undone"


# Attempts that hide others or stop them, so that a control is shown in a world of its own.
ALONE = (
    *("byte_code_in_prod", "byte_code_in_generation_before", "byte_code_that_gov_keeps"),
    *("byte_code_of_the_run", "pth_in_prod", "pth_in_generation_before"),
    *("sitecustomize_in_generation_before", "module_of_generation_before", "package_in_cache"),
    *("package_installed_at_start", "launcher_of_the_workspace", "dodo_of_the_workspace"),
    *("smoke_test_in_config", "record_of_a_node", "code_of_gov", "pth_of_gov"),
)
# Those that hide each other: what is set closer to a clone, a source that is not as it was.
SECOND = ("byte_code_of_comfyui", "byte_code_of_another_node", "hooks_of_another_clone")
THIRD = ("git_config_of_xdg", "profile", "fsmonitor_of_another_clone")
FOURTH = ("gitconfig", "module_beside_comfyui", "bash_profile")


def parts(how):
    """The names in groups, each for a world of its own; one where a fence keeps them apart."""
    if how in (OBSERVED, BUILT, DATA_ALONE):
        return [NAMES]
    few = [SECOND, THIRD, FOURTH]
    together = [name for name in NAMES if not any(name in part for part in (ALONE, *few))]
    if how == PROMOTED:  # none of ALONE gets to write
        return [(*ALONE, *together), *few]
    return [together, *few, *((name,) for name in ALONE)]


class Place:
    """One world with a promoted node, and the removal of another."""

    def __init__(self, folder: Path) -> None:
        self.top = folder
        self.home, self.cache = folder / "home", folder / "uv-cache"
        self.root, self.tool = folder / "comfy_env", folder / "tool"
        self.beacon = folder / "ComfyUI/output/beacon"
        self.scene = folder / "scene.json"
        self.spool = os.environ.get(SPOOL_VARIABLE, "")
        for path in (self.home, self.root):
            path.mkdir(parents=True)
        self._write_home()
        self._write_tool()
        self._write_packages()
        self.comfyui = world.write_comfyui(folder / "ComfyUI")
        self.beacon.parent.mkdir(exist_ok=True)
        self._write_nodes()
        self.environ = self._environment()
        self._init()

    # --- making -------------------------------------------------------------------------------

    def _write_home(self):
        """What a home has before anybody attacks it."""
        (self.home / ".bashrc").write_text("# the operator's own\n")
        (self.home / ".profile").write_text(". ~/.bashrc\n")
        (self.home / ".config").mkdir()

    def _write_tool(self):
        for name in ("governance", "tasks", "bin"):
            shutil.copytree(CHECKOUT / name, self.tool / name)
        for name in ("dodo.py", "config.toml", "pyproject.toml"):
            shutil.copy(CHECKOUT / name, self.tool / name)
        venv = [sys.executable, "-m", "venv", "--without-pip", str(self.tool / ".venv")]
        subprocess.run(venv, check=True)
        (site,) = (self.tool / ".venv/lib").glob("python3*/site-packages")
        (site / "own.pth").write_text(f"{Path(filelock.__file__).parents[1]}\n")
        (self.tool / ".venv/bin/uv").symlink_to(executable())

    def _write_packages(self):
        self.wheels = packages.write_packages(self.top / "wheels")
        scene = str(self.scene)
        payload = remnants.Planter(_Facts(beacon=str(self.beacon)), "package_installed_at_start")
        evil = {"evil.py": "", "evil-package.pth": payload.python}
        wheels.build(wheels.Wheel("evil", "1.0", modules=evil), self.wheels)
        self.spare = self._source_package("cowsay", "99.0", packages_backend())
        made = self._source_package("planter", "1.0", _BACKEND.format(scene=scene))
        shutil.copy(remnants.__file__, made / "remnants.py")
        archive = self.wheels / f"{made.name}.tar.gz"
        subprocess.run(["tar", "-C", made.parent, "-czf", archive, made.name], check=True)

    def _source_package(self, name, version, backend):
        """Unpacked, with this build backend."""
        folder = self.top / "unpacked"
        archive = wheels.build(wheels.Wheel(name, version, sdist=True), folder)
        subprocess.run(["tar", "-C", folder, "-xzf", archive], check=True)
        (folder / archive.name.removesuffix(".tar.gz") / "backend.py").write_text(backend)
        return folder / archive.name.removesuffix(".tar.gz")

    def _write_nodes(self):
        self.repos = self.top / "repos"
        world.demo_nodes(self.repos)
        scene = str(self.scene)
        loading = NODES["loads-two-classes"].files
        start = {"remnants.py": Path(remnants.__file__).read_text()}
        for name, files in (
            (NEXT, {"requirements.txt": "lark\n"}),
            (EVIL, {"requirements.txt": "colorama\n", **start}),
            ("evil-built", {"requirements.txt": "planter\n"}),
        ):
            own = own_classes(name, {**loading, **files})
            if name == EVIL:
                own["__init__.py"] = _EVIL.format(scene=scene) + own["__init__.py"]
            world.write_node(self.repos, name, own)

    def _environment(self):
        kept = ("PATH", "LANG", "LC_ALL", "TERM", "TMPDIR", "USER", "LOGNAME")
        environ = {name: os.environ[name] for name in kept if name in os.environ}
        return environ | {"HOME": str(self.home), "GOV_ROOT": str(self.root)}

    def _init(self):
        usual = {
            "comfyui_dir": str(self.comfyui),
            "tx__settle_seconds": 0.2,
            "registry__url": "http://127.0.0.1:9",
            "storage__uv_cache_dir": str(self.cache),
        }
        (self.root / "config.toml").write_text(config.template(**usual))
        self.gov("init", self.root, "--index", self.wheels, "--resolution-date", "none")
        self.gov("node", "add", self.repos / NEXT)
        self.before = self.promote(OTHER)

    # --- what is typed ------------------------------------------------------------------------

    def gov(self, *words, check=True):
        python = [str(self.tool / ".venv/bin/python"), "-I", "-X", "utf8"]
        done = self.call(*python, self.tool / "governance/__main__.py", *words)
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
        return done

    def call(self, *argv, cwd=None):
        """No step may end the others."""
        how = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
        return subprocess.run(
            [str(word) for word in argv],
            env=self.environ,
            cwd=cwd or self.top,
            timeout=SECONDS,
            **how,
        )

    def promote(self, name):
        """The snapshot that was taken after it."""
        self.gov("node", "add", self.repos / name)
        txid = json.loads(self.gov("tx", "run", name, "--json").stdout)["data"]["txid"]
        promoted = self.gov("tx", "promote", txid, "--json").stdout
        return json.loads(promoted)["data"]["post_snapshot"]

    # --- attempts and removal -----------------------------------------------------------------

    def attempt(self, how, names=NAMES):
        """{name: {error, paths}} of what was tried; the node is removed again."""
        if how in (OBSERVED, BUILT):
            return self._given_up(EVIL if how == OBSERVED else "evil-built", names)
        self.removal = []
        if how != LOOSE:
            self.promote(EVIL)
        self._arm(names)
        self._set_writes("data" if how == DATA_ALONE else "all")
        if how in (PROMOTED, DATA_ALONE):
            told = self.gov("run", "--", "--quick-test-for-ci").stdout
        else:
            prod = self.root / ".venv-prod/bin/python"
            told = self.call(prod, remnants.__file__, self.scene, *names).stdout
            self._use_where_it_lies()
        if how != LOOSE:
            self.removal = [
                ("node remove", self.gov("node", "remove", EVIL, "--purge-code", check=False)),
                ("rollback", self.gov("rollback", self.before, check=False)),
            ]
        return _results(told)

    def _set_writes(self, choice):
        settings = self.root / "config.toml"
        changed = re.sub('writes = "[a-z]+"', f'writes = "{choice}"', settings.read_text())
        settings.write_text(changed)

    def _use_where_it_lies(self):
        """The environments and uv's cache, before gov looks at them: what works at all runs."""
        facts = json.loads(self.scene.read_text())
        use = "import numpy, yaml"
        for generation in facts["generations"].values():
            for prefix in ("", f"{generation}.d/pycache", f"{self.root}/state/run-pycache"):
                named = ("env", f"PYTHONPYCACHEPREFIX={prefix}")
                self.call(*named, f"{generation}/bin/python", "-c", use)
        target = self.top / "installed"
        words = ("--target", target, "--cache-dir", self.cache, "--no-index", "--find-links")
        self.call(executable(), "pip", "install", "--offline", *words, self.wheels, "cowsay")
        self.call("env", f"PYTHONPATH={target}", _base_python(), "-c", "import cowsay")

    def _given_up(self, node, names):
        self._arm(names)
        self.gov("node", "add", self.repos / node)
        done = self.gov("tx", "run", node, "--json", check=False)
        txid = json.loads(done.stdout)["data"]["txid"]
        made = self.root.glob(".generations/*/lib/*/site-packages/planter_made.txt")
        told = "\n".join(path.read_text(errors="replace") for path in (*self._logs(txid), *made))
        self.removal = [
            ("tx abort", self.gov("tx", "abort", txid, check=False)),
            ("node remove", self.gov("node", "remove", node, "--purge-code", check=False)),
        ]
        return _results(told)

    def _logs(self, word=""):
        return sorted((self.root / "state/logs").glob(f"*{word}*"))

    def _arm(self, names):
        generations = {path.name for path in (self.root / ".generations").iterdir()}
        prod = (self.root / ".venv-prod").resolve()
        whole = [name for name in generations if "." not in name]
        newest = sorted(whole, key=lambda n: (self.root / ".generations" / n).stat().st_ctime)
        other = [n for n in newest if n != prod.name and self._holds_cowsay(n)] or [prod.name]
        user_site = "import site; print(site.getusersitepackages())"
        facts = {
            **{key: str(getattr(self, key)) for key in _PATHS},
            "other": str(self.comfyui / "custom_nodes" / OTHER),
            "generations": {
                "prod": str(prod),
                "before": str(self.root / ".generations" / other[-1]),
            },
            "user_site": self.call(_base_python(), "-c", user_site).stdout.strip(),
            "uv": executable(),
            "stop": str(self.top / "stop"),
            "names": list(names),
        }
        for path in (self.home, self.comfyui):
            target = self.top / "before" / path.name
            store.remove_tree(target)
            shutil.copytree(path, target, symlinks=True)
        self.scene.write_text(json.dumps(facts))

    def _holds_cowsay(self, name):
        """It is that of the node beside, which a rollback leads to."""
        return any((self.root / ".generations" / name).glob("lib/*/site-packages/cowsay"))

    # --- what an operator does next -----------------------------------------------------------

    def outcomes(self, how, names=NAMES, steps=()):
        """{name: Outcome} of these attempts after the removal and the steps, all or some."""
        made = self.attempt(how, names)
        already = self._forget()
        self.codes = {}
        obeys = how not in (PLAIN, LOOSE)
        found = {name: Outcome(name, made[name]["error"]) for name in names}
        for one in found.values():
            one.at_once = one.name in already
            one.left = [path for path in made[one.name]["paths"] if _holds(path, one.name)]
        for step, done in self.removal:
            self._note(found, made, step, done)
        for step, act in self._steps():
            if steps and step not in steps:
                continue
            done = act()
            self._note(found, made, step, done)
            if obeys and step in _TELLS:
                self._take_away(done.stdout)
        return found

    def _forget(self):
        """What ran up to the removal; nothing is attempted any more."""
        self.scene.unlink()
        self.known_logs = set(self._logs())
        ran = set(self.beacon.read_text().split()) if self.beacon.exists() else set()
        self.beacon.unlink(missing_ok=True)
        return ran

    def _take_away(self, words):
        """What a person does with each file that is named: as it was, or gone."""
        for path in map(Path, set(re.findall(r"(/[^\s\"]+) was written while", words))):
            before = self.top / "before" / path.relative_to(self.top)
            if path.is_symlink() or not path.is_dir():
                path.unlink()
            else:
                store.remove_tree(path)
            if before.exists():
                shutil.copy(before, path)

    def _note(self, found, made, step, done):
        words = f"{done.stdout}\n{done.stderr}"
        self.codes[step] = done.returncode
        fresh = [path for path in self._logs() if path not in self.known_logs]
        said = words + "\n".join(path.read_text(errors="replace") for path in fresh)
        self.known_logs.update(fresh)
        ran = set(re.findall(r"BEACON:(\w+):", said))
        if self.beacon.exists():
            ran |= set(self.beacon.read_text().split())
        for one in found.values():
            if one.name in ran and one.ran is None:
                one.ran = step
            if one.told is None and step in _TELLS and _names(words, made[one.name]["paths"]):
                one.told = f"`gov {step}`"

    def _steps(self):
        yield "verify --full", lambda: self.gov("verify", "--full", "--json", check=False)
        yield "status", lambda: self.call(self.root / "bin/gov", "status")
        yield "bin/doit", lambda: self.call(self.root / "bin/doit", "list")
        yield "tx run", lambda: self.gov("tx", "run", NEXT, check=False)
        yield "tx promote", lambda: self.gov("tx", "promote", NEXT, check=False)
        yield "run", lambda: self.gov("run", "--", "--quick-test-for-ci", check=False)
        yield "git", self._git
        yield "login shell", lambda: self.call("bash", "-lic", "true")
        yield "session", self._session
        yield "python", self._python
        yield "uv lock", self._uv
        yield "pip", self._pip
        yield "started by hand", self._by_hand
        yield "daemons", self._wait

    def _git(self):
        clones = (self.comfyui, self.comfyui / "custom_nodes" / OTHER)
        stores = sorted((self.root / ".code").iterdir())
        lines = [f"cd '{path}'; git status; git checkout -q HEAD" for path in clones]
        tag = "git log -1 --all && git tag x $(git rev-list --all -1) && git tag -d x"
        lines += [f"cd '{path}' && {tag} || exit 1" for path in (*clones, *stores)]
        return self.call("sh", "-c", "\n".join(lines))

    def _session(self):
        """What cron, a desktop and a user's systemd would start; none of them is here."""
        config = self.home / ".config"
        units = config.glob("systemd/user/*.wants/*.service")
        texts = [path.read_text() for path in (*config.glob("autostart/*.desktop"), *units)]
        commands = [line for text in texts for line in re.findall(r"^Exec\w*=(.+)$", text, re.M)]
        if self.spool and Path(self.spool).exists():
            rows = Path(self.spool).read_text().splitlines()
            commands += [row.split(None, 5)[5] for row in rows]
        return self.call("sh", "-c", "\n".join(commands))

    def _python(self):
        prod = self.root / ".venv-prod/bin/python"
        both = f"'{_base_python()}' -c 'import numpy'; '{prod}' -c 'import numpy'"
        return self.call("sh", "-c", both)

    def _uv(self):
        folder = self.top / "project"
        folder.mkdir(exist_ok=True)
        about = 'name = "x"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["cowsay"]\n'
        (folder / "pyproject.toml").write_text(f"[project]\n{about}")
        words = ("lock", "--no-index", "--find-links", self.wheels, "--offline")
        own = ("--cache-dir", self.top / "own-cache")
        return self.call(executable(), *words, *own, cwd=folder)

    def _pip(self):
        own = [self.tool / ".venv/bin/python", "-m", "pip", "--disable-pip-version-check"]
        words = ("--no-index", "--no-build-isolation", "--no-deps", "--no-cache-dir")
        words = (*words, "--find-links", self.wheels, "--dest")
        return self.call(*own, "download", "cowsay", *words, self.top / "downloads")

    def _by_hand(self):
        """ComfyUI without gov: with all that lies in custom_nodes."""
        prod = self.root / ".venv-prod/bin/python"
        return self.call(prod, self.comfyui / "main.py", "--quick-test-for-ci", "--cpu")

    def _wait(self):
        self.beacon.unlink(missing_ok=True)
        time.sleep(DAEMON_WAIT)
        return self.call("true")

    def remove(self):
        (self.top / "stop").touch()
        store.remove_tree(self.top)


_PATHS = (*("comfyui", "root", "home", "cache", "tool", "wheels", "spare", "spool", "beacon"),)
# The steps in which gov itself does nothing.
QUICK = ("git", "login shell", "session", "python", "uv lock", "pip", "started by hand", "daemons")
# Whose words count as telling the operator what is there.
_TELLS = ("verify --full",)


class _Facts:
    def __init__(self, **facts):
        self.__dict__.update(facts)


def packages_backend():
    """A backend that hands out the wheel beside it, as those of governance.sample do."""
    return wheels._BACKEND


def _base_python():
    return Path(sys.base_prefix) / f"bin/python3.{sys.version_info.minor}"


def _results(text):
    found = {}
    for line in text.splitlines():
        _, mark, rest = line.partition("REMNANTS ")
        for name, made in (json.loads(rest) if mark else {}).items():
            # The second start of one trial may find what the first has left in its layer.
            if name not in found or found[name]["error"] is not None:
                found[name] = made
    return found


def _holds(path, name):
    try:
        return name.encode() in Path(path).read_bytes()
    except OSError:
        return False


def _names(words, paths):
    """By itself or, of a node that nobody registered, by its folder."""
    folders = [found[1] for path in paths if (found := re.match(r"(.*/custom_nodes/[^/]+)/", path))]
    return any(f"{path} " in words for path in (*paths, *folders))
