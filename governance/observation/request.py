"""What is to be observed, and where its things may lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from governance.observation.record import Baseline


@dataclass(frozen=True, kw_only=True)
class Request:
    """One observation.

    `python` is `<environment>/bin/python`, not resolved: its place makes it that environment's.
    `node` is the folder in custom_nodes under observation, None for a smoke test of `governed`,
    the folders loaded besides.  `folder` receives base/, home/, tmp/, cache/, pycache/, events/.
    `timeout` is seconds from the start of ComfyUI until it answers, `settle` seconds watched
    from then on.  `quick` uses --quick-test-for-ci where it is known.  `environ` is complete but
    for what `own_environ` sets.  `enter` turns an argv into one that runs inside the candidate's
    layer and fence.  `live(stream, line)` gets lines without their end, safe for a terminal,
    from threads.  `exclude` is left out of freezes, see `packages.freeze`.
    """

    comfyui_dir: Path
    python: Path
    environment: Path
    node: str | None
    governed: tuple[str, ...]
    folder: Path
    stdout_log: Path
    stderr_log: Path
    timeout: float
    settle: float = 3.0
    install_script: bool = True
    quick: bool = False
    extra_args: tuple[str, ...] = ()
    environ: Mapping[str, str]
    enter: Callable[[Sequence[str]], list[str]]
    live: Callable[[str, str], None]
    baseline: Baseline | None = None
    exclude: tuple[str, ...] = ()
    log_limit: int = 20 << 20

    @property
    def expected(self) -> tuple[str, ...]:
        """Folders that are to load, this node first."""
        others = tuple(name for name in self.governed if name != self.node)
        return others if self.node is None else (self.node, *others)


def own_environ(folder: Path) -> dict[str, str]:
    """Places of its own for what a candidate would write into the operator's home.

    Bytecode too: a candidate runs on prod's future path, and could plant some there.
    """
    home = folder / "home"
    return {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPYCACHEPREFIX": str(folder / "pycache"),
        "PYTHONUNBUFFERED": "1",
    }


def make_folders(folder: Path) -> None:
    # A home as people have one: some packages write elsewhere where ~/.config is missing.
    home = ("home/.config", "home/.local/share", "home/.local/state")
    for name in (*home, "tmp", "cache", "pycache", "events"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("user", "input", "output"):
        (folder / "base" / name).mkdir(parents=True, exist_ok=True)
