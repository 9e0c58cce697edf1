"""Files of a home that are run, or name what is run, at somebody's next step: shells, sessions,
Python, uv, pip, ssh, git.

Whoever may write one goes on running after their own removal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from governance.environments import secrets

_CLOSED = (
    *(".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", ".profile"),
    *(".zshenv", ".zprofile", ".zshrc", ".zlogin", ".config/fish"),
    *(".xprofile", ".xsession", ".xinitrc", ".pam_environment"),
    *(".config/autostart", ".config/systemd/user", ".config/environment.d"),
    *(".local/share/systemd/user", ".local/lib/python*/site-packages"),
    *(".config/uv", ".config/pip", ".pip", ".pydistutils.cfg"),
    *(".ssh/authorized_keys", ".ssh/config", ".ssh/rc"),
)
# ComfyUI-Manager rightly writes there (safe.directory), so these are only looked at.
_OPEN = (".gitconfig", ".config/git")
# Of the machine: what root's start files are.
_MACHINE = ("/var/spool/cron", "/etc/cron.d", "/etc/profile.d", "/etc/systemd/system")


def closed() -> list[Path]:
    """What no node has any business in; those that are there."""
    return [path for path in _named(_CLOSED) if os.path.exists(path)]  # noqa: PTH110


def all_files() -> Iterator[Path]:
    """Every file in them and in what stays open to nodes."""
    for place in _named((*_CLOSED, *_OPEN)):
        if os.path.isdir(place):  # noqa: PTH112 - False for what is closed to the caller, too
            for folder, _, names in os.walk(place):
                yield from (Path(folder, name) for name in names)
        elif os.path.lexists(place):
            yield place


def _named(names: tuple[str, ...]) -> Iterator[Path]:
    config = os.environ.get("XDG_CONFIG_HOME", "")
    for home in secrets.homes():
        for name in names:
            path = Path(f"{home}/{name}")
            yield from sorted(Path(f"{home}/").glob(name)) if "*" in name else [path]
    if config.startswith("/"):
        inside = (name for name in names if name.startswith(".config/"))
        yield from (Path(config, name.removeprefix(".config/")) for name in inside)
    if os.geteuid() == 0:
        yield from map(Path, _MACHINE)
