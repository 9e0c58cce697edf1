"""Where this user's keys, passwords and tokens lie: an observed program sees those places empty."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Sequence
from pathlib import Path

from governance.truth.workspace import Workspace

# Files and sockets that programs are told of by a variable.
_NAMED_BY = (
    *("SSH_AUTH_SOCK", "KRB5CCNAME", "KUBECONFIG", "DOCKER_CONFIG", "NETRC", "HF_TOKEN_PATH"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"),
    *("PIP_CONFIG_FILE", "NPM_CONFIG_USERCONFIG", "PGPASSFILE", "GNUPGHOME", "BOTO_CONFIG"),
)


def places(workspace: Workspace, needed: Sequence[Path]) -> tuple[Path, ...]:
    """The real ones that are there; none that holds the workspace or what is `needed`."""
    apart = [Path(os.path.realpath(path)) for path in (workspace.root, *needed)]
    found = dict.fromkeys(Path(os.path.realpath(name)) for name in _named(workspace))
    return tuple(
        path
        for path in found
        if os.path.exists(path)  # noqa: PTH110 - False for what is closed to the caller, too
        and not any(place.is_relative_to(path) for place in apart)
    )


def _named(workspace: Workspace) -> Iterator[str]:
    known = homes()
    for text in workspace.config.texts("sandbox.hidden"):
        if text.startswith("~/"):
            yield from (f"{home}/{text[2:]}" for home in known)
        else:
            yield text
    for name in _NAMED_BY:
        value = os.environ.get(name, "").removeprefix("FILE:")
        if value.startswith("/") and value not in ("/", os.devnull):
            yield value
    if os.geteuid() == 0:
        yield from ("/etc/shadow", "/etc/gshadow")


def homes() -> list[str]:
    """This user's, as he named it and as the system knows it; root reads everybody's."""
    found = [os.environ.get("HOME", "")]
    try:
        found.append(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        pass  # a user without an entry, as in containers
    if os.geteuid() == 0:
        found += [row.pw_dir for row in pwd.getpwall() if row.pw_dir.startswith("/home/")]
    return list(dict.fromkeys(path.rstrip("/") for path in found if path.startswith("/")))
