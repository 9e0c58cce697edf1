"""Whose a folder is.  What belongs to another user is neither run nor believed, as git does it.

A workspace names programs that are run (its smoke test, its dodo.py), so whoever owns it decides
what happens.  One stat answers; the operator's own settings are read only where that says no.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from governance.base.errors import Refused

# Set where root went on as a workspace's owner, so that the audit log says so.
BEGAN_AS = "GOV_BEGAN_AS"


def require_own(folder: Path, *parts: str, take_part: bool = False) -> None:
    """Raises Refused (code `foreign_owner`) where the folder, or one of its `parts` that is there,
    belongs to another user whom this one does not trust.

    `take_part`: root goes on as the owner that it trusts, so that nothing is left behind which
    the owner cannot change.
    """
    own = os.geteuid()
    for path in (folder, *(folder / part for part in parts)):
        owner = _owner(path)
        if owner in (None, own):
            continue
        if not _is_trusted(folder, int(owner or 0)):
            raise _refusal(folder, path, int(owner or 0))
        if take_part and own == 0:
            _go_on_as(int(owner or 0), folder)


def require_own_place(folder: Path) -> None:
    """Of a folder that is to be made: root makes none in another user's folder."""
    place = folder
    while not place.is_dir() and place != place.parent:
        place = place.parent
    if place == folder or os.geteuid() == 0:
        require_own(place, take_part=True)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _is_trusted(folder: Path, owner: int) -> bool:
    if os.geteuid() == 0 and os.environ.get("SUDO_UID") == str(owner):
        return True
    from governance.boundaries import operator

    real = os.path.realpath(folder)
    return any(
        named == "*" or Path(real).is_relative_to(os.path.realpath(named))
        for named in operator.safe_directories()
    )


def _refusal(folder: Path, path: Path, owner: int) -> Refused:
    import shlex

    from governance.boundaries import operator

    name = _name(owner)
    return Refused(
        f"{path} belongs to {name}, and you are {_name(os.geteuid())}",
        hint=f"where you trust {name} with your account: "
        f"`export {operator.SAFE_VARIABLE}={shlex.quote(str(folder))}`, "
        f"or name it for good under safe_directories in {operator.path()}",
        code="foreign_owner",
        facts={"path": str(path), "owner": owner, "folder": str(folder)},
    )


def _name(uid: int) -> str:
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def _go_on_as(owner: int, folder: Path) -> None:
    """This command once more, from its beginning, as that user.  Does not return."""
    import pwd

    try:
        account = pwd.getpwuid(owner)
        home, name, group = account.pw_dir, account.pw_name, account.pw_gid
    except KeyError:
        home, name, group = "/", str(owner), folder.stat().st_gid
    try:
        os.initgroups(name, group) if name != str(owner) else os.setgroups([group])
        os.setegid(group)
        os.seteuid(owner)
    except PermissionError:
        raise _cannot(folder, owner, "this root may not become another user") from None
    unreadable = _unreadable()
    os.seteuid(0)
    if unreadable:
        os.setegid(0)
        raise _cannot(folder, owner, f"that user cannot read {unreadable}")
    os.setresgid(group, group, group)
    os.setresuid(owner, owner, owner)
    for variable in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        os.environ.pop(variable, None)
    os.environ.update({"HOME": home, "USER": name, "LOGNAME": name, BEGAN_AS: "root"})
    from governance.boundaries import process

    process.become([sys.executable, *sys.orig_argv[1:]])


def _unreadable() -> str | None:
    """What of gov itself the effective user cannot start: a checkout, or a Python, in /root."""
    needed = (os.path.realpath(sys.executable), str(os.__file__), __file__)
    return next((path for path in needed if not os.access(path, os.R_OK, effective_ids=True)), None)


def _cannot(folder: Path, owner: int, why: str) -> Refused:
    return Refused(
        f"root works in {folder} as its owner, {_name(owner)}, and cannot: {why}",
        hint=f"run gov as that user, or make the folder root's: `chown -R root: {folder}`",
        code="foreign_owner",
        facts={"path": str(folder), "owner": owner},
    )
