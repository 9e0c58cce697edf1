"""Make the tool's own .venv.  Run by bin/setup with any Python >= 3.11; standard library only.

One at a time (a kernel lock beside the folder), and the witness `.gov-ready` is written last, so
that an interrupted set-up is begun anew by the next command.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path


def main(argv: list[str]) -> int:
    """`argv`: the checkout's folder, then `dev` where the tests' tools are wanted."""
    home, dev = Path(argv[0]), "dev" in argv[1:]
    with open(home / ".venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_ready(home, dev=dev):
            if dev:
                compile_sources(home)
            return 0
        return make(home, dev=dev)


def is_ready(home: Path, *, dev: bool) -> bool:
    """Claim: the .venv was made for this pyproject.toml, in this place, with what is wanted."""
    witness = home / ".venv/.gov-ready"
    if not witness.is_file() or not (home / ".venv/bin/python").exists():
        return False
    if (home / "pyproject.toml").stat().st_mtime > witness.stat().st_mtime:
        return False
    place, _, kind = witness.read_text().partition("\n")
    return place == str(home) and (not dev or kind == "dev")


def make(home: Path, *, dev: bool) -> int:
    say("setting up gov in .venv (once; needs the package index)")
    folder = home / ".venv"
    (folder / ".gov-ready").unlink(missing_ok=True)
    if not is_usable(folder):
        shutil.rmtree(folder, ignore_errors=True)
        if call([sys.executable, "-m", "venv", str(folder)]) != 0:
            return fail(
                "python could not make a virtual environment",
                "install its venv module (for example: apt install python3-venv)",
            )
    wanted = f"{home}[dev]" if dev else str(home)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if call([*pip, "-e", wanted]) != 0:
        return fail("the packages that gov needs could not be installed", "check the network")
    compile_sources(home)
    (folder / ".gov-ready").write_text(f"{home}\n{'dev' if dev else ''}")
    return 0


def is_usable(folder: Path) -> bool:
    """A .venv that was copied or moved along with its checkout starts another place's Python."""
    python = folder / "bin/python"
    if not python.exists():
        return False
    asked = "import sys, pip; print(sys.prefix)"
    done = subprocess.run([python, "-I", "-c", asked], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == str(folder)


def compile_sources(home: Path) -> None:
    """Byte code beforehand: where PYTHONDONTWRITEBYTECODE is set (most containers), every start
    would compile anew, which doubles the time of `gov status`.  What fails costs only that."""
    command = [str(home / ".venv/bin/python"), "-m", "compileall", "-q"]
    call([*command, *(str(home / name) for name in ("governance", "tasks"))])


def call(command: list[str]) -> int:
    return subprocess.run(command, stdout=sys.stderr, check=False).returncode


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 (runs before anything is installed)


def fail(message: str, hint: str) -> int:
    say(f"error: {message}")
    say(f"hint: {hint}, then run the command again")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
