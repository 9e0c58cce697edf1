"""One workspace and its ComfyUI at a fixed place, rewound to a named scene in milliseconds.

Generations are sealed and named by absolute path, so they are kept as hardlinks (same inode, same
mtime) and everything else as copies: no privilege is needed, and layers work as they do outside.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from support.gov import MAIN, Gov

from governance.boundaries import config, store
from governance.sample import packages, world

GENERATIONS = ".generations"
# Loads the node as ComfyUI would, then ends by itself: a run of a moment.
_MAIN_PY = "print('loaded')\n"
_NODES = {
    "steady": "cowsay\nhumanize>=4.9\n",
    "clash": "humanize<4\n",
    "ready": "colorama\n",
    "idle": "lark\n",
    "former": "tqdm\n",
    "fresh": "pillow\n",
}
_SLOW_PY = "import time\ntime.sleep(600)\n"


class Stage:
    """`names` holds the ids that scenarios need: txids by node, snapshots by reason."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.root = folder / "live/comfy_env"
        self.comfyui = folder / "live/ComfyUI"
        self.kept = folder / "kept"
        self.cache = folder / "uv-cache"
        self.wheels = packages.write_packages(folder / "wheels")
        self.repos = folder / "repos"
        for name, lines in _NODES.items():
            files = {"__init__.py": "", "requirements.txt": lines, "old.py": ""}
            world.write_node(self.repos, name, files)
        _write_comfyui(self.comfyui)
        self.gov = Gov(self.root)
        self.names: dict[str, str] = {}
        self._settings = settings
        self._make_empty()

    # --- scenes -----------------------------------------------------------------------------

    def keep(self, scene: str) -> None:
        target = self.kept / scene
        shutil.copytree(self.root, target / "root", symlinks=True, ignore=_is_generations)
        shutil.copytree(self.comfyui, target / "ComfyUI", symlinks=True)
        (target / GENERATIONS).mkdir()
        for path in _entries(self.root / GENERATIONS):
            _link_tree(path, target / GENERATIONS / path.name)

    def has(self, scene: str) -> bool:
        return (self.kept / scene).is_dir()

    def rewind(self, scene: str) -> None:
        source = self.kept / scene
        for path in _entries(self.root):
            if path.name != GENERATIONS:
                store.remove_tree(path)
        shutil.copytree(
            source / "root", self.root, symlinks=True, dirs_exist_ok=True, ignore=_is_generations
        )
        _rewind_generations(source / GENERATIONS, self.root / GENERATIONS)
        store.remove_tree(self.comfyui)
        shutil.copytree(source / "ComfyUI", self.comfyui, symlinks=True)

    def set(self, **settings: object) -> None:
        usual = {
            "comfyui_dir": str(self.comfyui),
            "tx__settle_seconds": 0.01,
            "tx__smoke_test_cmd": "{python} -c pass",
            "resolution__explain_seconds": 5,
            "storage__uv_cache_dir": str(self.cache),
        }
        text = config.template(**(usual | self._settings | settings))
        (self.root / "config.toml").write_text(text)

    def init_argv(self) -> tuple[str, ...]:
        return (
            "init", str(self.root), "--index", str(self.wheels), "--resolution-date", "none",
        )  # fmt: skip

    def _make_empty(self) -> None:
        self.root.mkdir(parents=True)
        self.set()
        self.keep("empty")

    def settle(self) -> None:
        """A history: one node promoted, one in conflict, one ready, one idle, one aborted."""
        self.rewind("empty")
        self.gov(*self.init_argv()).ok()
        self.names["before"] = self._snapshots()[-1]
        self.gov("tx", "promote", self._run("steady")).ok()
        self.names["after"] = self._snapshots()[-1]
        self.gov("tx", "abort", self._run("former")).ok()
        for name in ("clash", "ready"):
            self.names[name] = self._run(name)
        self.gov("node", "add", self.repos / "idle").ok()
        self.keep("settled")

    def _run(self, name: str) -> str:
        self.gov("node", "add", self.repos / name).ok()
        ended = self.gov.json("tx", "run", name)
        assert ended.code in (0, 4), ended
        return str(ended.data["txid"])

    def _snapshots(self) -> list[str]:
        text = (self.root / "state/snapshots_index.json").read_text()
        return [row["id"] for row in json.loads(text)["snapshots"]]

    # --- programs ---------------------------------------------------------------------------

    def environ(self, **more: str) -> dict[str, str]:
        fixed = {
            "GOV_ROOT": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
        }
        return {**os.environ, **fixed, **more}

    def command(self, argv: tuple[str, ...]) -> list[str]:
        return [sys.executable, str(MAIN), *argv]

    def start(self, argv: tuple[str, ...], **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(argv),
            env=self.environ(**env),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_default_signals,
        )

    def make_slow(self) -> None:
        """The observed program does not end by itself any more."""
        (self.comfyui / "main.py").write_text(_SLOW_PY)

    def make_quick(self) -> None:
        (self.comfyui / "main.py").write_text(_MAIN_PY)

    def processes(self) -> list[str]:
        """Command lines of what still runs for this stage (the test itself does not name it)."""
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit() or int(folder.name) == os.getpid():
                continue
            try:
                line = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                cwd = os.readlink(folder / "cwd")
            except OSError:
                continue
            live = str(self.folder / "live")
            if live in line or cwd.startswith(live):
                found.append(f"{folder.name} {line[:400]}")
        return found


def _default_signals() -> None:
    """SIGINT is ignored where the test run itself was started in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _write_comfyui(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(_MAIN_PY)
    (folder / "requirements.txt").write_text("numpy\n")
    (folder / "custom_nodes").mkdir()
    (folder / ".gitignore").write_text("/custom_nodes/\n")
    world.commit(folder, "a program that ends by itself")


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_generations(folder: str, names: list[str]) -> list[str]:
    return [GENERATIONS] if GENERATIONS in names else []


def _rewind_generations(kept: Path, live: Path) -> None:
    wanted = {path.name for path in _entries(kept)}
    for path in _entries(live):
        if path.name not in wanted:
            store.remove_tree(path)
    if not wanted and not live.is_dir():
        return
    live.mkdir(exist_ok=True)
    for path in _entries(kept):
        if _facts(path) != _facts(live / path.name):
            store.remove_tree(live / path.name)
            _link_tree(path, live / path.name)


def _facts(folder: Path) -> set[tuple[str, int, int]]:
    """Name, inode and mtime of every file below."""
    found = set()
    for place, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(place, name)
            facts = os.lstat(path)
            found.add((os.path.relpath(path, folder), facts.st_ino, facts.st_mtime_ns))
    return found


def _link_tree(source: Path, target: Path) -> None:
    """Papers are rewritten by rename, but a few are written in place: those are copied."""
    if source.name.endswith(".d"):
        shutil.copytree(source, target, symlinks=True)
        return
    target.mkdir()
    for place, folders, files in os.walk(source):
        here = target / os.path.relpath(place, source)
        for name in folders:
            path = Path(place, name)
            if path.is_symlink():
                (here / name).symlink_to(os.readlink(path))
            else:
                (here / name).mkdir()
        for name in files:
            os.link(os.path.join(place, name), here / name, follow_symlinks=False)
