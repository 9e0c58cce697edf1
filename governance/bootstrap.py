"""Make the tool's own .venv.  Run by bin/setup with any Python >= 3.11; standard library only.

One at a time (a kernel lock beside the folder), and the witness `.gov-ready` is written last, so
that an interrupted set-up is begun anew by the next command.  It names what was tested by starting
it: bin/ready compares that at every start and comes here where anything is another.
"""

from __future__ import annotations

import ast
import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# What a shell may hold that chooses another place, Python or index than is meant here.
_FOREIGN = ("PIP_", "PYTHON", "VIRTUAL_ENV", "CONDA", "_CONDA", "UV_", "HATCH_", "__PYVENV")
# The road to the index is the user's business, wherever pip's configuration names it.
_ROAD = (
    *("index-url", "extra-index-url", "find-links", "proxy", "cert", "client-cert"),
    *("trusted-host", "timeout", "default-timeout", "retries", "keyring-provider"),
)
# Later ones outrank earlier ones, as in pip.
_SECTIONS = ("global", "install", ":env:")

# Modules that must be there, and prints the files that must stay for this Python to start.
_TEST = """
import encodings, importlib.util, os, sys, sysconfig
for name in ("doit", "filelock", "packaging.version", "pip._internal", "rich", "tomlkit", "uv"):
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        sys.exit("there is no " + name)
    print(found.origin)
if not os.access(os.path.join(sys.prefix, "bin", "uv"), os.X_OK):
    sys.exit("there is no uv")
print(encodings.__file__)
told = sysconfig.get_config_var
shared = os.path.join(told("LIBDIR") or "", told("INSTSONAME") or "")
if told("Py_ENABLE_SHARED") and os.path.isfile(shared):
    print(shared)
print(os.path.join(sys.prefix, "bin", "uv"))
print(os.path.join(sys.prefix, "pyvenv.cfg"))
print(sys.prefix)
"""

# What pip or venv said, and what there is to do about it.
_DIAGNOSES = (
    (
        r"No space left|quota",
        "the disk is full",
        "free some space",
    ),
    (
        r"Permission denied|Read-only file system|not permitted",
        "{home} cannot be written",
        "mend its permissions, or copy the checkout to a folder of yours",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError|certificate",
        "the package index shows a certificate that is not trusted here",
        "name your certificates with `pip config set global.cert FILE` or in SSL_CERT_FILE",
    ),
    (
        r"NewConnectionError|ConnectTimeout|Temporary failure|name resolution|unreachable|"
        r"Connection (?:refused|reset|broken)|ProxyError|Read timed out|RemoteDisconnected",
        "the package index cannot be reached",
        "check the network, or name a mirror with `pip config set global.index-url URL`",
    ),
    (
        r"\b(401|403)\b.*(Error|Unauthorized|Forbidden)",
        "the package index refuses to answer",
        "check the credentials in `pip config list`",
    ),
    (
        r"No matching distribution|Could not find a version",
        "the package index lacks a package that gov needs",
        "check which index `pip config list` names",
    ),
    (
        r"PATH separator",
        "no virtual environment can lie in a folder with `:` in its path",
        "move the checkout",
    ),
)


