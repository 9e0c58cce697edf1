"""What an operator settles for themselves, outside every workspace: ~/.config/gov/config.toml.

A workspace is only believed once its owner is trusted, so neither that nor the key that signs can
be a setting of the workspace.  Variables of the environment go before the file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from governance.base.errors import UsageError
from governance.boundaries import store

SAFE_VARIABLE = "GOV_SAFE_DIRECTORY"
KEY_VARIABLE = "GOV_SIGNING_KEY"
_KINDS: dict[str, type] = {"safe_directories": list, "signing_key": str}


def path() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~/.config"))  # noqa: PTH111, PTH117
    return folder / "gov" / "config.toml"


def safe_directories() -> list[str]:
    """Folders of other users that this one trusts; `*` is every folder."""
    named = [one for one in os.environ.get(SAFE_VARIABLE, "").split(os.pathsep) if one]
    written = [str(one) for one in _settings().get("safe_directories", ())]
    return [str(store.typed_path(one)) for one in (*named, *written)]


def signing_key() -> Path | None:
    """The ssh key that signs the audit log: a private one, or the public one of the ssh agent's."""
    named = os.environ.get(KEY_VARIABLE) or _settings().get("signing_key")
    return store.typed_path(str(named)) if named else None


def _settings() -> dict[str, Any]:
    file = path()
    try:
        data = store.read_bytes(file)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}  # none, or $HOME is another user's
    except OSError as error:
        raise _bad(file, str(error)) from None
    return _checked(file, data)


def _checked(file: Path, data: bytes) -> dict[str, Any]:
    import tomllib

    try:
        found = tomllib.loads(data.decode())
    except ValueError as error:
        raise _bad(file, str(error)) from None
    for name, value in found.items():
        if name not in _KINDS:
            raise _bad(file, f"unknown setting {name!r}; it may hold {' and '.join(_KINDS)}")
        if not isinstance(value, _KINDS[name]):
            raise _bad(file, f"{name} is not a {_KINDS[name].__name__}")
    return found


def _bad(file: Path, why: str) -> UsageError:
    return UsageError(
        f"{file}: {why}", hint="mend that file of yours; docs/03 shows it", code="bad_config"
    )
