"""What is to be observed, and where its things may lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from governance import comfyui
from governance.base.progress import During, unseen
from governance.observation.record import Baseline


@dataclass(frozen=True, kw_only=True)
class Request:
    """One observation.

    `python` is `<environment>/bin/python`, not resolved: its place makes it that environment's.
    `subjects` are the entries of custom_nodes under observation, none for a start of `governed`
    alone, the entries loaded besides; `laid` those of them that only the layer has.
    `install_for` are the subjects whose install.py runs, all where it is None.  `folder` receives
    base/, home/, tmp/, cache/, pycache/, events/.
    `timeout` is seconds from the start of ComfyUI until it answers, `settle` the most seconds
    watched from then on; of `most_starts` the second is made where the first one installed
    something.  `quick` uses --quick-test-for-ci where it is known.  `environ` is complete but
    for what `own_environ` sets.  `enter` turns an argv into one that runs inside the candidate's
    layer and fence.  `live(stream, line)` gets lines without their end, safe for a terminal,
    from threads; `during` shows what is under way.
    `meanwhile` is done before the first start, beside a look at the code.  `contacts` is the
    fence's own record of addresses, where it keeps one; `network` is what was in force, `door`
    leads into a network of its own.
    """

    comfyui_dir: Path
    python: Path
    environment: Path
    subjects: tuple[str, ...]
    governed: tuple[str, ...]
    folder: Path
    stdout_log: Path
    stderr_log: Path
    timeout: float
    settle: float = 3.0
    meanwhile: Callable[[], None] = lambda: None
    most_starts: int = 2
    install_script: bool = True
    install_for: tuple[str, ...] | None = None
    quick: bool = False
    laid: tuple[str, ...] = ()
    extra_args: tuple[str, ...] = ()
    environ: Mapping[str, str]
    enter: Callable[..., list[str]]
    live: Callable[[str, str], None]
    during: During = unseen
    baseline: Baseline | None = None
    log_limit: int = 20 << 20
    contacts: Path | None = None
    door: Path | None = None
    network: str = "open"

    @property
    def expected(self) -> tuple[str, ...]:
        """What is to load, the subjects first."""
        return (*self.subjects, *(name for name in self.governed if name not in self.subjects))

    @property
    def installed(self) -> tuple[str, ...]:
        """The subjects whose install.py is to run."""
        if not self.install_script:
            return ()
        wanted = self.subjects if self.install_for is None else self.install_for
        return tuple(name for name in self.subjects if name in wanted)

    def is_there(self, name: str) -> bool:
        """On the disk, or in the layer."""
        return name in self.laid or (comfyui.custom_nodes(self.comfyui_dir) / name).exists()


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