def main(argv: list[str]) -> int:
    """`argv`: the checkout's folder, then `dev` where the tests' tools are wanted."""
    home, dev = Path(argv[0]).resolve(), "dev" in argv[1:]
    os.umask(0o022)
    try:
        with open(home / ".venv.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return set_up(home, dev=dev)
    except OSError as error:
        return fail_with(home, "gov could not be set up", str(error))


def set_up(home: Path, *, dev: bool) -> int:
    dev = dev or kind_of(home) == "dev"
    if not is_current(home, dev=dev):
        return make(home, dev=dev)
    parts = working_parts(home / ".venv")
    if parts is None:
        return make(home, dev=dev)
    if dev:
        compile_sources(home)
    write_witness(home, dev, parts)
    return 0


def kind_of(home: Path) -> str:
    try:
        lines = (home / ".venv/.gov-ready").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    return lines[1] if len(lines) > 1 else ""


def is_current(home: Path, *, dev: bool) -> bool:
    """Claim: the .venv was made for this pyproject.toml, in this place, with what is wanted."""
    witness = home / ".venv/.gov-ready"
    if not witness.is_file():
        return False
    if (home / "pyproject.toml").stat().st_mtime > witness.stat().st_mtime:
        return False
    place = witness.read_text(errors="surrogateescape").partition("\n")[0]
    return place == str(home) and (not dev or kind_of(home) == "dev")


def working_parts(folder: Path) -> list[str] | None:
    """The files that its Python needs, as it says itself; None where it does not start, lacks a
    package, or is the Python of another place (a .venv that was copied or moved)."""
    done = started([str(folder / "bin/python"), "-I", "-c", _TEST])
    if done is None or done.returncode != 0:
        return None
    *parts, prefix = done.stdout.splitlines()
    return parts if prefix == str(folder) else None


def make(home: Path, *, dev: bool) -> int:
    say("setting up gov in .venv (once; needs the package index)")
    folder = home / ".venv"
    reused = has_pip(folder)
    if reused:
        (folder / ".gov-ready").unlink(missing_ok=True)
    else:
        failed = new_environment(home, folder)
        if failed:
            return failed
    said = install(home, dev=dev)
    parts = working_parts(folder) if said is None else None
    if parts is None and reused and not diagnosis(said or ""):
        # What was there is broken in a way of its own.
        shutil.rmtree(folder, ignore_errors=True)
        return make(home, dev=dev)
    if parts is None:
        return fail_with(home, "the packages that gov needs could not be installed", said or "")
    compile_sources(home)
    write_witness(home, dev, parts)
    return 0


def has_pip(folder: Path) -> bool:
    asked = "import sys, pip._internal.cli.main; print(sys.prefix)"
    done = started([str(folder / "bin/python"), "-I", "-c", asked])
    return done is not None and done.returncode == 0 and done.stdout.strip() == str(folder)


def new_environment(home: Path, folder: Path) -> int:
    """Its exit code: 0 where the folder is a fresh virtual environment."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        return fail(
            f"the Python at {sys.executable} came without its module {missing[0]}",
            f"install it (Debian, Ubuntu: apt install python{minor}-venv)",
        )
    done = started([sys.executable, "-I", "-m", "venv", str(folder)])
    if done is None or done.returncode != 0:
        said = "" if done is None else done.stdout + done.stderr
        say(said.strip())
        return fail_with(home, "python could not make a virtual environment", said)
    return 0


def install(home: Path, *, dev: bool) -> str | None:
    """None where all went well, else what pip said."""
    wanted = f"{home}[dev]" if dev else str(home)
    python = str(home / ".venv/bin/python")
    argv = [python, "-I", "-m", "pip", "install", "-q", "-e", wanted]
    child = subprocess.Popen(
        argv,
        env={**clean_environ(), **road_to_index(python)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=home,
    )
    assert child.stdout is not None
    said = []
    for line in child.stdout:
        said.append(line)
        say(line.rstrip())
    return None if child.wait() == 0 else "".join(said)


def clean_environ() -> dict[str, str]:
    """The shell's variables, less those that choose another place, Python or configuration."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def road_to_index(python: str) -> dict[str, str]:
    """How the user's own pip reaches the index: mirror, proxy, certificates; nothing else of it."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    done = started([python, "-I", "-m", "pip", "config", "list"], environ)
    return road_in(done.stdout if done is not None and done.returncode == 0 else "")


def road_in(listing: str) -> dict[str, str]:
    """As variables of pip, from the lines of `pip config list`: `global.index-url='...'`."""
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in found and name in (*_ROAD, "no-index"):
            found[section][name] = str(ast.literal_eval(value))
    chosen: dict[str, str] = {}
    for section in _SECTIONS:
        chosen |= found[section]
    if "find-links" not in chosen:  # without either there would be no road at all
        chosen.pop("no-index", None)
    return {"PIP_" + name.upper().replace("-", "_"): text for name, text in chosen.items()}


def write_witness(home: Path, dev: bool, parts: list[str]) -> None:
    """As bin/ready reads it; files of the checkout by their place in it, which may move."""
    facts = (home / ".venv/bin/python").stat()
    stamp = f"{facts.st_ino}:{facts.st_size}:{int(facts.st_mtime)}:{int(facts.st_ctime)}"
    own = [part.removeprefix(f"{home}/") for part in parts]
    text = "\n".join([str(home), "dev" if dev else "", stamp, *own]) + "\n"
    witness = home / ".venv/.gov-ready"
    new = witness.with_name(".gov-ready.new")
    new.write_text(text, errors="surrogateescape")
    new.replace(witness)


def compile_sources(home: Path) -> None:
    """Byte code beforehand: where PYTHONDONTWRITEBYTECODE is set (most containers), every start
    would compile anew, which doubles the time of `gov status`.  What fails costs only that."""
    command = [str(home / ".venv/bin/python"), "-I", "-m", "compileall", "-q"]
    started([*command, *(str(home / name) for name in ("governance", "tasks"))])


def started(
    argv: list[str], environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str] | None:
    """None where it cannot be started at all."""
    try:
        return subprocess.run(
            argv,
            env=environ or clean_environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
        )
    except OSError:
        return None


def say(text: str) -> None:
    if sys.stderr is not None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 (runs before anything is installed)


def diagnosis(said: str) -> tuple[str, str] | None:
    """What is wrong and what to do; None where the words tell of nothing known."""
    for pattern, what, cure in _DIAGNOSES:
        if re.search(pattern, said, re.IGNORECASE):
            return what, cure
    return None


def fail_with(home: Path, message: str, said: str) -> int:
    last = (said.strip().splitlines() or ["its Python does not start"])[-1]
    what, cure = diagnosis(said) or (last, f"delete {home / '.venv'}")
    return fail(f"{message}: {what.format(home=home)}", cure)


def fail(message: str, hint: str) -> int:
    say(f"error: {message}")
    say(f"hint: {hint}, then run the command again")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
