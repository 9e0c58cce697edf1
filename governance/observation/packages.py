"""What lies in an environment's site-packages, seen from where its changes can be seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.base import masking, names
from governance.base.errors import GovError
from governance.boundaries import process
from governance.observation import inside, looker, recorder

Enter = Callable[[Sequence[str]], list[str]]

RECORDER_FILES = recorder.FILES
_SECONDS = 120.0


def freeze(
    environment: Path,
    enter: Enter | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> list[str]:
    """`name==version`, or `name @ url` where it came from a URL; sorted, names normalised.

    With `enter` a child looks from inside the layer.
    """
    site_packages = find_site_packages(environment)
    if enter is None:
        found = looker.look(site_packages)
    else:
        found = _look_inside(environment, site_packages, enter, environ)
    return _lines(found)


@dataclass(frozen=True)
class Before:
    """What was seen before anything of a node ran.  `freeze` as of `freeze()`; `sources` by name,
    see source.py; the recorder is in place.  `problems` are sentences."""

    freeze: list[str]
    sources: dict[str, dict[str, Any]]
    has_recorder: bool
    problems: list[str]


def look_before(
    environment: Path,
    places: Mapping[str, Path],
    subjects: Sequence[str],
    enter: Enter,
    environ: Mapping[str, str] | None = None,
) -> Before:
    """Copy the recorder into the candidate's layer, and look at its packages and nodes; of
    `subjects` alone the parts are read.  Raises GovError."""
    asked = {
        "site_packages": str(find_site_packages(environment)),
        "places": {name: str(path) for name, path in places.items()},
        "subjects": [*subjects],
    }
    script = str(Path(inside.__file__).resolve())
    told = _answer(environment, [script, json.dumps(asked)], enter, environ)
    if not isinstance(told, dict) or not isinstance(told.get("failed"), dict):
        raise _failed(environment, "its answer does not tell what was seen")
    failed = {str(step): str(why) for step, why in told["failed"].items()}
    sources = told.get(inside.SOURCES, {})
    if not isinstance(sources, dict) or not all(isinstance(v, dict) for v in sources.values()):
        failed[inside.SOURCES], sources = "its answer tells of no node", {}
    packages = _checked(environment, told.get("packages"))
    problems = [f"{_STEPS[step]}: {why}" for step, why in failed.items() if step in _STEPS]
    return Before(_lines(packages), sources, inside.PLANT not in failed, problems)


_STEPS = {
    inside.PLANT: "what nodes do could not be recorded",
    inside.SOURCES: "the source of nodes could not be read",
}


_FIND = """
import sys
from importlib.util import find_spec
sys.path.insert(0, sys.argv[1])
print(*(name for name in sys.argv[2:] if find_spec(name) is None))
"""


def absent(
    environment: Path,
    comfyui_dir: Path,
    modules: Sequence[str],
    enter: Enter,
    environ: Mapping[str, str] | None = None,
) -> list[str]:
    """Those of the top-level `modules` that neither the environment nor ComfyUI has; nothing of
    them is run.  Raises GovError."""
    wanted = [name for name in modules if name.isidentifier()]
    command = [str(environment / "bin/python"), "-I", "-c", _FIND, str(comfyui_dir), *wanted]
    done = process.run(enter(command), env=environ, timeout=_SECONDS)
    if not done.ok:
        raise _failed(environment, done.stderr.strip().rpartition("\n")[2])
    return [name for name in wanted if name in done.stdout.split()]


def find_site_packages(environment: Path) -> Path:
    """Raises GovError where `environment` is no environment."""
    found = sorted(environment.glob("lib/python3*/site-packages"))
    if not found:
        raise GovError(
            f"{environment} is not a Python environment: it has no site-packages",
            hint="`gov repair` builds it again from the lock",
            code="bad_environment",
            facts={"path": str(environment)},
        )
    return found[0]


def _look_inside(
    environment: Path, site_packages: Path, enter: Enter, environ: Mapping[str, str] | None
) -> list[list[Any]]:
    argv = [str(Path(looker.__file__).resolve()), str(site_packages)]
    return _checked(environment, _answer(environment, argv, enter, environ))


def _checked(environment: Path, found: object) -> list[list[Any]]:
    # The Python that answered lies in the layer, where a node may have put another program.
    if not isinstance(found, list) or not all(map(_is_entry, found)):
        raise _failed(environment, "its answer lists no packages")
    return found


def _lines(found: Sequence[Sequence[Any]]) -> list[str]:
    return sorted({freeze_line(str(name), version, url) for name, version, url in found})


def _answer(
    environment: Path, argv: list[str], enter: Enter, environ: Mapping[str, str] | None
) -> object:
    try:
        return json.loads(_run(environment, argv, enter, environ))
    except (ValueError, RecursionError):
        raise _failed(environment, "its answer is not JSON") from None


def _is_entry(value: object) -> bool:
    return (
        isinstance(value, list)
        and [type(item) for item in value[:2]] == [str, str]
        and (len(value) == 3)
    )


def _run(
    environment: Path, argv: list[str], enter: Enter, environ: Mapping[str, str] | None
) -> str:
    command = enter([str(environment / "bin/python"), "-I", "-S", *argv])
    done = process.run(command, env=environ, timeout=_SECONDS)
    if not done.ok:
        lines = done.stderr.strip().splitlines()
        raise _failed(environment, lines[-1] if lines else f"exit {done.returncode}")
    return done.stdout


def _failed(environment: Path, why: str) -> GovError:
    return GovError(
        f"cannot look into {environment}: {why}",
        hint="see whether its bin/python starts, else build it again",
        code="bad_environment",
        facts={"path": str(environment)},
    )


def freeze_line(name: str, version: object, direct_url: object) -> str:
    url = _url(direct_url) if isinstance(direct_url, dict) else None
    return f"{names.normalise(name)} @ {url}" if url else f"{names.normalise(name)}=={version}"


def _url(direct: dict[str, Any]) -> str | None:
    """The URL as pip's freeze writes it (PEP 610)."""
    url = direct.get("url")
    if not isinstance(url, str):
        return None
    url = masking.without_credentials(url)
    vcs, archive = direct.get("vcs_info"), direct.get("archive_info")
    if isinstance(vcs, dict):
        url = f"{vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', '')}"
    elif isinstance(archive, dict) and isinstance(archive.get("hash"), str):
        url += "#" + archive["hash"]
    folder = direct.get("subdirectory")
    return f"{url}#subdirectory={folder}" if isinstance(folder, str) else url
